//! The fake runtime by its clock.

use super::*;
use meta::Timestamp;

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

/// Surroundings whose sleepers wake when the test says so.
struct Steered {
    now: watch::Sender<Timestamp>,
}

impl Env for Steered {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    fn random(&self) -> u64 {
        7
    }

    fn sleep_until(&self, until: Timestamp) -> futures::future::BoxFuture<'static, ()> {
        let mut now = self.now.subscribe();
        Box::pin(async move { drop(now.wait_for(|now| *now >= until).await) })
    }

    fn spawn(&self, task: futures::future::BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
}

#[tokio::test]
async fn time_that_passes_by_itself_starts_and_ends_what_is_due() {
    let begin = Timestamp::from_unix(1_800_000_000).expect("a time");
    let env = Arc::new(Steered {
        now: watch::Sender::new(begin),
    });
    let fake = FakeRuntime::timed(env.clone());
    fake.set_script(|_| Behaviour {
        start_after_ns: SECOND,
        ready_after_ns: SECOND,
        exit_after_ns: Some((3 * SECOND, 5)),
        ..Behaviour::server()
    });
    let sandbox = PodSandboxSpec {
        uid: "u".into(),
        ..PodSandboxSpec::default()
    };
    fake.create_sandbox(&sandbox).await.expect("sandbox");
    let id = ContainerId::new("u", "main", 0);
    let spec = ContainerSpec {
        id: id.clone(),
        ..ContainerSpec::default()
    };
    let pass = async |seconds: i64| {
        env.now.send_replace(begin.plus_seconds(seconds));
    };
    let (started, ()) = tokio::join!(fake.start_container(&spec), pass(1));
    assert_eq!(
        started.expect("start").started_at_ns,
        nanoseconds(begin.plus_seconds(1))
    );
    assert!(!fake.is_well(&id));
    pass(2).await;
    assert!(fake.is_well(&id));
    let (exit, ()) = tokio::join!(fake.wait_container(&id), pass(4));
    assert_eq!(exit.expect("ended").code, 5);
}
