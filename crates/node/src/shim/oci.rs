//! A `ContainerSpec` as an OCI runtime configuration, which is what libcontainer reads. Capabilities, seccomp,
//! environment and terminal are not in it: `process` does those itself.

use std::path::Path;

use serde_json::{Value, json};

use super::devices::host_devices;
use crate::runtime::cgroup::Cgroup;
use crate::runtime::spec::{ContainerSpec, Propagation};

const MASKED_PATHS: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const MASKED_TOO: [&str; 2] = [
    "/sys/devices/virtual/powercap",
    "/sys/devices/system/cpu/cpu0/thermal_throttle",
];
const READ_ONLY_PATHS: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Where a pod's namespaces and shared memory lie.
pub struct PodPaths<'a> {
    pub dir: &'a Path,
    /// The process that holds a shared pid namespace.
    pub pid_namespace: Option<String>,
}

pub fn config(spec: &ContainerSpec, pod: &PodPaths<'_>) -> Value {
    let unmasked = spec.privileged || spec.unmasked_proc;
    let cwd = if spec.cwd.is_empty() { "/" } else { &spec.cwd };
    json!({
        "ociVersion": "1.0.2",
        "root": { "path": spec.rootfs, "readonly": spec.read_only_root_filesystem },
        "process": {
            "terminal": false,
            "user": {
                "uid": spec.user.uid,
                "gid": spec.user.gid,
                "additionalGids": spec.user.supplementary_groups,
            },
            "args": spec.args,
            "env": [],
            "cwd": cwd,
            "noNewPrivileges": false,
        },
        "mounts": mounts(spec, pod),
        "linux": {
            "namespaces": namespaces(spec, pod),
            "cgroupsPath": spec.cgroup_path,
            "resources": resources(spec),
            "sysctl": spec.sysctls,
            "rootfsPropagation": propagation(spec),
            "devices": if spec.privileged { host_devices() } else { Vec::new() },
            "maskedPaths": if unmasked { Vec::new() } else { MASKED_PATHS.iter().chain(&MASKED_TOO).collect() },
            "readonlyPaths": if unmasked { Vec::new() } else { READ_ONLY_PATHS.to_vec() },
        },
    })
}

fn namespaces(spec: &ContainerSpec, pod: &PodPaths<'_>) -> Value {
    let sandbox = &spec.sandbox;
    let mut list = vec![json!({ "type": "mount" }), json!({ "type": "cgroup" })];
    let joined = |kind: &str, name: &str| json!({ "type": kind, "path": pod.dir.join("ns").join(name) });
    list.push(joined("network", "net"));
    list.push(joined("uts", "uts"));
    if !sandbox.host_ipc {
        list.push(joined("ipc", "ipc"));
    }
    match &pod.pid_namespace {
        _ if sandbox.host_pid => {}
        Some(path) => list.push(json!({ "type": "pid", "path": path })),
        None => list.push(json!({ "type": "pid" })),
    }
    Value::from(list)
}

fn mounts(spec: &ContainerSpec, pod: &PodPaths<'_>) -> Value {
    let sys_mode = if spec.privileged { "rw" } else { "ro" };
    let mount = |kind: &str, source: &str, destination: &str, options: &[&str]| json!({ "destination": destination, "type": kind, "source": source, "options": options });
    let mut list = vec![
        mount("proc", "proc", "/proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "tmpfs",
            "tmpfs",
            "/dev",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "devpts",
            "devpts",
            "/dev/pts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        mount("mqueue", "mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"]),
        mount("sysfs", "sysfs", "/sys", &["nosuid", "noexec", "nodev", sys_mode]),
    ];
    list.extend(cgroup_mounts(spec, sys_mode));
    let shm = if spec.sandbox.host_ipc {
        Path::new("/dev/shm").to_owned()
    } else {
        pod.dir.join("shm")
    };
    list.push(json!({ "destination": "/dev/shm", "type": "bind", "source": shm, "options": ["rbind", "nosuid", "noexec", "nodev"] }));
    for extra in &spec.mounts {
        let access = match (extra.read_only, extra.recursive_read_only) {
            (true, true) => "rro",
            (true, false) => "ro",
            (false, _) => "rw",
        };
        let propagation = match extra.propagation {
            Propagation::None => "rprivate",
            Propagation::HostToContainer => "rslave",
            Propagation::Bidirectional => "rshared",
        };
        list.push(json!({
            "destination": extra.destination, "type": "bind", "source": extra.source,
            "options": ["rbind", propagation, access],
        }));
    }
    Value::from(list)
}

/// The container's own cgroup, which runtimes like the JVM read their limits from. On v1 the controllers that count
/// are bound one by one: libcontainer's way through all hierarchies costs half of a container's start.
fn cgroup_mounts(spec: &ContainerSpec, mode: &str) -> Vec<Value> {
    let options = ["nosuid", "noexec", "nodev", "relatime", mode];
    let own = Cgroup::new(&spec.cgroup_path).controllers(&["memory", "cpu", "cpuacct", "cpuset", "pids"]);
    if own.is_empty() {
        return vec![
            json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options }),
        ];
    }
    let root = json!({
        "destination": "/sys/fs/cgroup", "type": "tmpfs", "source": "tmpfs",
        "options": ["nosuid", "noexec", "nodev", "mode=755", "size=64k"],
    });
    let bound = own.into_iter().map(|(name, path)| {
        let options = ["bind", "nosuid", "noexec", "nodev", "relatime", mode];
        json!({ "destination": format!("/sys/fs/cgroup/{name}"), "type": "bind", "source": path, "options": options })
    });
    std::iter::once(root).chain(bound).collect()
}

fn propagation(spec: &ContainerSpec) -> &'static str {
    let any = |kind| spec.mounts.iter().any(|m| m.propagation == kind);
    if any(Propagation::Bidirectional) {
        "shared"
    } else if any(Propagation::HostToContainer) {
        "slave"
    } else {
        "private"
    }
}

fn resources(spec: &ContainerSpec) -> Value {
    let limits = &spec.resources;
    let mut value = json!({ "devices": [{ "allow": spec.privileged, "access": "rwm" }] });
    if Cgroup::has_memory_groups() {
        // As the kubelet does: the OOM killer ends the container and not one process of it.
        value["unified"] = json!({ "memory.oom.group": "1" });
    }
    let mut cpu = serde_json::Map::new();
    let mut put = |name: &str, number: Option<Value>| number.map(|n| cpu.insert(name.to_owned(), n));
    put("shares", limits.cpu_shares.map(Value::from));
    put("quota", limits.cpu_quota_us.map(Value::from));
    put("period", limits.cpu_period_us.map(Value::from));
    if !cpu.is_empty() {
        value["cpu"] = Value::Object(cpu);
    }
    if let Some(limit) = limits.memory_limit_bytes {
        value["memory"] = json!({ "limit": limit, "swap": limit });
    }
    if let Some(limit) = limits.pids_limit {
        value["pids"] = json!({ "limit": limit });
    }
    value
}
