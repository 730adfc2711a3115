//! How claims get volumes, and what wakes them: a world of objects, told until nothing more follows.

use kinds::node::NODES;
use kinds::persistentvolume::PERSISTENTVOLUMES as VOLUMES;
use kinds::persistentvolumeclaim::{CONTROLLER, PERSISTENTVOLUMECLAIMS as CLAIMS};
use kinds::pod::PODS;
use kinds::storageclass::{NODE_FOLDER, PROVISIONER, STORAGECLASSES};
use kinds::{Act, Key, Registry, Seen};
use meta::{Change, ChangeKind, Draft, Object, Res, Snapshot, Timestamp};
use serde_json::{Value, json};

#[derive(Default)]
struct World(Snapshot);

impl World {
    /// With the claim `data` of this class.
    fn with_claim(class: &str, volume: &str) -> Self {
        Self::with_claim_for(class, volume, "dataSource", Value::Null)
    }

    /// … that asks for one thing more.
    fn with_claim_for(class: &str, volume: &str, field: &str, value: Value) -> Self {
        let mut world = Self::default();
        world.put_claim(class, volume, Value::Null, (field, value));
        world
    }

    fn claim(&mut self, class: &str, volume: &str, annotations: Value) -> String {
        self.put_claim(class, volume, annotations, ("dataSource", Value::Null))
    }

    fn put_claim(
        &mut self,
        class: &str,
        volume: &str,
        annotations: Value,
        (field, value): (&str, Value),
    ) -> String {
        let metadata = json!({"name": "data", "namespace": "shop", "uid": "u-1", "annotations": annotations});
        let mut spec = json!({"storageClassName": class, "volumeName": volume, "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}});
        spec[field] = value;
        self.put(CLAIMS, json!({"metadata": metadata, "spec": spec}))
    }

    /// Puts an object and says what all that it wakes would do.
    fn put(&mut self, res: Res, value: Value) -> String {
        let object: Object = Draft::new(value).expect("an object").seal(self.0.revision() + 1);
        let previous = self.0.put(res, object.clone());
        let kind = if previous.is_some() {
            ChangeKind::Modified
        } else {
            ChangeKind::Added
        };
        let change = Change {
            revision: object.revision(),
            res,
            kind,
            object,
            previous,
        };
        let rows = Registry::builtin();
        let seen = Seen {
            now: Timestamp::EPOCH,
            snapshot: &self.0,
            rows: &rows,
        };
        let keys = (CONTROLLER.wakes)(&change, &seen);
        let told = keys.iter().flat_map(|key| acts(&seen, key));
        told.collect::<Vec<_>>().join("; ")
    }

    fn class(&mut self, binding: &str, parameters: Value) -> String {
        let value = json!({"metadata": {"name": "c"}, "provisioner": PROVISIONER, "volumeBindingMode": binding,
            "reclaimPolicy": "Retain", "parameters": parameters});
        self.put(STORAGECLASSES, value)
    }

    fn node(&mut self) -> String {
        let value = json!({"metadata": {"name": "n", "labels": {"kubernetes.io/hostname": "n"},
            "annotations": {NODE_FOLDER: "/data/volumes"}}});
        self.put(NODES, value)
    }

    fn volume(&mut self, name: &str, host: &str) -> String {
        let expression = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [host]});
        let terms = json!([{"matchExpressions": [expression]}]);
        self.volume_of(
            name,
            json!({"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}),
        )
    }

    /// A volume that would do for the claim, but for what `more` says of it.
    fn volume_of(&mut self, name: &str, more: Value) -> String {
        let mut spec = json!({"storageClassName": "c", "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}});
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        self.put(VOLUMES, json!({"metadata": {"name": name}, "spec": spec}))
    }

    fn pod(&mut self, node: Option<&str>) -> String {
        let volumes = json!([{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]);
        let value = json!({"metadata": {"name": "web-0", "namespace": "shop", "uid": "u-2"},
            "spec": {"containers": [], "volumes": volumes, "nodeName": node}});
        self.put(PODS, value)
    }
}

fn acts(seen: &Seen, key: &Key) -> Vec<String> {
    let plan = (CONTROLLER.plan)(seen, key);
    let said = |act: &Act| match act {
        Act::Create { object, .. } => format!(
            "makes {}",
            object["spec"]["hostPath"]["path"].as_str().unwrap_or_default()
        ),
        Act::Patch { target, patch, .. } if target.res == CLAIMS => {
            format!("names {}", patch["spec"]["volumeName"])
        }
        Act::Patch { target, .. } => format!("patches {}", target.name),
        Act::Event(event) => format!("{}: {}", event.reason, event.message),
        other => format!("{other:?}"),
    };
    plan.acts.iter().map(said).collect()
}

const MADE: &str = "makes /data/volumes/pvc-u-1; names \"pvc-u-1\"; ProvisioningSucceeded: Successfully provisioned volume pvc-u-1";
const WAITS: &str = "WaitForFirstConsumer: waiting for first consumer to be created before binding";

#[test]
fn a_class_without_a_folder_has_the_nodes() {
    let mut world = World::with_claim("c", "");
    assert_eq!(world.class("Immediate", json!({})), "", "no node yet");
    assert_eq!(world.node(), MADE);
    let mut world = World::with_claim("c", "");
    world.node();
    let made = world.class("Immediate", json!({"folder": "/fast/"}));
    assert!(made.starts_with("makes /fast/pvc-u-1;"), "{made}");
}

#[test]
fn a_folder_that_is_none_is_told() {
    for bad in ["/", "relative", "/a/../b", "/a//b"] {
        let mut world = World::with_claim("c", "");
        world.node();
        let told = world.class("Immediate", json!({"folder": bad}));
        let begin = format!(
            "ProvisioningFailed: failed to provision volume with StorageClass \"c\": parameter folder: {bad:?} is no plain"
        );
        assert!(told.starts_with(&begin), "{told}");
    }
}

#[test]
fn the_first_consumer_that_has_a_node_wakes_its_claim() {
    let mut world = World::with_claim("c", "");
    world.node();
    assert_eq!(world.class("WaitForFirstConsumer", json!({})), WAITS);
    assert_eq!(world.pod(None), "", "it may still get another node");
    assert_eq!(world.pod(Some("n")), MADE);
}

#[test]
fn a_claim_is_bound_for_the_node_that_the_scheduler_has_selected() {
    let mut world = World::with_claim("c", "");
    world.node();
    world.pod(None);
    let waits = "WaitForPodScheduled: waiting for pod web-0 to be scheduled";
    assert_eq!(world.class("WaitForFirstConsumer", json!({})), waits);
    world.volume("far", "m");
    let selected = json!({"volume.kubernetes.io/selected-node": "n"});
    assert_eq!(world.claim("c", "", selected.clone()), MADE);
    assert!(world.volume("near", "n").contains("names \"near\""));
}

#[test]
fn a_volume_that_is_reserved_for_a_claim_is_its_own_whatever_its_class_and_labels() {
    let selector = json!({"matchLabels": {"a": "b"}});
    let mut world = World::with_claim_for("c", "", "selector", selector);
    world.node();
    world.class("Immediate", json!({}));
    let reserved = json!({"namespace": "shop", "name": "data"});
    let told = world.volume_of("restored", json!({"storageClassName": "", "claimRef": reserved}));
    assert!(told.ends_with("patches restored; names \"restored\""), "{told}");
    let mut small = World::with_claim("c", "");
    let told = small.volume_of(
        "small",
        json!({"claimRef": reserved, "capacity": {"storage": "1Mi"}}),
    );
    assert!(!told.contains("names"), "{told}");
}

#[test]
fn a_volume_that_a_claim_names_has_to_be_what_it_asks_for() {
    let told = |spec: Value| World::with_claim("c", "pv").volume_of("pv", spec);
    assert!(
        told(json!({})).ends_with("patches pv; names null"),
        "{}",
        told(json!({}))
    );
    for (spec, why) in [
        (
            json!({"capacity": {"storage": "1Mi"}}),
            "requested PV is too small",
        ),
        (
            json!({"storageClassName": "other"}),
            "storageClassName does not match",
        ),
        (json!({"volumeMode": "Block"}), "incompatible volumeMode"),
        (
            json!({"accessModes": ["ReadOnlyMany"]}),
            "incompatible accessMode",
        ),
    ] {
        let wanted = format!("VolumeMismatch: Cannot bind to requested volume \"pv\": {why}");
        assert!(told(spec.clone()).ends_with(&wanted), "{}", told(spec));
    }
    let mut world = World::default();
    world.volume_of(
        "pv",
        json!({"claimRef": {"namespace": "shop", "name": "other", "uid": "u-9"}}),
    );
    let told = world.claim("c", "pv", Value::Null);
    let taken = "FailedBinding: volume \"pv\" already bound to a different claim.";
    assert!(told.starts_with(taken), "{told}");
}

#[test]
fn a_bound_claim_whose_volume_is_anothers_is_lost() {
    let mut world = World::with_claim("c", "");
    let bound = json!({"pv.kubernetes.io/bind-completed": "yes"});
    let told = world.claim("c", "pv", bound.clone());
    assert!(
        told.contains("ClaimLost: Bound claim has lost its PersistentVolume."),
        "{told}"
    );
    let mut world = World::with_claim("c", "");
    world.volume_of(
        "pv",
        json!({"claimRef": {"namespace": "shop", "name": "data", "uid": "u-9"}}),
    );
    let told = world.claim("c", "pv", bound);
    assert!(
        told.contains("ClaimMisbound: Two claims are bound to the same volume"),
        "{told}"
    );
}

#[test]
fn a_claim_that_waits_takes_a_volume_where_its_pod_is() {
    let mut world = World::with_claim("c", "");
    world.node();
    world.class("WaitForFirstConsumer", json!({}));
    assert!(world.volume("far", "m").ends_with(WAITS));
    assert!(world.volume("near", "n").ends_with(WAITS));
    assert_eq!(world.pod(Some("n")), "patches near; names \"near\"");
}

#[test]
fn a_claim_may_name_a_volume_that_comes_later() {
    let mut world = World::with_claim("c", "later");
    assert!(!world.volume("another", "n").contains("names"));
    let told = world.volume("later", "n");
    assert!(told.contains("patches later"), "{told}");
}

#[test]
fn an_empty_folder_is_no_answer_to_a_selector_or_a_data_source() {
    let source = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "backup"});
    let no_source = "cannot provision a claim with a data source (VolumeSnapshot \"backup\")";
    for (field, value, why) in [
        (
            "selector",
            json!({"matchLabels": {"a": "b"}}),
            "claim Selector is not supported",
        ),
        ("dataSource", source.clone(), no_source),
        ("dataSourceRef", source, no_source),
    ] {
        let mut world = World::with_claim_for("c", "", field, value);
        world.node();
        let told = world.class("Immediate", json!({}));
        let begin = "ProvisioningFailed: failed to provision volume with StorageClass \"c\": ";
        assert!(told.starts_with(begin) && told.contains(why), "{told}");
    }
}
