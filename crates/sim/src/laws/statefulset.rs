//! The guarantees of a StatefulSet. Source: "Deployment and Scaling Guarantees", "Update strategies" and "Revision
//! history" of StatefulSets in the Kubernetes documentation; KEP-961 for maxUnavailable.

use super::{Act, Broken, check};
use crate::node::image;
use kinds::controllerrevision::CONTROLLERREVISIONS;
use kinds::row::{int, text};
use kinds::statefulset::STATEFULSETS;
use kinds::workload::{self, PODS, Pod};
use meta::{Call, Object, Snapshot, Timestamp, Verb};
use serde_json::Value;

/// A set's spec as the laws read it, on their own.
pub struct SetView {
    pub name: String,
    pub object: Object,
    pub value: Value,
    pub replicas: i64,
    pub start: i64,
    pub ordered: bool,
    pub on_delete: bool,
    pub partition: i64,
    pub max_unavailable: Option<i64>,
    pub min_ready_seconds: i64,
    pub history_limit: i64,
    pub deleting: bool,
}

impl SetView {
    pub fn of(object: &Object) -> Self {
        let value = object.value();
        let replicas = int(&value, "/spec/replicas").unwrap_or(1);
        let rolling = "/spec/updateStrategy/rollingUpdate";
        let unavailable = value.pointer(&format!("{rolling}/maxUnavailable"));
        Self {
            name: object.name().into(),
            object: object.clone(),
            replicas,
            start: int(&value, "/spec/ordinals/start").unwrap_or(0),
            ordered: text(&value, "/spec/podManagementPolicy") != "Parallel",
            on_delete: text(&value, "/spec/updateStrategy/type") == "OnDelete",
            partition: int(&value, &format!("{rolling}/partition")).unwrap_or(0),
            max_unavailable: workload::int_or_percent(unavailable, replicas, true).map(|n| n.max(1)),
            min_ready_seconds: int(&value, "/spec/minReadySeconds").unwrap_or(0),
            history_limit: int(&value, "/spec/revisionHistoryLimit").unwrap_or(10),
            deleting: object.meta().is_deleting(),
            value,
        }
    }

    pub fn policy(&self, field: &str) -> &str {
        text(
            &self.value,
            &format!("/spec/persistentVolumeClaimRetentionPolicy/{field}"),
        )
    }

    pub fn wants(&self, ordinal: i64) -> bool {
        (self.start..self.start + self.replicas).contains(&ordinal)
    }

    pub fn ordinal(&self, pod: &str) -> Option<i64> {
        pod.strip_prefix(&self.name)?.strip_prefix('-')?.parse().ok()
    }

    pub fn template_image(&self) -> &str {
        text(&self.value, "/spec/template/spec/containers/0/image")
    }

    /// Running and Ready for minReadySeconds, and not on its way out.
    pub fn is_healthy(&self, pod: &Pod, now: Timestamp) -> bool {
        pod.is_running() && pod.is_available(self.min_ready_seconds, now) && !pod.is_deleting()
    }
}

/// The pods that a workload owns and still selects; one that it no longer selects is released.
pub fn pods_of(owner: &Object, seen: &Snapshot) -> Vec<Pod> {
    let selector = workload::selector(&owner.value());
    let owned = seen.owned_by(owner.uid()).filter(|(res, _)| *res == PODS);
    let selected = owned.filter(|(_, object)| selector.matches(&object.meta().labels));
    selected.map(|(_, object)| Pod::of(object)).collect()
}

pub fn hold_for(act: &Act) -> Result<(), Broken> {
    if act.call.res == CONTROLLERREVISIONS && act.call.verb == Verb::Delete {
        return revisions_in_use_are_kept(act);
    }
    if act.call.res != PODS {
        return Ok(());
    }
    match act.call.verb {
        Verb::Create => {
            let Some(body) = &act.call.body else { return Ok(()) };
            let Some(set) = set_named(act, text(body, "/metadata/ownerReferences/0/name")) else {
                return Err(Broken::new("pods belong to a set", text(body, "/metadata/name")));
            };
            let name = text(body, "/metadata/name");
            let ordinal = set.ordinal(name).unwrap_or(-1);
            check(
                set.wants(ordinal) && !set.deleting,
                "only wanted ordinals are started",
                || name.into(),
            )?;
            ordered_start(act, &set, ordinal)
        }
        Verb::Delete => {
            let pod = act
                .planned
                .get(PODS, &act.call.namespace, &act.call.name)
                .map(Pod::of);
            let Some(pod) = pod else { return Ok(()) };
            // By name, for a pod may be adopted and replaced by one plan.
            let owner = pod.name().rsplit_once('-').map_or("", |(set, _)| set);
            let Some(set) = set_named(act, owner) else {
                return Err(Broken::new("only pods of a set are stopped", pod.name()));
            };
            check(!set.deleting, "a set on its way out stops no pods", || {
                pod.name().into()
            })?;
            let ordinal = set.ordinal(pod.name()).unwrap_or(-1);
            if !set.wants(ordinal) {
                return ordered_scale_down(act, &set, ordinal);
            }
            if pod.is_finished() {
                return Ok(());
            }
            rolling_update_touches_only_what_it_may(act, &set, &pod, ordinal)?;
            rolling_update_keeps_enough_available(act, &set, &pod, ordinal)
        }
        _ => Ok(()),
    }
}

fn set_named(act: &Act, name: &str) -> Option<SetView> {
    act.planned
        .get(STATEFULSETS, &act.call.namespace, name)
        .map(SetView::of)
}

/// The set's pods at its wanted ordinals, those included that the plan has adopted before this act.
fn in_range(act: &Act, set: &SetView) -> Vec<(i64, Pod)> {
    let adopted = act.done.iter().filter(|call| adopts(call, set));
    let adopted = adopted.filter_map(|call| act.planned.get(PODS, &call.namespace, &call.name));
    let pods = pods_of(&set.object, act.planned).into_iter();
    let pods = pods.chain(adopted.map(Pod::of));
    let placed = pods.filter_map(|p| Some((set.ordinal(p.name())?, p)));
    placed.filter(|(n, _)| set.wants(*n)).collect()
}

fn adopts(call: &Call, set: &SetView) -> bool {
    let owners = call
        .body
        .as_ref()
        .and_then(|b| b.pointer("/metadata/ownerReferences")?.as_array());
    call.res == PODS && owners.is_some_and(|all| all.iter().any(|o| o["uid"] == set.object.uid()))
}

/// "Before a scaling operation is applied to a Pod, all of its predecessors must be Running and Ready" (and available,
/// KEP-2599): judged by what the plan saw, for a pod may fail between the look and the act.
fn ordered_start(act: &Act, set: &SetView, ordinal: i64) -> Result<(), Broken> {
    if !set.ordered {
        return Ok(());
    }
    let pods = in_range(act, set);
    for lower in set.start..ordinal {
        let pod = pods.iter().find(|(n, _)| *n == lower);
        let healthy = pod.is_some_and(|(_, p)| set.is_healthy(p, act.planned_at));
        check(
            healthy,
            "OrderedReady never starts an ordinal before all lower ones are ready",
            || {
                format!(
                    "{}-{ordinal} is created while {}-{lower} is not available",
                    set.name, set.name
                )
            },
        )?;
    }
    Ok(())
}

/// "Before a Pod is terminated, all of its successors must be completely shutdown", and its predecessors are Running
/// and Ready.
fn ordered_scale_down(act: &Act, set: &SetView, ordinal: i64) -> Result<(), Broken> {
    const LAW: &str = "OrderedReady scales down from the highest ordinal, one at a time";
    if !set.ordered {
        return Ok(());
    }
    for pod in pods_of(&set.object, act.planned) {
        let Some(other) = set.ordinal(pod.name()) else {
            continue;
        };
        let excess = !set.wants(other);
        check(!(excess && other > ordinal), LAW, || {
            format!(
                "{}-{ordinal} is deleted while {} is still there",
                set.name,
                pod.name()
            )
        })?;
        check(excess || set.is_healthy(&pod, act.planned_at), LAW, || {
            format!(
                "{}-{ordinal} is deleted while {} is not available",
                set.name,
                pod.name()
            )
        })?;
    }
    Ok(())
}

/// "All Pods with an ordinal that is greater than or equal to the partition will be updated"; the others stay, as do
/// all under OnDelete and those that are up to date.
fn rolling_update_touches_only_what_it_may(
    act: &Act,
    set: &SetView,
    pod: &Pod,
    ordinal: i64,
) -> Result<(), Broken> {
    const LAW: &str = "a rolling update touches only old pods from the partition on";
    check(!set.on_delete, LAW, || {
        format!("{} is deleted under OnDelete", pod.name())
    })?;
    check(ordinal - set.start >= set.partition, LAW, || {
        format!("{} is deleted below the partition {}", pod.name(), set.partition)
    })?;
    let old = image(pod) != set.template_image() || pod.label("controller-revision-hash").is_empty();
    check(old || revision_differs(act, set, pod), LAW, || {
        format!("{} is deleted although it is up to date", pod.name())
    })
}

/// A pod adopted with another revision's label is old, whatever its image.
fn revision_differs(act: &Act, set: &SetView, pod: &Pod) -> bool {
    let label = pod.label("controller-revision-hash");
    let revision = act.planned.get(CONTROLLERREVISIONS, &act.call.namespace, label);
    revision.is_none_or(|r| {
        let value = r.value();
        let recorded = value.pointer("/data/spec/template").cloned().unwrap_or_default();
        let wanted = set.value.pointer("/spec/template").cloned().unwrap_or_default();
        recorded["spec"] != wanted["spec"] || recorded["metadata"] != wanted["metadata"]
    })
}

/// A rolling update takes an available pod down only while no more than maxUnavailable (one, when it is not set) are
/// unavailable then. Without the field, pods below the one that is replaced do not count, as upstream.
fn rolling_update_keeps_enough_available(
    act: &Act,
    set: &SetView,
    pod: &Pod,
    ordinal: i64,
) -> Result<(), Broken> {
    if !set.is_healthy(pod, act.planned_at) {
        return Ok(());
    }
    let pods = in_range(act, set);
    let floor = if set.max_unavailable.is_some() {
        set.start
    } else {
        ordinal
    };
    let taken = |name: &str| {
        let same = |c: &&meta::Call| c.res == PODS && c.verb == Verb::Delete && c.name == name;
        act.done.iter().any(|c| same(&c))
    };
    let available = pods
        .iter()
        .filter(|(n, p)| *n >= floor && set.is_healthy(p, act.planned_at) && !taken(p.name()))
        .count() as i64;
    let unavailable = set.start + set.replicas - floor - available;
    let allowed = set.max_unavailable.unwrap_or(1);
    check(
        unavailable < allowed,
        "a rolling update never exceeds maxUnavailable by its own act",
        || {
            format!(
                "{} is deleted while {unavailable} of at most {allowed} are unavailable",
                pod.name()
            )
        },
    )
}

/// History that pods or the status name is not deleted, however small revisionHistoryLimit is.
fn revisions_in_use_are_kept(act: &Act) -> Result<(), Broken> {
    let name = &act.call.name;
    let revision = act.planned.get(CONTROLLERREVISIONS, &act.call.namespace, name);
    let owner = revision
        .and_then(|r| r.meta().controller())
        .map(|o| o.name.to_string());
    let Some(set) = set_named(act, &owner.unwrap_or_default()) else {
        return Ok(());
    };
    let by_pod = pods_of(&set.object, act.planned)
        .into_iter()
        .find(|p| p.label("controller-revision-hash") == name);
    check(by_pod.is_none(), "revisions in use are kept", || {
        format!(
            "{name} is deleted while {} has it",
            by_pod.as_ref().map_or("", Pod::name)
        )
    })
}
