//! What the shim does with containers: start, output, exec, attach, kill, end.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::SystemTime;

use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::create::{Report, Stdio, container_dir};
use super::event_loop::{ConnectionId, EARLY_EXITS_LIMIT, Shim};
use super::log::{LogWriter, Stream};
use super::protocol::{ErrorKind, Message, Reply, WireError};
use super::{create, enter, fds, note, oci, trim_memory};
use crate::runtime::cgroup::Cgroup;
use crate::runtime::paths;
use crate::runtime::spec::{
    ContainerId, ContainerSpec, ContainerState, ExecSpec, Exit, ExitReason, TerminalSize,
};

/// How much an attacher may lag behind before it is cut off; the container never waits for it.
const ATTACH_BACKLOG_BYTES: usize = 256 << 10;
const READ_BYTES: usize = 16 << 10;
/// Reads from one output in a row, so that one loud container does not starve the others.
const READS_IN_A_ROW: usize = 16;

/// One of a container's streams, as the shim reads it.
pub struct Output {
    pub fd: OwnedFd,
    stream: Stream,
}

pub struct Container {
    pub spec: ContainerSpec,
    pub state: ContainerState,
    pub outputs: Vec<Output>,
    /// The write end of its stdin, or its terminal's master.
    input: Option<OwnedFd>,
    log: LogWriter,
}

impl Container {
    pub fn is_running(&self) -> bool {
        !matches!(self.state, ContainerState::Exited(_))
    }

    fn pid(&self) -> Option<i32> {
        match self.state {
            ContainerState::Running { pid, .. } => Some(pid),
            _ => None,
        }
    }

    fn shares_pids(&self) -> bool {
        self.spec.sandbox.host_pid || self.spec.sandbox.share_process_namespace
    }
}

/// A process that was started in a container, on behalf of one connection.
pub struct Exec {
    pid: i32,
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
    console: OwnedFd,
    connection: ConnectionId,
    request: u64,
    /// The container that it makes; `None`: it makes an exec's process.
    makes: Option<ContainerId>,
}

pub struct AttachOutput {
    pub fd: OwnedFd,
    stream: Stream,
    pub backlog: VecDeque<u8>,
}

pub struct Attacher {
    pub connection: ConnectionId,
    container: ContainerId,
    pub outputs: Vec<AttachOutput>,
    /// How many outputs it came with.
    outputs_given: usize,
}

impl Attacher {
    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        for number in 0..self.outputs.len() {
            if self.outputs[number].stream == stream {
                self.outputs[number].backlog.extend(bytes);
                self.flush(number);
                break;
            }
        }
    }

    /// Writes what the attacher takes now; one that lags too far or is gone is cut off.
    pub fn flush(&mut self, number: usize) {
        let Some(output) = self.outputs.get_mut(number) else {
            return;
        };
        while !output.backlog.is_empty() {
            match nix::unistd::write(&output.fd, output.backlog.as_slices().0) {
                Ok(count) => drop(output.backlog.drain(..count)),
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) if output.backlog.len() <= ATTACH_BACKLOG_BYTES => return,
                Err(_) => {
                    self.outputs.remove(number);
                    return;
                }
            }
        }
        output.backlog = VecDeque::new();
    }
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
fn internal(what: &str) -> impl Fn(io::Error) -> WireError + '_ {
    move |error| WireError::new(ErrorKind::Internal, format!("{what}: {error}"))
}

impl Shim {
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
        let log = LogWriter::open(&log_path, &spec.log).map_err(internal("open the log"))?;
        let make_pipe = || fds::pipe().map_err(internal("make a pipe"));
        let mut theirs = Stdio::default();
        let mut container = Container {
            state: ContainerState::Creating,
            outputs: Vec::new(),
            input: None,
            log,
            spec,
        };
        if !container.spec.tty {
            for stream in [Stream::Stdout, Stream::Stderr] {
                let (reader, writer) = make_pipe()?;
                fds::set_nonblocking(reader.as_raw_fd(), true).map_err(internal("set up a pipe"))?;
                container.outputs.push(Output { fd: reader, stream });
                *(if stream == Stream::Stdout {
                    &mut theirs.stdout
                } else {
                    &mut theirs.stderr
                }) = Some(writer);
            }
            if container.spec.stdin {
                let (reader, writer) = make_pipe()?;
                (theirs.stdin, container.input) = (Some(reader), Some(writer));
            }
        }
        let pid_namespace = self.pid_holder.map(|pid| format!("/proc/{pid}/ns/pid"));
        let spec = container.spec.clone();
        let dir = self.dir.clone();
        self.fork_helper(connection, request, Some(spec.id.clone()), move |console| {
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
    fn fork_helper(
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
            if error.kind == ErrorKind::Start {
                let now = Self::now_ns();
                let container = &mut self.containers[number];
                container.outputs.clear();
                container.state = ContainerState::Exited(Exit {
                    code: 128,
                    reason: ExitReason::StartError,
                    started_at_ns: 0,
                    finished_at_ns: now,
                    message: error.message.clone(),
                    ..Exit::default()
                });
            } else {
                self.containers.remove(number);
            }
            self.save();
        }
        self.refuse(helper.connection, helper.request, error.clone());
    }

    fn exec_started(&mut self, helper: &Helper, pid: i32) {
        let mut terminal = Vec::new();
        fds::set_nonblocking(helper.console.as_raw_fd(), true)
            .and_then(|()| fds::receive(helper.console.as_raw_fd(), &mut [0; 8], &mut terminal))
            .map_or_else(
                |error| debug_assert!(error.kind() == io::ErrorKind::WouldBlock),
                drop,
            );
        self.execs.push(Exec {
            pid,
            connection: helper.connection,
        });
        let reply = Reply {
            pid,
            ..Reply::default()
        };
        self.reply(helper.connection, helper.request, reply, terminal.pop());
        if !self.connections.contains_key(&helper.connection) {
            kill_process(pid, libc::SIGKILL); // Its caller left while it was made.
        }
        self.take_early_exit(pid);
    }

    fn take_early_exit(&mut self, pid: i32) {
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
        while !self.containers[number].outputs.is_empty() {
            self.read_output(number, 0);
            if !self.containers[number].outputs.is_empty() {
                // Empty for now: what still holds the other end is not the container any more.
                self.containers[number].outputs.remove(0);
            }
        }
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
            message: String::new(),
        };
        container.state = ContainerState::Exited(exit.clone());
        container.input = None;
        let id = container.spec.id.clone();
        self.save();
        self.publish(&Message::Exited {
            container: id.clone(),
            exit,
        });
        let attached: Vec<ConnectionId> = self
            .attachers
            .iter()
            .filter(|a| a.container == id)
            .map(|a| a.connection)
            .collect();
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

    /// Copies what a container wrote to its log and its attachers.
    pub(super) fn read_output(&mut self, number: usize, output: usize) {
        let Some(container) = self.containers.get_mut(number) else {
            return;
        };
        let Some(entry) = container.outputs.get(output) else {
            return;
        };
        let (mut buffer, mut ended, stream) = ([0; READ_BYTES], false, entry.stream);
        let mut rounds = if container.pid().is_some() {
            READS_IN_A_ROW
        } else {
            usize::MAX
        };
        while rounds > 0 && !ended {
            rounds -= 1;
            let count = match nix::unistd::read(&container.outputs[output].fd, &mut buffer) {
                Ok(0) | Err(nix::Error::EIO) => 0, // EIO: a terminal that nobody holds any more.
                Ok(count) => count,
                Err(nix::Error::EAGAIN) => break,
                Err(nix::Error::EINTR) => continue,
                Err(error) => {
                    note(&format!("read output of {}: {error}", container.spec.id));
                    0
                }
            };
            ended = count == 0;
            if let Err(error) = container.log.write(stream, &buffer[..count], SystemTime::now()) {
                note(&format!("write the log of {}: {error}", container.spec.id));
            }
            let attachers = self
                .attachers
                .iter_mut()
                .filter(|a| a.container == container.spec.id);
            attachers.for_each(|attacher| attacher.write(stream, &buffer[..count]));
        }
        if ended {
            container.outputs.remove(output);
        }
    }

    /// An attacher that was cut off has nothing more to come.
    pub(super) fn drop_ended_outputs(&mut self) {
        let ended: Vec<ConnectionId> = self
            .attachers
            .iter()
            .filter(|a| a.outputs.is_empty() && a.outputs_given > 0)
            .map(|a| a.connection)
            .collect();
        ended
            .into_iter()
            .for_each(|connection| self.drop_connection(connection, "an attacher was too slow or left"));
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
        for container in &self.containers {
            let Some(pid) = container.pid() else {
                continue;
            };
            kill_process(pid, libc::SIGKILL);
            if let Err(error) = Cgroup::new(&container.spec.cgroup_path).kill(Signal::SIGKILL) {
                note(&format!("kill {}: {error}", container.spec.id));
            }
        }
        self.execs.iter().for_each(Exec::kill);
    }

    pub(super) fn remove(&mut self, id: &ContainerId) -> Result<(), WireError> {
        if let Some(number) = self.past.iter().position(|past| past.id == *id) {
            self.past.remove(number);
            remove_directory(&container_dir(&self.dir, &id.name, id.attempt))
                .map_err(internal("remove the container's directory"))?;
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
        remove_directory(&container_dir(&self.dir, &id.name, id.attempt))
            .map_err(internal("remove the container's directory"))?;
        self.containers.remove(number);
        self.save();
        Ok(())
    }

    pub(super) fn exec(
        &mut self,
        connection: ConnectionId,
        request: u64,
        id: &ContainerId,
        spec: &ExecSpec,
        given: Vec<OwnedFd>,
    ) -> Result<(), WireError> {
        let number = self.find(id)?;
        let container = &self.containers[number];
        let Some(pid) = container.pid() else {
            return Err(WireError::new(
                ErrorKind::Conflict,
                format!("container {id} is not running"),
            ));
        };
        let container = container.spec.clone();
        let mut given = given.into_iter();
        let mut theirs = Stdio::default();
        if !spec.tty {
            let missing = || WireError::new(ErrorKind::Other, "a stream's descriptor is missing");
            for (wanted, slot) in [
                (spec.stdin, &mut theirs.stdin),
                (spec.stdout, &mut theirs.stdout),
                (spec.stderr, &mut theirs.stderr),
            ] {
                if wanted {
                    *slot = Some(given.next().ok_or_else(missing)?);
                }
            }
        }
        let spec = spec.clone();
        self.fork_helper(connection, request, None, move |console| {
            enter::enter(&container, pid, &spec, theirs, console)
        })
    }

    pub(super) fn attach(
        &mut self,
        connection: ConnectionId,
        request: u64,
        id: &ContainerId,
        wanted: [bool; 3],
        given: Vec<OwnedFd>,
    ) -> Result<(), WireError> {
        let number = self.find(id)?;
        let container = &mut self.containers[number];
        if container.pid().is_none() {
            return Err(WireError::new(
                ErrorKind::Conflict,
                format!("container {id} is not running"),
            ));
        }
        let mut outputs = Vec::new();
        let streams = [(wanted[1], Stream::Stdout), (wanted[2], Stream::Stderr)];
        for ((_, stream), fd) in streams.into_iter().filter(|(wanted, _)| *wanted).zip(given) {
            fds::set_nonblocking(fd.as_raw_fd(), true).map_err(internal("set up a stream"))?;
            outputs.push(AttachOutput {
                fd,
                stream,
                backlog: VecDeque::new(),
            });
        }
        let mut input = None;
        if wanted[0]
            && let Some(ours) = &container.input
        {
            input = Some(ours.try_clone().map_err(internal("share stdin"))?);
            if container.spec.stdin_once && !container.spec.tty {
                container.input = None; // The attacher's end is the container's end of input.
            }
        }
        let outputs_given = outputs.len();
        self.attachers.push(Attacher {
            connection,
            container: id.clone(),
            outputs,
            outputs_given,
        });
        self.reply(connection, request, Reply::default(), input);
        Ok(())
    }

    pub(super) fn resize(&mut self, id: &ContainerId, size: TerminalSize) -> Result<(), WireError> {
        let number = self.find(id)?;
        let container = &self.containers[number];
        match &container.input {
            Some(terminal) if container.spec.tty => {
                fds::resize(terminal.as_raw_fd(), size).map_err(internal("resize the terminal"))
            }
            _ => Err(WireError::new(
                ErrorKind::Conflict,
                format!("container {id} has no terminal"),
            )),
        }
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
