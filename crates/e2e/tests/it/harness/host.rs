//! The machine as it is: what belongs to a cluster (processes, mounts, control groups), and what must never change (the
//! host's addresses, routes, rules, firewall).

use super::command::prepare;
use super::tools::Tool;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Other tests mount as well; more changes than this while one waits mean that something is wrong.
const MOUNT_CHANGES: usize = 10_000;

/// A process, told from a later one with the same number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    pub pid: i32,
    pub started_ticks: u64,
    pub command: String,
}

pub fn process(pid: i32) -> Option<Process> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    // A zombie is no process any more: its parent just has not looked.
    (fields.first() != Some(&"Z")).then_some(())?;
    Some(Process {
        pid,
        started_ticks: fields.get(19)?.parse().ok()?,
        command: String::from_utf8_lossy(&command)
            .replace('\0', " ")
            .trim()
            .to_owned(),
    })
}

pub fn processes() -> Vec<Process> {
    std::fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(process)
        .collect()
}

/// Waits until a process has ended (it may be a child that nobody has waited for yet); false when it has not in time.
pub fn wait_for_end(pid: i32, limit: Duration) -> bool {
    let pid = Pid::from_raw(pid).expect("a process id");
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
        return true;
    };
    let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(handle.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, timeout).expect("poll") > 0
}

/// Kills one process, and that one only; returns when it has ended.
pub fn kill(process: &Process) {
    end(process, Signal::KILL);
}

/// Asks one process to end, and does not wait for it.
pub fn ask_to_end(process: &Process) {
    signal(process, Signal::TERM);
}

/// Asks one process to end; returns when it has.
pub fn terminate(process: &Process) {
    end(process, Signal::TERM);
}

fn signal(process: &Process, signal: Signal) {
    let pid = Pid::from_raw(process.pid).expect("a process id");
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    if self::process(process.pid).is_some_and(|now| now.started_ticks == process.started_ticks) {
        pidfd_send_signal(&handle, signal).expect("signalled");
    }
}

fn end(process: &Process, signal: Signal) {
    self::signal(process, signal);
    assert!(
        wait_for_end(process.pid, Duration::from_secs(10)),
        "{process:?} does not end"
    );
}

/// Waits until nothing whose path holds `text` is mounted any more; the kernel tells of each change.
#[track_caller]
pub fn wait_unmounted(text: &str) {
    use std::io::Read;
    for _ in 0..MOUNT_CHANGES {
        let mut table = std::fs::File::open("/proc/self/mounts").expect("mounts");
        let mut mounts = String::new();
        table.read_to_string(&mut mounts).expect("mounts");
        if !mounts.contains(text) {
            return;
        }
        let mut fds = [PollFd::new(table.as_fd(), PollFlags::POLLPRI)];
        let timeout = PollTimeout::try_from(Duration::from_secs(10)).expect("short");
        assert!(
            poll(&mut fds, timeout).expect("poll") > 0,
            "still mounted: {text}"
        );
    }
    panic!("mounts keep changing, and {text} is still there");
}

/// What a cluster has on the machine: all of it names the cluster's folder or its control group.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Traces {
    pub processes: Vec<Process>,
    pub mounts: Vec<String>,
    pub cgroups: Vec<PathBuf>,
}

impl Traces {
    pub fn of(home: &Path, name: &str) -> Self {
        let text = home.to_str().expect("UTF-8");
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
        Self {
            processes: processes_of(text, name),
            mounts: mounts
                .lines()
                .filter(|line| line.contains(text))
                .map(str::to_owned)
                .collect(),
            cgroups: cgroups(name),
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Those that say so on their command line or were started with the folder in their environment, and those in a control
/// group of the cluster (what runs in pods).
fn processes_of(home: &str, name: &str) -> Vec<Process> {
    let group = format!("/isopod/{name}/");
    let mut found: Vec<Process> = processes()
        .into_iter()
        .filter(|p| p.pid != std::process::id() as i32)
        .filter(|p| {
            let read = |file: &str| {
                let bytes = std::fs::read(format!("/proc/{}/{file}", p.pid)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            p.command.contains(home) || read("environ").contains(home) || read("cgroup").contains(&group)
        })
        .collect();
    found.sort();
    found
}

/// Control groups of a cluster, in every hierarchy.
fn cgroups(name: &str) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (path, kind) = (fields.next()?, fields.next()?);
            kind.starts_with("cgroup")
                .then(|| Path::new(path).join("isopod").join(name))
        })
        .filter(|path| path.exists())
        .collect()
}

/// The host's own network, as text. It must be the same at any moment: before, during and after.
pub fn network() -> BTreeMap<&'static str, String> {
    let mut state = BTreeMap::new();
    for (what, args) in [
        ("links", "-o link"),
        ("addresses", "-o addr"),
        ("routes", "route show table all"),
        ("routes 6", "-6 route show table all"),
        ("rules", "rule"),
        ("neighbours", "neigh show nud permanent"),
        ("namespaces", "netns list"),
    ] {
        let text = prepare(&Tool::Ip.path(), args.split(' ')).run().ok();
        state.insert(what, steady(&text));
    }
    let firewall = prepare(&Tool::Nft.path(), ["list", "ruleset"]).run().ok();
    state.insert("firewall", firewall);
    for file in [
        "net/ipv4/ip_forward",
        "net/ipv4/conf/all/rp_filter",
        "net/ipv4/conf/all/route_localnet",
        "net/ipv4/ip_local_port_range",
        "net/ipv6/conf/all/forwarding",
        "kernel/core_pattern",
        "vm/overcommit_memory",
        "kernel/panic",
    ] {
        let text = std::fs::read_to_string(Path::new("/proc/sys").join(file)).unwrap_or_default();
        state.insert(file, text);
    }
    state
}

/// Without what counts down by itself.
fn steady(text: &str) -> String {
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let mut kept = Vec::new();
            let mut skip = false;
            for word in words {
                if std::mem::take(&mut skip) {
                    continue;
                }
                skip = matches!(word, "valid_lft" | "preferred_lft" | "expires");
                if !skip {
                    kept.push(word);
                }
            }
            kept.join(" ")
        })
        .collect();
    lines.sort();
    lines.join("\n")
}
