//! The claims of a StatefulSet: one a template and ordinal, made before the pod and kept, unless the retention policy
//! says otherwise (KEP-1847).

use super::plan::Set;
use super::pods::{self, Slot};
use crate::Seen;
use crate::persistentvolumeclaim::PERSISTENTVOLUMECLAIMS as CLAIMS;
use crate::plan::{Act, Plan};
use crate::row::text;
use crate::workload::{self, Pod};
use meta::Object;
use serde_json::{Value, json};

/// `(volume name, claim name, template)` of an ordinal.
fn claims<'a>(set: &'a Set, ordinal: i64) -> impl Iterator<Item = (&'a str, String, &'a Value)> {
    let templates = set
        .value
        .pointer("/spec/volumeClaimTemplates")
        .and_then(Value::as_array);
    templates.into_iter().flatten().map(move |template| {
        let volume = text(template, "/metadata/name");
        (
            volume,
            format!("{volume}-{}", pods::name(set.name(), ordinal)),
            template,
        )
    })
}

/// The volumes that bind a pod to its claims.
pub fn volumes(set: &Set, ordinal: i64) -> Vec<Value> {
    let volume = |(name, claim, _): (&str, String, &Value)| json!({"name": name, "persistentVolumeClaim": {"claimName": claim}});
    claims(set, ordinal).map(volume).collect()
}

/// A claim of this ordinal that is being deleted, or will be with the pod that was scaled away: a new pod must not use
/// it.
pub fn going_away(seen: &Seen, set: &Set, ordinal: i64) -> Option<String> {
    let goes_with_pods = policy(set, "whenScaled");
    let pod = pods::name(set.name(), ordinal);
    let goes = |claim: &Object| {
        let mut owners = workload::owners_of(claim).into_iter();
        claim.meta().is_deleting() || (goes_with_pods && owners.any(|owner| names(&owner, "v1", "Pod", &pod)))
    };
    claims(set, ordinal).map(|(_, name, _)| name).find(|name| {
        let claim = seen.snapshot.get(CLAIMS, set.namespace(), name);
        claim.is_some_and(goes)
    })
}

/// Creates the claims of an ordinal that are not there.
pub fn create_missing(seen: &Seen, set: &Set, ordinal: i64, plan: &mut Plan) {
    for (_, name, template) in claims(set, ordinal) {
        if seen.snapshot.get(CLAIMS, set.namespace(), &name).is_some() {
            continue;
        }
        let mut claim = template.clone();
        if let Some(map) = claim.as_object_mut() {
            map.remove("status");
            map.insert("apiVersion".into(), "v1".into());
            map.insert("kind".into(), "PersistentVolumeClaim".into());
        }
        claim["metadata"]["name"] = name.as_str().into();
        claim["metadata"]["namespace"] = set.namespace().into();
        // The selector's labels, so that the claims of a set can be found as its pods are.
        if let Some(Value::Object(labels)) = set.value.pointer("/spec/selector/matchLabels") {
            for (key, value) in labels {
                claim["metadata"]["labels"][key] = value.clone();
            }
        }
        if let Some(owner) = retained_by_set(set) {
            claim["metadata"]["ownerReferences"] = json!([owner]);
        }
        plan.acts.push(Act::Create {
            res: CLAIMS,
            namespace: set.namespace().into(),
            object: claim,
        });
        let (pod, set_name) = (pods::name(set.name(), ordinal), set.name());
        let message = format!("create Claim {name} Pod {pod} in StatefulSet {set_name} success");
        plan.acts.push(set.event(false, "SuccessfulCreate", message));
    }
}

/// Tells of a claim that could not be created. Returns the name of the pod that it is for.
pub fn tell_failure(set: &Set, claim: &str, error: &str, plan: &mut Plan) -> String {
    let prefix = |template: &Value| format!("{}-", text(template, "/metadata/name"));
    let templates = set.value.pointer("/spec/volumeClaimTemplates");
    let templates = templates.and_then(Value::as_array).into_iter().flatten();
    let pod = templates
        .filter_map(|template| claim.strip_prefix(&prefix(template)))
        .find(|pod| pods::ordinal_of(set.name(), pod).is_some())
        .unwrap_or_default();
    let set_name = set.name();
    let message =
        format!("create Claim {claim} for Pod {pod} in StatefulSet {set_name} failed error: {error}");
    plan.acts.push(set.event(true, "FailedCreate", message));
    pod.to_string()
}

fn policy(set: &Set, field: &str) -> bool {
    text(
        &set.value,
        &format!("/spec/persistentVolumeClaimRetentionPolicy/{field}"),
    ) == "Delete"
}

/// The set as owner of its claims, when they are to be deleted with it.
fn retained_by_set(set: &Set) -> Option<Value> {
    policy(set, "whenDeleted").then(|| set.owner())
}

/// Keeps the owners of all claims as the policy wants them: the set's where `whenDeleted` is Delete, the pod's where
/// the pod is condemned and `whenScaled` is Delete, none of ours otherwise.
pub fn keep_retention(seen: &Seen, set: &Set, slots: &[Slot], condemned: &[Pod], plan: &mut Plan) {
    for slot in slots {
        keep(seen, set, slot.ordinal, slot.pod.as_ref(), false, plan);
    }
    for pod in condemned {
        let Some(ordinal) = pods::ordinal_of(set.name(), pod.name()) else {
            continue;
        };
        keep(seen, set, ordinal, Some(pod), true, plan);
    }
}

/// Before a condemned pod is deleted, its claims become its own, if they are to go with it.
pub fn hand_to_pod(seen: &Seen, set: &Set, pod: &Pod, plan: &mut Plan) {
    if let Some(ordinal) = pods::ordinal_of(set.name(), pod.name()) {
        keep(seen, set, ordinal, Some(pod), true, plan);
    }
}

fn keep(seen: &Seen, set: &Set, ordinal: i64, pod: Option<&Pod>, condemned: bool, plan: &mut Plan) {
    for (_, name, _) in claims(set, ordinal) {
        let Some(claim) = seen.snapshot.get(CLAIMS, set.namespace(), &name) else {
            continue;
        };
        let before = workload::owners_of(claim);
        let pod_name = pods::name(set.name(), ordinal);
        let of_set = |owner: &Value| names(owner, "apps/v1", "StatefulSet", set.name());
        let of_pod = |owner: &Value| names(owner, "v1", "Pod", &pod_name);
        let uid = |owner: &Value| text(owner, "/uid").to_string();
        let stale = |owner: &Value| {
            (of_set(owner) && uid(owner) != set.object.uid())
                || (of_pod(owner) && pod.is_none_or(|pod| uid(owner) != pod.object.uid()))
        };
        // Of a set or pod of that name which is gone: the claim's end is the garbage collector's.
        if before.iter().any(stale) {
            continue;
        }
        let mut after = before.clone();
        after.retain(|owner| !of_set(owner) && !of_pod(owner));
        let deletes = policy(set, "whenDeleted") || policy(set, "whenScaled");
        let other_controller = after.iter().any(|owner| owner["controller"] == true);
        match pod.filter(|_| condemned && policy(set, "whenScaled")) {
            // Two controllers of one claim would be one too many; the policy does not hold for it.
            _ if deletes && other_controller => tell_conflict(set, &name, before != after, plan),
            Some(pod) => after.push(pod_owner(&pod.object)),
            None => after.extend(retained_by_set(set)),
        }
        let planned = plan
            .acts
            .iter()
            .any(|act| matches!(act, Act::Patch { target, .. } if target.uid == claim.uid()));
        if after != before && !planned {
            workload::set_owners(plan, CLAIMS, claim, after);
        }
    }
}

fn tell_conflict(set: &Set, claim: &str, is_news: bool, plan: &mut Plan) {
    if is_news {
        let message = format!(
            "PersistentVolumeClaim {claim} has a conflicting OwnerReference that acts as a manging controller, the retention policy is ignored for this claim"
        );
        plan.acts.push(set.event(true, "ConflictingController", message));
    }
}

/// The reference names that object, whatever its uid.
fn names(owner: &Value, api_version: &str, kind: &str, name: &str) -> bool {
    [
        text(owner, "/apiVersion"),
        text(owner, "/kind"),
        text(owner, "/name"),
    ] == [api_version, kind, name]
}

fn pod_owner(pod: &Object) -> Value {
    workload::owner_reference("v1", "Pod", pod)
}
