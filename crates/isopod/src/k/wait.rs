//! `wait`: until a condition, a field, the object's absence or its presence.

use super::args::Wait;
use super::jsonpath::{self, Path};
use super::resources::{Kind, text};
use super::{Session, print};
use anyhow::{Result, bail};
use serde_json::Value;
use std::time::Instant;

#[derive(Debug)]
enum What {
    Condition {
        kind: String,
        status: String,
    },
    Deleted,
    Created,
    /// Without a value, that there is one.
    Field {
        path: Path,
        value: Option<String>,
    },
}

impl What {
    fn parse(text: &str) -> Result<Self> {
        if let Some(rest) = text.strip_prefix("condition=") {
            let (kind, status) = rest.split_once('=').unwrap_or((rest, "True"));
            return Ok(Self::Condition {
                kind: kind.to_lowercase(),
                status: status.to_lowercase(),
            });
        }
        if let Some(rest) = text.strip_prefix("jsonpath=") {
            let end = rest.rfind('}').map_or(0, |at| at + 1);
            let (path, value) = match rest[end..].split_once('=') {
                Some((before, value)) => (
                    &rest[..end + before.len()],
                    Some(value.trim_matches(['"', '\'']).to_string()),
                ),
                None => (rest, None),
            };
            let path = Path::parse(path)?;
            return Ok(Self::Field { path, value });
        }
        match text {
            "delete" => Ok(Self::Deleted),
            "create" => Ok(Self::Created),
            _ => bail!(
                "unrecognized condition: \"{text}\"; say condition=TYPE[=VALUE], delete, create or jsonpath={{PATH}}=VALUE"
            ),
        }
    }

    fn holds(&self, object: Option<&Value>) -> bool {
        match (self, object) {
            (Self::Deleted, object) => object.is_none(),
            (Self::Created, object) => object.is_some(),
            (_, None) => false,
            (Self::Field { path, value }, Some(object)) => {
                let found = path.find(object);
                match value {
                    Some(wanted) => found.iter().any(|v| jsonpath::shown(v) == *wanted),
                    None => !found.is_empty(),
                }
            }
            (Self::Condition { kind, status }, Some(object)) => {
                let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
                let generation = object
                    .pointer("/metadata/generation")
                    .and_then(Value::as_i64)
                    .unwrap_or(0);
                let is_it = |c: &&Value| text(c, "/type").to_lowercase() == *kind;
                let found = conditions.and_then(|all| all.iter().find(is_it));
                // A condition of an older generation says nothing about this one.
                let fresh = |c: &&Value| {
                    c["observedGeneration"]
                        .as_i64()
                        .is_none_or(|seen| seen >= generation)
                };
                found
                    .filter(fresh)
                    .is_some_and(|c| text(c, "/status").to_lowercase() == *status)
            }
        }
    }
}

pub async fn wait(session: &Session, args: &Wait) -> Result<()> {
    let what = What::parse(&args.what)?;
    let until = Instant::now() + args.timeout.unsigned_abs();
    let mut waited = 0;
    for target in session.targets(&args.targets)? {
        let mut names = target.names;
        if names.is_empty() {
            if !args.all && args.selector.is_none() {
                bail!(
                    "resource(s) were provided, but no name was specified; name some, or say --all or -l SELECTOR"
                );
            }
            let list = session.list(&target.kind, args.selector.as_deref()).await?;
            names = list
                .iter()
                .map(|o| text(o, "/metadata/name").to_string())
                .collect();
        }
        for name in names {
            waited += 1;
            one(session, &what, &target.kind, &name, until).await?;
        }
    }
    match (waited, &what) {
        (0, What::Deleted) => Ok(()),
        (0, _) => bail!("no matching resources found"),
        _ => Ok(()),
    }
}

async fn one(session: &Session, what: &What, kind: &Kind, name: &str, until: Instant) -> Result<()> {
    if !matches!(what, What::Deleted | What::Created) {
        // Nothing to wait for is an error, not a time-out.
        session.read(kind, name).await?;
    }
    let left = until.saturating_duration_since(Instant::now());
    let first_uid = std::cell::RefCell::new(None::<String>);
    let done = |object: Option<&Value>| {
        if let (What::Deleted, Some(object)) = (what, object) {
            // Another of the same name means that the first has gone.
            let uid = text(object, "/metadata/uid").to_string();
            return Ok(first_uid.borrow_mut().get_or_insert_with(|| uid.clone()) != &uid);
        }
        Ok(what.holds(object))
    };
    session.until(kind, name, Some(left), done).await?;
    print(&format!("{}/{name} condition met\n", kind.shown()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_waited_for() {
        let pod = json!({"metadata": {"generation": 2}, "status": {"phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "Old", "status": "True", "observedGeneration": 1}]}});
        let holds = |text: &str| What::parse(text).expect(text).holds(Some(&pod));
        assert!(holds("condition=Ready"));
        assert!(holds("condition=ready=true"));
        assert!(!holds("condition=Ready=False"));
        assert!(!holds("condition=Old"));
        assert!(holds("jsonpath={.status.phase}=Running"));
        assert!(holds("jsonpath=.status.phase=Running"));
        assert!(!holds("jsonpath={.status.phase}=Failed"));
        assert!(holds(
            "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}=True"
        ));
        assert!(holds("jsonpath={.status.phase}"));
        assert!(!holds("delete"));
        assert!(What::parse("delete").expect("delete").holds(None));
        assert!(What::parse("ready").is_err());
    }
}
