//! What a Deployment and a ReplicaSet do next. Expectations follow "Deployments" and "ReplicaSet" in the Kubernetes
//! documentation.

use super::text::{Case, NAMESPACE, goldens, replicaset_name, told};
use kinds::Key;
use kinds::deployment::DEPLOYMENTS;
use kinds::replicaset::REPLICASETS;
use serde_json::json;

#[test]
// LONG: one table of cases, which reads best in one piece.
fn rollouts() {
    let key = Key::new(kinds::deployment::DEPLOYMENTS, NAMESPACE, "api");
    let told = goldens(
        kinds::deployment::CONTROLLER,
        &key,
        &[
            ("a new Deployment makes its ReplicaSet", "deployment replicas=3"),
            (
                "a new template starts within the surge",
                "deployment replicas=4 image=b surge=1 unavailable=0\n rs a replicas=4 rev=1 desired=4 max=5",
            ),
            (
                "without a surge, the old ones shrink first",
                "deployment replicas=4 image=b surge=0 unavailable=1\n rs a replicas=4 rev=1 desired=4 max=4\n rs b replicas=0 rev=2 desired=4 max=4",
            ),
            (
                "nothing goes before the new ones are available",
                "deployment replicas=4 image=b surge=1 unavailable=0\n rs a replicas=4 rev=1 desired=4 max=5\n rs b replicas=1 available=0 rev=2 desired=4 max=5",
            ),
            (
                "an available new pod lets an old one go",
                "deployment replicas=4 image=b surge=1 unavailable=0\n rs a replicas=4 rev=1 desired=4 max=5\n rs b replicas=1 rev=2 desired=4 max=5",
            ),
            (
                "old pods that are not available go first",
                "deployment replicas=4 image=c surge=1 unavailable=0\n rs a replicas=3 rev=1 desired=4 max=5\n rs b replicas=1 available=0 rev=2 desired=4 max=5\n rs c replicas=1 rev=3 desired=4 max=5",
            ),
            (
                "percentages: surge is rounded up, unavailable down",
                "deployment replicas=10 image=b\n rs a replicas=10 rev=1 desired=10 max=13\n rs b replicas=3 available=0 rev=2 desired=10 max=13",
            ),
            (
                "a change of size in a rollout is spread in proportion",
                "deployment replicas=20 image=b surge=2 unavailable=2\n rs a replicas=8 rev=1 desired=10 max=12\n rs b replicas=4 rev=2 desired=10 max=12",
            ),
            (
                "Recreate takes the old ones down first",
                "deployment replicas=3 image=b strategy=Recreate\n rs a replicas=3 rev=1 desired=3 max=3",
            ),
            (
                "Recreate back to a set that is there waits for the other to have heard",
                "deployment replicas=3 image=a strategy=Recreate\n rs a replicas=0 rev=1 desired=3 max=3\n rs b replicas=3 rev=2 desired=3 max=3",
            ),
            (
                "Recreate waits for the last old pod",
                "deployment replicas=3 image=b strategy=Recreate\n rs a replicas=0 rev=1 desired=3 max=3\n pod api-x rs=a ready deleting",
            ),
            (
                "a paused Deployment of size 0 grows with its newest set",
                "deployment replicas=2 image=b paused\n rs a replicas=0 rev=1 desired=0 max=1",
            ),
            (
                "a paused Deployment changes only its size",
                "deployment replicas=5 image=b paused surge=1 unavailable=0\n rs a replicas=3 rev=1 desired=3 max=4",
            ),
            (
                "a rollback makes the old ReplicaSet the newest",
                "deployment replicas=2 image=a surge=1 unavailable=0\n rs a replicas=0 rev=1 desired=2 max=3\n rs b replicas=2 rev=2 desired=2 max=3",
            ),
            (
                "a finished rollout forgets old ReplicaSets over the limit",
                "deployment replicas=1 image=c history=0 surge=1 unavailable=0\n rs a replicas=0 rev=1\n rs b replicas=0 rev=2\n rs c replicas=1 rev=3 desired=1 max=2",
            ),
            (
                "the revision alone is written by way of the status",
                "deployment replicas=1 image=a deadline=60 stuck=20 updated=1 rev=1 surge=1 unavailable=0\n rs a replicas=1 available=0 rev=2 desired=1 max=2",
            ),
            (
                "no progress within the deadline is said",
                "deployment replicas=1 image=a deadline=60 stuck=60 updated=1 rev=1 surge=1 unavailable=0\n rs a replicas=1 available=0 rev=1 desired=1 max=2",
            ),
            (
                "before the deadline it wakes for it",
                "deployment replicas=1 image=a deadline=60 stuck=20 updated=1 rev=1 surge=1 unavailable=0\n rs a replicas=1 available=0 rev=1 desired=1 max=2",
            ),
        ],
    );
    insta::assert_snapshot!(told);
}

#[test]
fn replicas() {
    let key = Key::new(kinds::replicaset::REPLICASETS, NAMESPACE, &replicaset_name("a"));
    let told = goldens(
        kinds::replicaset::CONTROLLER,
        &key,
        &[
            (
                "missing pods are created",
                "rs a replicas=2\n pod api-x rs=a ready",
            ),
            (
                "pods that end or have ended do not count",
                "rs a replicas=1\n pod api-x rs=a ready deleting\n pod api-y rs=a failed",
            ),
            (
                "too many: the ones that are not ready go first",
                "rs a replicas=1\n pod api-x rs=a ready\n pod api-y rs=a running\n pod api-z rs=a pending",
            ),
            (
                "too many: of ready ones the youngest readiness goes first",
                "rs a replicas=1\n pod api-x rs=a ready=50\n pod api-y rs=a ready=5",
            ),
            (
                "none missing, none too many",
                "rs a replicas=1\n pod api-x rs=a ready",
            ),
        ],
    );
    insta::assert_snapshot!(told);
}

#[test]
fn another_notation_of_a_quantity_is_no_new_template() {
    let plan = |memory: &str| {
        let mut case = Case::of("deployment replicas=1 rev=1\nrs a replicas=1 rev=1 desired=1 max=2");
        let set = replicaset_name("a");
        for (res, name, memory) in [(DEPLOYMENTS, "api", memory), (REPLICASETS, set.as_str(), "512Mi")] {
            let stored = case.snapshot.get(res, NAMESPACE, name).expect("stored");
            let mut value = stored.value();
            value["spec"]["template"]["spec"]["containers"][0]["resources"] =
                json!({"limits": {"memory": memory}});
            case.put(res, value);
        }
        let key = Key::new(DEPLOYMENTS, NAMESPACE, "api");
        told(&case.plan(kinds::deployment::CONTROLLER, &key))
    };
    let (same, other) = (plan("536870912"), plan("513Mi"));
    assert!(!same.contains("create replicasets"), "{same}");
    assert!(other.contains("create replicasets"), "{other}");
}
