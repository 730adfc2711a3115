//! POST to `eviction`: a delete that asks the pod's disruption budget first, and spends of it in the same transaction.

use super::managed::By;
use super::prepare::Attempt;
use super::subresource::add_condition;
use super::update::{Change, replace};
use super::{Cx, Decision, delete, metadata};
use kinds::poddisruptionbudget::{self as budgets, Verdict};
use meta::{Call, Object, Options, Reply, Status};
use serde_json::{Value, json};
use store::Write;

pub fn evict(cx: &mut Cx, mut call: Call) -> Result<Decision, Status> {
    let body = call.body.take().unwrap_or_default();
    if metadata::text(&body, "name") != call.name {
        return Err(Status::bad_request(
            "name in URL does not match name in Eviction object",
        ));
    }
    let stored = cx.stored(&call)?;
    let given = body.get("deleteOptions").cloned().unwrap_or_default();
    let mut options = crate::options::of_delete_body(&given, Options::default())?;
    options.dry_run |= call.options.dry_run;
    let mut pod = stored.value();
    let spends = match budgets::evict(cx.seen.snapshot, &stored, &pod, cx.now)? {
        Verdict::Free => None,
        Verdict::Spends(budget, status) => Some((budget, status)).filter(|_| !options.dry_run),
        Verdict::Several => return Ok(several()),
    };
    let attempt = Attempt {
        namespace: &call.namespace,
        options: &options,
        subresource: "eviction",
    };
    let why = json!({"type": "DisruptionTarget", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"});
    add_condition(&mut pod, why, &cx.now.rfc3339());
    let mut decision = delete::evict(cx, &stored, pod, &attempt)?;
    if let (Some((budget, status)), Decision::Write(pending)) = (spends, &mut decision) {
        pending.writes.extend(spend(cx, &budget, status)?);
    }
    Ok(decision)
}

/// Upstream answers so, and the client finds the failure in the answer.
fn several() -> Decision {
    let value = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 500,
        "message": "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
    });
    Decision::Answer(Reply::Value { value, created: true }, Vec::new())
}

/// The budget's new status, as a write of its own kind.
fn spend(cx: &mut Cx, budget: &Object, status: Value) -> Result<Vec<Write>, Status> {
    let res = budgets::PODDISRUPTIONBUDGETS;
    let row = cx.seen.registry.by_res(res).ok_or_else(Status::no_such_path)?;
    let mut of_budget = Cx {
        seen: cx.seen,
        caller: cx.caller,
        row,
        now: cx.now,
        random: &mut *cx.random,
        warnings: Vec::new(),
    };
    let options = Options::default();
    let attempt = Attempt {
        namespace: budget.namespace(),
        options: &options,
        subresource: "status",
    };
    let old = budget.value();
    let mut new = old.clone();
    new["status"] = status;
    let change = Change {
        stored: budget,
        old,
        new,
        by: By::Update,
    };
    match replace(&mut of_budget, change, &attempt)? {
        Decision::Write(pending) => Ok(pending.writes),
        Decision::Answer(..) => Ok(Vec::new()),
    }
}
