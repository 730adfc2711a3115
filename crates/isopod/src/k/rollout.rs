//! `scale` and `rollout`: in the words that kubectl has for each workload.

use super::args::{Rollout, RolloutCommand, Scale};
use super::client::{JSON, MERGE};
use super::resources::{Kind, text};
use super::{Session, print, revisions};
use anyhow::{Result, bail};
use bytes::Bytes;
use http::Method;
use kinds::deployment::DEPLOYMENTS;
use kinds::statefulset::STATEFULSETS;
use serde_json::{Value, json};
use std::time::Duration;

impl Session {
    pub async fn patch(&self, path: &str, kind: &str, body: &Value) -> Result<Value> {
        let body = Bytes::from(serde_json::to_vec(body)?);
        let path = format!("{path}?fieldManager=isopod");
        self.client
            .call(Method::PATCH, &path, JSON, Some((kind, body)))
            .await
    }
}

pub async fn scale(session: &Session, args: &Scale) -> Result<()> {
    for (kind, name) in session.named(&args.targets)? {
        let path = format!("{}/scale", kind.object(&session.namespace, &name));
        let body = json!({"spec": {"replicas": args.replicas}});
        session.patch(&path, MERGE, &body).await?;
        print(&format!("{}/{name} scaled\n", kind.shown()))?;
    }
    Ok(())
}

pub async fn rollout(session: &Session, args: &Rollout) -> Result<()> {
    match &args.command {
        RolloutCommand::Status {
            targets,
            timeout,
            watch,
        } => {
            for (kind, name) in session.named(targets)? {
                status(session, &kind, &name, timeout.map(|t| t.unsigned_abs()), *watch).await?;
            }
        }
        RolloutCommand::Restart { targets } => {
            for (kind, name) in session.named(targets)? {
                restart(session, &kind, &name).await?;
            }
        }
        RolloutCommand::History { targets } => {
            for (kind, name) in session.named(targets)? {
                revisions::history(session, &kind, &name).await?;
            }
        }
        RolloutCommand::Undo { targets, to_revision } => {
            for (kind, name) in session.named(targets)? {
                revisions::undo(session, &kind, &name, *to_revision).await?;
            }
        }
    }
    Ok(())
}

async fn restart(session: &Session, kind: &Kind, name: &str) -> Result<()> {
    let now = meta::Timestamp::new(jiff::Timestamp::now()).rfc3339();
    let annotations = json!({"kubectl.kubernetes.io/restartedAt": now});
    let body = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
    session
        .patch(&kind.object(&session.namespace, name), MERGE, &body)
        .await?;
    print(&format!("{}/{name} restarted\n", kind.shown()))
}

async fn status(
    session: &Session,
    kind: &Kind,
    name: &str,
    limit: Option<Duration>,
    watch: bool,
) -> Result<()> {
    let progress = progress_of(kind)?;
    session.read(kind, name).await?;
    let mut last = String::new();
    let done = |object: Option<&Value>| {
        let Some(object) = object else {
            bail!("object has been deleted");
        };
        let (text, done) = progress(object)?;
        if text != last {
            print(&format!("{text}\n"))?;
            last = text;
        }
        Ok(done || !watch)
    };
    session.until(kind, name, limit, done).await
}

type Progress = fn(&Value) -> Result<(String, bool)>;

fn progress_of(kind: &Kind) -> Result<Progress> {
    match () {
        () if kind.is(DEPLOYMENTS) => Ok(deployment),
        () if kind.is(STATEFULSETS) => Ok(statefulset),
        () => bail!("no status viewer has been implemented for {}", kind.shown()),
    }
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

fn observed(object: &Value) -> bool {
    number(object, "/status/observedGeneration") >= number(object, "/metadata/generation")
}

fn deployment(object: &Value) -> Result<(String, bool)> {
    let name = text(object, "/metadata/name");
    if !observed(object) {
        return Ok((
            "Waiting for deployment spec update to be observed...".into(),
            false,
        ));
    }
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    if conditions.is_some_and(|all| all.iter().any(|c| c["reason"] == "ProgressDeadlineExceeded")) {
        bail!("deployment \"{name}\" exceeded its progress deadline");
    }
    let wanted = number(object, "/spec/replicas");
    let updated = number(object, "/status/updatedReplicas");
    let (all, available) = (
        number(object, "/status/replicas"),
        number(object, "/status/availableReplicas"),
    );
    let waiting = |what: String| {
        Ok((
            format!("Waiting for deployment \"{name}\" rollout to finish: {what}..."),
            false,
        ))
    };
    if updated < wanted {
        return waiting(format!(
            "{updated} out of {wanted} new replicas have been updated"
        ));
    }
    if all > updated {
        return waiting(format!("{} old replicas are pending termination", all - updated));
    }
    if available < updated {
        return waiting(format!("{available} of {updated} updated replicas are available"));
    }
    Ok((format!("deployment \"{name}\" successfully rolled out"), true))
}

fn statefulset(object: &Value) -> Result<(String, bool)> {
    if text(object, "/spec/updateStrategy/type") != "RollingUpdate" {
        bail!("rollout status is only available for RollingUpdate strategy type");
    }
    if number(object, "/status/observedGeneration") == 0 || !observed(object) {
        return Ok((
            "Waiting for statefulset spec update to be observed...".into(),
            false,
        ));
    }
    let (wanted, ready) = (
        number(object, "/spec/replicas"),
        number(object, "/status/readyReplicas"),
    );
    if ready < wanted {
        return Ok((
            format!("Waiting for {} pods to be ready...", wanted - ready),
            false,
        ));
    }
    let updated = number(object, "/status/updatedReplicas");
    let partition = object
        .pointer("/spec/updateStrategy/rollingUpdate/partition")
        .and_then(Value::as_i64);
    if let Some(partition) = partition {
        let due = wanted - partition;
        return Ok(match updated < due {
            true => (
                format!(
                    "Waiting for partitioned roll out to finish: {updated} out of {due} new pods have been updated..."
                ),
                false,
            ),
            false => (
                format!("partitioned roll out complete: {updated} new pods have been updated..."),
                true,
            ),
        });
    }
    let revision = text(object, "/status/updateRevision");
    if revision != text(object, "/status/currentRevision") {
        let text = format!(
            "waiting for statefulset rolling update to complete {updated} pods at revision {revision}..."
        );
        return Ok((text, false));
    }
    let current = number(object, "/status/currentReplicas");
    Ok((
        format!("statefulset rolling update complete {current} pods at revision {revision}..."),
        true,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployments_steps() {
        let at = |generation, updated, all, available| {
            let object = json!({"metadata": {"name": "web", "generation": 2}, "spec": {"replicas": 3},
                "status": {"observedGeneration": generation, "updatedReplicas": updated, "replicas": all, "availableReplicas": available}});
            deployment(&object).expect("a step")
        };
        assert_eq!(
            at(1, 0, 0, 0).0,
            "Waiting for deployment spec update to be observed..."
        );
        assert_eq!(
            at(2, 1, 3, 3).0,
            "Waiting for deployment \"web\" rollout to finish: 1 out of 3 new replicas have been updated..."
        );
        assert_eq!(
            at(2, 3, 4, 3).0,
            "Waiting for deployment \"web\" rollout to finish: 1 old replicas are pending termination..."
        );
        assert!(!at(2, 3, 3, 2).1);
        assert_eq!(
            at(2, 3, 3, 3),
            ("deployment \"web\" successfully rolled out".to_string(), true)
        );
    }

    #[test]
    fn a_statefulsets_steps() {
        let at = |ready, updated, partition| {
            let object = json!({"metadata": {"name": "web", "generation": 1},
                "spec": {"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}},
                "status": {"observedGeneration": 1, "readyReplicas": ready, "updatedReplicas": updated}});
            statefulset(&object).expect("a step")
        };
        assert_eq!(at(1, 3, 0).0, "Waiting for 2 pods to be ready...");
        assert!(!at(3, 1, 0).1);
        assert_eq!(
            at(3, 3, 0),
            (
                "partitioned roll out complete: 3 new pods have been updated...".to_string(),
                true
            )
        );
        assert!(at(3, 1, 2).1);
    }
}
