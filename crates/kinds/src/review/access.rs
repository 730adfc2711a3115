//! Who may do what: SubjectAccessReview in its three forms, and SelfSubjectRulesReview (`kubectl auth can-i`).

use super::{Asks, Attributes, User, selector};
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
        selector::validate(resource, &path.child("resourceAttributes"), errors);
        self.validate_metadata(object, errors);
        if *self != Self::Local {
            return;
        }
        let namespace = string(resource, "namespace");
        if has(spec, "resourceAttributes") && namespace != text(object, "/metadata/namespace") {
            let path = path.child("resourceAttributes").child("namespace");
            errors.invalid(&path, namespace, "must match metadata.namespace");
        }
        if has(spec, "nonResourceAttributes") {
            let detail = "disallowed on this kind of request";
            errors.invalid(&path.child("nonResourceAttributes"), other.clone(), detail);
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
        let (path, resource) = (
            get(spec, "nonResourceAttributes"),
            get(spec, "resourceAttributes"),
        );
        let fields = selector::fields(resource);
        let asked = match path.is_null() {
            true => attributes(resource, &fields.text),
            false => Attributes::of_path(string(path, "verb"), string(path, "path")),
        };
        let verdict = asks.verdict(&user, &asked);
        let mut status = json!({"allowed": verdict.allowed});
        if !verdict.reason.is_empty() {
            status["reason"] = verdict.reason.into();
        }
        let ignored = [
            ("fieldSelector", fields.ignored),
            ("labelSelector", selector::labels(resource)),
        ];
        let ignored: Vec<String> = ignored
            .into_iter()
            .filter_map(|(field, how)| {
                let how = how.word()?;
                Some(format!(
                    "spec.resourceAttributes.{field} {how} due to parse error"
                ))
            })
            .collect();
        if !ignored.is_empty() {
            status["evaluationError"] = ignored.join("; ").into();
        }
        put(question, "status", status);
        Ok(())
    }
}

impl Access {
    /// A question has no name and no labels: nobody keeps it.
    fn validate_metadata(self, object: &Value, errors: &mut Errors) {
        let mut metadata = get(object, "metadata").clone();
        let shown = metadata.clone();
        if let Some(map) = metadata.as_object_mut() {
            map.remove("managedFields");
            if self == Self::Local {
                map.remove("namespace");
            }
            map.retain(|_, value| !value.is_null());
        }
        if metadata.as_object().is_some_and(|map| !map.is_empty()) {
            let detail = match self {
                Self::Local => "must be empty except for namespace",
                Self::Any | Self::Own => "must be empty",
            };
            errors.invalid(&Path::new("metadata"), shown, detail);
        }
    }
}

fn texts(object: &Value, key: &str) -> Vec<String> {
    let texts = list(object, key).iter().filter_map(Value::as_str);
    texts.map(str::to_string).collect()
}

fn attributes<'a>(given: &'a Value, fields: &'a str) -> Attributes<'a> {
    let text = |key: &str| string(given, key);
    Attributes {
        verb: text("verb"),
        group: text("group"),
        version: match text("version") {
            "" => "*",
            version => version,
        },
        resource: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
        field_selector: fields,
        path: None,
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
        let user = asks.caller();
        let held = asks.held(&user, namespace);
        let (mut resources, mut others) = (Vec::new(), Vec::new());
        for rule in &held.rules {
            if !rule.resources.is_empty() {
                let mut shown =
                    json!({"verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources});
                if !rule.resource_names.is_empty() {
                    shown["resourceNames"] = json!(rule.resource_names);
                }
                resources.push(shown);
            }
            if !rule.non_resource_urls.is_empty() {
                others.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}));
            }
        }
        let mut errors = held.errors;
        // What a node may do is not a list of rules: it depends on what runs there.
        let incomplete = crate::node::access::is_node(&user.name, &user.groups);
        if incomplete {
            errors.insert(
                0,
                "node authorizer does not support user rule resolution".to_string(),
            );
        }
        let mut status =
            json!({"resourceRules": resources, "nonResourceRules": others, "incomplete": incomplete});
        if !errors.is_empty() {
            status["evaluationError"] = crate::rbac::aggregate_errors(&errors).into();
        }
        // The answer is all that upstream sends back.
        put(question, "spec", json!({}));
        put(question, "status", status);
        Ok(())
    }
}
