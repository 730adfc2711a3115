//! What a pod refers to changes, is missing, or comes late.

use super::*;

#[test]
fn missing_configuration_waits_and_goes_on_at_once_when_it_comes() {
    let mut there = false;
    let spec = json!({"restartPolicy": "Always", "containers": [container("c")]});
    let mut life = Life::new(spec);
    let trouble = Outcome::NotStarted(StartFailure::Create {
        reason: "CreateContainerConfigError",
        message: "configmap \"c\" not found".into(),
    });
    life.script = Box::new(move |step, now| match step {
        Step::StartContainer { .. } if !there => {
            there = true;
            (Duration::ZERO, trouble.clone())
        }
        _ => well(step, now),
    });
    life.run(1);
    life.now = at(1);
    life.seen.sources_changed(life.now);
    let told = life.run(2).told();
    assert!(
        told.contains("Failed: Error: configmap \"c\" not found"),
        "{told}"
    );
    assert!(told.contains("1.001 start c#0"), "{told}");
    assert_eq!(life.status()["containerStatuses"][0]["restartCount"], 0);
    assert_eq!(life.status()["phase"], "Running");
}

/// A ConfigMap changes while a start is under way, and once more while its files are written.
#[test]
fn volumes_and_starts_take_turns() {
    let spec = json!({"restartPolicy": "Always", "containers": [container("a"), container("b")]});
    let mut life = Life::new(spec).script(|step, now| {
        let (_, outcome) = well(step, now);
        (Duration::from_secs(1), outcome)
    });
    life.run(2);
    life.seen.sources_changed(life.now);
    life.run(3);
    life.seen.sources_changed(life.now);
    assert_eq!(
        life.run(100).told(),
        "\
0.000 SetUpVolumes
0.000 CreateSandbox
0.000 pull a
0.000 pull b
1.000 start a#0
2.000 start b#0
3.000 SetUpVolumes
4.000 SetUpVolumes"
    );
}

/// What was missing came while the set-up that missed it was still under way.
#[test]
fn what_came_during_a_failing_set_up_is_looked_for_at_once() {
    let mut there = false;
    let mut life = Life::new(json!({"restartPolicy": "Always", "containers": [container("c")]}));
    life.script = Box::new(move |step, now| match step {
        Step::SetUpVolumes if !there => {
            there = true;
            (Duration::from_secs(1), Outcome::Failed("no claim".into()))
        }
        _ => well(step, now),
    });
    life.run(0);
    life.seen.claims_changed(life.now);
    assert_eq!(
        life.run(100).told(),
        "\
0.000 SetUpVolumes
0.000 CreateSandbox
0.000 pull c
1.000 FailedMount: no claim
1.000 SetUpVolumes
1.001 start c#0"
    );
}
