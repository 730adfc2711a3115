//! The fake runtime by its clock.

use super::*;

const SECOND: i64 = 1_000_000_000;

async fn started(script: Behaviour) -> (FakeRuntime, ContainerId) {
    let fake = FakeRuntime::new(0);
    fake.set_script(move |_| script.clone());
    fake.create_sandbox(&PodSandboxSpec {
        uid: "u".into(),
        ..PodSandboxSpec::default()
    })
    .await
    .expect("sandbox");
    let id = ContainerId::new("u", "main", 0);
    let spec = ContainerSpec {
        id: id.clone(),
        ..ContainerSpec::default()
    };
    let start = fake.start_container(&spec);
    let (result, ()) = tokio::join!(start, async { fake.advance(SECOND) });
    result.expect("start");
    (fake, id)
}

#[tokio::test]
async fn a_container_starts_is_ready_and_ends_by_the_clock() {
    let (fake, id) = started(Behaviour {
        start_after_ns: SECOND,
        ready_after_ns: SECOND,
        exit_after_ns: Some((3 * SECOND, 5)),
        ..Behaviour::server()
    })
    .await;
    let mut events = fake.subscribe();
    assert!(!fake.is_ready(&id));
    fake.advance(2 * SECOND);
    assert!(fake.is_ready(&id));
    assert_eq!(fake.next_wake_ns(), Some(4 * SECOND));
    fake.advance(9 * SECOND);
    let RuntimeEvent::Exited { exit, .. } = events.recv().await.expect("event") else {
        panic!("not an exit")
    };
    assert_eq!(
        (exit.code, exit.started_at_ns, exit.finished_at_ns),
        (5, SECOND, 4 * SECOND)
    );
    assert_eq!(fake.next_wake_ns(), None);
}

#[tokio::test]
async fn one_that_ignores_the_signal_is_killed_when_the_grace_period_ends() {
    let (fake, id) = started(Behaviour {
        stop_after_ns: None,
        ..Behaviour::default()
    })
    .await;
    let stop = fake.stop_container(&id, 0, Duration::from_secs(30));
    let (exit, ()) = tokio::join!(stop, async {
        fake.advance(30 * SECOND);
        assert!(fake.next_wake_ns().is_some());
        fake.advance(31 * SECOND);
    });
    assert_eq!(exit.expect("stopped").code, 137);
    fake.reboot();
    assert!(!fake.pod("u").await.expect("pod").expect("known").ready);
}
