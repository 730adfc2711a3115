//! Deliberate sabotages of plans, node and delivery: each must break the law that guards against it within a few seeds.

use kinds::persistentvolumeclaim::PERSISTENTVOLUMECLAIMS;
use kinds::statefulset::STATEFULSETS;
use kinds::{Act, Controller, Key, Plan, Seen};
use meta::{Draft, Res, Snapshot};
use serde_json::{Value, json};
use sim::Settings;

const SEEDS: u64 = 2_000;

/// The first law that a sabotaged world breaks.
fn first_broken(settings: &Settings) -> Option<String> {
    (0..SEEDS)
        .find_map(|seed| sim::run(seed, settings).broken)
        .map(|broken| broken.law.to_string())
}

/// All controllers, one of them with another plan.
fn with_plan(name: &str, plan: fn(&Seen, &Key) -> Plan) -> Settings {
    let swap = |c: Controller| {
        if c.name == name {
            Controller { plan, ..c }
        } else {
            c
        }
    };
    Settings {
        controllers: sim::controllers().into_iter().map(swap).collect(),
        ..Settings::default()
    }
}

/// The plan of the real controller over a snapshot in which one object reads differently.
fn plan_as_if(real: Controller, res: Res, seen: &Seen, key: &Key, change: fn(&mut Value)) -> Plan {
    let mut snapshot = Snapshot::clone(seen.snapshot);
    if let Some(object) = seen.snapshot.by_key(res, &key.key) {
        let mut value = object.value();
        change(&mut value);
        if let Ok(draft) = Draft::new(value) {
            snapshot.put(res, draft.seal(object.revision()));
        }
    }
    let seen = Seen {
        snapshot: &snapshot,
        ..*seen
    };
    (real.plan)(&seen, key)
}

fn unordered(seen: &Seen, key: &Key) -> Plan {
    plan_as_if(kinds::statefulset::CONTROLLER, STATEFULSETS, seen, key, |set| {
        set["spec"]["podManagementPolicy"] = "Parallel".into();
    })
}

fn without_partition(seen: &Seen, key: &Key) -> Plan {
    plan_as_if(kinds::statefulset::CONTROLLER, STATEFULSETS, seen, key, |set| {
        if set["spec"]["updateStrategy"]["type"] == "RollingUpdate" {
            set["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = 0.into();
        }
    })
}

fn all_at_once(seen: &Seen, key: &Key) -> Plan {
    plan_as_if(kinds::statefulset::CONTROLLER, STATEFULSETS, seen, key, |set| {
        if set["spec"]["updateStrategy"]["type"] == "RollingUpdate" {
            set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = "100%".into();
        }
    })
}

fn greedy_for_claims(seen: &Seen, key: &Key) -> Plan {
    plan_as_if(kinds::statefulset::CONTROLLER, STATEFULSETS, seen, key, |set| {
        set["spec"]["persistentVolumeClaimRetentionPolicy"] =
            json!({"whenDeleted": "Delete", "whenScaled": "Delete"});
    })
}

/// Leaves out the acts that `drop` picks.
fn without(mut plan: Plan, drop: impl Fn(&Act) -> bool) -> Plan {
    plan.acts.retain(|act| !drop(act));
    plan
}

fn forgets_claims(seen: &Seen, key: &Key) -> Plan {
    without(
        (kinds::statefulset::CONTROLLER.plan)(seen, key),
        |act| matches!(act, Act::Create { res, .. } if *res == PERSISTENTVOLUMECLAIMS),
    )
}

fn silent_about_status(seen: &Seen, key: &Key) -> Plan {
    without((kinds::statefulset::CONTROLLER.plan)(seen, key), |act| {
        matches!(
            act,
            Act::Update {
                subresource: "status",
                ..
            }
        )
    })
}

fn one_pod_too_many(seen: &Seen, key: &Key) -> Plan {
    plan_as_if(
        kinds::replicaset::CONTROLLER,
        kinds::replicaset::REPLICASETS,
        seen,
        key,
        |set| {
            if let Some(n) = set["spec"]["replicas"].as_i64() {
                set["spec"]["replicas"] = (n + 1).into();
            }
        },
    )
}

/// The Deployment's real plan, as if its rolling update had another bound.
fn rollout_as_if(seen: &Seen, key: &Key, change: fn(&mut Value)) -> Plan {
    let real = kinds::deployment::CONTROLLER;
    plan_as_if(real, kinds::deployment::DEPLOYMENTS, seen, key, change)
}

fn hasty_rollout(seen: &Seen, key: &Key) -> Plan {
    rollout_as_if(seen, key, |deployment| {
        if deployment["spec"]["strategy"]["type"] == "RollingUpdate" {
            deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = "100%".into();
        }
    })
}

fn generous_rollout(seen: &Seen, key: &Key) -> Plan {
    rollout_as_if(seen, key, |deployment| {
        if deployment["spec"]["strategy"]["type"] == "RollingUpdate" {
            deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"] = 5.into();
        }
    })
}

fn idle(_: &Seen, _: &Key) -> Plan {
    Plan::nothing()
}

#[test]
fn each_sabotage_breaks_its_law() {
    let hasty_node = Settings {
        hasty_node: true,
        ..Settings::default()
    };
    let deaf = Settings {
        dropped_changes: 30,
        ..Settings::default()
    };
    let forgetful = Settings {
        forgetful_agent: true,
        ..Settings::default()
    };
    let sabotages: [(&str, Settings); 13] = [
        (
            "ordered start and stop ignored",
            with_plan("statefulset-controller", unordered),
        ),
        (
            "partition ignored",
            with_plan("statefulset-controller", without_partition),
        ),
        (
            "maxUnavailable ignored",
            with_plan("statefulset-controller", all_at_once),
        ),
        (
            "retention policy ignored",
            with_plan("statefulset-controller", greedy_for_claims),
        ),
        (
            "claims not made",
            with_plan("statefulset-controller", forgets_claims),
        ),
        (
            "status not written",
            with_plan("statefulset-controller", silent_about_status),
        ),
        (
            "one pod too many",
            with_plan("replicaset-controller", one_pod_too_many),
        ),
        (
            "rollout takes all down",
            with_plan("deployment-controller", hasty_rollout),
        ),
        (
            "rollout surges too far",
            with_plan("deployment-controller", generous_rollout),
        ),
        (
            "nothing is collected",
            with_plan("generic-garbage-collector", idle),
        ),
        ("the node does not wait for the old processes", hasty_node),
        ("a new agent forgets what runs", forgetful),
        ("controllers miss changes", deaf),
    ];
    // Which law finds it first is chance and changes with every seed's course; that one does is not.
    for (what, sabotage) in &sabotages {
        assert!(
            first_broken(sabotage).is_some(),
            "no law notices within {SEEDS} seeds: {what}"
        );
    }
}
