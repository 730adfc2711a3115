//! A TokenRequest: POST to the `token` subresource of a service account answers with a signed token, bound to a pod, a
//! node or a secret if that is asked for. Source: authentication.k8s.io/v1 API reference, "Managing Service Accounts".

use super::access::Signer;
use super::{Cx, Decision, metadata};
use kinds::node::{NODES, restriction};
use kinds::pod::PODS;
use kinds::row::text;
use kinds::serviceaccount::BINDABLE;
use meta::{Call, Errors, Object, Path, Reply, Res, Status};
use serde_json::{Value, json};

/// Seconds of a token that asks for no lifetime, and the shortest and longest allowed.
const SECONDS: i64 = 3600;
const SECONDS_MIN: i64 = 600;
const SECONDS_MAX: i64 = 1 << 32;
/// What the token of a pod's own volume asks for. Clients that never read it again still work for a year: it says from
/// when on that is late.
const PROJECTED_SECONDS: i64 = 3607;
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;

const GROUP: &str = "authentication.k8s.io";
const KIND: &str = "TokenRequest";

pub fn create(cx: &mut Cx, call: Call) -> Result<Decision, Status> {
    let mut request = call.body.clone().filter(Value::is_object).unwrap_or(json!({}));
    check_identity(&request, &call)?;
    let account = cx.stored(&call)?;
    let signer = cx
        .seen
        .signer
        .ok_or_else(|| Status::unavailable("this server has no key to sign tokens with"))?;
    let uid = metadata::text(&request, "uid");
    if !uid.is_empty() && uid != account.uid() {
        let why = format!(
            "the UID in the token request ({uid}) does not match the UID of the service account ({})",
            account.uid()
        );
        return Err(Status::conflict(Res::new(GROUP, KIND), &call.name, &why));
    }
    cx.restrict_node(&restriction::Attempt {
        operation: restriction::Operation::Create,
        res: cx.row.res,
        subresource: "token",
        namespace: &call.namespace,
        name: &call.name,
        object: &request,
        old: &Value::Null,
    })?;
    let spec = request.get("spec").cloned().unwrap_or_else(|| json!({}));
    let seconds = match spec.get("expirationSeconds").and_then(Value::as_i64) {
        None => SECONDS,
        Some(n) => n,
    };
    check_lifetime(seconds)?;
    let audiences = match audiences(&spec) {
        none if none.is_empty() => signer.audiences(),
        asked => asked,
    };
    let claims = claims(cx, &call, &account, signer, &spec, (seconds, &audiences))?;
    let token = signer.sign(&claims)?;
    let expires = cx.now.plus_seconds(seconds).rfc3339();
    request["apiVersion"] = format!("{GROUP}/v1").into();
    request["kind"] = KIND.into();
    request["metadata"] = json!({"name": account.name(), "namespace": account.namespace(), "uid": account.uid(),
        "creationTimestamp": cx.now.rfc3339()});
    request["spec"] = spec;
    request["spec"]["audiences"] = json!(audiences);
    request["spec"]["expirationSeconds"] = seconds.into();
    request["status"] = json!({"token": token, "expirationTimestamp": expires});
    let reply = Reply::Value {
        value: request,
        created: true,
    };
    Ok(Decision::Answer(reply, cx.warnings()))
}

/// What the token says; `seconds` and `audiences` are as asked for.
fn claims(
    cx: &mut Cx,
    call: &Call,
    account: &Object,
    signer: &dyn Signer,
    spec: &Value,
    (seconds, audiences): (i64, &[String]),
) -> Result<Value, Status> {
    let mut bound = json!({
        "namespace": account.namespace(),
        "serviceaccount": {"name": account.name(), "uid": account.uid()},
    });
    bind(cx, call, spec, &mut bound)?;
    let own = signer.audiences();
    let extends = bound.get("pod").is_some() && audiences.iter().all(|a| own.contains(a));
    let lives = match extends && seconds == PROJECTED_SECONDS {
        true => {
            bound["warnafter"] = cx.now.plus_seconds(seconds).unix_seconds().into();
            EXTENDED_SECONDS
        }
        false => seconds,
    };
    let now = cx.now.unix_seconds();
    Ok(json!({
        "iss": signer.issuer(), "aud": audiences,
        "sub": format!("system:serviceaccount:{}:{}", account.namespace(), account.name()),
        "exp": cx.now.plus_seconds(lives).unix_seconds(), "iat": now, "nbf": now,
        "jti": meta::env::uuid_from((cx.random)(), (cx.random)()),
        "kubernetes.io": bound,
    }))
}

fn audiences(spec: &Value) -> Vec<String> {
    let list = spec.get("audiences").and_then(Value::as_array);
    let texts = list.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_string).collect()
}

/// A request that says whose token it wants means the account of its path.
fn check_identity(request: &Value, call: &Call) -> Result<(), Status> {
    for (field, wanted) in [("name", &call.name), ("namespace", &call.namespace)] {
        let given = metadata::text(request, field);
        if !given.is_empty() && given != wanted {
            let mut errors = Errors::new();
            let detail = format!("must match the service account {field} if specified");
            errors.invalid(&Path::new("metadata").child(field), given, &detail);
            return Err(Status::invalid(GROUP, KIND, &call.name, &errors));
        }
    }
    Ok(())
}

fn check_lifetime(seconds: i64) -> Result<(), Status> {
    let mut errors = Errors::new();
    let field = Path::new("spec").child("expirationSeconds");
    if seconds < SECONDS_MIN {
        errors.invalid(&field, seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds > SECONDS_MAX {
        let detail = "may not specify a duration larger than 2^32 seconds";
        errors.invalid(&field, seconds, detail);
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Status::invalid(GROUP, KIND, "", &errors)),
    }
}

/// Adds what the token dies with: it must exist, and be the one that is meant.
fn bind(cx: &Cx, call: &Call, spec: &Value, bound: &mut Value) -> Result<(), Status> {
    let Some(reference) = spec.get("boundObjectRef").filter(|r| r.is_object()) else {
        return Ok(());
    };
    let given = |key: &str| reference.get(key).and_then(Value::as_str).unwrap_or_default();
    let (version, kind, name) = (given("apiVersion"), given("kind"), given("name"));
    let known = BINDABLE
        .iter()
        .find(|(own, ..)| *own == kind && !version.contains('/'));
    let Some((kind, res, claim)) = known else {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        return Err(Status::bad_request(format!(
            "cannot bind token to object of type {group}/{version}, Kind={kind}"
        )));
    };
    let namespace = if *res == NODES { "" } else { &call.namespace };
    let object = cx.seen.snapshot.get(*res, namespace, name);
    let object = object.ok_or_else(|| Status::not_found(*res, name))?;
    if *res == PODS {
        add_node(cx, call, object, bound)?;
    }
    let uid = given("uid");
    if !uid.is_empty() && uid != object.uid() {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(Status::conflict(Res::new("", kind), name, &why));
    }
    bound[*claim] = json!({"name": object.name(), "uid": object.uid()});
    Ok(())
}

/// The node of the pod that a token is bound to, which must be a pod of this account.
fn add_node(cx: &Cx, call: &Call, pod: &Object, bound: &mut Value) -> Result<(), Status> {
    let pod = pod.value();
    if text(&pod, "/spec/serviceAccountName") != call.name {
        return Err(Status::bad_request(format!(
            "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
            call.name
        )));
    }
    let name = text(&pod, "/spec/nodeName");
    if !name.is_empty() {
        bound["node"] = match cx.seen.snapshot.by_key(NODES, name) {
            Some(node) => json!({"name": name, "uid": node.uid()}),
            None => json!({"name": name}),
        };
    }
    Ok(())
}
