//! One pod's worker: hears, decides (`machine::sync`), lets steps run, and writes the status, until nothing is left.

use super::mailbox::Mail;
use super::shell::{PodHandle, Shell};
use crate::machine::{
    DEADLINE_EXCEEDED, Ended, EndingCause, Observed, Outcome, PodEvent, PodView, Step, status, sync,
};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use kinds::pod::PODS;
use kinds::row::text;
use meta::{Call, Object, Reply, Status, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Pause after a status that could not be written for another reason than a newer object.
const WRITE_PAUSE: Duration = Duration::from_millis(500);

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
    writing: bool,
    /// No status is written before.
    write_after: Option<Timestamp>,
    /// The status of the last write and the revision it gave. What the API stores may read otherwise than what was
    /// sent (defaults, canonical forms); the same is not sent again for that.
    settled: Option<(Value, u64)>,
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
    let left = shell.runtime.pod(object.uid()).await.map_err(|e| e.to_string())?;
    let seen = Observed::adopt(&pod, left.as_ref(), shell.env.now());
    let host_ips = shell
        .node(&pod.node)
        .map(|node| node.ips.clone())
        .unwrap_or_default();
    Ok(Worker {
        shell: shell.clone(),
        pod: Arc::new(pod),
        seen,
        work: FuturesUnordered::new(),
        writing: false,
        write_after: None,
        settled: None,
        host_ips,
    })
}

impl Worker {
    async fn run(mut self, handle: &PodHandle) {
        self.read(handle.mailbox.take()).await;
        loop {
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
                biased;
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
                self.writing = false;
                match result {
                    Ok(object) => {
                        self.look_at(&object);
                        // Kept only where it is needed: thousands of pods wait here.
                        let differs = self.pod.stored != wanted;
                        self.settled = differs.then(|| (wanted, object.revision()));
                    }
                    Err(status) if status.code == 404 || self.pod.gone => {}
                    Err(status) => {
                        // A newer object is on its way here; for all else there is a pause.
                        let pause = if status.code == 409 {
                            Duration::from_millis(20)
                        } else {
                            WRITE_PAUSE
                        };
                        tracing::debug!(pod = self.pod.name, %status, "the status was not written");
                        self.write_after = Some(now.plus(pause));
                    }
                }
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
        // A node that is switched off says nothing more: what the API has is how the pod will be again.
        if self.writing || self.pod.gone || self.seen.torn_down.is_done() || self.seen.switching_off {
            return None;
        }
        let wanted = status(now, &self.pod, &self.seen, &self.host_ips);
        let is_settled = |(sent, revision): &(Value, u64)| *revision == self.pod.revision && *sent == wanted;
        if wanted == self.pod.stored || self.settled.as_ref().is_some_and(is_settled) {
            return None;
        }
        if let Some(after) = self.write_after.filter(|after| *after > now) {
            return Some(after);
        }
        self.tell_back_off(&wanted);
        self.writing = true;
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
                    field_path: None,
                });
            }
        }
        self.tell(events);
    }
}

/// What is in the stored status and not in ours is taken away (null in a merge patch).
async fn write(shell: &Shell, pod: &PodView, wanted: &Value) -> Result<Object, Status> {
    let mut patch = serde_json::Map::new();
    let (old, new) = (pod.stored.as_object(), wanted.as_object());
    for (key, value) in new.into_iter().flatten() {
        if pod.stored.get(key) != Some(value) {
            patch.insert(key.clone(), value.clone());
        }
    }
    for key in old.into_iter().flatten().map(|(key, _)| key) {
        if wanted.get(key).is_none() {
            patch.insert(key.clone(), Value::Null);
        }
    }
    let call = Call::merge_patch(PODS, &pod.namespace, &pod.name, json!({"status": patch}))
        .subresource("status")
        .if_uid(&pod.uid)
        .if_revision(pod.revision)
        .manager(super::events::COMPONENT);
    match shell.client.call(call).await? {
        Reply::Object { object, .. } => Ok(object),
        _ => Err(Status::new(
            500,
            "InternalError",
            "the API answered a status with something else",
        )),
    }
}
