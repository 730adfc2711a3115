//! What goes in and out of containers: their output to log and attachers, and processes that are run in them.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::SystemTime;

use super::containers::{Exec, Helper, internal, kill_process};
use super::create::Stdio;
use super::event_loop::{ConnectionId, Shim};
use super::log::Stream;
use super::protocol::{ErrorKind, Reply, WireError};
use super::{enter, fds, note};
use crate::runtime::spec::{ContainerId, ExecSpec, TerminalSize};

/// What a pipe holds unless it is told to hold more.
const PIPE_BYTES: usize = 64 << 10;
const READ_BYTES: usize = 16 << 10;
/// Reads from one output in a row, so that one loud container does not starve the others.
const READS_IN_A_ROW: usize = 16;

pub struct AttachOutput {
    pub fd: OwnedFd,
    stream: Stream,
    pub backlog: VecDeque<u8>,
}

/// Whether more may come of an output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum OutputState {
    Open,
    Ended,
}

/// How much is read at once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum HowMuch {
    /// As much as attachers take, and others may wait for.
    Some,
    /// The container has ended: all that there is.
    All,
}

pub struct Attacher {
    pub connection: ConnectionId,
    pub container: ContainerId,
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

    /// Writes what the attacher takes now; one that is gone is cut off.
    pub fn flush(&mut self, number: usize) {
        let Some(output) = self.outputs.get_mut(number) else {
            return;
        };
        while !output.backlog.is_empty() {
            match nix::unistd::write(&output.fd, output.backlog.as_slices().0) {
                Ok(count) => drop(output.backlog.drain(..count)),
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => return,
                Err(_) => {
                    self.outputs.remove(number);
                    return;
                }
            }
        }
        output.backlog = VecDeque::new();
    }

    /// Leaves what the attacher has not taken yet to the kernel, which keeps it when the shim is gone.
    pub(super) fn finish(&mut self) {
        for number in (0..self.outputs.len()).rev() {
            let output = &self.outputs[number];
            if output.backlog.is_empty() {
                continue;
            }
            let room = (PIPE_BYTES + output.backlog.len()).next_power_of_two();
            let room = libc::c_int::try_from(room).unwrap_or(libc::c_int::MAX);
            if let Err(error) = nix::fcntl::fcntl(&output.fd, nix::fcntl::FcntlArg::F_SETPIPE_SZ(room)) {
                note(&format!("an attacher may miss the last output: {error}"));
            }
            self.flush(number);
        }
    }

    /// It has not taken all of what came last.
    fn lags(&self, container: &ContainerId, stream: Stream) -> bool {
        let mut outputs = self.outputs.iter();
        self.container == *container && outputs.any(|o| o.stream == stream && !o.backlog.is_empty())
    }
}

/// An attacher lags behind, so the container waits: nothing is read from it, and once its pipe is full it stands still.
pub fn is_held(attachers: &[Attacher], container: &ContainerId, stream: Stream) -> bool {
    attachers.iter().any(|attacher| attacher.lags(container, stream))
}

impl Shim {
    /// Copies what a container wrote to its log and its attachers. At the stream's end the output goes.
    pub(super) fn read_output(&mut self, number: usize, output: usize, how_much: HowMuch) -> OutputState {
        let Some(container) = self.containers.get_mut(number) else {
            return OutputState::Ended;
        };
        let Some(entry) = container.outputs.get(output) else {
            return OutputState::Ended;
        };
        let (mut buffer, mut ended, stream) = ([0; READ_BYTES], false, entry.stream);
        let mut rounds = match how_much {
            HowMuch::Some => READS_IN_A_ROW,
            HowMuch::All => usize::MAX,
        };
        while rounds > 0 && !ended {
            rounds -= 1;
            if how_much == HowMuch::Some && is_held(&self.attachers, &container.spec.id, stream) {
                break;
            }
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
        if !ended {
            return OutputState::Open;
        }
        container.outputs.remove(output);
        OutputState::Ended
    }

    /// Takes what is in all outputs of a container that has ended. What still holds the other end of one that stays
    /// open is not the container any more.
    pub(super) fn read_last_outputs(&mut self, number: usize) {
        while !self.containers[number].outputs.is_empty() {
            if self.read_output(number, 0, HowMuch::All) == OutputState::Open {
                self.containers[number].outputs.remove(0);
            }
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
            .for_each(|connection| self.drop_connection(connection, "an attacher left"));
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

    pub(super) fn exec_started(&mut self, helper: &Helper, pid: i32) {
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::runtime::paths;
    use crate::runtime::spec::ContainerSpec;
    use crate::shim::containers::Container;

    /// A shim that nobody polls, with one container whose stdio's other ends are the result.
    fn shim_with_container(dir: &std::path::Path) -> (Shim, Stdio) {
        let listener = UnixListener::bind(dir.join("shim.sock")).expect("bind");
        let (signals, _) = fds::pipe().expect("pipe");
        let mut shim = Shim::new(dir.to_owned(), String::new(), listener, signals).expect("shim");
        let spec = ContainerSpec {
            id: ContainerId::new("uid", "main", 0),
            ..ContainerSpec::default()
        };
        let mut container = Container::new(spec, &paths::log_path(dir, "main", 0)).expect("container");
        let theirs = container.make_pipes().expect("pipes");
        shim.containers.push(container);
        (shim, theirs)
    }

    #[test]
    fn a_container_that_ends_before_anything_is_read_leaves_all_its_output() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (mut shim, theirs) = shim_with_container(dir.path());
        let (stdout, stderr) = (theirs.stdout.expect("stdout"), theirs.stderr.expect("stderr"));
        nix::unistd::write(&stdout, b"out\n").expect("write");
        nix::unistd::write(&stderr, b"err\nunfinished").expect("write");
        drop(stdout);
        let inherited = stderr.try_clone().expect("a process that outlives the container");
        drop(stderr);
        shim.read_last_outputs(0);
        shim.containers[0].log.finish(SystemTime::now()).expect("finish");
        drop(inherited);
        let log = std::fs::read_to_string(paths::log_path(dir.path(), "main", 0)).expect("log");
        let lines: Vec<&str> = log.lines().map(|l| l.split_once(' ').expect("time").1).collect();
        assert_eq!(lines, ["stdout F out", "stderr F err", "stderr P unfinished"]);
        assert!(shim.containers[0].outputs.is_empty());
    }
}
