//! The Node object and its Lease: registration, heartbeat, and what the machine offers.

use super::AgentError;
use super::config::{AgentConfig, NodeIdentity};
use super::shell::Shell;
use crate::images::IndexWatch;
use futures::StreamExt;
use kinds::lease::LEASES;
use kinds::node::NODES;
use kinds::storageclass::NODE_FOLDER;
use kinds::workload::{PODS, Pod};
use meta::{Call, Client, Status, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Begins what a node that an agent of ours has made says of its runtime.
const RUNTIME: &str = "isopod://";
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// kubelet's `nodeLeaseDurationSeconds`; renewed four times in it.
const LEASE_SECONDS: i64 = 40;
const RENEW: Duration = Duration::from_secs(10);
/// kubelet's `nodeStatusReportFrequency`.
const REPORT: Duration = Duration::from_secs(300);
/// Writes for different nodes at the same time.
const AT_ONCE: usize = 32;
const KUBELET_VERSION: &str = "v1.36.0";
/// Images in the Node's status. Source: kubelet's `nodeStatusMaxImages`.
const MAX_IMAGES: usize = 50;

/// Writes all nodes and their leases.
pub async fn register(shell: &Arc<Shell>) -> Result<(), AgentError> {
    let nodes = futures::stream::iter(&shell.config.nodes);
    let mut done = nodes
        .map(|node| register_one(shell, node))
        .buffer_unordered(AT_ONCE);
    while let Some(result) = done.next().await {
        result?;
    }
    Ok(())
}

/// Takes away the nodes that earlier agents had and these have not: there are fewer simulated ones now. Their pods follow.
pub async fn forget_others(client: &dyn Client, keep: &[String]) {
    let snapshot = client.snapshot();
    for node in snapshot
        .list(NODES, "")
        .filter(|node| !keep.iter().any(|name| name == node.name()))
    {
        let value = node.value();
        let runtime = value["status"]["nodeInfo"]["containerRuntimeVersion"].as_str();
        if !runtime.is_some_and(|runtime| runtime.starts_with(RUNTIME)) {
            continue;
        }
        let call = Call::delete(NODES, "", node.name()).if_uid(node.uid());
        let mut done = client.call(call).await.map(drop);
        // The collector of pods leaves young ones some time for their node to come.
        let pods = client.snapshot();
        for pod in pods.list(PODS, "") {
            if Pod::of(pod).facts.spec.node_name.as_deref() == Some(node.name()) {
                let mut call = Call::delete(PODS, pod.namespace(), pod.name()).if_uid(pod.uid());
                call.options.grace_seconds = Some(0);
                done = client.call(call).await.map(drop).and(done);
            }
        }
        if let Err(status) = done {
            tracing::warn!(node = node.name(), %status, "a node that is no more could not be taken away");
        }
    }
}

async fn register_one(shell: &Shell, node: &NodeIdentity) -> Result<(), AgentError> {
    let failed = |status| AgentError::Register {
        node: node.name.clone(),
        status,
    };
    // Simulated nodes have no files.
    let volumes = shell.images.as_ref().map(|_| shell.volumes_folder());
    let annotations = json!({NODE_FOLDER: volumes});
    if let Some(stored) = shell.client.snapshot().get(NODES, "", &node.name) {
        let known = &stored.value()["metadata"]["annotations"][NODE_FOLDER];
        if *known != annotations[NODE_FOLDER] {
            let patch = json!({"metadata": {"annotations": annotations}});
            let call = Call::merge_patch(NODES, "", &node.name, patch);
            shell.client.call(call).await.map_err(failed)?;
        }
    } else {
        let labels = json!({
            "kubernetes.io/hostname": node.name, "kubernetes.io/arch": arch(), "kubernetes.io/os": "linux",
            "beta.kubernetes.io/arch": arch(), "beta.kubernetes.io/os": "linux",
        });
        let mut object = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name, "labels": labels}, "spec": {},
        });
        if volumes.is_some() {
            object["metadata"]["annotations"] = annotations;
        }
        match shell.client.call(Call::create(NODES, "", object)).await {
            Ok(_) => {}
            Err(status) if status.code == 409 => {}
            Err(status) => return Err(failed(status)),
        }
    }
    let (status, lease) = tokio::join!(report(shell, node), renew(shell, node));
    status.map_err(failed)?;
    if let Err(status) = lease {
        // Its namespace may still be on its way; the next heartbeat tries again.
        tracing::debug!(node = node.name, %status, "no lease yet");
    }
    Ok(())
}

/// Renews leases every 10 s and reports every 5 min, until stopped.
pub async fn keep_alive(shell: Arc<Shell>, stop: CancellationToken) {
    let mut next_report = shell.env.now().plus(REPORT);
    loop {
        let next = shell.env.now().plus(RENEW);
        tokio::select! {
            () = stop.cancelled() => return,
            () = shell.env.sleep_until(next) => {}
        }
        let now = shell.env.now();
        let reports = now >= next_report;
        if reports {
            next_report = now.plus(REPORT);
        }
        let beats = futures::stream::iter(&shell.config.nodes).for_each_concurrent(AT_ONCE, async |node| {
            let result = match reports {
                true => report(&shell, node).await.and(renew(&shell, node).await),
                false => renew(&shell, node).await,
            };
            if let Err(status) = result {
                tracing::warn!(node = node.name, %status, "the node's heartbeat was not written");
            }
        });
        beats.await;
    }
}

async fn renew(shell: &Shell, node: &NodeIdentity) -> Result<(), Status> {
    let now = shell.env.now().rfc3339_micros();
    let snapshot = shell.client.snapshot();
    let spec = json!({"holderIdentity": node.name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now});
    let call = match snapshot.get(LEASES, LEASE_NAMESPACE, &node.name) {
        Some(_) => Call::merge_patch(LEASES, LEASE_NAMESPACE, &node.name, json!({"spec": spec})),
        None => {
            let owner = snapshot.get(NODES, "", &node.name);
            let owner = owner.map(
                |node| json!([{"apiVersion": "v1", "kind": "Node", "name": node.name(), "uid": node.uid()}]),
            );
            let object = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": spec,
                "metadata": {"name": node.name, "namespace": LEASE_NAMESPACE, "ownerReferences": owner},
            });
            Call::create(LEASES, LEASE_NAMESPACE, object)
        }
    };
    shell.client.call(call).await.map(drop)
}

/// Writes the node's status. Conditions keep their transition time.
async fn report(shell: &Shell, node: &NodeIdentity) -> Result<(), Status> {
    let stored = shell
        .client
        .snapshot()
        .get(NODES, "", &node.name)
        .map(meta::Object::value);
    let status = status(shell, node, stored.as_ref(), shell.env.now()).await;
    let call = Call::merge_patch(NODES, "", &node.name, json!({"status": status})).subresource("status");
    shell.client.call(call).await.map(drop)
}

async fn status(shell: &Shell, node: &NodeIdentity, stored: Option<&Value>, now: Timestamp) -> Value {
    let mut addresses: Vec<Value> = node
        .ips
        .iter()
        .map(|ip| json!({"type": "InternalIP", "address": ip}))
        .collect();
    addresses.push(json!({"type": "Hostname", "address": node.name}));
    let mut status = json!({
        "capacity": shell.allocatable, "allocatable": shell.allocatable, "addresses": addresses,
        "conditions": conditions(stored, now), "nodeInfo": node_info(shell, node),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
    });
    if let Some(images) = images(shell).await {
        status["images"] = images;
    }
    status
}

/// The largest images first, as upstream. `None`: the nodes are simulated, or the images cannot be read now.
async fn images(shell: &Shell) -> Option<Value> {
    let images = shell.images.clone()?;
    let mut list = match shell.blocking(move || images.list()).await {
        Ok(Ok(list)) => list,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the node's images cannot be listed");
            return None;
        }
        Err(error) => {
            tracing::warn!(error, "the node's images cannot be listed");
            return None;
        }
    };
    list.sort_by_key(|image| std::cmp::Reverse(image.size_bytes));
    let shown = list.into_iter().take(MAX_IMAGES);
    Some(
        shown
            .map(|image| json!({"names": image.names, "sizeBytes": image.size_bytes}))
            .collect(),
    )
}

/// Says which images the node has whenever one comes or goes, until stopped.
pub async fn follow_images(shell: Arc<Shell>, watch: IndexWatch, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = watch.changed() => if let Err(error) = changed {
                return tracing::error!(%error, "changes of the images are not heard of any more");
            },
        }
        let Some(images) = images(&shell).await else {
            continue;
        };
        for node in &shell.config.nodes {
            let patch = json!({"status": {"images": images}});
            let call = Call::merge_patch(NODES, "", &node.name, patch).subresource("status");
            if let Err(status) = shell.client.call(call).await {
                tracing::warn!(node = node.name, %status, "the node's images were not written");
            }
        }
    }
}

fn conditions(stored: Option<&Value>, now: Timestamp) -> Vec<Value> {
    let list = [
        (
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
        (
            "DiskPressure",
            "False",
            "KubeletHasNoDiskPressure",
            "kubelet has no disk pressure",
        ),
        (
            "PIDPressure",
            "False",
            "KubeletHasSufficientPID",
            "kubelet has sufficient PID available",
        ),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ];
    let old = stored
        .and_then(|node| node.pointer("/status/conditions"))
        .and_then(Value::as_array);
    let since = |kind: &str, holds: &str| {
        let old = old
            .into_iter()
            .flatten()
            .find(|c| c["type"] == kind && c["status"] == holds)?;
        old.get("lastTransitionTime").cloned()
    };
    list.into_iter()
        .map(|(kind, holds, reason, message)| {
            json!({
                "type": kind, "status": holds, "reason": reason, "message": message,
                "lastHeartbeatTime": now.rfc3339(),
                "lastTransitionTime": since(kind, holds).unwrap_or_else(|| now.rfc3339().into()),
            })
        })
        .collect()
}

fn node_info(shell: &Shell, node: &NodeIdentity) -> Value {
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    };
    let version = format!("{RUNTIME}{}", shell.config.version);
    json!({
        "architecture": arch(), "operatingSystem": "linux",
        "bootID": read("/proc/sys/kernel/random/boot_id"), "machineID": read("/etc/machine-id"),
        "systemUUID": meta::env::uuid_from(fold(&node.name, 1), fold(&node.name, 2)),
        "kernelVersion": read("/proc/sys/kernel/osrelease"), "osImage": os_image(&read("/etc/os-release")),
        "containerRuntimeVersion": version, "kubeletVersion": KUBELET_VERSION, "kubeProxyVersion": "",
    })
}

/// A number that stands for a name (FNV-1a).
fn fold(name: &str, seed: u64) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ seed;
    name.bytes().fold(start, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn os_image(release: &str) -> String {
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// What the node offers to pods: all of the machine, for isopod itself needs next to nothing.
pub fn allocatable(config: &AgentConfig) -> BTreeMap<String, String> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let disk = nix::sys::statvfs::statvfs(&config.data_dir)
        .or_else(|_| nix::sys::statvfs::statvfs("/"))
        .map_or(0, |stat| stat.blocks() * stat.fragment_size());
    let quantities = [
        ("cpu", cpus.to_string()),
        ("memory", format!("{}Ki", memory_kib())),
        ("ephemeral-storage", format!("{}Ki", disk / 1024)),
        ("pods", config.max_pods.to_string()),
        ("hugepages-1Gi", "0".to_owned()),
        ("hugepages-2Mi", "0".to_owned()),
    ];
    quantities
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn memory_kib() -> u64 {
    let Ok(text) = std::fs::read_to_string("/proc/meminfo") else {
        return 0;
    };
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or(0)
}

/// The node's memory in bytes.
pub fn memory_bytes(allocatable: &BTreeMap<String, String>) -> i64 {
    let memory = allocatable
        .get("memory")
        .and_then(|text| meta::Quantity::parse(text));
    memory.map_or(0, meta::Quantity::value)
}
