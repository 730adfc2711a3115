//! Pods that this node refuses as a whole, before anything of them is made. Source: kubelet's admission of pods
//! (`sysctl.NewAllowlist`, `rejectPod`).

use super::observed::{Observed, Refusal, Task};
use super::spec::PodView;
use serde_json::{Value, json};

const SYSCTL_FORBIDDEN: &str = "SysctlForbidden";
const POD_OS_NOT_SUPPORTED: &str = "PodOSNotSupported";
const OPERATING_SYSTEM: &str = "linux";
/// In front of the reason's text, in the status.
const REJECTED: &str = "Pod was rejected: ";

/// What has a value of its own in each pod's namespaces and harms nobody else on the node, and the namespace.
const SAFE_SYSCTLS: [(&str, &str); 12] = [
    ("kernel.shm_rmid_forced", "IPC"),
    ("net.ipv4.ip_local_port_range", "Net"),
    ("net.ipv4.ip_local_reserved_ports", "Net"),
    ("net.ipv4.ip_unprivileged_port_start", "Net"),
    ("net.ipv4.ping_group_range", "Net"),
    ("net.ipv4.tcp_fin_timeout", "Net"),
    ("net.ipv4.tcp_keepalive_intvl", "Net"),
    ("net.ipv4.tcp_keepalive_probes", "Net"),
    ("net.ipv4.tcp_keepalive_time", "Net"),
    ("net.ipv4.tcp_rmem", "Net"),
    ("net.ipv4.tcp_syncookies", "Net"),
    ("net.ipv4.tcp_wmem", "Net"),
];

/// Reason and message of the refusal of a pod of which nothing has run here.
pub fn rejection(pod: &PodView, seen: &Observed) -> Option<Refusal> {
    let untouched = seen.sandbox == Task::Todo
        && seen
            .containers
            .values()
            .all(|container| container.life.is_none() && container.next_attempt == 0);
    if pod.is_finished() || !untouched {
        return None;
    }
    wrong_system(pod)
        .or_else(|| forbidden_sysctl(pod))
        .or_else(|| seen.refused.clone())
}

/// Pods of another operating system that were put here past the scheduler.
fn wrong_system(pod: &PodView) -> Option<Refusal> {
    let name = &pod.pod.spec.as_ref()?.os.as_ref()?.name;
    let told = "Failed to admit pod as the OS field doesn't match node OS";
    (name != OPERATING_SYSTEM).then(|| (POD_OS_NOT_SUPPORTED, told.to_owned()))
}

fn forbidden_sysctl(pod: &PodView) -> Option<Refusal> {
    let spec = pod.pod.spec.as_ref()?;
    let sysctls = spec
        .security_context
        .iter()
        .flat_map(|context| context.sysctls.iter().flatten());
    let shared = |namespace: &str| match namespace {
        "Net" => pod.host_network,
        _ => spec.host_ipc == Some(true),
    };
    let mut wrong = sysctls.filter_map(|sysctl| {
        let name = normalized(&sysctl.name);
        match SAFE_SYSCTLS.iter().find(|(safe, _)| *safe == name) {
            None => Some(format!("forbidden sysctl: {name:?} not allowlisted")),
            Some((_, namespace)) if shared(namespace) => Some(format!(
                "forbidden sysctl: {name:?} not allowed with host {namespace} enabled"
            )),
            Some(_) => None,
        }
    });
    Some((SYSCTL_FORBIDDEN, wrong.next()?))
}

/// `net/ipv4/x` is another way to write `net.ipv4.x`; what comes first separates.
fn normalized(name: &str) -> String {
    match name.find(['.', '/']).map(|at| &name[at..=at]) {
        Some("/") => {
            let swap = |c| match c {
                '/' => '.',
                '.' => '/',
                other => other,
            };
            name.chars().map(swap).collect()
        }
        _ => name.to_owned(),
    }
}

/// The status of a refused pod: there are no containers to tell of.
pub(super) fn rejected_status(pod: &PodView, seen: &Observed) -> Option<Value> {
    let stored = |key: &str| pod.stored.get(key).and_then(Value::as_str).unwrap_or_default();
    if pod.is_finished() && stored("message").starts_with(REJECTED) {
        return Some(pod.stored.clone());
    }
    let (reason, message) = rejection(pod, seen)?;
    let mut status = pod.stored.as_object().cloned().unwrap_or_default();
    status.extend([
        ("phase".to_owned(), json!("Failed")),
        ("reason".to_owned(), json!(reason)),
        ("message".to_owned(), json!(format!("{REJECTED}{message}"))),
        ("observedGeneration".to_owned(), pod.generation.into()),
    ]);
    Some(Value::Object(status))
}
