//! A cluster written in a few words a line, and a plan as text. Templates are named by their image: `a`, `b`, …

use kinds::controllerrevision::CONTROLLERREVISIONS;
use kinds::deployment::DEPLOYMENTS;
use kinds::persistentvolumeclaim::PERSISTENTVOLUMECLAIMS;
use kinds::replicaset::REPLICASETS;
use kinds::statefulset::STATEFULSETS;
use kinds::workload::PODS;
use kinds::{Act, Controller, Key, Plan, Registry, Seen};
use meta::{Draft, Res, Snapshot, Timestamp};
use serde_json::{Map, Value, json};

pub const NAMESPACE: &str = "shop";

/// Words of a line: plain ones and `key=value`.
pub struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    pub fn of(line: &'a str) -> Self {
        Self(line.split_whitespace().collect())
    }

    pub fn get(&self, key: &str) -> Option<&'a str> {
        let value = |word: &&'a str| word.strip_prefix(key)?.strip_prefix('=');
        self.0.iter().find_map(value)
    }

    pub fn int(&self, key: &str) -> Option<i64> {
        self.get(key).map(|v| v.parse().expect("a number"))
    }

    pub fn has(&self, word: &str) -> bool {
        self.0.contains(&word)
    }

    pub fn at(&self, index: usize) -> &'a str {
        self.0.get(index).copied().unwrap_or_default()
    }
}

/// `IntOrString` as it is written.
fn number_or_text(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| text.into(), Value::from)
}

pub fn template(app: &str, image: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "app", "image": image}]}})
}

/// The name of the ControllerRevision that records a template of the set `web`.
pub fn revision_name(image: &str) -> String {
    let mut data = template("web", image);
    data["$patch"] = "replace".into();
    let data = json!({"spec": {"template": data}});
    format!("web-{}", kinds::workload::content_hash(&data, 0))
}

/// The name of the ReplicaSet that has a template of the deployment `api`.
pub fn replicaset_name(image: &str) -> String {
    format!(
        "api-{}",
        kinds::workload::content_hash(&template("api", image), 0)
    )
}

pub fn owner(api_version: &str, kind: &str, name: &str, uid: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": true, "blockOwnerDeletion": true})
}

fn set_owner() -> Value {
    owner("apps/v1", "StatefulSet", "web", "set")
}

/// The world of one case, at ten o'clock.
pub struct Case {
    pub snapshot: Snapshot,
    pub now: Timestamp,
    revision: u64,
}

impl Case {
    pub fn empty() -> Self {
        Self {
            snapshot: Snapshot::default(),
            now: crate::now(),
            revision: 1,
        }
    }

    /// A case from its lines: `set …`, `deployment …`, `rs …`, `pod …`, `claim …`, `revision …`.
    pub fn of(lines: &str) -> Self {
        let mut case = Self::empty();
        for line in lines.lines().map(str::trim).filter(|l| !l.is_empty()) {
            case.add(line);
        }
        case
    }

    pub fn add(&mut self, line: &str) {
        let words = Words::of(line);
        let (res, value) = match words.at(0) {
            "set" => (STATEFULSETS, self.set(&words)),
            "pod" => (PODS, self.pod(&words)),
            "claim" => (PERSISTENTVOLUMECLAIMS, claim(&words)),
            "revision" => (CONTROLLERREVISIONS, revision(&words)),
            "deployment" => (DEPLOYMENTS, self.deployment(&words)),
            "rs" => (REPLICASETS, replicaset(&words)),
            other => panic!("a line cannot begin with {other:?}"),
        };
        self.put(res, value);
    }

    pub fn put(&mut self, res: Res, mut value: Value) {
        self.revision += 1;
        value["metadata"]["namespace"] = NAMESPACE.into();
        let draft = Draft::new(value).expect("an object");
        self.snapshot.put(res, draft.seal(self.revision));
    }

    fn ago(&self, seconds: i64) -> String {
        self.now.plus_seconds(-seconds).rfc3339()
    }

    fn set(&self, words: &Words) -> Value {
        let mut strategy = json!({"type": words.get("strategy").unwrap_or("RollingUpdate")});
        if strategy["type"] == "RollingUpdate" {
            strategy["rollingUpdate"] = json!({"partition": words.int("partition").unwrap_or(0)});
            if let Some(limit) = words.get("maxUnavailable") {
                strategy["rollingUpdate"]["maxUnavailable"] = number_or_text(limit);
            }
        }
        let image = words.get("image").unwrap_or("a");
        let policy = |key| words.get(key).unwrap_or("Retain");
        let mut spec = json!({
            "replicas": words.int("replicas").unwrap_or(3), "serviceName": "web",
            "podManagementPolicy": words.get("policy").unwrap_or("OrderedReady"),
            "selector": {"matchLabels": {"app": "web"}}, "template": template("web", image),
            "updateStrategy": strategy, "minReadySeconds": words.int("minReady").unwrap_or(0),
            "revisionHistoryLimit": words.int("history").unwrap_or(10),
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": policy("whenDeleted"), "whenScaled": policy("whenScaled")},
        });
        if let Some(start) = words.int("start") {
            spec["ordinals"] = json!({"start": start});
        }
        if words.has("claims") {
            spec["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {}}]);
        }
        let mut metadata = json!({"name": "web", "uid": "set", "generation": 1});
        if words.has("deleting") {
            metadata["deletionTimestamp"] = self.ago(1).into();
            metadata["finalizers"] = json!(["foregroundDeletion"]);
        }
        let mut status = json!({"replicas": 0});
        if let Some(current) = words.get("current") {
            status["currentRevision"] = revision_name(current).into();
        }
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec, "status": status})
    }

    /// `pod web-0 [image] ready[=seconds] running pending failed succeeded deleting orphan foreign lost rs=image`
    fn pod(&self, words: &Words) -> Value {
        let name = words.at(1);
        let image = words.get("image").unwrap_or("a");
        let ready = words.has("ready") || words.get("ready").is_some();
        let phase = match () {
            () if words.has("failed") => "Failed",
            () if words.has("succeeded") => "Succeeded",
            () if ready || words.has("running") => "Running",
            () => "Pending",
        };
        let mut labels = json!({"app": if words.has("lost") { "lost" } else { "web" }});
        let mut owners = json!([set_owner()]);
        if let Some(set) = words.get("rs") {
            labels["app"] = "api".into();
            labels["pod-template-hash"] = set.into();
            owners = json!([owner(
                "apps/v1",
                "ReplicaSet",
                &replicaset_name(set),
                &format!("rs-{set}")
            )]);
        } else {
            let ordinal = name.rsplit_once('-').map_or("", |(_, n)| n);
            labels["controller-revision-hash"] = revision_name(image).into();
            labels["statefulset.kubernetes.io/pod-name"] = name.into();
            labels["apps.kubernetes.io/pod-index"] = ordinal.into();
        }
        if words.has("foreign") {
            owners = json!([owner("apps/v1", "StatefulSet", "other", "other")]);
        }
        let mut metadata = json!({"name": name, "uid": format!("uid-{name}"), "labels": labels, "creationTimestamp": self.ago(100)});
        if !words.has("orphan") {
            metadata["ownerReferences"] = owners;
        }
        if words.has("deleting") {
            metadata["deletionTimestamp"] = self.ago(1).into();
            metadata["deletionGracePeriodSeconds"] = 30.into();
        }
        let since = self.ago(words.int("ready").unwrap_or(60));
        let condition = json!([{"type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": since}]);
        let mut spec = template("web", image)["spec"].clone();
        spec["nodeName"] = "node-1".into();
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec,
            "status": {"phase": phase, "conditions": condition}})
    }

    /// `updated=n`: the pods of the newest ReplicaSet that the stored status counts; `rev=n`: the revision it carries.
    fn deployment(&self, words: &Words) -> Value {
        let mut strategy = json!({"type": words.get("strategy").unwrap_or("RollingUpdate")});
        if strategy["type"] == "RollingUpdate" {
            let limit = |key| number_or_text(words.get(key).unwrap_or("25%"));
            strategy["rollingUpdate"] =
                json!({"maxSurge": limit("surge"), "maxUnavailable": limit("unavailable")});
        }
        let spec = json!({
            "replicas": words.int("replicas").unwrap_or(3), "strategy": strategy,
            "selector": {"matchLabels": {"app": "api"}}, "template": template("api", words.get("image").unwrap_or("a")),
            "minReadySeconds": words.int("minReady").unwrap_or(0), "paused": words.has("paused"),
            "revisionHistoryLimit": words.int("history").unwrap_or(10),
            "progressDeadlineSeconds": words.int("deadline").unwrap_or(600),
        });
        let mut status = json!({"observedGeneration": 1});
        if let Some(updated) = words.int("updated") {
            status["replicas"] = updated.into();
            status["updatedReplicas"] = updated.into();
        }
        if let Some(seconds) = words.int("stuck") {
            status["conditions"] = json!([{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated",
                "message": "", "lastUpdateTime": self.ago(seconds), "lastTransitionTime": self.ago(seconds)}]);
        }
        let mut metadata = json!({"name": "api", "uid": "deployment", "generation": 1});
        if let Some(revision) = words.get("rev") {
            metadata["annotations"] = json!({"deployment.kubernetes.io/revision": revision});
        }
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec, "status": status})
    }

    pub fn plan(&self, controller: Controller, key: &Key) -> Plan {
        let rows = Registry::builtin();
        (controller.plan)(
            &Seen {
                now: self.now,
                snapshot: &self.snapshot,
                rows: &rows,
            },
            key,
        )
    }
}

/// `claim data-web-0 deleting owner=set|pod|gone|other|controller`; `gone` is an earlier pod of the name.
fn claim(words: &Words) -> Value {
    let name = words.at(1);
    let mut metadata = json!({"name": name, "uid": format!("uid-{name}")});
    if words.has("deleting") {
        metadata["deletionTimestamp"] = "2026-11-21T09:59:00Z".into();
        metadata["finalizers"] = json!(["kubernetes.io/pvc-protection"]);
    }
    let pod = name.strip_prefix("data-").unwrap_or_default();
    match words.get("owner") {
        Some("set") => metadata["ownerReferences"] = json!([set_owner()]),
        Some("pod") => metadata["ownerReferences"] = json!([owner("v1", "Pod", pod, &format!("uid-{pod}"))]),
        Some("gone") => metadata["ownerReferences"] = json!([owner("v1", "Pod", pod, "uid-of-old")]),
        Some(kind) => {
            let mut keeper = owner("v1", "ConfigMap", "keeper", "keeper");
            keeper["controller"] = (kind == "controller").into();
            metadata["ownerReferences"] = json!([keeper]);
        }
        None => {}
    }
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": {}})
}

/// `revision b 2 [orphan]`: the template `b` as revision 2.
fn revision(words: &Words) -> Value {
    let (image, number) = (words.at(1), words.at(2).parse::<i64>().expect("a number"));
    let name = revision_name(image);
    let mut template = template("web", image);
    template["$patch"] = "replace".into();
    let hash = name.trim_start_matches("web-");
    let mut metadata = json!({"name": name, "uid": format!("uid-{image}"),
        "labels": {"app": "web", "controller.kubernetes.io/hash": hash}});
    if !words.has("orphan") {
        metadata["ownerReferences"] = json!([set_owner()]);
    }
    json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": metadata,
        "data": {"spec": {"template": template}}, "revision": number})
}

/// `rs a replicas=3 available=2 rev=1 desired=3 max=4`
fn replicaset(words: &Words) -> Value {
    let image = words.at(1);
    let replicas = words.int("replicas").unwrap_or(0);
    let available = words.int("available").unwrap_or(replicas);
    let mut annotations = Map::new();
    for (word, name) in [
        ("rev", "revision"),
        ("desired", "desired-replicas"),
        ("max", "max-replicas"),
    ] {
        if let Some(value) = words.get(word) {
            annotations.insert(format!("deployment.kubernetes.io/{name}"), value.into());
        }
    }
    let mut labels = json!({"app": "api"});
    labels["pod-template-hash"] = image.into();
    let mut template = template("api", image);
    template["metadata"]["labels"] = labels.clone();
    let created = format!("2026-11-21T09:0{}:00Z", words.get("rev").unwrap_or("0"));
    json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": replicaset_name(image), "uid": format!("rs-{image}"), "generation": 1, "labels": labels,
            "annotations": annotations, "creationTimestamp": created,
            "ownerReferences": [owner("apps/v1", "Deployment", "api", "deployment")]},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
        "status": {"replicas": words.int("pods").unwrap_or(replicas), "readyReplicas": available,
            "availableReplicas": available, "observedGeneration": 1}})
}

/// Names of revisions and ReplicaSets as their images.
fn readable(mut text: String) -> String {
    for image in ["a", "b", "c", "d"] {
        text = text.replace(&revision_name(image), &format!("web<{image}>"));
        text = text.replace(&replicaset_name(image), &format!("api<{image}>"));
    }
    text
}

/// An owner reference in two words; everything else as it is.
fn compact(patch: &Value) -> String {
    let owners = patch
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    if let Some(owners) = owners {
        let names = owners
            .iter()
            .map(|o| format!("{} {}", o["kind"], o["name"]).replace('"', ""));
        return format!("owners: {}", names.collect::<Vec<_>>().join(", "));
    }
    if patch.pointer("/metadata/ownerReferences").is_some() {
        return "owners: none".into();
    }
    patch.to_string()
}

fn act(act: &Act) -> String {
    match act {
        Act::Create { res, object, .. } => {
            let name = object["metadata"]["name"]
                .as_str()
                .or(object["metadata"]["generateName"].as_str());
            let mut text = format!("create {} {}", res.plural, name.unwrap_or_default());
            if let Some(label) = object["metadata"]["labels"]["controller-revision-hash"].as_str() {
                text = format!("{text} of {label}");
            }
            if *res == REPLICASETS {
                text = format!("{text} replicas {}", object["spec"]["replicas"]);
            }
            if *res == PERSISTENTVOLUMECLAIMS && object["metadata"].get("ownerReferences").is_some() {
                text = format!("{text} {}", compact(object));
            }
            if *res == CONTROLLERREVISIONS {
                text = format!("{text} revision {}", object["revision"]);
            }
            text
        }
        Act::Update {
            target,
            subresource,
            object,
        } => {
            let annotations = object
                .pointer("/metadata/annotations")
                .filter(|a| **a != json!({}));
            format!(
                "update {} {} {subresource} {}{}",
                target.res.plural,
                target.name,
                annotations.map_or_else(String::new, |a| format!("{a} ")),
                object["status"]
            )
        }
        Act::Patch { target, patch, .. } => {
            format!("patch {} {} {}", target.res.plural, target.name, compact(patch))
        }
        Act::Delete { target, .. } => format!("delete {} {}", target.res.plural, target.name),
        Act::Post {
            target, subresource, ..
        } => format!("post {} {} {subresource}", target.res.plural, target.name),
        Act::Event(event) => format!(
            "event {}{}",
            if event.warning { "Warning " } else { "" },
            event.reason
        ),
    }
}

/// The plan in words: acts in order, then why, then when it wakes.
pub fn told(plan: &Plan) -> String {
    let mut lines: Vec<String> = plan.acts.iter().map(act).collect();
    lines.extend(plan.why.iter().map(|why| format!("why: {why}")));
    lines.extend(plan.wake.map(|at| format!("wakes at {}", at.rfc3339())));
    readable(lines.join("\n"))
}

/// Every case as its title, its cluster and its plan.
pub fn goldens(controller: Controller, key: &Key, cases: &[(&str, &str)]) -> String {
    let case = |(title, lines): &(&str, &str)| {
        let lines: Vec<&str> = lines.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        let plan = Case::of(&lines.join("\n")).plan(controller, key);
        format!("# {title}\n{}\n->\n{}\n", lines.join("\n"), told(&plan))
    };
    cases.iter().map(case).collect::<Vec<_>>().join("\n")
}
