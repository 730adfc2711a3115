//! CREATE: a new object, from a body to a write that expects nothing to stand at its key.

use super::prepare::{self, Attempt};
use super::{Cx, Decision, Pending, Then, managed, metadata, review};
use kinds::node::restriction;
use kinds::{Check, Row, Within, Write as Verb};
use meta::{Call, Draft, Errors, Reply, Status};
use serde_json::Value;
use store::{Expect, Write};

/// A generated name is the base, cut to this, and five characters.
const GENERATED_BASE_MAX: usize = 58;

pub fn create(cx: &mut Cx, call: Call) -> Result<Decision, Status> {
    let body = call
        .body
        .ok_or_else(|| Status::bad_request("the request has no body"))?;
    let object = prepare::body(
        cx,
        body,
        &call.namespace,
        call.options.field_validation,
        call.sent.as_ref(),
    )?;
    if cx.row.rules.is_question() {
        return review::answer(cx, object);
    }
    let attempt = Attempt {
        namespace: &call.namespace,
        options: &call.options,
        subresource: "",
    };
    object_of(cx, object, &attempt, managed::By::Update)
}

/// Everything after "new object" for one that does not exist yet (POST, PUT that creates, apply).
pub fn object_of(
    cx: &mut Cx,
    mut object: Value,
    attempt: &Attempt,
    by: managed::By,
) -> Result<Decision, Status> {
    let row = cx.row.clone();
    row.rules.default(&mut object);
    cx.admit_caller(&object, None)?;
    let generated = name_it(cx, &mut object)?;
    metadata::forget_system_fields(&mut object);
    prepare::system_fields(cx, &mut object);
    if row.status && !row.rules.creates_with_status() && by != managed::By::Nobody {
        prepare::drop_status(&mut object);
    }
    row.rules.prepare(Verb::Create, &mut object, None, cx.now);
    row.rules.sign(&mut object, &review::user(cx.caller));
    prepare::token(cx, &mut object)?;
    // What the server chooses is nobody's.
    let mut sent = row.rules.allocates().then(|| object.clone());
    row.rules
        .begin(Verb::Create, &mut object, None, cx.seen.snapshot)?;
    let name = metadata::text(&object, "name").to_string();
    let errors = errors_of(cx, &row, &object);
    if !errors.is_empty() {
        return Err(cx.invalid(&name, &errors));
    }
    prepare::complete(&row, &mut object);
    if let Some(sent) = &mut sent {
        prepare::complete(&row, sent);
    }
    managed::record_of(cx, None, &mut object, sent, attempt, by);
    cx.restrict_node(&restriction::Attempt {
        operation: restriction::Operation::Create,
        res: row.res,
        subresource: "",
        namespace: attempt.namespace,
        name: &name,
        object: &object,
        old: &Value::Null,
    })?;
    kinds::lifecycle::admit_create(&row, attempt.namespace, &name, cx.seen.snapshot)?;
    row.rules
        .admit(Verb::Create, &mut object, None, cx.seen.snapshot)?;
    cx.warnings.extend(row.rules.warnings(&object, None));
    let exists = cx.seen.snapshot.get(row.res, attempt.namespace, &name);
    if exists.is_some() && !generated {
        return Err(Status::already_exists(row.res, &name));
    }
    if attempt.options.dry_run {
        let reply = Reply::Value {
            value: object,
            created: true,
        };
        return Ok(Decision::Answer(reply, cx.warnings()));
    }
    let draft = Draft::new(object).map_err(|e| Status::bad_request(e.to_string()))?;
    Ok(Decision::Write(Pending {
        writes: vec![Write::Put {
            res: row.res,
            draft,
            expect: Expect::Absent,
        }],
        then: Then::Object { created: true },
        warnings: cx.warnings(),
        retry: generated,
        lost: Status::already_exists(row.res, &name),
    }))
}

fn errors_of(cx: &Cx, row: &Row, object: &Value) -> Errors {
    let mut errors = Errors::new();
    let within = Within {
        old: None,
        seen: cx.seen.snapshot,
        asks: &review::Known(cx),
    };
    row.rules
        .validate_within(Verb::Create, object, &within, &mut errors);
    let checks = row.rules.create_checks();
    for check in checks {
        match check {
            Check::Metadata => metadata::validate(row, object, &mut errors),
            Check::Object => row.rules.validate(object, &mut errors),
            // There is nothing yet that it could be a change of.
            Check::MetadataChange | Check::Change => {}
        }
    }
    row.rules.validate_new(object, &mut errors);
    if errors.is_empty() && !checks.contains(&Check::Metadata) {
        metadata::validate(row, object, &mut errors);
    }
    if errors.is_empty() {
        row.rules.authorize(Verb::Create, object, &within, &mut errors);
    }
    errors
}

/// Gives an object with `generateName` alone its name. True when it did.
fn name_it(cx: &mut Cx, object: &mut Value) -> Result<bool, Status> {
    if !matches!(metadata::text(object, "resourceVersion"), "" | "0") {
        let text = "resourceVersion should not be set on objects to be created";
        return Err(Status::bad_request(text));
    }
    let base = metadata::text(object, "generateName");
    if base.is_empty() || !metadata::text(object, "name").is_empty() {
        return Ok(false);
    }
    let mut end = base.len().min(GENERATED_BASE_MAX);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let name = format!("{}{}", &base[..end], meta::env::name_suffix((cx.random)()));
    object["metadata"]["name"] = name.into();
    Ok(true)
}
