//! How `kubectl get pods` reads: READY, STATUS and RESTARTS from the state of every container.

use super::status::{is_ready, is_sidecar, is_terminating};
use crate::json::{at, get, has, is_true, list, number, string};
use crate::row::{age, ago, text};
use meta::Timestamp;
use serde_json::{Value, json};

pub(super) fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let summary = Summary::of(pod);
    let or_none = |text: &str| if text.is_empty() { "<none>" } else { text }.to_string();
    let ip = list(get(pod, "status"), "podIPs")
        .first()
        .map_or(text(pod, "/status/podIP"), |first| string(first, "ip"));
    vec![
        text(pod, "/metadata/name").into(),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.status.into(),
        restarts(summary.restarts, summary.last_restart, now).into(),
        age(pod, now).into(),
        or_none(ip).into(),
        or_none(text(pod, "/spec/nodeName")).into(),
        or_none(text(pod, "/status/nominatedNodeName")).into(),
        readiness_gates(pod).into(),
    ]
}

/// That the pod is through, for printers that leave such rows out.
pub(super) fn row_conditions(pod: &Value) -> Vec<Value> {
    let (reason, message) = match text(pod, "/status/phase") {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return Vec::new(),
    };
    vec![json!({"type": "Completed", "status": "True", "reason": reason, "message": message})]
}

/// `3`, or `3 (5s ago)` where the last end of a container is known.
fn restarts(count: i64, last: Option<Timestamp>, now: Timestamp) -> String {
    match last {
        Some(last) if count != 0 => format!("{count} ({} ago)", ago(last, now)),
        _ => count.to_string(),
    }
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list(get(pod, "spec"), "readinessGates");
    if gates.is_empty() {
        return "<none>".to_string();
    }
    let holds = |gate: &&Value| {
        super::status::condition(pod, string(gate, "conditionType"))
            .is_some_and(|c| string(c, "status") == "True")
    };
    format!("{}/{}", gates.iter().filter(holds).count(), gates.len())
}

/// What the columns READY, STATUS and RESTARTS say.
#[derive(Debug, PartialEq)]
pub struct Summary {
    pub ready: usize,
    pub total: usize,
    pub status: String,
    pub restarts: i64,
    pub last_restart: Option<Timestamp>,
}

impl Summary {
    pub fn of(pod: &Value) -> Self {
        let (spec, status) = (get(pod, "spec"), get(pod, "status"));
        let sidecars = list(spec, "initContainers").iter().filter(|c| is_sidecar(c));
        let mut out = Self {
            ready: 0,
            total: list(spec, "containers").len() + sidecars.count(),
            status: match string(status, "reason") {
                "" => string(status, "phase").to_string(),
                reason => reason.to_string(),
            },
            restarts: 0,
            last_restart: None,
        };
        let gated = super::status::condition(pod, "PodScheduled")
            .is_some_and(|c| string(c, "reason") == "SchedulingGated");
        if gated {
            out.status = "SchedulingGated".to_string();
        }
        let init = out.read_init(pod);
        let mut restarts = init.all;
        if !init.under_way || is_initialized(pod) {
            // Steps that are done count no more; sidecars live on beside the app.
            restarts = init.sidecars;
            out.read_app(pod, &mut restarts);
        }
        out.restarts = restarts.count;
        out.last_restart = restarts.last;
        out.read_deletion(pod);
        out
    }

    /// Reads the init containers up to the first that is not done.
    fn read_init(&mut self, pod: &Value) -> Init {
        let mut init = Init::default();
        let specs = list(get(pod, "spec"), "initContainers");
        let statuses = list(get(pod, "status"), "initContainerStatuses");
        for (i, container) in statuses.iter().enumerate() {
            init.all.add(container);
            let name = string(container, "name");
            let sidecar = specs.iter().any(|c| string(c, "name") == name && is_sidecar(c));
            if sidecar {
                init.sidecars.add(container);
            }
            let state = get(container, "state");
            let terminated = get(state, "terminated");
            if has(state, "terminated") && number(terminated, "exitCode") == 0 {
                continue;
            }
            if sidecar && is_true(container, "started") {
                self.ready += usize::from(is_true(container, "ready"));
                continue;
            }
            let waiting = string(get(state, "waiting"), "reason");
            self.status = if has(state, "terminated") {
                format!("Init:{}", terminated_reason(terminated))
            } else if !waiting.is_empty() && waiting != "PodInitializing" {
                format!("Init:{waiting}")
            } else {
                format!("Init:{i}/{}", specs.len())
            };
            init.under_way = true;
            break;
        }
        init
    }

    fn read_app(&mut self, pod: &Value, restarts: &mut Restarts) {
        let (mut running, mut failed) = (false, None);
        // From the last to the first: the first container's state has the last word.
        for container in list(get(pod, "status"), "containerStatuses").iter().rev() {
            restarts.add(container);
            let state = get(container, "state");
            let waiting = string(get(state, "waiting"), "reason");
            if !waiting.is_empty() {
                self.status = waiting.to_string();
            } else if has(state, "terminated") {
                let terminated = get(state, "terminated");
                self.status = terminated_reason(terminated);
                if number(terminated, "exitCode") != 0 {
                    failed = Some(self.status.clone());
                }
            } else if is_true(container, "ready") && has(state, "running") {
                running = true;
                self.ready += 1;
            }
        }
        if self.status != "Completed" {
            return;
        }
        // Some containers are done. One that runs makes the pod a running one, else one that failed has the last word.
        if running && is_ready(pod) {
            self.status = "Running".to_string();
        } else if let Some(reason) = failed {
            self.status = reason;
        } else if running {
            self.status = "NotReady".to_string();
        }
    }

    fn read_deletion(&mut self, pod: &Value) {
        if !is_terminating(pod) {
            return;
        }
        if text(pod, "/status/reason") == "NodeLost" {
            self.status = "Unknown".to_string();
        } else if !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
            self.status = "Terminating".to_string();
        }
    }
}

fn is_initialized(pod: &Value) -> bool {
    super::status::condition(pod, "Initialized").is_some_and(|c| string(c, "status") == "True")
}

/// The reason that the runtime gave, else the signal or exit code.
fn terminated_reason(terminated: &Value) -> String {
    let reason = string(terminated, "reason");
    if !reason.is_empty() {
        return reason.to_string();
    }
    match number(terminated, "signal") {
        0 => format!("ExitCode:{}", number(terminated, "exitCode")),
        signal => format!("Signal:{signal}"),
    }
}

/// What the init containers say.
#[derive(Default)]
struct Init {
    /// One of them is not done.
    under_way: bool,
    all: Restarts,
    sidecars: Restarts,
}

/// Restarts so far, and when the last container ended before one.
#[derive(Default)]
struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, container: &Value) {
        let more = number(container, "restartCount");
        self.count = self.count.saturating_add(more);
        let ended = at(container, "/lastState/terminated/finishedAt").as_str();
        self.last = self.last.max(ended.and_then(Timestamp::parse));
    }
}

/// The wide columns `Containers` and `Images` of a workload, from its template.
pub(crate) fn containers_and_images(workload: &Value) -> [Value; 2] {
    containers_and_images_of(at(workload, "/spec/template"))
}

pub(crate) fn containers_and_images_of(template: &Value) -> [Value; 2] {
    let containers = list(get(template, "spec"), "containers");
    let join = |field| {
        let all: Vec<&str> = containers.iter().map(|c| string(c, field)).collect();
        Value::from(all.join(","))
    };
    [join("name"), join("image")]
}

/// Labels as they are printed in one cell.
pub(crate) fn labels(holder: &Value, field: &str) -> Value {
    selector(meta::selector::LabelSelector::of_map(crate::json::texts(holder, field)).to_string())
}

/// The wide column `Selector` of a workload.
pub(crate) fn selector(text: String) -> Value {
    if text.is_empty() {
        "<none>".into()
    } else {
        text.into()
    }
}
