//! What a container's status says of what it was given: mounts, resources, user.

use super::*;
use crate::runtime::{ContainerId, ContainerState, ContainerStatus, PodSandboxSpec, PodState, User};

fn spec() -> Value {
    let mounts = json!([
        {"name": "data", "mountPath": "/data"},
        {"name": "api", "mountPath": "/api", "readOnly": true},
        {"name": "tree", "mountPath": "/tree", "readOnly": true, "recursiveReadOnly": "IfPossible"},
    ]);
    let resources = json!({"limits": {"memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}});
    json!({"containers": [
        {"name": "c", "image": "c", "volumeMounts": mounts, "resources": resources},
        {"name": "plain", "image": "c", "resources": {}},
    ]})
}

fn user() -> User {
    User {
        uid: 1000,
        gid: 3000,
        supplementary_groups: vec![3000, 4000],
    }
}

fn as_user(step: &Step, now: Timestamp) -> (Duration, Outcome) {
    match step {
        Step::StartContainer { .. } => {
            let user = Some(user());
            (Duration::from_millis(1), Outcome::Started { at: now, user })
        }
        _ => well(step, now),
    }
}

fn told(status: &Value, i: usize) -> Value {
    let fields = ["volumeMounts", "resources", "allocatedResources", "user"];
    let all = fields.map(|field| status["containerStatuses"][i][field].clone());
    json!(all)
}

#[test]
fn a_container_says_what_it_was_given_once_it_was() {
    let mut life = Life::new(spec()).script(as_user);
    let mounts = json!([
        {"name": "data", "mountPath": "/data"},
        {"name": "api", "mountPath": "/api", "readOnly": true, "recursiveReadOnly": "Disabled"},
        {"name": "tree", "mountPath": "/tree", "readOnly": true, "recursiveReadOnly": "Enabled"},
    ]);
    assert_eq!(told(&life.status(), 0), json!([mounts, null, null, null]));
    life.run(5);
    let status = life.status();
    let linux = json!({"linux": {"uid": 1000, "gid": 3000, "supplementalGroups": [3000, 4000]}});
    let requests = json!({"cpu": "100m", "memory": "64Mi"});
    let resources = json!({"limits": {"memory": "64Mi"}, "requests": requests});
    assert_eq!(told(&status, 0), json!([mounts, resources, requests, linux]));
    assert_eq!(told(&status, 1), json!([null, {}, null, linux]));
}

/// A new agent says the same, so that it writes nothing.
#[test]
fn a_new_agent_has_nothing_to_add() {
    let mut life = Life::new(spec()).script(as_user);
    life.run(5);
    let before = life.status();
    let containers = ["c", "plain"].map(|name| ContainerStatus {
        id: ContainerId::new("u1", name, 0),
        state: ContainerState::Running {
            pid: 7,
            started_at_ns: i64::try_from(at(0).jiff().as_nanosecond()).expect("a time"),
        },
    });
    let left = PodState {
        uid: "u1".into(),
        sandbox: PodSandboxSpec::default(),
        ready: true,
        containers: containers.into(),
    };
    let seen = Observed::adopt(&life.pod, Some(&left), at(9));
    let after = status(at(9), &life.pod, &seen, &["192.0.2.1".into()]);
    assert_eq!(after["containerStatuses"], before["containerStatuses"]);
}

#[test]
fn another_image_restarts_a_container_and_forgets_what_the_old_one_waits_for() {
    let bad = |image: &str| image == "old";
    for waits in [false, true] {
        let mut c = container("c");
        c["image"] = json!(if waits { "old" } else { "img" });
        let spec = |c: &Value| json!({"restartPolicy": "Never", "containers": [c]});
        let image = std::cell::RefCell::new(c["image"].as_str().expect("text").to_owned());
        let mut life = Life::new(spec(&c)).script(|step, now| match step {
            Step::PullImage { .. } if bad(&image.borrow()) => {
                let (reason, message) = ("ErrImagePull", "no".into());
                (Duration::from_millis(1), Outcome::NoImage { reason, message })
            }
            _ => well(step, now),
        });
        life.run(5).told();
        *image.borrow_mut() = "new".into();
        c["image"] = json!("new");
        life.pod = view(spec(&c));
        let told = life.run(6).told();
        let changed = told.contains("Container c definition changed, will be restarted");
        assert_eq!(changed, !waits, "{told}");
        let status = life.status();
        assert_eq!(status["phase"], "Running", "{status:#}");
        assert_eq!(
            status["containerStatuses"][0]["restartCount"],
            if waits { 0 } else { 1 }
        );
        assert_eq!(life.run(100).told(), "", "and that is all");
    }
}
