//! One pod's worker: hears, decides (`machine::sync`), lets steps run, and writes the status, until nothing is left.

use super::mailbox::Mail;
use super::shell::{PodHandle, Shell};
use crate::machine::{
    DEADLINE_EXCEEDED, Due, Ended, EndingCause, Observed, Outcome, PodEvent, PodView, Report, Step,
    rejection, report, sync,
};
use crate::runtime::ContainerState;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use kinds::row::text;
use meta::{Object, Reply, Status, Timestamp};
use serde_json::Value;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

enum Done {
    Step(Step, Outcome),
    /// What was meant to be stored, and what is.
    Written(Value, Result<Object, Status>),
}

struct Worker {
    shell: Arc<Shell>,
    pod: Arc<PodView>,
    seen: Observed,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    report: Report,
    host_ips: Vec<String>,
}

pub async fn run(shell: Arc<Shell>, handle: PodHandle, object: Object, before: Option<CancellationToken>) {
    if let Some(before) = before {
        before.cancelled().await;
    }
    let uid = object.uid().to_owned();
    match adopt(&shell, &object).await {
        Ok(worker) => worker.run(&handle).await,
        Err(error) => tracing::error!(pod = object.meta().key(), error, "a pod cannot be taken on"),
    }
    shell.pods().remove(&uid);
    handle.over.cancel();
}

async fn adopt(shell: &Arc<Shell>, object: &Object) -> Result<Worker, String> {
    let pod = PodView::of(object).map_err(|e| e.to_string())?;
    let mut left = shell.runtime.pod(object.uid()).await.map_err(|e| e.to_string())?;
    for status in left.iter_mut().flat_map(|left| &mut left.containers) {
        // It may have ended while no server was there to read what it said.
        if let ContainerState::Exited(exit) = &mut status.state {
            let message = super::container::termination_message(shell, &pod, &status.id, exit).await;
            if !message.is_empty() {
                exit.message = message;
            }
        }
    }
    let mut seen = Observed::adopt(&pod, left.as_ref(), shell.env.now());
    if !shell.is_simulated() {
        let dir = shell.pod_dir(object.uid());
        let logs = super::files::newest_logs(&dir).map_err(|e| format!("read {}: {e}", dir.display()))?;
        for (container, attempt) in logs {
            seen.has_run(&container, attempt);
        }
    }
    let host_ips = shell
        .node(&pod.node)
        .map(|node| node.ips.clone())
        .unwrap_or_default();
    Ok(Worker {
        shell: shell.clone(),
        pod: Arc::new(pod),
        seen,
        work: FuturesUnordered::new(),
        report: Report::default(),
        host_ips,
    })
}

impl Worker {
    async fn run(mut self, handle: &PodHandle) {
        self.seen.refused = handle.refused.clone();
        self.read(handle.mailbox.take()).await;
        if let Some((reason, message)) = rejection(&self.pod, &self.seen) {
            self.tell(vec![PodEvent {
                warning: true,
                reason,
                message,
                field_path: None,
            }]);
        }
        loop {
            // Calls of the API may be answered without a wait: other tasks of this thread are to have their turn too.
            tokio::task::coop::consume_budget().await;
            let now = self.shell.env.now();
            self.notice(now);
            let decision = sync(now, &self.pod, &self.seen);
            if decision.over {
                return;
            }
            for step in decision.steps {
                self.begin(step, now);
            }
            let retry = self.write_status(now);
            let wake = [decision.wake, retry].into_iter().flatten().min();
            let timer = match wake {
                Some(at) => self.shell.env.sleep_until(at),
                None => futures::future::pending().boxed(),
            };
            tokio::select! {
                Some(done) = self.work.next() => self.done(done),
                () = handle.mailbox.wait() => self.read(handle.mailbox.take()).await,
                () = timer => {}
            }
        }
    }

    fn notice(&mut self, now: Timestamp) {
        let was_ending = self.seen.ending.is_some();
        self.seen.notice(&self.pod, now);
        let ends = self.seen.ending.as_ref().filter(|_| !was_ending);
        if ends.is_some_and(|ending| ending.cause == EndingCause::Deadline) {
            let (reason, message) = DEADLINE_EXCEEDED;
            self.tell(vec![PodEvent {
                warning: false,
                reason,
                message: message.to_owned(),
                field_path: None,
            }]);
        }
    }

    fn tell(&self, events: Vec<PodEvent>) {
        for event in events {
            self.shell.recorder.pod(&self.pod, event);
        }
    }

    fn begin(&mut self, step: Step, now: Timestamp) {
        tracing::debug!(pod = self.pod.name, ?step, "begins");
        let first_stop = match &step {
            Step::StopContainer { container, .. } => self
                .seen
                .containers
                .get(container)
                .is_some_and(|seen| seen.stopping().is_none()),
            _ => true,
        };
        let events = self.seen.begin(&self.pod, &step, now);
        self.tell(events);
        let job = super::perform::Job {
            shell: self.shell.clone(),
            pod: self.pod.clone(),
            ips: self.seen.ips.clone(),
            container: step
                .container()
                .and_then(|name| self.seen.containers.get(name))
                .cloned(),
        };
        self.work.push(
            async move {
                let outcome = job.perform(&step, first_stop).await;
                Done::Step(step, outcome)
            }
            .boxed(),
        );
    }

    fn done(&mut self, done: Done) {
        let now = self.shell.env.now();
        match done {
            Done::Step(step, outcome) => {
                tracing::debug!(pod = self.pod.name, ?step, ?outcome, "is over");
                let events = self.seen.finish(&self.pod, &step, outcome, now);
                self.tell(events);
            }
            Done::Written(wanted, result) => {
                match &result {
                    Ok(object) => self.look_at(object),
                    Err(status) => {
                        tracing::debug!(pod = self.pod.name, %status, "the status was not written")
                    }
                }
                self.report.finish(now, &self.pod, wanted, &result);
            }
        }
    }

    async fn read(&mut self, mail: Mail) {
        if let Some(object) = &mail.object {
            self.look_at(object);
        }
        if mail.gone {
            Arc::make_mut(&mut self.pod).gone = true;
        }
        if mail.switch_off {
            self.seen.switch_off(&self.pod, self.shell.env.now());
        }
        if mail.sources {
            self.seen.sources_changed(self.shell.env.now());
        }
        if mail.claims {
            self.seen.claims_changed(self.shell.env.now());
        }
        for (id, started_at_ns) in mail.starts {
            let (at, now) = (started_at_ns.into(), self.shell.env.now());
            let at = jiff::Timestamp::from_nanosecond(at).map_or(now, Timestamp::new);
            self.seen.started(&self.pod, &id.name, id.attempt, at, now);
        }
        for (id, exit) in mail.exits {
            let message = super::container::termination_message(&self.shell, &self.pod, &id, &exit).await;
            self.seen.exited(&id.name, Ended::of(id.attempt, &exit, message));
        }
        if mail.lost {
            self.seen.sandbox_lost();
        }
    }

    fn look_at(&mut self, object: &Object) {
        if object.revision() <= self.pod.revision {
            return;
        }
        match PodView::of(object) {
            Ok(mut view) => {
                view.gone = self.pod.gone;
                let (old, new) = (&self.pod.pod.metadata, &view.pod.metadata);
                if old.labels != new.labels || old.annotations != new.annotations {
                    self.seen.sources_dirty = true;
                }
                self.pod = Arc::new(view);
            }
            Err(error) => tracing::error!(pod = object.meta().key(), %error, "a pod cannot be understood"),
        }
    }

    /// Begins a write when the status differs from the stored one; says when to try again otherwise.
    fn write_status(&mut self, now: Timestamp) -> Option<Timestamp> {
        let wanted = match self.report.due(now, &self.pod, &self.seen, &self.host_ips) {
            Due::Nothing => return None,
            Due::At(at) => return Some(at),
            Due::Now(wanted) => wanted,
        };
        self.tell_back_off(&wanted);
        self.report.begin();
        let (shell, pod) = (self.shell.clone(), self.pod.clone());
        self.work.push(
            async move {
                let result = write(&shell, &pod, &wanted).await;
                Done::Written(wanted, result)
            }
            .boxed(),
        );
        None
    }
}

/// Reasons to wait that are events as well, each time a container begins to wait for them.
const BACK_OFFS: [&str; 2] = ["CrashLoopBackOff", "ImagePullBackOff"];

impl Worker {
    fn tell_back_off(&mut self, wanted: &Value) {
        let mut events = Vec::new();
        for list in ["/initContainerStatuses", "/containerStatuses"] {
            for status in wanted
                .pointer(list)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                let (name, reason) = (text(status, "/name"), text(status, "/state/waiting/reason"));
                let before = self
                    .pod
                    .stored
                    .pointer(list)
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten();
                let mut before = before
                    .filter(|s| text(s, "/name") == name)
                    .map(|s| text(s, "/state/waiting/reason"));
                if !BACK_OFFS.contains(&reason) || before.any(|known| known == reason) {
                    continue;
                }
                let crash = reason == BACK_OFFS[0];
                let message = if crash {
                    format!(
                        "Back-off restarting failed container {name} in pod {}_{}({})",
                        self.pod.name, self.pod.namespace, self.pod.uid
                    )
                } else {
                    format!("Back-off pulling image {:?}", text(status, "/image"))
                };
                events.push(PodEvent {
                    warning: crash,
                    reason: "BackOff",
                    message,
                    field_path: self.pod.container(name).map(|c| c.field_path.clone()),
                });
            }
        }
        self.tell(events);
    }
}

async fn write(shell: &Shell, pod: &PodView, wanted: &Value) -> Result<Object, Status> {
    let call = report::write(pod, wanted).manager(super::events::COMPONENT);
    match shell.client.call(call).await? {
        Reply::Object { object, .. } => Ok(object),
        _ => Err(Status::new(
            500,
            "InternalError",
            "the API answered a status with something else",
        )),
    }
}
