//! What went wrong, in kubectl's words: its users know them, and scripts look for them.

use http::StatusCode;
use serde_json::Value;

/// The server said no.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", self.text())]
pub struct Failed {
    pub code: u16,
    pub reason: String,
    pub message: String,
    /// Kind and name of the object, where the server says them.
    about: Option<(String, String)>,
}

impl Failed {
    pub fn from_body(status: StatusCode, body: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(body) {
            Ok(value) if value["kind"] == "Status" => Self::from_status(&value),
            _ => Self {
                code: status.as_u16(),
                reason: String::new(),
                message: String::from_utf8_lossy(body).trim().to_string(),
                about: None,
            },
        }
    }

    /// From a `Status` object.
    pub fn from_status(status: &Value) -> Self {
        let text = |pointer: &str| {
            status
                .pointer(pointer)
                .and_then(Value::as_str)
                .map(str::to_string)
        };
        Self {
            code: status["code"].as_u64().unwrap_or(500) as u16,
            reason: text("/reason").unwrap_or_default(),
            message: text("/message").unwrap_or_default(),
            about: text("/details/kind").zip(text("/details/name")),
        }
    }

    pub fn is_not_found(&self) -> bool {
        self.reason == "NotFound"
    }

    fn text(&self) -> String {
        match (self.reason.as_str(), &self.about) {
            ("Invalid", Some((kind, name))) => {
                let told = self
                    .message
                    .split_once(" is invalid: ")
                    .map_or(self.message.as_str(), |(_, why)| why);
                format!("The {kind} \"{name}\" is invalid: {told}")
            }
            ("", _) => format!("Error from server: {}", self.message),
            (reason, _) => format!("Error from server ({reason}): {}", self.message),
        }
    }
}

/// An error as a user of kubectl sees it.
pub fn shown(error: &anyhow::Error) -> String {
    match error.downcast_ref::<Failed>() {
        Some(failed) => failed.to_string(),
        None => format!("error: {error:#}"),
    }
}

pub fn is_not_found(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failed>().is_some_and(Failed::is_not_found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_are_kubectls() {
        let missing =
            json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": "pods \"x\" not found"});
        let failed = Failed::from_body(StatusCode::NOT_FOUND, missing.to_string().as_bytes());
        assert_eq!(
            shown(&failed.into()),
            "Error from server (NotFound): pods \"x\" not found"
        );
        let invalid = json!({"kind": "Status", "code": 422, "reason": "Invalid",
            "message": "Pod \"x\" is invalid: spec.containers: Required value",
            "details": {"kind": "Pod", "name": "x"}});
        let failed = Failed::from_status(&invalid);
        assert_eq!(
            failed.to_string(),
            "The Pod \"x\" is invalid: spec.containers: Required value"
        );
        assert_eq!(shown(&anyhow::anyhow!("no such file")), "error: no such file");
    }
}
