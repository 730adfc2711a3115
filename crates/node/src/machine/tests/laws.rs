//! Laws of the machine over random pods, faults and troubles.

use super::*;
use proptest::prelude::*;

fn random_spec(init: usize, sidecars: usize, apps: usize, policy: &str, probes: bool) -> Value {
    let named = |prefix: &str, n: usize| -> Vec<Value> {
        (0..n)
            .map(|i| {
                let mut c = container(&format!("{prefix}{i}"));
                if prefix == "side" {
                    c["restartPolicy"] = "Always".into();
                }
                if prefix == "app" && probes {
                    c["readinessProbe"] = json!({"tcpSocket": {"port": 1}, "periodSeconds": 5});
                    c["livenessProbe"] = json!({"tcpSocket": {"port": 1}, "periodSeconds": 5});
                }
                c
            })
            .collect()
    };
    let before = [named("init", init), named("side", sidecars)].concat();
    json!({"restartPolicy": policy, "initContainers": before, "containers": named("app", apps)})
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever goes wrong: the laws of `Life::check` hold, and once nothing goes wrong any more the pod runs (or has
    /// ended) and the machine is silent; deleted, it goes without a rest.
    #[test]
    fn random_lives_keep_the_laws_and_come_to_rest(
        (init, sidecars, apps) in (0usize..3, 0usize..3, 1usize..3),
        policy in prop::sample::select(vec!["Always", "OnFailure", "Never"]),
        probes: bool,
        faults in prop::collection::vec((0u8..8, 0u64..2000), 0..60),
        trouble in prop::collection::vec((0u8..4, 0i64..50), 0..8),
        delete_at in 60i64..70,
    ) {
        let mut life = Life::new(random_spec(init, sidecars, apps, policy, probes));
        for i in 0..init {
            life.ends.insert(format!("init{i}"), (Duration::from_millis(10), 0));
        }
        let mut faults = faults.into_iter();
        life.script = Box::new(move |step, now| {
            let (kind, millis) = faults.next().unwrap_or((0, 1));
            let (_, good) = well(step, now);
            let outcome = match (kind, step) {
                (1, Step::SetUpVolumes | Step::CreateSandbox | Step::Release | Step::TearDown | Step::DeletePod) => Outcome::Failed("no".into()),
                (1, Step::PullImage { .. }) => Outcome::NoImage { reason: "ErrImagePull", message: "no".into() },
                (1, Step::StartContainer { .. }) => Outcome::NotStarted(StartFailure::Create { reason: "CreateContainerError", message: "no".into() }),
                (2, Step::StartContainer { .. }) => Outcome::NotStarted(StartFailure::Run { message: "no".into() }),
                (3, Step::StartContainer { .. }) => Outcome::NotStarted(StartFailure::NoSandbox),
                (1 | 2, Step::Probe { .. }) => Outcome::Probed(Err("no".into())),
                (1, Step::StopContainer { .. }) => Outcome::Stopped(None),
                _ => good,
            };
            (Duration::from_millis(millis.max(1)), outcome)
        });
        for (kind, second) in trouble {
            life.run(second);
            life.now = life.now.max(at(second));
            match kind {
                0 => {
                    for name in life.seen.containers.keys().cloned().collect::<Vec<_>>() {
                        let attempt = life.seen.containers[&name].life.as_ref().map_or(0, |l| l.attempt);
                        life.seen.exited(&name, ended(attempt, 255, life.now));
                    }
                    life.seen.sandbox_lost();
                }
                1 => {
                    let attempt = life.seen.containers["app0"].life.as_ref().map_or(0, |l| l.attempt);
                    life.seen.exited("app0", ended(attempt, 1, life.now));
                }
                2 => life.seen.sources_changed(life.now),
                _ => {
                    life.status();
                }
            }
        }
        life.run(delete_at);
        life.now = life.now.max(at(delete_at));
        life.status();
        life.delete(30);
        life.run(10_000);
        prop_assert!(life.over, "not over: {:#?}\n{}", life.seen, life.log.join("\n"));
    }
}
