//! After the storm: faults stop, the user repairs what only a user can, and the world must come to rest as specified.

use crate::laws::{self, Broken, SetView, check, pods_of};
use crate::node::{BAD_IMAGE, SICK_IMAGE, image};
use crate::start::NAMESPACE;
use crate::user::{self, DEPLOYMENT, SET};
use crate::world::World;
use kinds::controllerrevision::CONTROLLERREVISIONS;
use kinds::deployment::DEPLOYMENTS;
use kinds::persistentvolume::{PERSISTENTVOLUMES as VOLUMES, VOLUME_FINALIZER};
use kinds::persistentvolumeclaim::{CLAIM_FINALIZER, PERSISTENTVOLUMECLAIMS as CLAIMS};
use kinds::replicaset::REPLICASETS;
use kinds::row::{int, text};
use kinds::statefulset::STATEFULSETS;
use kinds::workload::{PODS, Pod};
use meta::{Call, Object, Res, Snapshot};
use serde_json::{Value, json};

/// Steps in which a calm world must come to rest.
const MAX_STEPS: usize = 6000;
/// Times that the user looks for broken pods to delete ("Forced rollback" in the documentation of StatefulSets).
const MAX_REPAIRS: usize = 8;

/// A controller that cannot create a pod because its name is taken tries for ever, so the user looks this often.
const REPAIR_STEPS: usize = 500;

/// Comes to rest, is what it should be, and stays silent.
pub fn converge(world: &mut World) -> Result<(), Broken> {
    repair_specs(world);
    rest(world)?;
    for _ in 0..MAX_REPAIRS {
        if !repair_pods(world) {
            break;
        }
        rest(world)?;
    }
    the_set_is_as_specified(world)?;
    the_deployment_is_as_specified(world)?;
    nothing_is_orphaned(world)?;
    volumes_are_reclaimed(world)?;
    the_history_is_within_its_limit(world)?;
    restarts_make_no_writes(world)
}

/// Runs until nobody has anything to do, now or later.
fn rest(world: &mut World) -> Result<(), Broken> {
    for step in 1..=MAX_STEPS {
        if !world.advance()? {
            return Ok(());
        }
        if step % REPAIR_STEPS == 0 {
            repair_pods(world);
        }
    }
    Err(Broken::new(
        "it converges and falls silent",
        format!("still busy after {MAX_STEPS} calm steps"),
    ))
}

fn repair_specs(world: &mut World) {
    let good = user::good_image(&mut world.rng);
    let template = json!({"spec": {"containers": user::container(good)}});
    for (res, name) in [(STATEFULSETS, SET), (DEPLOYMENTS, DEPLOYMENT)] {
        if world.snapshot().get(res, NAMESPACE, name).is_some() {
            let mut spec = json!({"template": template});
            if res == DEPLOYMENTS {
                spec["paused"] = false.into();
            }
            user::send(
                world,
                Call::merge_patch(res, NAMESPACE, name, json!({"spec": spec})),
            );
        }
    }
}

/// Deletes what nobody owns any more and never gets ready. False when there is none.
fn delete_strays(world: &mut World) -> bool {
    let seen = world.snapshot();
    let is_bad = |object: &Object, at: &str| {
        let image = object.value().pointer(at).cloned().unwrap_or_default();
        let bad = image == BAD_IMAGE || image == SICK_IMAGE;
        bad && object.meta().controller().is_none() && !object.meta().is_deleting()
    };
    let places = [
        (PODS, "/spec/containers/0/image"),
        (REPLICASETS, "/spec/template/spec/containers/0/image"),
    ];
    let strays = places.map(|(res, at)| {
        let found = seen.list(res, NAMESPACE).filter(|o| is_bad(o, at));
        found
            .map(|o| Call::delete(res, NAMESPACE, o.name()))
            .collect::<Vec<_>>()
    });
    let calls = strays.concat();
    let any = !calls.is_empty();
    calls.into_iter().for_each(|call| user::send(world, call));
    any
}

/// Deletes what stands in the way and that no controller may touch: broken pods that nobody owns, pods that lost their
/// label but hold a name, and pods of a broken template that an ordered update or scale-down waits for. False when there is none.
fn repair_pods(world: &mut World) -> bool {
    let seen = world.snapshot();
    let strays = delete_strays(world);
    let Some(set) = seen.get(STATEFULSETS, NAMESPACE, SET).map(SetView::of) else {
        return strays;
    };
    let in_the_way = |pod: &Pod| {
        let ordinal = set.ordinal(pod.name());
        let wanted = ordinal.is_some_and(|n| set.wants(n));
        let owned = pod
            .object
            .meta()
            .controller()
            .is_some_and(|o| &*o.uid == set.object.uid());
        let broken = !pod.is_ready() && image(pod) != set.template_image();
        let stuck = if owned {
            broken && ordinal.is_some()
        } else {
            wanted
        };
        stuck && !pod.is_deleting()
    };
    let pods: Vec<Pod> = seen
        .list(PODS, NAMESPACE)
        .map(Pod::of)
        .filter(in_the_way)
        .collect();
    let below = |pod: &Pod| {
        set.ordinal(pod.name())
            .is_some_and(|n| n - set.start < set.partition)
    };
    if pods
        .iter()
        .any(|pod| below(pod) && image(pod) != set.template_image())
    {
        // What the partition keeps is broken itself.
        let strategy = json!({"rollingUpdate": {"partition": 0}});
        let patch = json!({"spec": {"updateStrategy": strategy}});
        user::send(world, Call::merge_patch(STATEFULSETS, NAMESPACE, SET, patch));
    }
    for pod in &pods {
        user::send(world, Call::delete(PODS, NAMESPACE, pod.name()));
    }
    !pods.is_empty() || strays
}

const AS_SPECIFIED: &str = "spec, status and pods agree in the end";

fn number(object: &Value, field: &str) -> i64 {
    int(object, &format!("/status/{field}")).unwrap_or(0)
}

fn agree(object: &Object, pairs: &[(&str, i64)]) -> Result<(), Broken> {
    let value = object.value();
    let seen = number(&value, "observedGeneration");
    check(seen == object.meta().generation, AS_SPECIFIED, || {
        format!(
            "{}: generation {} is not observed ({seen})",
            object.name(),
            object.meta().generation
        )
    })?;
    for (field, wanted) in pairs {
        check(number(&value, field) == *wanted, AS_SPECIFIED, || {
            format!(
                "{}: status.{field} is {}, not {wanted}",
                object.name(),
                number(&value, field)
            )
        })?;
    }
    Ok(())
}

fn the_set_is_as_specified(world: &World) -> Result<(), Broken> {
    let (seen, now) = (world.snapshot(), world.now());
    let Some(object) = seen.get(STATEFULSETS, NAMESPACE, SET) else {
        return Ok(());
    };
    let set = SetView::of(object);
    let pods = pods_of(&set.object, &seen);
    check(!set.deleting, AS_SPECIFIED, || {
        format!("{SET} is still being deleted")
    })?;
    check(pods.len() as i64 == set.replicas, AS_SPECIFIED, || {
        format!("{SET} has {} of {} pods", pods.len(), set.replicas)
    })?;
    for pod in &pods {
        let wanted = set.ordinal(pod.name()).is_some_and(|n| set.wants(n));
        check(wanted && set.is_healthy(pod, now), AS_SPECIFIED, || {
            format!("pod {} is not wanted or not available", pod.name())
        })?;
        let ordinal = set.ordinal(pod.name()).unwrap_or(0) - set.start;
        let updated = set.on_delete || ordinal < set.partition || image(pod) == set.template_image();
        check(updated, AS_SPECIFIED, || {
            format!("pod {} has an old image", pod.name())
        })?;
        check(
            world.node.alive(now).any(|(uid, _)| uid == pod.object.uid()),
            AS_SPECIFIED,
            || format!("pod {} has no process", pod.name()),
        )?;
    }
    let n = set.replicas;
    let mut wanted = vec![("replicas", n), ("readyReplicas", n), ("availableReplicas", n)];
    if !set.on_delete && set.partition == 0 {
        wanted.extend([("updatedReplicas", n), ("currentReplicas", n)]);
        let (current, update) = ("/status/currentRevision", "/status/updateRevision");
        check(
            text(&set.value, current) == text(&set.value, update),
            AS_SPECIFIED,
            || format!("{SET}: currentRevision is not updateRevision"),
        )?;
    }
    agree(object, &wanted)
}

fn the_deployment_is_as_specified(world: &World) -> Result<(), Broken> {
    let seen = world.snapshot();
    let Some(object) = seen.get(DEPLOYMENTS, NAMESPACE, DEPLOYMENT) else {
        return Ok(());
    };
    let value = object.value();
    check(!object.meta().is_deleting(), AS_SPECIFIED, || {
        format!("{DEPLOYMENT} is still being deleted")
    })?;
    let n = int(&value, "/spec/replicas").unwrap_or(1);
    let fields = [
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
    ];
    let wanted: Vec<(&str, i64)> = fields
        .into_iter()
        .map(|f| (f, n))
        .chain([("unavailableReplicas", 0)])
        .collect();
    agree(object, &wanted)?;
    let sets = seen.owned_by(object.uid());
    let pods: Vec<Pod> = sets
        .flat_map(|(_, set)| pods_of(set, &seen))
        .filter(|p| !p.is_finished())
        .collect();
    check(pods.len() as i64 == n, AS_SPECIFIED, || {
        format!("{DEPLOYMENT} has {} of {n} pods", pods.len())
    })?;
    let image_wanted = text(&value, "/spec/template/spec/containers/0/image");
    check(
        pods.iter().all(|p| image(p) == image_wanted && p.is_ready()),
        AS_SPECIFIED,
        || format!("{DEPLOYMENT} has old pods, or some that are not ready"),
    )?;
    let sets = seen.owned_by(object.uid()).count() as i64;
    let limit = int(&value, "/spec/revisionHistoryLimit").unwrap_or(10);
    check(sets <= limit + 1, "the history is within its limit", || {
        format!("{DEPLOYMENT} has {sets} ReplicaSets, at most {limit} old ones are wanted")
    })
}

fn nothing_is_orphaned(world: &World) -> Result<(), Broken> {
    let seen = world.snapshot();
    for (res, table) in seen.tables() {
        for object in table.values() {
            check(
                !laws::is_orphaned(&seen, object),
                "nothing is left whose owners are gone",
                || format!("{res:?} {}", object.name()),
            )?;
            let ends = !object.meta().is_deleting() || is_in_use(&seen, res, object);
            check(ends, "deletions come to an end", || {
                format!("{res:?} {}", object.name())
            })?;
        }
    }
    let needs = |uid: &str| {
        seen.list(PODS, "")
            .any(|p| p.uid() == uid && !Pod::of(p).is_finished())
    };
    let stray = world.node.alive(world.now()).find(|(uid, _)| !needs(uid));
    check(stray.is_none(), "no process outlives its pod", || {
        stray
            .map(|(uid, key)| format!("{key} ({uid})"))
            .unwrap_or_default()
    })
}

/// "For volume plugins that support the Delete reclaim policy, deletion removes both the PersistentVolume object […] as
/// well as the associated storage asset". Source: "Reclaiming" in the Kubernetes documentation.
fn volumes_are_reclaimed(world: &World) -> Result<(), Broken> {
    let seen = world.snapshot();
    let phase = |volume: &&Object| text(&volume.value(), "/status/phase") == "Released";
    let left = seen.list(VOLUMES, "").find(phase);
    check(left.is_none(), "released volumes go", || {
        left.map(|v| v.name().to_string()).unwrap_or_default()
    })
}

/// "If a user deletes a PVC in active use by a Pod, the PVC is not removed immediately", nor is a volume that is bound to
/// a claim. Source: "Storage Object in Use Protection" in the Kubernetes documentation.
fn is_in_use(seen: &Snapshot, res: Res, object: &Object) -> bool {
    let guarded = |by: &str| object.meta().finalizers.iter().any(|f| &**f == by);
    let value = object.value();
    if res == CLAIMS {
        let mounts = |pod: &Pod| {
            pod.facts.spec.node_name.is_some() && pod.claims().any(|claim| claim == object.name())
        };
        return guarded(CLAIM_FINALIZER)
            && seen
                .list(PODS, object.namespace())
                .map(Pod::of)
                .any(|p| mounts(&p));
    }
    let (namespace, name) = (
        text(&value, "/spec/claimRef/namespace"),
        text(&value, "/spec/claimRef/name"),
    );
    let bound = |claim: &Object| claim.uid() == text(&value, "/spec/claimRef/uid");
    res == VOLUMES && guarded(VOLUME_FINALIZER) && seen.get(CLAIMS, namespace, name).is_some_and(bound)
}

/// "revisionHistoryLimit is the maximum number of revisions that will be maintained", those in use apart.
fn the_history_is_within_its_limit(world: &World) -> Result<(), Broken> {
    let seen = world.snapshot();
    let Some(set) = seen.get(STATEFULSETS, NAMESPACE, SET).map(SetView::of) else {
        return Ok(());
    };
    let pods = pods_of(&set.object, &seen);
    let live = |name: &str| {
        let status = ["/status/currentRevision", "/status/updateRevision"];
        status.iter().any(|at| text(&set.value, at) == name)
            || pods.iter().any(|p| p.label("controller-revision-hash") == name)
    };
    let owned = seen
        .owned_by(set.object.uid())
        .filter(|(res, _)| *res == CONTROLLERREVISIONS);
    let spare = owned.filter(|(_, o)| !live(o.name())).count() as i64;
    check(
        spare <= set.history_limit,
        "the history is within its limit",
        || {
            format!(
                "{SET} keeps {spare} unused revisions of at most {}",
                set.history_limit
            )
        },
    )
}

/// Everything at rest stays at rest, also for controllers and a node agent that start over. Source: STYLE, "converge, then be silent".
fn restarts_make_no_writes(world: &mut World) -> Result<(), Broken> {
    let before = world.snapshot().revision();
    (0..world.offices.len()).for_each(|index| world.restart_office(index));
    world.restart_agent();
    rest(world)?;
    let after = world.snapshot().revision();
    check(before == after, "a cluster at rest makes no writes", || {
        let changes = world.log.iter().filter(|c| c.revision > before);
        let words: Vec<String> = changes
            .map(|c| format!("{:?} {}", c.res, c.object.name()))
            .collect();
        format!("whoever restarted wrote {}", words.join(", "))
    })
}
