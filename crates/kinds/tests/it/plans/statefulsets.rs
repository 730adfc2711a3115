//! What a StatefulSet does next. Expectations follow "StatefulSets" in the Kubernetes documentation, KEP-961, KEP-1847,
//! KEP-2599 and KEP-3335.

use super::text::{NAMESPACE, goldens};
use kinds::Key;
use kinds::statefulset::{CONTROLLER, STATEFULSETS};

fn told(cases: &[(&str, &str)]) -> String {
    goldens(CONTROLLER, &Key::new(STATEFULSETS, NAMESPACE, "web"), cases)
}

#[test]
// LONG: one table of cases, which reads best in one piece.
fn starting_and_stopping() {
    insta::assert_snapshot!(told(&[
        (
            "a new set records its revision and starts its first pod",
            "set replicas=2"
        ),
        (
            "the claims come before the pod",
            "set replicas=1 claims\n revision a 1"
        ),
        (
            "OrderedReady waits for the first",
            "set current=a\n revision a 1\n pod web-0 running"
        ),
        (
            "OrderedReady goes on when it is ready",
            "set current=a\n revision a 1\n pod web-0 ready"
        ),
        (
            "OrderedReady waits for one that ends",
            "set current=a\n revision a 1\n pod web-0 ready deleting\n pod web-1 ready"
        ),
        (
            "Parallel starts all that are missing",
            "set policy=Parallel current=a\n revision a 1\n pod web-1 running"
        ),
        (
            "minReadySeconds has to pass",
            "set minReady=30 current=a\n revision a 1\n pod web-0 ready=10"
        ),
        (
            "minReadySeconds has passed",
            "set minReady=30 current=a\n revision a 1\n pod web-0 ready=30"
        ),
        (
            "ordinals start where they are told to",
            "set replicas=2 start=5 current=a\n revision a 1\n pod web-5 ready"
        ),
        (
            "pods below a new start are too many",
            "set replicas=1 start=1 current=a\n revision a 1\n pod web-0 ready\n pod web-1 ready"
        ),
        (
            "a failed pod is made anew",
            "set replicas=1 current=a\n revision a 1\n pod web-0 failed"
        ),
        (
            "so is one that succeeded",
            "set replicas=1 current=a\n revision a 1\n pod web-0 succeeded"
        ),
        (
            "scaling down takes the highest",
            "set replicas=1 current=a\n revision a 1\n pod web-0 ready\n pod web-1 ready\n pod web-2 ready"
        ),
        (
            "and waits until it is gone",
            "set replicas=1 current=a\n revision a 1\n pod web-0 ready\n pod web-1 ready\n pod web-2 ready deleting"
        ),
        (
            "and for those below to be ready",
            "set replicas=1 current=a\n revision a 1\n pod web-0 running\n pod web-1 ready"
        ),
        (
            "Parallel takes all at once",
            "set replicas=0 policy=Parallel current=a\n revision a 1\n pod web-0 ready\n pod web-1 running"
        ),
        (
            "a set on its way out leaves its pods alone",
            "set replicas=1 current=a deleting\n revision a 1\n pod web-1 ready"
        ),
    ]));
}

#[test]
fn updating() {
    let three = "pod web-0 image=a ready\n pod web-1 image=a ready\n pod web-2 image=a ready";
    let set = |words: &str| format!("set image=b current=a {words}\n revision a 1\n revision b 2\n");
    let cases = [
        ("one at a time, the highest first", set("") + three),
        (
            "the next only when the last one is ready",
            set("") + "pod web-0 ready\n pod web-1 ready\n pod web-2 image=b running",
        ),
        (
            "only from the partition on",
            set("partition=2") + "pod web-0 ready\n pod web-1 ready\n pod web-2 image=b ready",
        ),
        (
            "below the partition pods come back as they were",
            set("partition=2") + "pod web-1 ready\n pod web-2 image=b ready",
        ),
        ("OnDelete touches nothing", set("strategy=OnDelete") + three),
        (
            "OnDelete gives a new pod the new template",
            set("strategy=OnDelete") + "pod web-0 ready\n pod web-1 ready",
        ),
        (
            "maxUnavailable takes several down",
            set("maxUnavailable=2 policy=Parallel") + three,
        ),
        (
            "maxUnavailable in percent is rounded up",
            set("maxUnavailable=34% policy=Parallel") + three,
        ),
        (
            "what is unavailable counts, also below the partition",
            set("maxUnavailable=1 partition=1 policy=Parallel")
                + "pod web-0 running\n pod web-1 ready\n pod web-2 ready",
        ),
        (
            "old pods that never became ready are replaced without waiting",
            set("maxUnavailable=1 policy=Parallel")
                + "pod web-0 ready\n pod web-1 running\n pod web-2 running",
        ),
        (
            "old pods that serve, but not for long enough, are not taken down beyond the limit",
            set("maxUnavailable=2 policy=Parallel minReady=90")
                + "pod web-0 ready\n pod web-1 ready\n pod web-2 ready",
        ),
        (
            "a broken update stops an ordered set",
            set("") + "pod web-0 ready\n pod web-1 ready\n pod web-2 image=b pending",
        ),
        (
            "a finished update makes the new revision the current one",
            set("") + "pod web-0 image=b ready\n pod web-1 image=b ready\n pod web-2 image=b ready",
        ),
    ];
    let cases: Vec<(&str, &str)> = cases
        .iter()
        .map(|(title, lines)| (*title, lines.as_str()))
        .collect();
    insta::assert_snapshot!(told(&cases));
}

#[test]
fn revisions() {
    insta::assert_snapshot!(told(&[
        (
            "going back makes the old revision the newest",
            "set replicas=0 image=a current=b\n revision a 1\n revision b 2"
        ),
        (
            "history beyond its limit is forgotten, oldest first",
            "set replicas=0 image=d current=d history=1\n revision a 1\n revision b 2\n revision c 3\n revision d 4"
        ),
        (
            "what a pod still has is kept",
            "set replicas=1 image=d current=d history=0 strategy=OnDelete\n revision a 1\n revision b 2\n revision d 4\n pod web-0 image=a ready"
        ),
        (
            "revisions without an owner are adopted",
            "set replicas=0 image=a current=a\n revision a 1 orphan"
        ),
    ]));
}

#[test]
fn ownership_and_claims() {
    insta::assert_snapshot!(told(&[
        (
            "a pod without an owner is adopted",
            "set replicas=1 current=a\n revision a 1\n pod web-0 ready orphan"
        ),
        (
            "one of another owner is left alone",
            "set replicas=1 current=a\n revision a 1\n pod web-0 ready foreign"
        ),
        (
            "one that no longer fits is released",
            "set replicas=0 current=a\n revision a 1\n pod web-0 ready lost"
        ),
        (
            "a pod waits for its old claim to be gone",
            "set replicas=1 claims current=a\n revision a 1\n claim data-web-0 deleting"
        ),
        (
            "Retain keeps claims without an owner of ours",
            "set replicas=1 claims current=a\n revision a 1\n pod web-0 ready\n claim data-web-0 owner=set"
        ),
        (
            "whenDeleted: Delete makes them the set's",
            "set replicas=1 claims whenDeleted=Delete current=a\n revision a 1\n pod web-0 ready\n claim data-web-0"
        ),
        (
            "whenScaled: Delete hands them to the pod that goes",
            "set replicas=0 claims whenScaled=Delete current=a\n revision a 1\n pod web-0 ready\n claim data-web-0"
        ),
        (
            "an ordinal that is wanted again keeps its claim",
            "set replicas=1 claims whenScaled=Delete current=a\n revision a 1\n pod web-0 ready\n claim data-web-0 owner=pod"
        ),
        (
            "owners that others set stay",
            "set replicas=1 claims whenDeleted=Delete current=a\n revision a 1\n pod web-0 ready\n claim data-web-0 owner=other"
        ),
        (
            "a claim that another controller manages holds up nobody",
            "set replicas=0 claims whenScaled=Delete current=a\n revision a 1\n pod web-0 ready\n claim data-web-0 owner=controller"
        ),
        (
            "the claim of a pod that was scaled away is not used again",
            "set replicas=1 claims whenScaled=Delete current=a\n revision a 1\n claim data-web-0 owner=gone"
        ),
    ]));
}
