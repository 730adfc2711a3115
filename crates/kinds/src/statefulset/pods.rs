//! The pods of a StatefulSet: names and ordinals, how one is made, and how a changed identity is repaired.

use super::claims;
use super::plan::Set;
use super::revisions::Revision;
use crate::plan::{Act, Plan, Target};
use crate::workload::{self, PODS, Pod};
use serde_json::{Value, json};

pub const POD_NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
pub const POD_INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";
pub const REVISION_LABEL: &str = "controller-revision-hash";

/// A place in the set and who holds it.
pub struct Slot {
    pub ordinal: i64,
    pub pod: Option<Pod>,
}

pub fn name(set: &str, ordinal: i64) -> String {
    format!("{set}-{ordinal}")
}

/// The ordinal in a pod's name, if it is one of this set's: digits without leading zeros.
pub fn ordinal_of(set: &str, pod: &str) -> Option<i64> {
    let digits = pod.strip_prefix(set)?.strip_prefix('-')?;
    let canonical = digits == "0" || !digits.starts_with('0');
    let ordinal = digits
        .parse()
        .ok()
        .filter(|_| canonical && digits.bytes().all(|b| b.is_ascii_digit()))?;
    (ordinal <= i64::from(i32::MAX)).then_some(ordinal)
}

pub fn revision_of(pod: &Pod) -> &str {
    pod.label(REVISION_LABEL)
}

/// New pods that one plan creates at most; the next plan goes on. Bounds what a huge `replicas` can cost.
const MAX_NEW: i64 = 500;

/// The places that the set wants filled, by ordinal: all up to the last pod there is, and some free ones after it.
pub fn slots(set: &Set, owned: &[Pod]) -> Vec<Slot> {
    let place = |pod: &Pod| {
        ordinal_of(set.name(), pod.name())
            .map(|n| n - set.start)
            .filter(|n| *n >= 0)
    };
    let last = owned
        .iter()
        .filter_map(place)
        .filter(|n| *n < set.replicas)
        .max()
        .unwrap_or(-1);
    let wanted = set.replicas.min(last + 1 + MAX_NEW);
    let mut slots: Vec<Slot> = (set.start..set.start + wanted)
        .map(|ordinal| Slot { ordinal, pod: None })
        .collect();
    for pod in owned {
        if let Some(slot) = place(pod).and_then(|n| slots.get_mut(usize::try_from(n).ok()?)) {
            slot.pod = Some(pod.clone());
        }
    }
    slots
}

/// Pods outside the wanted ordinals, highest first.
pub fn condemned(set: &Set, owned: &[Pod]) -> Vec<Pod> {
    let wanted = set.start..set.start + set.replicas;
    let outside = |pod: &&Pod| ordinal_of(set.name(), pod.name()).is_some_and(|n| !wanted.contains(&n));
    let mut out: Vec<Pod> = owned.iter().filter(outside).cloned().collect();
    out.sort_by_key(|pod| std::cmp::Reverse(ordinal_of(set.name(), pod.name())));
    out
}

/// A new pod for an ordinal, made from a revision's template.
pub fn make(set: &Set, ordinal: i64, revision: &Revision) -> Value {
    let mut pod = workload::pod_from_template(&revision.template, set.namespace(), set.owner());
    let name = name(set.name(), ordinal);
    pod["metadata"]["name"] = name.as_str().into();
    pod["metadata"]["generateName"] = format!("{}-", set.name()).into();
    for (label, value) in identity_labels(&name, ordinal) {
        pod["metadata"]["labels"][label] = value.into();
    }
    pod["metadata"]["labels"][REVISION_LABEL] = revision.name.as_str().into();
    let service = crate::row::text(&set.value, "/spec/serviceName");
    pod["spec"]["hostname"] = name.as_str().into();
    if !service.is_empty() {
        pod["spec"]["subdomain"] = service.into();
    }
    // The claims first; they hide volumes of the template with the same name.
    let mut volumes = claims::volumes(set, ordinal);
    let claimed: Vec<Value> = volumes.iter().map(|v| v["name"].clone()).collect();
    let others = pod["spec"]["volumes"].as_array().into_iter().flatten();
    volumes.extend(others.filter(|v| !claimed.contains(&v["name"])).cloned());
    if !volumes.is_empty() {
        pod["spec"]["volumes"] = volumes.into();
    }
    pod
}

fn identity_labels(name: &str, ordinal: i64) -> [(&'static str, String); 2] {
    [
        (POD_NAME_LABEL, name.to_string()),
        (POD_INDEX_LABEL, ordinal.to_string()),
    ]
}

/// Puts back the labels that carry the identity, should someone have changed them.
pub fn repair(set: &Set, ordinal: i64, pod: &Pod, plan: &mut Plan) {
    let name = name(set.name(), ordinal);
    let labels = identity_labels(&name, ordinal);
    if pod.is_deleting() || labels.iter().all(|(label, value)| pod.label(label) == value) {
        return;
    }
    let labels: Value = labels
        .into_iter()
        .map(|(k, v)| (k.to_string(), Value::from(v)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let target = Target::exactly(PODS, &pod.object);
    plan.acts.push(Act::Patch {
        target,
        subresource: "",
        patch: json!({"metadata": {"labels": labels}}),
    });
    plan.why
        .push(format!("puts the identity labels of pod {name} back"));
}
