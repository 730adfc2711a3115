//! `rollout history` and `rollout undo`: a workload's earlier templates.

use super::client::MERGE;
use super::resources::{Kind, text};
use super::{Session, print};
use crate::table;
use anyhow::{Context, Result, bail};
use kinds::controllerrevision::CONTROLLERREVISIONS;
use kinds::deployment::DEPLOYMENTS;
use kinds::replicaset::REPLICASETS;
use serde_json::{Value, json};

const NUMBER: &str = "deployment.kubernetes.io/revision";
const CAUSE: &str = "kubernetes.io/change-cause";
const HASH: &str = "pod-template-hash";
const JSON_PATCH: &str = "application/json-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// Revision numbers and the objects that hold them, oldest first.
async fn revisions(session: &Session, kind: &Kind, owner: &Value) -> Result<Vec<(i64, Value)>> {
    let holder = if kind.is(DEPLOYMENTS) {
        REPLICASETS
    } else {
        CONTROLLERREVISIONS
    };
    let holder = session.discovery.resolve(&holder.qualified())?;
    let uid = text(owner, "/metadata/uid");
    let owned = |o: &Value| {
        let owners = o.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        owners.is_some_and(|all| all.iter().any(|r| r["uid"] == uid && r["controller"] == true))
    };
    let number = |o: &Value| match o.get("revision").and_then(Value::as_i64) {
        Some(number) => Some(number),
        None => o["metadata"]["annotations"][NUMBER].as_str()?.parse().ok(),
    };
    let all = session.list(&holder, None).await?.into_iter().filter(owned);
    let mut all: Vec<(i64, Value)> = all.filter_map(|o| Some((number(&o)?, o))).collect();
    all.sort_by_key(|(number, _)| *number);
    Ok(all)
}

pub async fn history(session: &Session, kind: &Kind, name: &str) -> Result<()> {
    let owner = session.read(kind, name).await?;
    let rows = revisions(session, kind, &owner)
        .await?
        .into_iter()
        .map(|(number, holder)| {
            let cause = holder["metadata"]["annotations"][CAUSE]
                .as_str()
                .unwrap_or("<none>");
            vec![number.to_string(), cause.to_string()]
        });
    let table = table::text(&["REVISION", "CHANGE-CAUSE"], rows.collect());
    print(&format!("{}/{name}\n{table}\n", kind.shown()))
}

pub async fn undo(session: &Session, kind: &Kind, name: &str, to: Option<i64>) -> Result<()> {
    let owner = session.read(kind, name).await?;
    let all = revisions(session, kind, &owner).await?;
    let chosen = match to.filter(|n| *n > 0) {
        Some(wanted) => {
            let found = all.into_iter().find(|(number, _)| *number == wanted);
            found.with_context(|| format!("unable to find specified revision {wanted} in history"))?
        }
        None if all.len() < 2 => bail!("no rollout history found for {} \"{name}\"", kind.shown()),
        None => all.into_iter().rev().nth(1).context("no rollout history found")?,
    };
    let path = kind.object(&session.namespace, name);
    let (_, mut holder) = chosen;
    if kind.is(DEPLOYMENTS) {
        let mut template = holder["spec"]["template"].take();
        if let Some(labels) = template
            .pointer_mut("/metadata/labels")
            .and_then(Value::as_object_mut)
        {
            labels.remove(HASH);
        }
        if owner["spec"]["template"] == template {
            return print(&format!(
                "{}/{name} skipped rollback (current template already matches revision)\n",
                kind.shown()
            ));
        }
        let patch = json!([{"op": "replace", "path": "/spec/template", "value": template}]);
        session.patch(&path, JSON_PATCH, &patch).await?;
    } else {
        let data = holder["data"].take();
        anyhow::ensure!(data.is_object(), "the revision holds no data");
        // A revision says itself that it replaces the template, in strategic merge's words.
        let how = if data.to_string().contains("\"$patch\"") {
            STRATEGIC
        } else {
            MERGE
        };
        session.patch(&path, how, &data).await?;
    }
    print(&format!("{}/{name} rolled back\n", kind.shown()))
}
