//! Who may do what: SubjectAccessReview in its three forms, and SelfSubjectRulesReview (`kubectl auth can-i`).

use super::{Asks, Attributes, User};
use crate::Rules;
use crate::json::{at, get, has, list, put, string};
use crate::row::text;
use meta::{Errors, Path, Status};
use serde_json::{Value, json};

/// About whom, and about what, may be asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Any,
    /// What is in one namespace.
    Local,
    /// The one who asks.
    Own,
}

impl Rules for Access {
    fn is_question(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        let (spec, path) = (at(object, "/spec"), Path::new("spec"));
        let (resource, other) = (
            get(spec, "resourceAttributes"),
            get(spec, "nonResourceAttributes"),
        );
        if has(spec, "resourceAttributes") && has(spec, "nonResourceAttributes") {
            let detail = "cannot be specified in combination with resourceAttributes";
            errors.invalid(&path.child("nonResourceAttributes"), other.clone(), detail);
        }
        if !has(spec, "resourceAttributes") && !has(spec, "nonResourceAttributes") {
            let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            errors.invalid(&path.child("resourceAttributes"), Value::Null, detail);
        }
        if *self != Self::Own && string(spec, "user").is_empty() && list(spec, "groups").is_empty() {
            errors.invalid(
                &path.child("user"),
                "",
                "at least one of user or group must be specified",
            );
        }
        if *self != Self::Local {
            return;
        }
        if has(spec, "nonResourceAttributes") {
            let detail = "disallowed on this kind of request";
            errors.invalid(&path.child("nonResourceAttributes"), other.clone(), detail);
        }
        let namespace = string(resource, "namespace");
        if has(spec, "resourceAttributes") && namespace != text(object, "/metadata/namespace") {
            let path = path.child("resourceAttributes").child("namespace");
            errors.invalid(&path, namespace, "must match metadata.namespace");
        }
    }

    fn answer(&self, question: &mut Value, asks: &dyn Asks) -> Result<(), Status> {
        let spec = at(question, "/spec");
        let user = match self {
            Self::Own => asks.caller(),
            Self::Any | Self::Local => User {
                name: string(spec, "user").to_string(),
                uid: string(spec, "uid").to_string(),
                groups: texts(spec, "groups"),
                extra: serde_json::from_value(get(spec, "extra").clone()).unwrap_or_default(),
            },
        };
        let path = get(spec, "nonResourceAttributes");
        let allowed = match path.is_null() {
            true => asks.allows(&user, &attributes(get(spec, "resourceAttributes"))),
            false => asks.allows_path(&user, string(path, "verb"), string(path, "path")),
        };
        put(question, "status", json!({"allowed": allowed}));
        Ok(())
    }
}

fn texts(object: &Value, key: &str) -> Vec<String> {
    let texts = list(object, key).iter().filter_map(Value::as_str);
    texts.map(str::to_string).collect()
}

fn attributes(given: &Value) -> Attributes {
    let text = |key: &str| string(given, key).to_string();
    Attributes {
        verb: text("verb"),
        group: text("group"),
        resource: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
    }
}

/// All that the one who asks may do in a namespace.
pub struct OwnRules;

impl Rules for OwnRules {
    fn is_question(&self) -> bool {
        true
    }

    fn answer(&self, question: &mut Value, asks: &dyn Asks) -> Result<(), Status> {
        let namespace = text(question, "/spec/namespace");
        if namespace.is_empty() {
            return Err(Status::bad_request("no namespace on request"));
        }
        let (resources, others) = asks.rules(&asks.caller(), namespace);
        put(
            question,
            "status",
            json!({"resourceRules": resources, "nonResourceRules": others, "incomplete": false}),
        );
        Ok(())
    }
}
