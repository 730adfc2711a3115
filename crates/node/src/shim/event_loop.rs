//! The shim's loop: one poll(2) over the socket, its connections, the containers' output, reports of forked
//! children and SIGCHLD. Nothing here waits for anything but that poll.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::SystemTime;

use super::connection::Connection;
use super::containers::{Container, Exec, Helper};
use super::protocol::{
    ErrorKind, Message, PROTOCOL_VERSION, Reply, Request, RequestFrame, RequestHead, WireError,
};
use super::state::{STATE_FILE, ShimState, boot_id, read, write_atomically};
use super::streams::{Attacher, HowMuch, is_held};
use super::{note, trim_memory};
use crate::runtime::spec::{ContainerId, ContainerStatus};

/// The most connections at once; more are closed at once.
const CONNECTIONS_LIMIT: usize = 256;
/// Ended children that nobody has asked for yet (their helper's report is still on its way).
pub(super) const EARLY_EXITS_LIMIT: usize = 128;

pub(super) type ConnectionId = u64;

pub struct Shim {
    pub(super) dir: PathBuf,
    listener: UnixListener,
    signals: OwnedFd,
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    next_connection: ConnectionId,
    pub(super) containers: Vec<Container>,
    pub(super) execs: Vec<Exec>,
    pub(super) helpers: Vec<Helper>,
    pub(super) attachers: Vec<Attacher>,
    pub(super) early_exits: VecDeque<(i32, i32, i32)>,
    /// The process that holds the pid namespace of a pod with `shareProcessNamespace`.
    pub(super) pid_holder: Option<i32>,
    /// Set by Shutdown: whom to answer when all have ended.
    pub(super) ending: Option<(ConnectionId, u64)>,
    boot_id: String,
    /// The cgroup that the shims share, and the child that moves us there.
    pub(super) cgroup: String,
    pub(super) joining: Option<i32>,
    /// Containers of an earlier shim of this pod: results only.
    pub(super) past: Vec<ContainerStatus>,
}

/// What a polled descriptor belongs to.
#[derive(Clone, Copy)]
enum Source {
    Listener,
    Signals,
    Connection(ConnectionId),
    Output { container: usize, output: usize },
    Report(i32),
    Attacher { attacher: usize, output: usize },
}

impl Shim {
    pub fn new(dir: PathBuf, cgroup: String, listener: UnixListener, signals: OwnedFd) -> io::Result<Self> {
        // The server has settled what was still running when the earlier shim died.
        let earlier = read::<ShimState>(&dir.join(STATE_FILE)).unwrap_or_else(|error| {
            note(&format!("read {STATE_FILE}: {error}"));
            None
        });
        let mut shim = Self {
            cgroup,
            joining: None,
            past: earlier.map(|state| state.containers).unwrap_or_default(),
            dir,
            listener,
            signals,
            connections: BTreeMap::new(),
            next_connection: 1,
            containers: Vec::new(),
            execs: Vec::new(),
            helpers: Vec::new(),
            attachers: Vec::new(),
            early_exits: VecDeque::new(),
            pid_holder: None,
            ending: None,
            boot_id: boot_id()?,
        };
        shim.save();
        shim.join_group();
        Ok(shim)
    }

    pub fn run(&mut self) -> io::Result<()> {
        loop {
            if self.ending.is_some() && self.nothing_runs() {
                self.say_goodbye();
                return Ok(());
            }
            let (mut polled, sources) = self.sources();
            // SAFETY: `polled` is a live array of its own length.
            let ready = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, -1) };
            if ready < 0 {
                let error = io::Error::last_os_error();
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                return Err(error);
            }
            // Output before exits: what a container wrote last is in its log before its end is known.
            for (entry, source) in polled.iter().zip(&sources) {
                if entry.revents != 0 {
                    self.serve(*source, entry.revents);
                }
            }
            self.drop_ended_outputs();
        }
    }

    fn sources(&self) -> (Vec<libc::pollfd>, Vec<Source>) {
        let (mut polled, mut sources) = (Vec::new(), Vec::new());
        let mut add = |fd: RawFd, events: libc::c_short, source: Source| {
            polled.push(libc::pollfd {
                fd,
                events,
                revents: 0,
            });
            sources.push(source);
        };
        for (number, container) in self.containers.iter().enumerate() {
            for (output, entry) in container.outputs.iter().enumerate() {
                if is_held(&self.attachers, &container.spec.id, entry.stream) {
                    continue;
                }
                add(
                    entry.fd.as_raw_fd(),
                    libc::POLLIN,
                    Source::Output {
                        container: number,
                        output,
                    },
                );
            }
        }
        for (number, attacher) in self.attachers.iter().enumerate() {
            for (output, entry) in attacher.outputs.iter().enumerate() {
                if !entry.backlog.is_empty() {
                    add(
                        entry.fd.as_raw_fd(),
                        libc::POLLOUT,
                        Source::Attacher {
                            attacher: number,
                            output,
                        },
                    );
                }
            }
        }
        for helper in &self.helpers {
            add(
                helper.report.as_raw_fd(),
                libc::POLLIN,
                Source::Report(helper.pid),
            );
        }
        for (id, connection) in &self.connections {
            let write = if connection.wants_to_write() {
                libc::POLLOUT
            } else {
                0
            };
            add(connection.fd(), libc::POLLIN | write, Source::Connection(*id));
        }
        add(self.listener.as_raw_fd(), libc::POLLIN, Source::Listener);
        add(self.signals.as_raw_fd(), libc::POLLIN, Source::Signals);
        (polled, sources)
    }

    fn serve(&mut self, source: Source, events: libc::c_short) {
        match source {
            Source::Listener => self.accept(),
            Source::Signals => {
                self.drain_signals();
                self.reap();
            }
            Source::Connection(id) => self.serve_connection(id, events),
            Source::Output { container, output } => {
                self.read_output(container, output, HowMuch::Some);
            }
            Source::Report(pid) => self.take_report(pid),
            Source::Attacher { attacher, output } => {
                if let Some(attacher) = self.attachers.get_mut(attacher) {
                    attacher.flush(output);
                }
            }
        }
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((socket, _)) if self.connections.len() < CONNECTIONS_LIMIT => {
                    match Connection::new(socket) {
                        Ok(connection) => {
                            self.connections.insert(self.next_connection, connection);
                            self.next_connection += 1;
                        }
                        Err(error) => note(&format!("accept: {error}")),
                    }
                }
                Ok(_) => note("too many connections, one was closed"),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return note(&format!("accept: {error}")),
            }
        }
    }

    fn drain_signals(&self) {
        let mut buffer = [0u8; 1024];
        while nix::unistd::read(&self.signals, &mut buffer).is_ok_and(|count| count > 0) {}
    }

    fn serve_connection(&mut self, id: ConnectionId, events: libc::c_short) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if events & libc::POLLOUT != 0
            && let Err(error) = connection.flush()
        {
            return self.drop_connection(id, &error.to_string());
        }
        let alive = match connection.read() {
            Ok(alive) => alive,
            Err(error) => return self.drop_connection(id, &error.to_string()),
        };
        while let Some(connection) = self.connections.get_mut(&id) {
            match connection.next_frame() {
                Ok(Some((frame, fds))) => self.request(id, &frame, fds),
                Ok(None) => break,
                Err(error) => return self.drop_connection(id, &error.to_string()),
            }
        }
        if !alive {
            self.drop_connection(id, "");
        }
    }

    /// Forgets a connection and what hung on it: an exec is killed, an attacher detached.
    pub(super) fn drop_connection(&mut self, id: ConnectionId, why: &str) {
        if !why.is_empty() {
            note(&format!("a connection is dropped: {why}"));
        }
        self.connections.remove(&id);
        self.attachers.retain(|attacher| attacher.connection != id);
        for exec in self.execs.iter().filter(|exec| exec.connection == id) {
            exec.kill();
        }
    }

    fn request(&mut self, id: ConnectionId, frame: &[u8], fds: Vec<OwnedFd>) {
        let request = match serde_json::from_slice::<RequestFrame>(frame) {
            Ok(request) => request,
            Err(error) => {
                let Ok(head) = serde_json::from_slice::<RequestHead>(frame) else {
                    return self.drop_connection(id, "a frame is not a request");
                };
                let words = format!(
                    "this shim (protocol {PROTOCOL_VERSION}) does not understand {:?}: {error}",
                    head.op
                );
                return self.refuse(id, head.id, WireError::new(ErrorKind::Unsupported, words));
            }
        };
        let number = request.id;
        let result = match request.request {
            Request::Hello { .. } => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.wants_events = true;
                }
                Ok(Some(Reply {
                    version: PROTOCOL_VERSION,
                    containers: self.statuses(),
                    ..Reply::default()
                }))
            }
            Request::Start { spec } => self.start(id, number, *spec).map(|()| None),
            Request::Kill {
                container,
                signal,
                all,
            } => self
                .kill(&container, signal, all)
                .map(|()| Some(Reply::default())),
            Request::Remove { container } => self.remove(&container).map(|()| Some(Reply::default())),
            Request::Exec { container, spec } => self.exec(id, number, &container, &spec, fds).map(|()| None),
            Request::Attach {
                container,
                stdin,
                stdout,
                stderr,
            } => self
                .attach(id, number, &container, [stdin, stdout, stderr], fds)
                .map(|()| None),
            Request::Resize { container, size } => {
                self.resize(&container, size).map(|()| Some(Reply::default()))
            }
            Request::Shutdown => {
                self.ending = Some((id, number));
                self.kill_everything();
                Ok(None)
            }
        };
        match result {
            Ok(Some(reply)) => self.reply(id, number, reply, None),
            Ok(None) => {}
            Err(error) => self.refuse(id, number, error),
        }
    }

    pub(super) fn reply(&mut self, connection: ConnectionId, id: u64, reply: Reply, fd: Option<OwnedFd>) {
        self.send(connection, &Message::Reply { id, reply }, fd);
    }

    pub(super) fn refuse(&mut self, connection: ConnectionId, id: u64, error: WireError) {
        self.send(connection, &Message::Refused { id, error }, None);
    }

    pub(super) fn send(&mut self, id: ConnectionId, message: &Message, fd: Option<OwnedFd>) {
        if let Some(connection) = self.connections.get_mut(&id)
            && let Err(error) = connection.send(message, fd)
        {
            self.drop_connection(id, &error.to_string());
        }
    }

    pub(super) fn publish(&mut self, message: &Message) {
        self.publish_except(None, message);
    }

    /// Tells all that listen, but for one that hears of it otherwise.
    pub(super) fn publish_except(&mut self, but: Option<ConnectionId>, message: &Message) {
        let listening: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(id, c)| c.wants_events && Some(**id) != but)
            .map(|(id, _)| *id)
            .collect();
        for id in listening {
            self.send(id, message, None);
        }
    }

    pub(super) fn statuses(&self) -> Vec<ContainerStatus> {
        let present = self.containers.iter().map(|c| ContainerStatus {
            id: c.spec.id.clone(),
            state: c.state.clone(),
        });
        self.past.iter().cloned().chain(present).collect()
    }

    /// Writes the state file. A full disk must not end containers, so an error is only noted.
    pub(super) fn save(&self) {
        let state = ShimState {
            version: PROTOCOL_VERSION,
            boot_id: self.boot_id.clone(),
            shim_pid: std::process::id() as i32,
            containers: self.statuses(),
        };
        if let Err(error) = write_atomically(&self.dir.join(STATE_FILE), &state) {
            note(&format!("write {STATE_FILE}: {error}"));
        }
    }

    /// Takes all children that have ended.
    pub(super) fn reap(&mut self) {
        loop {
            let mut status = 0;
            // SAFETY: `status` is a live int.
            let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
            if pid <= 0 {
                break;
            }
            let signal = if libc::WIFSIGNALED(status) {
                libc::WTERMSIG(status)
            } else {
                0
            };
            let code = if signal != 0 {
                128 + signal
            } else {
                libc::WEXITSTATUS(status)
            };
            self.child_ended(pid, code, signal);
        }
        trim_memory();
    }

    fn nothing_runs(&self) -> bool {
        self.helpers.is_empty() && self.execs.is_empty() && self.containers.iter().all(|c| !c.is_running())
    }

    fn say_goodbye(&mut self) {
        if let Some((connection, id)) = self.ending {
            self.reply(connection, id, Reply::default(), None);
        }
        if let Some(pid) = self.pid_holder {
            super::containers::kill_process(pid, libc::SIGKILL);
        }
    }

    pub(super) fn find(&self, id: &ContainerId) -> Result<usize, WireError> {
        self.containers
            .iter()
            .position(|c| c.spec.id == *id)
            .ok_or_else(|| WireError::new(ErrorKind::NotFound, format!("container {id} not found")))
    }

    pub(super) fn now_ns() -> i64 {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |d| d.as_nanos() as i64)
    }
}
