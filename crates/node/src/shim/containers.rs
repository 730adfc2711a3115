//! What the shim does with containers: start, kill, end, remove; and with the children that it forks for it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::SystemTime;

use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::create::{Report, Stdio, bundle_dir, container_dir};
use super::event_loop::{ConnectionId, EARLY_EXITS_LIMIT, Shim};
use super::log::{LogWriter, Stream};
use super::protocol::{ErrorKind, Message, Reply, WireError};
use super::{create, fds, note, oci, trim_memory};
use crate::runtime::cgroup::Cgroup;
use crate::runtime::paths;
use crate::runtime::spec::{ContainerId, ContainerSpec, ContainerState, Exit, ExitReason};

/// One of a container's streams, as the shim reads it.
pub struct Output {
    pub fd: OwnedFd,
    pub stream: Stream,
}

pub struct Container {
    pub spec: ContainerSpec,
    pub state: ContainerState,
    pub outputs: Vec<Output>,
    /// The write end of its stdin, or its terminal's master.
    pub input: Option<OwnedFd>,
    pub log: LogWriter,
}

impl Container {
    pub fn new(spec: ContainerSpec, log_path: &Path) -> io::Result<Self> {
        Ok(Self {
            state: ContainerState::Creating,
            outputs: Vec::new(),
            input: None,
            log: LogWriter::open(log_path, &spec.log)?,
            spec,
        })
    }

    pub fn is_running(&self) -> bool {
        !matches!(self.state, ContainerState::Exited(_))
    }

    pub fn pid(&self) -> Option<i32> {
        match self.state {
            ContainerState::Running { pid, .. } => Some(pid),
            _ => None,
        }
    }

    /// Pipes for its stdio, the container's ends as the result. With a terminal there are none.
    pub fn make_pipes(&mut self) -> io::Result<Stdio> {
        let mut theirs = Stdio::default();
        if self.spec.tty {
            return Ok(theirs);
        }
        for (stream, slot) in [
            (Stream::Stdout, &mut theirs.stdout),
            (Stream::Stderr, &mut theirs.stderr),
        ] {
            let (reader, writer) = fds::pipe()?;
            fds::set_nonblocking(reader.as_raw_fd(), true)?;
            self.outputs.push(Output { fd: reader, stream });
            *slot = Some(writer);
        }
        if self.spec.stdin {
            let (reader, writer) = fds::pipe()?;
            (theirs.stdin, self.input) = (Some(reader), Some(writer));
        }
        Ok(theirs)
    }

    fn shares_pids(&self) -> bool {
        self.spec.sandbox.host_pid || self.spec.sandbox.share_process_namespace
    }
}

/// A process that was started in a container, on behalf of one connection.
pub struct Exec {
    pub pid: i32,
    pub connection: ConnectionId,
}

impl Exec {
    pub fn kill(&self) {
        kill_process(self.pid, libc::SIGKILL);
    }
}

/// A forked child that makes a container or a process, and the request that waits for it.
pub struct Helper {
    pub pid: i32,
    pub report: OwnedFd,
    pub console: OwnedFd,
    pub connection: ConnectionId,
    pub request: u64,
    /// The container that it makes; `None`: it makes an exec's process.
    makes: Option<ContainerId>,
}

pub fn kill_process(pid: i32, signal: i32) {
    // The process is our child and not yet reaped, so the number is still its own.
    // SAFETY: integers only.
    if unsafe { libc::kill(pid, signal) } != 0 {
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ESRCH) {
            note(&format!("kill {pid} with {signal}: {error}"));
        }
    }
}

/// An error on the way to a new process.
pub fn internal(what: &str) -> impl Fn(io::Error) -> WireError + '_ {
    move |error| WireError::new(ErrorKind::Internal, format!("{what}: {error}"))
}

impl Shim {
    /// Moves to the shims' cgroup, by a child: the kernel takes its time for a move, and nobody here waits for it.
    pub(super) fn join_group(&mut self) {
        if self.cgroup.is_empty() {
            return;
        }
        // SAFETY: this process has one thread, so the child may go on with everything.
        match unsafe { libc::fork() } {
            0 => {
                join_group(&self.cgroup, std::os::unix::process::parent_id());
                // SAFETY: ends the child at once; nothing of the shim's may run in it.
                unsafe { libc::_exit(0) }
            }
            pid if pid > 0 => self.joining = Some(pid),
            _ => note(&format!("fork: {}", io::Error::last_os_error())),
        }
    }

    pub(super) fn start(
        &mut self,
        connection: ConnectionId,
        request: u64,
        spec: ContainerSpec,
    ) -> Result<(), WireError> {
        if self.ending.is_some() {
            return Err(WireError::new(ErrorKind::Conflict, "the pod is being removed"));
        }
        if self.find(&spec.id).is_ok() {
            return Err(WireError::new(
                ErrorKind::Conflict,
                format!("container {} exists", spec.id),
            ));
        }
        if spec.sandbox.share_process_namespace && !spec.sandbox.host_pid && self.pid_holder.is_none() {
            self.pid_holder = Some(hold_pid_namespace().map_err(internal("make the shared pid namespace"))?);
        }
        let log_path = paths::log_path(&self.dir, &spec.id.name, spec.id.attempt);
        let mut container = Container::new(spec, &log_path).map_err(internal("open the log"))?;
        let theirs = container
            .make_pipes()
            .map_err(internal("make the container's pipes"))?;
        let pid_namespace = self.pid_holder.map(|pid| format!("/proc/{pid}/ns/pid"));
        let spec = container.spec.clone();
        let dir = self.dir.clone();
        // A container inherits the group, so one that is made before the shim has moved goes there itself.
        let group = self.joining.map(|_| self.cgroup.clone());
        self.fork_helper(connection, request, Some(spec.id.clone()), move |console| {
            if let Some(group) = group {
                join_group(&group, std::process::id());
            }
            create::create(
                &spec,
                &oci::PodPaths {
                    dir: &dir,
                    pid_namespace,
                },
                theirs,
                console,
            )
        })?;
        self.containers.push(container);
        Ok(())
    }

    /// Forks a child that does `work` and sends its report back; the loop sees it come.
    pub(super) fn fork_helper(
        &mut self,
        connection: ConnectionId,
        request: u64,
        makes: Option<ContainerId>,
        work: impl FnOnce(&OwnedFd) -> Report,
    ) -> Result<(), WireError> {
        let pair = || {
            socketpair(
                AddressFamily::Unix,
                SockType::SeqPacket,
                None,
                SockFlag::SOCK_CLOEXEC,
            )
            .map_err(|e| internal("make a socket pair")(e.into()))
        };
        let ((report, their_report), (console, their_console)) = (pair()?, pair()?);
        // SAFETY: this process has one thread, so the child may go on with everything, allocation included.
        let pid = unsafe { libc::fork() };
        if pid < 0 {
            return Err(internal("fork")(io::Error::last_os_error()));
        }
        if pid == 0 {
            let report = work(&their_console);
            let sent = serde_json::to_vec(&report)
                .map_err(io::Error::from)
                .and_then(|text| fds::send(their_report.as_raw_fd(), &text, &[]));
            if let Err(error) = &sent {
                note(&format!("send a report: {error}"));
            }
            // SAFETY: ends the child at once; nothing of the shim's may run in it.
            unsafe { libc::_exit(i32::from(sent.is_err())) };
        }
        self.helpers.push(Helper {
            pid,
            report,
            console,
            connection,
            request,
            makes,
        });
        Ok(())
    }

    pub(super) fn take_report(&mut self, pid: i32) {
        let Some(number) = self.helpers.iter().position(|h| h.pid == pid) else {
            return;
        };
        let helper = self.helpers.remove(number);
        let mut buffer = vec![0; 64 << 10];
        let report = fds::receive(helper.report.as_raw_fd(), &mut buffer, &mut Vec::new())
            .and_then(|count| serde_json::from_slice::<Report>(&buffer[..count]).map_err(io::Error::from))
            .unwrap_or_else(|error| Report {
                error: Some(WireError::new(
                    ErrorKind::Internal,
                    format!("the creating process died: {error}"),
                )),
                ..Report::default()
            });
        drop(buffer);
        match (&helper.makes, &report.error) {
            (Some(id), None) => self.container_started(&helper, id, report),
            (Some(id), Some(error)) => self.container_failed(&helper, id, error),
            (None, None) => self.exec_started(&helper, report.pid),
            (None, Some(error)) => self.refuse(helper.connection, helper.request, error.clone()),
        }
        trim_memory();
    }

    fn container_started(&mut self, helper: &Helper, id: &ContainerId, report: Report) {
        let Ok(number) = self.find(id) else {
            return;
        };
        let started_at_ns = Self::now_ns();
        let container = &mut self.containers[number];
        container.state = ContainerState::Running {
            pid: report.pid,
            started_at_ns,
        };
        if container.spec.tty {
            match take_terminal(helper) {
                Ok((reader, writer)) => {
                    container.outputs.push(Output {
                        fd: reader,
                        stream: Stream::Stdout,
                    });
                    container.input = Some(writer);
                }
                Err(error) => note(&format!("no terminal came from {id}: {error}")),
            }
        }
        self.save();
        let reply = Reply {
            pid: report.pid,
            started_at_ns,
            warnings: report.warnings,
            ..Reply::default()
        };
        self.reply(helper.connection, helper.request, reply, None);
        self.publish(&Message::Started {
            container: id.clone(),
            pid: report.pid,
            started_at_ns,
        });
        self.take_early_exit(report.pid);
        if self.ending.is_some() {
            self.kill_everything();
        }
    }

    fn container_failed(&mut self, helper: &Helper, id: &ContainerId, error: &WireError) {
        if let Ok(number) = self.find(id) {
            self.remove_cgroup(number);
            let exit = Exit::start_error(&error.message, Self::now_ns());
            if error.kind == ErrorKind::Start {
                let container = &mut self.containers[number];
                container.outputs.clear();
                container.state = ContainerState::Exited(exit.clone());
            } else {
                self.containers.remove(number);
            }
            self.save();
            // A server that came after the one that asked has found it being created, and waits for it.
            let container = id.clone();
            self.publish_except(Some(helper.connection), &Message::Exited { container, exit });
        }
        self.refuse(helper.connection, helper.request, error.clone());
    }

    pub(super) fn take_early_exit(&mut self, pid: i32) {
        if let Some(number) = self.early_exits.iter().position(|(p, ..)| *p == pid)
            && let Some((pid, code, signal)) = self.early_exits.remove(number)
        {
            self.child_ended(pid, code, signal);
        }
    }

    pub(super) fn child_ended(&mut self, pid: i32, code: i32, signal: i32) {
        if let Some(number) = self.containers.iter().position(|c| c.pid() == Some(pid)) {
            self.container_ended(number, code, signal);
        } else if let Some(number) = self.execs.iter().position(|e| e.pid == pid) {
            let exec = self.execs.remove(number);
            self.send(exec.connection, &Message::ExecExited { code, signal }, None);
        } else if self.joining == Some(pid) {
            self.joining = None;
        } else if !self.helpers.is_empty() {
            // Perhaps the child of a helper whose report is still to be read.
            self.early_exits.push_back((pid, code, signal));
            if self.early_exits.len() > EARLY_EXITS_LIMIT {
                self.early_exits.pop_front();
            }
        }
    }

    fn container_ended(&mut self, number: usize, code: i32, signal: i32) {
        let container = &self.containers[number];
        let cgroup = Cgroup::new(&container.spec.cgroup_path);
        if container.shares_pids()
            && let Err(error) = cgroup.kill(Signal::SIGKILL)
        {
            note(&format!("kill what {} left: {error}", container.spec.id));
        }
        let oom_killed = cgroup.oom_kills() > 0;
        self.read_last_outputs(number);
        let container = &mut self.containers[number];
        if let Err(error) = container.log.finish(SystemTime::now()) {
            note(&format!("write the log of {}: {error}", container.spec.id));
        }
        let started_at_ns = match container.state {
            ContainerState::Running { started_at_ns, .. } => started_at_ns,
            _ => 0,
        };
        let reason = match code {
            _ if oom_killed && code != 0 => ExitReason::OomKilled,
            0 => ExitReason::Completed,
            _ => ExitReason::Error,
        };
        let exit = Exit {
            code,
            signal,
            oom_killed,
            reason,
            started_at_ns,
            finished_at_ns: Self::now_ns(),
            ..Exit::default()
        };
        container.state = ContainerState::Exited(exit.clone());
        container.input = None;
        let id = container.spec.id.clone();
        self.save();
        self.publish(&Message::Exited {
            container: id.clone(),
            exit,
        });
        let mut attached = Vec::new();
        for attacher in self.attachers.iter_mut().filter(|a| a.container == id) {
            attacher.finish();
            attached.push(attacher.connection);
        }
        attached
            .into_iter()
            .for_each(|connection| self.drop_connection(connection, ""));
        self.remove_cgroup(number);
    }

    fn remove_cgroup(&self, number: usize) {
        if let Err(error) = Cgroup::new(&self.containers[number].spec.cgroup_path).remove() {
            note(&format!(
                "remove the cgroup of {}: {error}",
                self.containers[number].spec.id
            ));
        }
    }

    pub(super) fn kill(&mut self, id: &ContainerId, signal: i32, all: bool) -> Result<(), WireError> {
        let number = self.find(id)?;
        let container = &self.containers[number];
        let Some(pid) = container.pid() else {
            return Err(WireError::new(
                ErrorKind::Conflict,
                format!("container {id} is not running"),
            ));
        };
        let signal = Signal::try_from(signal)
            .map_err(|_| WireError::new(ErrorKind::Other, format!("signal {signal} does not exist")))?;
        kill_process(pid, signal as i32);
        if all {
            Cgroup::new(&container.spec.cgroup_path)
                .kill(signal)
                .map_err(internal("kill the container's processes"))?;
        }
        Ok(())
    }

    pub(super) fn kill_everything(&mut self) {
        for helper in &self.helpers {
            kill_process(helper.pid, libc::SIGKILL);
        }
        for container in self.containers.iter().filter(|c| c.is_running()) {
            if let Some(pid) = container.pid() {
                kill_process(pid, libc::SIGKILL);
            }
            // Half-made ones too.
            if let Err(error) = Cgroup::new(&container.spec.cgroup_path).kill(Signal::SIGKILL) {
                note(&format!("kill {}: {error}", container.spec.id));
            }
        }
        self.execs.iter().for_each(Exec::kill);
    }

    fn remove_directories(&self, id: &ContainerId) -> Result<(), WireError> {
        for path in [
            container_dir(&self.dir, &id.name, id.attempt),
            bundle_dir(&self.dir, &id.name, id.attempt),
        ] {
            remove_directory(&path).map_err(internal("remove the container's directory"))?;
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, id: &ContainerId) -> Result<(), WireError> {
        if let Some(number) = self.past.iter().position(|past| past.id == *id) {
            self.past.remove(number);
            self.remove_directories(id)?;
            self.save();
            return Ok(());
        }
        let number = self.find(id)?;
        if self.containers[number].is_running() {
            return Err(WireError::new(
                ErrorKind::Conflict,
                format!("container {id} is running"),
            ));
        }
        self.remove_cgroup(number);
        self.remove_directories(id)?;
        self.containers.remove(number);
        self.save();
        Ok(())
    }
}

fn join_group(path: &str, pid: u32) {
    if let Err(error) = Cgroup::new(path).group(pid) {
        note(&format!(
            "move to cgroup {path}: {error}; whoever stops the server's group stops this pod"
        ));
    }
}

fn take_terminal(helper: &Helper) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut received = Vec::new();
    fds::set_nonblocking(helper.console.as_raw_fd(), true)?;
    fds::receive(helper.console.as_raw_fd(), &mut [0; 8], &mut received)?;
    let master = received.pop().ok_or_else(|| io::Error::other("no descriptor"))?;
    fds::set_nonblocking(master.as_raw_fd(), true)?;
    Ok((master.try_clone()?, master))
}

fn remove_directory(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Starts the process that is 1 in a shared pid namespace: it reaps, and dies with the shim.
fn hold_pid_namespace() -> io::Result<i32> {
    // SAFETY: this process has one thread; the child only makes plain system calls.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_NEWPID | libc::SIGCHLD, 0, 0, 0, 0) };
    match pid {
        0 => {
            // SAFETY: plain system calls on integers and a live set, in a process of its own.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
                libc::prctl(libc::PR_SET_NAME, c"pause".as_ptr(), 0, 0, 0);
                libc::close_range(0, u32::MAX, 0);
                let mut set = std::mem::zeroed();
                libc::sigemptyset(&mut set);
                libc::sigaddset(&mut set, libc::SIGCHLD);
                loop {
                    libc::sigwaitinfo(&set, std::ptr::null_mut());
                    while libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) > 0 {}
                }
            }
        }
        pid if pid > 0 => Ok(pid as i32),
        _ => Err(io::Error::last_os_error()),
    }
}
