//! One container's or pod's cgroup on any layout: v2, v1 or hybrid. Reading its use, what the OOM killer did,
//! joining, killing all in it, removing it.
#![allow(unsafe_code)] // System calls that no crate here wraps.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::spec::Resources;

/// Rounds of reading and killing until a v1 cgroup is empty: a fork bomb may outrun one.
const KILL_ROUNDS: usize = 50;

/// How long processes that were killed may take to leave their cgroup, and how often that is looked at.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);
const LEAVE_ROUNDS: u32 = 250;

/// What a machine's cgroup mounts look like; found once, and told to shims.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Layout {
    /// Mount points by v1 controller name.
    v1: Vec<(String, PathBuf)>,
    /// The v2 hierarchy, if mounted at all.
    v2: Option<PathBuf>,
}

static LAYOUT: OnceLock<Layout> = OnceLock::new();

fn layout() -> &'static Layout {
    LAYOUT.get_or_init(|| {
        let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_else(|error| {
            tracing::error!(%error, "cannot read mountinfo: no cgroup is found");
            String::new()
        });
        parse_mounts(&text)
    })
}

/// Where the hierarchies are, for `know_mounts` in another process. Mounts of all pods stand in the kernel's list, so
/// that it grows with each of them and no shim should have to read it.
pub fn mounts() -> String {
    serde_json::to_string(layout()).unwrap_or_default()
}

/// Takes over what `mounts` said; what cannot be read is found by oneself.
pub fn know_mounts(told: &str) {
    match serde_json::from_str(told) {
        // Set already: it is the same machine's.
        Ok(known) => drop(LAYOUT.set(known)),
        Err(error) => tracing::warn!(%error, "cgroup mounts are looked up again"),
    }
}

fn parse_mounts(mountinfo: &str) -> Layout {
    let mut layout = Layout::default();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let Some(mount_point) = left.split(' ').nth(4) else {
            continue;
        };
        let mut fields = right.split(' ');
        match (fields.next(), fields.nth(1)) {
            (Some("cgroup2"), _) if layout.v2.is_none() => layout.v2 = Some(mount_point.into()),
            (Some("cgroup"), Some(options)) => {
                for name in options.split(',').filter(|o| !matches!(*o, "rw" | "ro")) {
                    let name = name.strip_prefix("name=").unwrap_or(name);
                    layout.v1.push((name.to_owned(), mount_point.into()));
                }
            }
            _ => {}
        }
    }
    layout
}

/// A path like `/isopod/<cluster>/<pod uid>/<container>` in every hierarchy.
#[derive(Clone, Debug)]
pub struct Cgroup {
    path: PathBuf,
}

/// What a cgroup uses now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub cpu_usage_ns: u64,
    pub memory_usage_bytes: u64,
    /// Usage without file pages that can go at once: what eviction and `kubectl top` look at.
    pub memory_working_set_bytes: u64,
    pub memory_rss_bytes: u64,
    pub pids: u64,
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.cpu_usage_ns += other.cpu_usage_ns;
        self.memory_usage_bytes += other.memory_usage_bytes;
        self.memory_working_set_bytes += other.memory_working_set_bytes;
        self.memory_rss_bytes += other.memory_rss_bytes;
        self.pids += other.pids;
    }
}

impl Cgroup {
    pub fn new(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        Self {
            path: path.strip_prefix("/").unwrap_or(path).to_owned(),
        }
    }

    /// Its directory in a v1 controller's hierarchy, or `None` where v2 has that controller.
    fn v1(&self, controller: &str) -> Option<PathBuf> {
        layout()
            .v1
            .iter()
            .find(|(name, _)| name == controller)
            .map(|(_, mount)| mount.join(&self.path))
    }

    fn v2(&self) -> Option<PathBuf> {
        layout().v2.as_ref().map(|mount| mount.join(&self.path))
    }

    /// Its directory on v2, where that is all there is for devices: v1's controller sees to them otherwise.
    pub fn without_device_controller(&self) -> Option<PathBuf> {
        match self.v1("devices") {
            Some(_) => None,
            None => self.v2(),
        }
    }

    /// Whether the OOM killer can be told to end all of a cgroup: where v2 has the memory controller.
    pub fn has_memory_groups() -> bool {
        layout().v2.is_some() && !layout().v1.iter().any(|(name, _)| name == "memory")
    }

    /// Its directory for each of these controllers that is on v1.
    pub fn controllers(&self, names: &[&'static str]) -> Vec<(&'static str, PathBuf)> {
        names
            .iter()
            .filter_map(|name| Some((*name, self.v1(name)?)))
            .collect()
    }

    /// Its directory in every hierarchy, whether there or not.
    fn directories(&self) -> Vec<PathBuf> {
        let mut mounts: Vec<&PathBuf> = layout()
            .v1
            .iter()
            .map(|(_, mount)| mount)
            .chain(&layout().v2)
            .collect();
        mounts.sort();
        mounts.dedup();
        mounts.into_iter().map(|mount| mount.join(&self.path)).collect()
    }

    /// Moves the calling process into it, in every hierarchy where it exists.
    pub fn join(&self) -> io::Result<()> {
        for directory in self.directories() {
            match fs::write(directory.join("cgroup.procs"), "0") {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes it in the hierarchies that only group (v2 and v1's `systemd`), and moves a process there: out of the
    /// reach of whoever stops the server's own group. The kernel may take ten milliseconds for it.
    pub fn group(&self, pid: u32) -> io::Result<()> {
        for directory in self.v2().into_iter().chain(self.v1("systemd")) {
            fs::create_dir_all(&directory)?;
            fs::write(directory.join("cgroup.procs"), pid.to_string())?;
        }
        Ok(())
    }

    /// Shares and limits of all that is in it and below, whose own limits may not be wider. It is there already.
    pub fn limit(&self, limits: &Resources) -> io::Result<()> {
        let write = |dir: &Path, name: &str, text: String| {
            let path = dir.join(name);
            fs::write(&path, &text)
                .map_err(|e| io::Error::new(e.kind(), format!("write {text} to {}: {e}", path.display())))
        };
        match (self.v1("cpu"), self.v2()) {
            (Some(dir), _) => {
                if let Some(shares) = limits.cpu_shares {
                    write(&dir, "cpu.shares", shares.to_string())?;
                }
                if let Some(period) = limits.cpu_period_us {
                    write(&dir, "cpu.cfs_period_us", period.to_string())?;
                }
                if let Some(quota) = limits.cpu_quota_us {
                    write(&dir, "cpu.cfs_quota_us", quota.to_string())?;
                }
            }
            (None, Some(dir)) => {
                if let Some(shares) = limits.cpu_shares {
                    write(&dir, "cpu.weight", weight(shares).to_string())?;
                }
                if let Some(quota) = limits.cpu_quota_us {
                    let period = limits.cpu_period_us.map(|period| format!(" {period}"));
                    write(&dir, "cpu.max", format!("{quota}{}", period.unwrap_or_default()))?;
                }
            }
            (None, None) => {}
        }
        match (limits.memory_limit_bytes, self.v1("memory"), self.v2()) {
            (Some(bytes), Some(dir), _) => write(&dir, "memory.limit_in_bytes", bytes.to_string()),
            (Some(bytes), None, Some(dir)) => write(&dir, "memory.max", bytes.to_string()),
            _ => Ok(()),
        }
    }

    /// How often the OOM killer struck in here.
    pub fn oom_kills(&self) -> u64 {
        let counter = |path: PathBuf| {
            fs::read_to_string(path)
                .ok()
                .and_then(|text| field(&text, "oom_kill"))
        };
        let v1 = self
            .v1("memory")
            .and_then(|d| counter(d.join("memory.oom_control")));
        v1.or_else(|| self.v2().and_then(|d| counter(d.join("memory.events"))))
            .unwrap_or(0)
    }

    /// `None` when the cgroup is gone.
    pub fn usage(&self) -> Option<Usage> {
        let number = |path: PathBuf| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
        let text = |path: PathBuf| fs::read_to_string(path).ok();
        let (memory_usage_bytes, inactive, rss) = match self.v1("memory") {
            Some(dir) => {
                let stat = text(dir.join("memory.stat"))?;
                (
                    number(dir.join("memory.usage_in_bytes"))?,
                    field(&stat, "total_inactive_file")?,
                    field(&stat, "total_rss")?,
                )
            }
            None => {
                let dir = self.v2()?;
                let stat = text(dir.join("memory.stat"))?;
                (
                    number(dir.join("memory.current"))?,
                    field(&stat, "inactive_file")?,
                    field(&stat, "anon")?,
                )
            }
        };
        let cpu_usage_ns = match self.v1("cpuacct") {
            Some(dir) => number(dir.join("cpuacct.usage"))?,
            None => field(&text(self.v2()?.join("cpu.stat"))?, "usage_usec")? * 1000,
        };
        let pids = self
            .v1("pids")
            .or_else(|| self.v2())
            .and_then(|d| number(d.join("pids.current")))
            .unwrap_or(0);
        Some(Usage {
            cpu_usage_ns,
            memory_usage_bytes,
            memory_working_set_bytes: memory_usage_bytes.saturating_sub(inactive),
            memory_rss_bytes: rss,
            pids,
        })
    }

    /// SIGKILL to all in it and below. Where the kernel has no `cgroup.kill`, by reading and killing in rounds.
    pub fn kill(&self, signal: nix::sys::signal::Signal) -> io::Result<()> {
        let everything = signal == nix::sys::signal::Signal::SIGKILL;
        let controlled = self.v1("pids").or_else(|| self.v1("memory"));
        if let (true, None, Some(v2)) = (everything, &controlled, self.v2())
            && fs::write(v2.join("cgroup.kill"), "1").is_ok()
        {
            return Ok(());
        }
        let Some(root) = controlled.or_else(|| self.v2()) else {
            return Ok(());
        };
        for _ in 0..if everything { KILL_ROUNDS } else { 1 } {
            let pids = processes_below(&root)?;
            if pids.is_empty() {
                return Ok(());
            }
            for pid in pids {
                match nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal) {
                    Ok(()) | Err(nix::Error::ESRCH) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// SIGKILL to all in it, and waits until they are gone. Blocks.
    pub fn kill_and_wait(&self, limit: Duration) -> io::Result<()> {
        let until = Instant::now() + limit;
        for _ in 0..KILL_ROUNDS {
            let mut pids = Vec::new();
            for directory in self.directories() {
                pids.extend(processes_below(&directory)?);
            }
            pids.sort_unstable();
            pids.dedup();
            // Opened before the kill, so that each handle is of the process that was listed.
            let handles: Vec<OwnedFd> = pids.iter().filter_map(|pid| pidfd(*pid)).collect();
            if handles.is_empty() {
                return Ok(());
            }
            handles.iter().for_each(kill_handle);
            for handle in &handles {
                wait_handle(handle, until.saturating_duration_since(Instant::now()))?;
            }
        }
        Err(io::Error::other("processes keep coming"))
    }

    /// Removes it with all below it, in every hierarchy. Processes must be gone: then `Ok(true)`; `Ok(false)`
    /// when some still leave.
    pub fn remove(&self) -> io::Result<bool> {
        let mut clean = true;
        for directory in self.directories() {
            clean &= remove_tree(&directory)?;
        }
        Ok(clean)
    }

    /// SIGKILL to all in it, and removes it once they have left. Blocks.
    pub fn end(&self) -> io::Result<()> {
        self.kill_and_wait(LEAVE_LIMIT)?;
        for _ in 0..LEAVE_ROUNDS {
            if self.remove()? {
                return Ok(());
            }
            // pause: no event tells that the last process has left a cgroup of v1
            std::thread::sleep(LEAVE_LIMIT / LEAVE_ROUNDS);
        }
        Err(io::Error::other("processes do not leave their cgroup"))
    }

    /// Removes the directory itself only, if nothing is in it.
    pub fn remove_if_empty(&self) {
        for directory in self.directories() {
            match fs::remove_dir(&directory) {
                Ok(()) => {}
                Err(error)
                    if matches!(
                        error.raw_os_error(),
                        Some(libc::ENOENT | libc::EBUSY | libc::ENOTEMPTY)
                    ) => {}
                Err(error) => {
                    tracing::warn!(path = %directory.display(), %error, "cannot remove a cgroup")
                }
            }
        }
    }
}

/// Shares of v1 (2 to 262144) as a weight of v2 (1 to 10000). Source: what runc and libcontainer make of them.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

/// SIGKILL to a process that was started with `dir` among its arguments, and waits for its end. Another process that
/// has the number by now is left alone.
pub fn kill_process_and_wait(pid: i32, dir: &Path, limit: Duration) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let Some(handle) = pidfd(pid) else {
        return Ok(());
    };
    let arguments = match fs::read(format!("/proc/{pid}/cmdline")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if !arguments
        .split(|b| *b == 0)
        .any(|argument| argument == dir.as_os_str().as_bytes())
    {
        return Ok(());
    }
    kill_handle(&handle);
    wait_handle(&handle, limit)
}

fn kill_handle(handle: &OwnedFd) {
    // SAFETY: integers and a null pointer, which stands for plain siginfo. A process that is gone is fine.
    unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            handle.as_raw_fd(),
            libc::SIGKILL,
            std::ptr::null::<u8>(),
            0,
        )
    };
}

fn wait_handle(handle: &OwnedFd, limit: Duration) -> io::Result<()> {
    let mut polled = libc::pollfd {
        fd: handle.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one live pollfd.
    match unsafe { libc::poll(&mut polled, 1, limit.as_millis() as i32) } {
        0 => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "a killed process does not end",
        )),
        _ => Ok(()),
    }
}

/// A handle of a process; `None`: it is gone.
fn pidfd(pid: i32) -> Option<OwnedFd> {
    // SAFETY: pidfd_open takes integers and gives a new descriptor, which is ours alone.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd as i32))
    }
}

/// The value of `name` in lines of `name value`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

fn children(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => Ok(Vec::new()),
        Err(error) => Err(error),
        Ok(entries) => Ok(entries
            .filter_map(Result::ok)
            .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
            .map(|e| e.path())
            .collect()),
    }
}

fn processes_below(directory: &Path) -> io::Result<Vec<i32>> {
    let mut pids = match fs::read_to_string(directory.join("cgroup.procs")) {
        Ok(text) => text
            .lines()
            .filter_map(|line| line.parse().ok())
            .filter(|pid| *pid > 0)
            .collect(),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => Vec::new(),
        Err(error) => return Err(error),
    };
    for child in children(directory)? {
        pids.extend(processes_below(&child)?);
    }
    Ok(pids)
}

fn remove_tree(directory: &Path) -> io::Result<bool> {
    let mut clean = true;
    for child in children(directory)? {
        clean &= remove_tree(&child)?;
    }
    match fs::remove_dir(directory) {
        Ok(()) => Ok(clean),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(clean),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENOTEMPTY)) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_hierarchies_of_every_layout() {
        let hybrid = parse_mounts(
            "30 24 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
             31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
             32 30 0:28 / /sys/fs/cgroup/systemd rw shared:5 - cgroup cgroup rw,name=systemd\n\
             33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        );
        let told = serde_json::to_string(&hybrid).expect("text");
        assert_eq!(serde_json::from_str::<Layout>(&told).expect("as it was"), hybrid);
        let names: Vec<&str> = hybrid.v1.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["cpu", "cpuacct", "systemd"]);
        assert_eq!(hybrid.v1[1].1, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(hybrid.v2.as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        let pure = parse_mounts("29 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n");
        assert!(pure.v1.is_empty());
        assert_eq!(pure.v2.as_deref(), Some(Path::new("/sys/fs/cgroup")));
    }

    #[test]
    fn reads_fields_by_their_whole_name() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(field(text, "oom_kill"), Some(3));
        assert_eq!(field(text, "oom"), None);
    }
}
