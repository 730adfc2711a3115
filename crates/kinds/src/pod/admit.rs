//! What the cluster adds to a new pod: its identity and token, tolerations for failing nodes, its priority.
//! Source: the admission plugins ServiceAccount, DefaultTolerationSeconds, Priority and RuntimeClass.

mod runtime;

use super::{PODS, template_hash};
use crate::json::{at, flag, get, int, items_mut, list, number, push, put, put_default, some, string};
use crate::priorityclass::{PRIORITYCLASSES, default_class};
use crate::serviceaccount::SERVICEACCOUNTS;
use meta::{Res, Snapshot, Status};
use serde_json::{Value, json};

const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Tokens are renewed at 80 %; the odd seconds tell them from ones that users asked for.
const TOKEN_SECONDS: i64 = 3607;
/// How conflicts of a binding name what they are about.
const BINDINGS: Res = Res::new("", "pods/binding");

/// What needs nothing but the pod. It runs before validation, which counts on it.
pub(super) fn fill_in(spec: &mut Value) {
    put_default(spec, "serviceAccountName", "default");
    let account = string(spec, "serviceAccountName").to_string();
    put(spec, "serviceAccount", account);
    tolerate(spec);
}

/// Five minutes on a node that is not ready or cannot be reached, unless the pod says otherwise.
pub(super) fn tolerate(spec: &mut Value) {
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let covered = list(spec, "tolerations").iter().any(|t| {
            (string(t, "key").is_empty() || string(t, "key") == key)
                && matches!(string(t, "effect"), "" | "NoExecute")
        });
        if !covered {
            let toleration =
                json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
            push(spec, "tolerations", toleration);
        }
    }
}

/// An update need not say again what the class gave.
pub(super) fn keep_priority(spec: &mut Value, before: &Value) {
    for field in ["priority", "preemptionPolicy"] {
        if let Some(kept) = some(before, field) {
            put_default(spec, field, kept.clone());
        }
    }
}

/// What depends on the cluster; refuses pods of accounts and priority classes that do not exist.
pub(super) fn admit(pod: &mut Value, seen: &Snapshot) -> Result<(), Status> {
    // Mirror pods stand for what a node runs by itself; they carry no token.
    if at(pod, "/metadata/annotations/kubernetes.io~1config.mirror").is_null() {
        identity(pod, seen)?;
    }
    priority(pod, seen)?;
    runtime::admit(pod, seen)
}

/// A pod is bound once, and not when it is about to go.
pub(super) fn binding(pod: &Value, old: Option<&Value>) -> Result<(), Status> {
    let Some(old) = old else { return Ok(()) };
    let (name, node) = (name(pod), crate::row::text(old, "/spec/nodeName"));
    let why = if super::is_terminating(old) {
        format!("pod {name} is being deleted, cannot be assigned to a host")
    } else if !node.is_empty() {
        format!("pod {name} is already assigned to node {node:?}")
    } else if !list(get(old, "spec"), "schedulingGates").is_empty() {
        format!("pod {name} has non-empty .spec.schedulingGates")
    } else {
        return Ok(());
    };
    Err(Status::conflict(BINDINGS, name, &why))
}

fn name(pod: &Value) -> &str {
    crate::row::text(pod, "/metadata/name")
}

/// How a refusal names the pod: admission comes before a name is generated upstream, so that it is the prefix, and the
/// same refusal reads the same each time.
fn asked_name(pod: &Value) -> &str {
    let (name, prefix) = (name(pod), crate::row::text(pod, "/metadata/generateName"));
    // The base of a generated name is cut to 58 bytes.
    let suffix = name
        .strip_prefix(prefix.get(..58).unwrap_or(prefix))
        .filter(|_| !prefix.is_empty());
    let generated = suffix.is_some_and(|s| s.len() == 5 && !s.bytes().all(|b| b.is_ascii_digit()));
    if generated { prefix } else { name }
}

fn refused(pod: &Value, why: &str) -> Status {
    Status::forbidden(PODS, asked_name(pod), why)
}

/// What a pod's class, or the cluster's default, says of its priority.
fn priority(pod: &mut Value, seen: &Snapshot) -> Result<(), Status> {
    let name = crate::row::text(pod, "/spec/priorityClassName");
    let class = if name.is_empty() {
        let nothing = || json!({"value": 0, "preemptionPolicy": "PreemptLowerPriority"});
        default_class(seen).unwrap_or_else(nothing)
    } else {
        let found = seen.get(PRIORITYCLASSES, "", name);
        let missing = || refused(pod, &format!("no PriorityClass with name {name} was found"));
        found.ok_or_else(missing)?.value()
    };
    let (value, policy) = (number(&class, "value"), string(&class, "preemptionPolicy"));
    let spec = get(pod, "spec");
    if let Some(given) = int(spec, "priority").filter(|given| *given != value) {
        let why = format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
        );
        return Err(refused(pod, &why));
    }
    let given = get(spec, "preemptionPolicy").as_str();
    if let Some(given) = given.filter(|given| !policy.is_empty() && *given != policy) {
        let why = format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
        );
        return Err(refused(pod, &why));
    }
    let name = crate::row::text(&class, "/metadata/name");
    if let Some(spec) = pod.get_mut("spec") {
        put(spec, "priority", value);
        for (field, text) in [("priorityClassName", name), ("preemptionPolicy", policy)] {
            if !text.is_empty() {
                put(spec, field, text);
            }
        }
    }
    Ok(())
}

fn identity(pod: &mut Value, seen: &Snapshot) -> Result<(), Status> {
    let namespace = crate::row::text(pod, "/metadata/namespace");
    let account = crate::row::text(pod, "/spec/serviceAccountName");
    let Some(found) = seen.get(SERVICEACCOUNTS, namespace, account) else {
        let why = format!(
            "error looking up service account {namespace}/{account}: serviceaccount {account:?} not found"
        );
        return Err(Status::forbidden(PODS, asked_name(pod), &why));
    };
    let found = found.value();
    let wanted = flag(get(pod, "spec"), "automountServiceAccountToken")
        .or(flag(&found, "automountServiceAccountToken"))
        .unwrap_or(true);
    let seed = json!([namespace, name(pod), at(pod, "/metadata/uid")]);
    let Some(spec) = pod.get_mut("spec") else {
        return Ok(());
    };
    if wanted {
        mount_token(spec, &seed);
    }
    let secrets = get(&found, "imagePullSecrets");
    if list(spec, "imagePullSecrets").is_empty() && !secrets.is_null() {
        put(spec, "imagePullSecrets", secrets.clone());
    }
    Ok(())
}

/// Mounts the account's token into every container that has nothing mounted at its place.
fn mount_token(spec: &mut Value, seed: &Value) {
    let known = list(spec, "volumes")
        .iter()
        .map(|v| string(v, "name"))
        .find(|name| name.starts_with("kube-api-access-"))
        .map(String::from);
    let volume = match &known {
        Some(name) => name.clone(),
        None => format!("kube-api-access-{}", &template_hash(seed, None)[..5]),
    };
    let mut mounted = false;
    for kind in ["initContainers", "containers"] {
        for c in items_mut(spec, kind) {
            let taken = list(c, "volumeMounts")
                .iter()
                .any(|m| string(m, "mountPath") == TOKEN_PATH);
            if !taken {
                let mount = json!({"name": volume, "readOnly": true, "mountPath": TOKEN_PATH});
                push(c, "volumeMounts", mount);
                mounted = true;
            }
        }
    }
    if mounted && known.is_none() {
        push(spec, "volumes", token_volume(&volume));
    }
}

fn token_volume(name: &str) -> Value {
    let namespace = json!({"apiVersion": "v1", "fieldPath": "metadata.namespace"});
    json!({"name": name, "projected": {"defaultMode": 0o644, "sources": [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_SECONDS}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
    ]}})
}
