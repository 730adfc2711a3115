//! The machine driven by a virtual clock and scripted outcomes: whole lives as text, and laws over random ones.

mod adoption;
mod ends;
mod given;
mod laws;
mod sources;

use super::*;
use meta::{Draft, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const START: i64 = 1_800_000_000;
/// More decisions than this in one life mean that the machine does not come to rest.
const MOST_ROUNDS: usize = 5_000;

/// How long a step takes, and how it turns out.
type Script<'a> = Box<dyn FnMut(&Step, Timestamp) -> (Duration, Outcome) + 'a>;

struct Life<'a> {
    now: Timestamp,
    pod: PodView,
    seen: Observed,
    script: Script<'a>,
    due: Vec<(Timestamp, Step, Outcome)>,
    /// Containers that end by themselves so long after their start, with a code; by name.
    ends: BTreeMap<String, (Duration, i32)>,
    exits: Vec<(Timestamp, String, u32, i32)>,
    log: Vec<String>,
    started: BTreeMap<String, u32>,
    over: bool,
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(START + seconds).expect("a time")
}

fn view(spec: Value) -> PodView {
    let object = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web-0", "namespace": "ns", "uid": "u1", "generation": 1}, "spec": spec,
        "status": {"phase": "Pending", "qosClass": "BestEffort"}});
    PodView::of(&Draft::new(object).expect("an object").seal(1)).expect("a pod")
}

/// All goes well and takes a millisecond.
fn well(step: &Step, now: Timestamp) -> (Duration, Outcome) {
    let outcome = match step {
        Step::SetUpVolumes => Outcome::Volumes { refresh_at: None },
        Step::CreateSandbox => Outcome::Sandbox {
            ips: vec!["192.0.2.9".into()],
        },
        Step::PullImage { .. } => Outcome::Image {
            name: "img".into(),
            id: "img@sha256:1".into(),
            message: "there".into(),
        },
        Step::StartContainer { .. } => Outcome::Started { at: now, user: None },
        Step::PostStart { .. } => Outcome::Hook(Ok(())),
        Step::StopContainer { attempt, .. } => Outcome::Stopped(Some(ended(*attempt, 0, now))),
        Step::Probe { .. } => Outcome::Probed(Ok(())),
        Step::Release | Step::TearDown | Step::DeletePod => Outcome::Done,
    };
    (Duration::from_millis(1), outcome)
}

fn ended(attempt: u32, code: i32, now: Timestamp) -> Ended {
    let reason = if code == 0 { "Completed" } else { "Error" };
    Ended {
        attempt,
        code,
        reason: reason.into(),
        started: Some(now),
        finished: Some(now),
        ..Ended::default()
    }
}

fn text(step: &Step) -> String {
    match step {
        Step::StartContainer { container, attempt } => format!("start {container}#{attempt}"),
        Step::StopContainer {
            container,
            attempt,
            reason,
            ..
        } => format!("stop {container}#{attempt} {reason:?}"),
        Step::PullImage { container } => format!("pull {container}"),
        Step::PostStart { container, .. } => format!("postStart {container}"),
        Step::Probe { container, kind, .. } => format!("probe {container} {}", kind.name()),
        other => format!("{other:?}"),
    }
}

impl<'a> Life<'a> {
    fn new(spec: Value) -> Self {
        let pod = view(spec);
        let seen = Observed::adopt(&pod, None, at(0));
        Self {
            now: at(0),
            pod,
            seen,
            script: Box::new(well),
            due: Vec::new(),
            ends: BTreeMap::new(),
            exits: Vec::new(),
            log: Vec::new(),
            started: BTreeMap::new(),
            over: false,
        }
    }

    fn script(mut self, script: impl FnMut(&Step, Timestamp) -> (Duration, Outcome) + 'a) -> Self {
        self.script = Box::new(script);
        self
    }

    fn ends(mut self, name: &str, after: Duration, code: i32) -> Self {
        self.ends.insert(name.into(), (after, code));
        self
    }

    fn note(&mut self, what: &str) {
        let passed = self.now.since(at(0));
        self.log.push(format!("{:.3} {what}", passed.as_secs_f64()));
    }

    fn tell(&mut self, events: Vec<PodEvent>) {
        for event in events
            .into_iter()
            .filter(|event| event.warning || event.reason == "Killing")
        {
            self.note(&format!("{}: {}", event.reason, event.message));
        }
    }

    /// Decides until there is nothing to begin, and checks the laws.
    fn decide(&mut self) -> Option<Timestamp> {
        self.seen.notice(&self.pod, self.now);
        let decision = sync(self.now, &self.pod, &self.seen);
        self.over |= decision.over;
        for step in decision.steps {
            self.check(&step);
            if !matches!(step, Step::Probe { .. }) {
                self.note(&text(&step));
            }
            let events = self.seen.begin(&self.pod, &step, self.now);
            self.tell(events);
            let (takes, outcome) = (self.script)(&step, self.now);
            self.due.push((self.now.plus(takes), step, outcome));
        }
        let again = sync(self.now, &self.pod, &self.seen);
        assert!(
            again.steps.is_empty(),
            "a begun step is not decided again: {:?}",
            again.steps
        );
        again.wake
    }

    /// Laws of every single decision.
    fn check(&mut self, step: &Step) {
        if self.seen.does(Step::is_start) {
            assert_ne!(
                *step,
                Step::SetUpVolumes,
                "files of volumes change under a container that is being started"
            );
        }
        let Step::StartContainer { container, attempt } = step else {
            return;
        };
        assert!(
            !self.seen.containers[container].is_alive(),
            "{container} is alive and started again"
        );
        assert!(
            !self.seen.is_running(&Step::SetUpVolumes),
            "{container} starts while files of volumes change"
        );
        let last = self.started.insert(container.clone(), *attempt);
        assert!(
            last.is_none_or(|last| last <= *attempt),
            "attempts of {container} go down"
        );
        let kind = self.pod.container(container).expect("known").kind;
        if kind == ContainerKind::App {
            for init in self.pod.of_kind(ContainerKind::Init) {
                let seen = &self.seen.containers[&init.name];
                let done = seen.ended().is_some_and(|ended| ended.code == 0);
                assert!(done, "{container} starts before {} is done", init.name);
            }
        }
    }

    fn run(&mut self, until: i64) -> &mut Self {
        for _ in 0..MOST_ROUNDS {
            let wake = self.decide();
            let steps = self.due.iter().map(|(at, ..)| *at);
            let exits = self.exits.iter().map(|(at, ..)| *at);
            let next = steps.chain(exits).chain(wake).min();
            match next.filter(|next| *next <= at(until) && !self.over) {
                Some(next) => self.now = self.now.max(next),
                None => return self,
            }
            self.settle();
        }
        panic!("no rest: {}", self.log[self.log.len() - 20..].join("\n"));
    }

    fn settle(&mut self) {
        if let Some(place) = self.exits.iter().position(|(at, ..)| *at <= self.now) {
            let (_, name, attempt, code) = self.exits.remove(place);
            if self.seen.containers[&name]
                .life
                .as_ref()
                .is_some_and(|life| life.attempt == attempt)
            {
                self.seen.exited(&name, ended(attempt, code, self.now));
            }
        }
        let Some(place) = self.due.iter().position(|(at, ..)| *at <= self.now) else {
            return;
        };
        let (_, step, outcome) = self.due.remove(place);
        if let (Step::StartContainer { container, attempt }, Outcome::Started { .. }) = (&step, &outcome)
            && let Some((after, code)) = self.ends.get(container)
        {
            self.exits
                .push((self.now.plus(*after), container.clone(), *attempt, *code));
        }
        let events = self.seen.finish(&self.pod, &step, outcome, self.now);
        self.tell(events);
    }

    fn status(&mut self) -> Value {
        let status = status(self.now, &self.pod, &self.seen, &["192.0.2.1".into()]);
        self.pod.stored = status.clone();
        status
    }

    fn delete(&mut self, grace: i64) {
        self.pod.deletion = Some(grace);
    }

    /// What happened since the last call.
    fn told(&mut self) -> String {
        std::mem::take(&mut self.log).join("\n")
    }
}

fn container(name: &str) -> Value {
    json!({"name": name, "image": "img"})
}

fn conditions(status: &Value) -> String {
    let list = status["conditions"].as_array().expect("conditions");
    let text = |c: &Value| {
        format!(
            "{}={} {}",
            c["type"].as_str().unwrap_or(""),
            c["status"].as_str().unwrap_or(""),
            c["reason"].as_str().unwrap_or("")
        )
    };
    list.iter()
        .map(|c| text(c).trim().to_owned())
        .collect::<Vec<_>>()
        .join(", ")
}

#[test]
fn init_containers_then_sidecar_then_apps_in_order_and_back() {
    let mut sidecar = container("side");
    sidecar["restartPolicy"] = "Always".into();
    let spec = json!({"restartPolicy": "Always", "initContainers": [container("init"), sidecar],
        "containers": [container("a"), container("b")]});
    let mut life = Life::new(spec).ends("init", Duration::from_secs(1), 0);
    let first = life.status();
    assert_eq!(
        first["containerStatuses"][0]["state"]["waiting"]["reason"],
        "PodInitializing"
    );
    assert_eq!(
        first["initContainerStatuses"][0]["state"]["waiting"]["reason"],
        "PodInitializing"
    );
    assert_eq!(
        life.run(10).told(),
        "\
0.000 SetUpVolumes
0.000 CreateSandbox
0.000 pull init
0.001 start init#0
1.002 pull side
1.003 start side#0
1.004 pull a
1.004 pull b
1.005 start a#0
1.006 start b#0"
    );
    let status = life.status();
    assert_eq!(status["phase"], "Running");
    assert_eq!(
        conditions(&status),
        "PodReadyToStartContainers=True, Initialized=True, Ready=True, ContainersReady=True, PodScheduled=True"
    );
    life.delete(30);
    assert_eq!(
        life.run(20).told(),
        "\
1.007 stop a#0 PodEnds
1.007 Killing: Stopping container a
1.007 stop b#0 PodEnds
1.007 Killing: Stopping container b
1.008 stop side#0 PodEnds
1.008 Killing: Stopping container side
1.009 TearDown
1.010 DeletePod"
    );
    assert!(life.over);
}

#[test]
fn a_crash_restarts_at_once_and_then_backs_off() {
    let mut life = Life::new(json!({"restartPolicy": "Always", "containers": [container("c")]})).ends(
        "c",
        Duration::from_secs(1),
        1,
    );
    assert_eq!(
        life.run(100).told(),
        "\
0.000 SetUpVolumes
0.000 CreateSandbox
0.000 pull c
0.001 start c#0
1.002 pull c
1.003 start c#1
12.004 pull c
12.005 start c#2
33.006 pull c
33.007 start c#3
74.008 pull c
74.009 start c#4"
    );
    life.run(76);
    let status = life.status();
    let container = &status["containerStatuses"][0];
    assert_eq!(
        container["state"]["waiting"],
        json!({"reason": "CrashLoopBackOff", "message": "back-off 1m20s restarting failed container=c pod=web-0_ns(u1)"})
    );
    assert_eq!(
        (
            &container["restartCount"],
            &container["lastState"]["terminated"]["exitCode"]
        ),
        (&json!(4), &json!(1))
    );
    assert_eq!(status["phase"], "Running");
    assert!(conditions(&status).contains("Ready=False ContainersNotReady"));
}

#[test]
fn pods_end_by_their_restart_policy() {
    for (policy, code, phase, starts) in [
        ("Never", 0, "Succeeded", 1),
        ("Never", 3, "Failed", 1),
        ("OnFailure", 0, "Succeeded", 1),
        ("OnFailure", 3, "Running", 4),
    ] {
        let mut life = Life::new(json!({"restartPolicy": policy, "containers": [container("c")]})).ends(
            "c",
            Duration::from_secs(1),
            code,
        );
        let told = life.run(60).told();
        assert_eq!(
            told.matches("start c#").count(),
            starts,
            "{policy} {code}: {told}"
        );
        let status = life.status();
        assert_eq!(status["phase"], phase, "{policy} {code}");
        if phase == "Succeeded" {
            assert!(conditions(&status).contains("Initialized=True PodCompleted, Ready=False PodCompleted"));
        }
    }
}

#[test]
fn a_failed_init_container_fails_a_pod_that_never_restarts() {
    let spec = json!({"restartPolicy": "Never", "initContainers": [container("init")], "containers": [container("c")]});
    let mut life = Life::new(spec).ends("init", Duration::from_secs(1), 2);
    assert!(!life.run(60).told().contains("start c"));
    let status = life.status();
    assert_eq!(status["phase"], "Failed");
    assert_eq!(
        status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"],
        2
    );
}

#[test]
fn readiness_is_tried_early_and_often_but_counts_by_its_period() {
    let mut c = container("c");
    c["readinessProbe"] = json!({"tcpSocket": {"port": 1}, "periodSeconds": 1, "failureThreshold": 2});
    let ready_at = at(0).plus(Duration::from_millis(100));
    let mut probes = Vec::new();
    let mut life = Life::new(json!({"restartPolicy": "Always", "containers": [c]})).script(|step, now| {
        if let Step::Probe { .. } = step {
            probes.push(now.since(at(0)).as_millis());
            let fine = now >= ready_at && now < at(3);
            return (
                Duration::ZERO,
                Outcome::Probed(if fine { Ok(()) } else { Err("no".into()) }),
            );
        }
        well(step, now)
    });
    let told = life.run(6).told();
    let unhealthy = told.lines().filter(|line| line.contains("Unhealthy")).count();
    // The regular tries from the third second on.
    assert_eq!(unhealthy, 3, "{told}");
    assert!(conditions(&life.status()).contains("Ready=False"));
    drop(life);
    assert_eq!(probes[..6], [2, 12, 32, 72, 152, 1002], "{probes:?}");
    assert!(
        probes[6..].windows(2).all(|pair| pair[1] - pair[0] == 1000),
        "{probes:?}"
    );
}

#[test]
fn a_liveness_failure_kills_and_restarts() {
    let mut c = container("c");
    c["livenessProbe"] = json!({"exec": {"command": ["x"]}, "periodSeconds": 1, "failureThreshold": 3, "terminationGracePeriodSeconds": 7});
    let mut deadlines = Vec::new();
    let mut life = Life::new(json!({"restartPolicy": "Always", "containers": [c]})).script(|step, now| {
        if let Step::StopContainer { deadline, .. } = step {
            deadlines.push(deadline.since(now).as_secs());
        }
        match step {
            Step::Probe { attempt: 0, .. } => (Duration::ZERO, Outcome::Probed(Err("bad".into()))),
            _ => well(step, now),
        }
    });
    let told = life.run(5).told();
    assert!(
        told.ends_with(
            "\
3.002 Unhealthy: Liveness probe failed: bad
3.002 stop c#0 Liveness
3.002 Killing: Container c failed liveness probe, will be restarted
3.003 pull c
3.004 start c#1"
        ),
        "{told}"
    );
    drop(life);
    assert_eq!(deadlines, [7]);
}

#[test]
fn a_startup_probe_holds_back_the_others() {
    let mut c = container("c");
    c["startupProbe"] = json!({"exec": {"command": ["x"]}, "periodSeconds": 1, "failureThreshold": 2});
    c["livenessProbe"] = json!({"exec": {"command": ["x"]}});
    let mut kinds = Vec::new();
    let mut life =
        Life::new(json!({"restartPolicy": "Never", "containers": [c]})).script(|step, now| match step {
            Step::Probe { kind, .. } => {
                kinds.push(*kind);
                (Duration::ZERO, Outcome::Probed(Err("bad".into())))
            }
            _ => well(step, now),
        });
    let told = life.run(5).told();
    assert!(told.contains("stop c#0 Startup"), "{told}");
    assert_eq!(life.status()["containerStatuses"][0]["started"], false);
    drop(life);
    assert!(kinds.iter().all(|kind| *kind == ProbeKind::Startup));
}

#[test]
fn images_that_do_not_come_back_off() {
    let mut pulls = 0;
    let mut life =
        Life::new(json!({"restartPolicy": "Always", "containers": [container("c")]})).script(|step, now| {
            if let Step::PullImage { .. } = step {
                pulls += 1;
                return (
                    Duration::ZERO,
                    Outcome::NoImage {
                        reason: "ErrImagePull",
                        message: "not found".into(),
                    },
                );
            }
            well(step, now)
        });
    let told = life.run(1).told();
    assert!(
        told.contains("Failed: Failed to pull image \"img\": not found")
            && told.contains("Failed: Error: ErrImagePull"),
        "{told}"
    );
    assert_eq!(
        life.status()["containerStatuses"][0]["state"]["waiting"],
        json!({"reason": "ErrImagePull", "message": "not found"})
    );
    life.run(8);
    let waiting = life.status()["containerStatuses"][0]["state"]["waiting"].clone();
    assert_eq!(waiting["reason"], "ImagePullBackOff");
    assert_eq!(
        waiting["message"],
        "Back-off pulling image \"img\": ErrImagePull: not found"
    );
    assert_eq!(life.status()["phase"], "Pending");
    life.run(75);
    drop(life);
    assert_eq!(pulls, 4); // at 0, 10, 30, 70
}

#[test]
fn an_active_deadline_ends_the_pod_as_failed() {
    let mut life = Life::new(
        json!({"restartPolicy": "Always", "activeDeadlineSeconds": 5, "containers": [container("c")]}),
    );
    let told = life.run(20).told();
    assert!(told.contains("5.000 stop c#0 PodEnds"), "{told}");
    let status = life.status();
    assert_eq!(
        (&status["phase"], &status["reason"]),
        (&json!("Failed"), &json!("DeadlineExceeded"))
    );
}

#[test]
fn a_lost_sandbox_is_made_again_and_restarts_are_counted() {
    let spec = json!({"restartPolicy": "Always", "initContainers": [container("init")], "containers": [container("c")]});
    let mut life = Life::new(spec).ends("init", Duration::from_millis(1), 0);
    life.run(1).told();
    life.seen.exited(
        "c",
        Ended {
            reason: "ContainerStatusUnknown".into(),
            ..ended(0, 255, life.now)
        },
    );
    life.seen.sandbox_lost();
    let told = life.run(3).told();
    for what in ["CreateSandbox", "start init#1", "start c#1"] {
        assert!(told.contains(what), "{told}");
    }
    assert_eq!(life.status()["containerStatuses"][0]["restartCount"], 1);
}

#[test]
fn a_shorter_grace_period_is_heard() {
    let mut life = Life::new(json!({"restartPolicy": "Always", "containers": [container("c")]}));
    life.run(1).told();
    life.script = Box::new(|step, now| match step {
        Step::StopContainer {
            attempt, deadline, ..
        } => (
            deadline.since(now),
            Outcome::Stopped(Some(ended(*attempt, 137, *deadline))),
        ),
        _ => well(step, now),
    });
    life.delete(30);
    life.run(2);
    life.now = at(3);
    life.pod.gone = true;
    let told = life.run(60).told();
    assert!(
        told.contains("3.000 stop c#0 PodEnds") && told.contains("4.000 TearDown"),
        "{told}"
    );
}
