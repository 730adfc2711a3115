//! The API's own error object (`Status`), with reasons, codes and wording as upstream's apimachinery gives them.

use crate::Res;
use crate::field::Errors;
use serde_json::{Value, json};

/// A failed (or, for some deletes, successful) outcome as the API states it.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    /// `details` of the Status object; `null` when there are none.
    pub details: Value,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

impl Status {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: Value::Null,
        }
    }

    fn about(code: u16, reason: &'static str, res: Res, name: &str, message: String) -> Self {
        let mut details = json!({"kind": res.plural});
        if !name.is_empty() {
            details["name"] = name.into();
        }
        if !res.group.is_empty() {
            details["group"] = res.group.into();
        }
        Self {
            code,
            reason,
            message,
            details,
        }
    }

    pub fn not_found(res: Res, name: &str) -> Self {
        Self::about(
            404,
            "NotFound",
            res,
            name,
            format!("{} \"{name}\" not found", res.qualified()),
        )
    }

    pub fn already_exists(res: Res, name: &str) -> Self {
        Self::about(
            409,
            "AlreadyExists",
            res,
            name,
            format!("{} \"{name}\" already exists", res.qualified()),
        )
    }

    pub fn conflict(res: Res, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {why}",
            res.qualified()
        );
        Self::about(409, "Conflict", res, name, message)
    }

    /// The stored object is newer than the one that was sent.
    pub fn stale(res: Res, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(res, name, why)
    }

    pub fn forbidden(res: Res, name: &str, why: &str) -> Self {
        Self::forbidden_there(res.group, res.plural, name, why)
    }

    /// `forbidden` for what need not be a resource: a path that a client made up.
    pub fn forbidden_there(group: &str, plural: &str, name: &str, why: &str) -> Self {
        let mut message = plural.to_string();
        if !group.is_empty() {
            message.push_str(&format!(".{group}"));
        }
        if !name.is_empty() {
            message.push_str(&format!(" \"{name}\""));
        }
        message.push_str(&format!(" is forbidden: {why}"));
        let mut details = json!({"kind": plural});
        for (field, text) in [("name", name), ("group", group)] {
            if !text.is_empty() {
                details[field] = text.into();
            }
        }
        Self {
            details,
            ..Self::new(403, "Forbidden", message)
        }
    }

    /// All field errors of one object at once. `kind` is `StatefulSet.apps` (or `Pod` for the core group).
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &Errors) -> Self {
        let qualified = if group.is_empty() {
            kind.to_string()
        } else {
            format!("{kind}.{group}")
        };
        let message = format!("{qualified} \"{name}\" is invalid: {}", errors.summary());
        let mut details = json!({"causes": errors.causes()});
        for (field, text) in [("name", name), ("kind", kind), ("group", group)] {
            if !text.is_empty() {
                details[field] = text.into();
            }
        }
        Self {
            code: 422,
            reason: "Invalid",
            message,
            details,
        }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self {
            details: json!({}),
            ..Self::new(405, "MethodNotAllowed", message)
        }
    }

    /// No such path: what the router says before any kind is known.
    pub fn no_such_path() -> Self {
        Self {
            details: json!({}),
            ..Self::new(
                404,
                "NotFound",
                "the server could not find the requested resource",
            )
        }
    }

    pub fn not_acceptable(accepted: &str) -> Self {
        Self::of_other_form(format!("only the following media types are accepted: {accepted}"))
    }

    /// What there is has no such form: 406, in words of its own.
    pub fn of_other_form(message: impl Into<String>) -> Self {
        Self::new(406, "NotAcceptable", message)
    }

    pub fn unsupported_media_type(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// The body is over the limit (bytes).
    pub fn too_large(limit: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit}");
        Self::new(413, "RequestEntityTooLarge", message)
    }

    /// The asked-for revision is no longer kept: 410, reason `Expired`.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// The asked-for revision lies in the future.
    pub fn too_large_revision(asked: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {asked}, current: {current}");
        let details = json!({"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}], "retryAfterSeconds": 1});
        Self {
            details,
            ..Self::new(504, "Timeout", message)
        }
    }

    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u64) -> Self {
        Self {
            details: json!({"retryAfterSeconds": retry_after_seconds}),
            ..Self::new(429, "TooManyRequests", message)
        }
    }

    pub fn internal(message: impl std::fmt::Display) -> Self {
        let message = format!("Internal error occurred: {message}");
        Self {
            details: json!({"causes": [{"message": message}]}),
            ..Self::new(500, "InternalError", message.clone())
        }
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    pub fn is_not_found(&self) -> bool {
        self.code == 404
    }

    /// The object was changed meanwhile (not: it exists already).
    pub fn is_conflict(&self) -> bool {
        self.reason == "Conflict"
    }

    pub fn is_already_exists(&self) -> bool {
        self.reason == "AlreadyExists"
    }

    /// An object was refused because its namespace is on its way out: to try again would change nothing.
    pub fn is_namespace_terminating(&self) -> bool {
        let causes = self.details.get("causes").and_then(Value::as_array);
        causes
            .into_iter()
            .flatten()
            .any(|cause| cause["reason"] == "NamespaceTerminating")
    }

    /// The `v1.Status` object.
    pub fn to_value(&self) -> Value {
        let mut out = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if !self.details.is_null() {
            out["details"] = self.details.clone();
        }
        out
    }

    /// Reads a `v1.Status` that another server sent.
    pub fn from_value(value: &Value) -> Self {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        Self {
            code: value.get("code").and_then(Value::as_u64).unwrap_or(500) as u16,
            reason: crate::res::intern(text("reason")),
            message: text("message").to_string(),
            details: value.get("details").cloned().unwrap_or(Value::Null),
        }
    }
}
