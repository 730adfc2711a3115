//! The last steps of every process that is started in a container, first or further: terminal, signals,
//! seccomp, capabilities, finding the command, execve. Runs in the forked child, inside the container.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use serde::{Deserialize, Serialize};

use super::caps::{self, CapabilitySet};
use super::{fds, seccomp};
use crate::runtime::spec::TerminalSize;

/// Where a PATH is missing, as runc and containerd assume it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The largest /etc/passwd that is read for HOME.
const PASSWD_LIMIT_BYTES: u64 = 1 << 20;

/// What execve will be called with, and what is given up before.
#[derive(Clone)]
pub struct ProcessPlan {
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub uid: u32,
    pub capabilities: CapabilitySet,
    pub no_new_privileges: bool,
    pub seccomp: bool,
    /// A terminal of this size is made, and its master sent over `console`.
    pub tty: Option<TerminalSize>,
    /// Both are close-on-exec descriptors of this process: a reader of `errors` that sees the end knows that execve worked.
    pub console: RawFd,
    pub errors: RawFd,
    /// A signal for the process when the shim dies: no container outlives its parent unseen.
    pub die_with_shim: bool,
}

/// Why a process did not start, in the words that kubectl users know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProcessError {
    pub message: String,
    /// As a shell: 127 not found, 126 found but not runnable, 128 anything else.
    pub code: i32,
}

impl ProcessError {
    fn step(what: &str, error: &io::Error) -> Self {
        Self {
            message: format!("{what}: {}", errno_words(error)),
            code: 128,
        }
    }

    /// `exec: "foo": permission denied`
    fn command(name: &str, words: &str, code: i32) -> Self {
        Self {
            message: format!("exec: {name:?}: {words}"),
            code,
        }
    }
}

/// The kernel's words without Rust's ` (os error 13)`, in lower case as Go prints them.
pub fn errno_words(error: &io::Error) -> String {
    let text = error.to_string();
    let plain = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = plain.chars();
    chars
        .next()
        .map(|first| first.to_lowercase().chain(chars).collect())
        .unwrap_or_default()
}

impl ProcessPlan {
    /// Everything up to execve; gives the absolute path of the command.
    pub fn prepare(&self) -> Result<PathBuf, ProcessError> {
        if let Some(size) = self.tty {
            make_terminal(size, self.console).map_err(|e| ProcessError::step("open a terminal", &e))?;
        }
        reset_signals().map_err(|e| ProcessError::step("reset signals", &e))?;
        let filter = self.seccomp.then(|| seccomp::program(self.capabilities));
        let install = || match &filter {
            Some(program) => {
                seccomp::install(program).map_err(|e| ProcessError::step("install the seccomp profile", &e))
            }
            None => Ok(()),
        };
        // Without no_new_privs the filter needs SYS_ADMIN, so it comes before the capabilities go.
        if !self.no_new_privileges {
            install()?;
        }
        caps::limit_to(self.capabilities).map_err(|e| ProcessError::step("drop capabilities", &e))?;
        if self.no_new_privileges {
            // SAFETY: prctl with integer arguments only.
            if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
                return Err(ProcessError::step(
                    "set no_new_privs",
                    &io::Error::last_os_error(),
                ));
            }
            install()?;
        }
        if self.die_with_shim {
            // Last, because changes of identity clear it. SAFETY: prctl with integer arguments only.
            if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) } != 0 {
                return Err(ProcessError::step(
                    "set the parent-death signal",
                    &io::Error::last_os_error(),
                ));
            }
        }
        find_command(&self.args, self.path())
    }

    fn path(&self) -> &str {
        self.env
            .iter()
            .rev()
            .find(|(name, _)| name == "PATH")
            .map_or(DEFAULT_PATH, |(_, value)| value)
    }

    /// Only returns when it failed.
    pub fn execute(&self, command: &Path) -> ProcessError {
        let name = self.args.first().map_or("", String::as_str);
        let (argv, envp) = match (
            c_strings(self.args.iter().cloned()),
            c_strings(self.environment().into_iter()),
        ) {
            (Ok(argv), Ok(envp)) => (argv, envp),
            _ => return ProcessError::command(name, "invalid argument", 128),
        };
        let Ok(path) = CString::new(command.as_os_str().as_bytes()) else {
            return ProcessError::command(name, "invalid argument", 128);
        };
        let pointers = |list: &[CString]| {
            list.iter()
                .map(|s| s.as_ptr())
                .chain([std::ptr::null()])
                .collect::<Vec<_>>()
        };
        let (argv_pointers, envp_pointers) = (pointers(&argv), pointers(&envp));
        // SAFETY: all strings and the null-ended arrays live until execve replaces the process or returns.
        unsafe { libc::execve(path.as_ptr(), argv_pointers.as_ptr(), envp_pointers.as_ptr()) };
        ProcessError::command(name, &errno_words(&io::Error::last_os_error()), 126)
    }

    /// The environment with the last of each name, and PATH and HOME where they are missing.
    fn environment(&self) -> Vec<String> {
        let mut last: Vec<(&str, &str)> = Vec::with_capacity(self.env.len() + 2);
        let mut put = |name, value| match last.iter_mut().find(|(n, _)| *n == name) {
            Some(entry) => entry.1 = value,
            None => last.push((name, value)),
        };
        self.env
            .iter()
            .for_each(|(name, value)| put(name.as_str(), value.as_str()));
        let home;
        let has = |name: &str| self.env.iter().any(|(n, _)| n == name);
        if !has("PATH") {
            put("PATH", DEFAULT_PATH);
        }
        if self.tty.is_some() && !has("TERM") {
            put("TERM", "xterm");
        }
        if !has("HOME") {
            home = home_of(self.uid);
            put("HOME", &home);
        }
        last.iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    /// Tells the waiting parent why execve was not reached.
    pub fn report(&self, error: &ProcessError) {
        let text = serde_json::to_vec(error).unwrap_or_else(|_| error.message.clone().into_bytes());
        // SAFETY: `errors` is open in this process (it is close-on-exec and nothing closes it before).
        let pipe = unsafe { BorrowedFd::borrow_raw(self.errors) };
        if let Err(error) = nix::unistd::write(pipe, &text) {
            tracing::error!(%error, "cannot report why a process did not start");
        }
    }
}

fn c_strings(list: impl Iterator<Item = String>) -> Result<Vec<CString>, std::ffi::NulError> {
    list.map(CString::new).collect()
}

/// HOME as the container's /etc/passwd says, `/` where it says nothing.
fn home_of(uid: u32) -> String {
    use std::io::Read;
    let mut text = String::new();
    let read =
        std::fs::File::open("/etc/passwd").and_then(|f| f.take(PASSWD_LIMIT_BYTES).read_to_string(&mut text));
    if let Err(error) = read {
        tracing::debug!(%error, "no readable /etc/passwd, HOME is /");
    }
    let uid = uid.to_string();
    text.lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&uid.as_str()))
        .and_then(|fields| {
            fields
                .get(5)
                .filter(|home| !home.is_empty())
                .map(|home| (*home).to_owned())
        })
        .unwrap_or_else(|| "/".to_owned())
}

/// Finds the command as Go's exec.LookPath does, with its words for what is wrong.
fn find_command(args: &[String], path: &str) -> Result<PathBuf, ProcessError> {
    let Some(name) = args.first().filter(|name| !name.is_empty()) else {
        return Err(ProcessError {
            message: "no command specified".to_owned(),
            code: 128,
        });
    };
    if name.contains('/') {
        return match runnable(Path::new(name)) {
            Ok(()) => Ok(PathBuf::from(name)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let message = format!("exec: {name:?}: stat {name}: no such file or directory");
                Err(ProcessError { message, code: 127 })
            }
            Err(error) => Err(ProcessError::command(name, &errno_words(&error), 126)),
        };
    }
    for directory in path.split(':') {
        let candidate = Path::new(if directory.is_empty() { "." } else { directory }).join(name);
        if runnable(&candidate).is_ok() {
            return Ok(candidate);
        }
    }
    Err(ProcessError::command(
        name,
        "executable file not found in $PATH",
        127,
    ))
}

fn runnable(path: &Path) -> io::Result<()> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    // By the effective ids: the user has changed already, so this asks what execve will ask.
    nix::unistd::eaccess(path, nix::unistd::AccessFlags::X_OK).map_err(io::Error::from)
}

/// What the shim blocks and ignores must not reach the container.
fn reset_signals() -> io::Result<()> {
    for signal in 1..=64 {
        if matches!(signal, libc::SIGKILL | libc::SIGSTOP | 32 | 33) {
            continue; // Not changeable, or the C library's own.
        }
        // SAFETY: the default disposition involves no handler.
        if unsafe { libc::signal(signal, libc::SIG_DFL) } == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    nix::sys::signal::SigSet::empty()
        .thread_set_mask()
        .map_err(io::Error::from)
}

/// Opens a terminal inside the container as the container's user, makes it the controlling one and stdio,
/// and sends the master away.
fn make_terminal(size: TerminalSize, console: RawFd) -> io::Result<()> {
    use nix::fcntl::{OFlag, open};
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = open("/dev/ptmx", flags, nix::sys::stat::Mode::empty())?;
    let unlock: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int.
    if unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &unlock) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: TIOCGPTPEER takes open flags and gives a new descriptor that is nobody else's.
    let slave = unsafe {
        libc::ioctl(
            master.as_raw_fd(),
            libc::TIOCGPTPEER,
            libc::O_RDWR | libc::O_NOCTTY,
        )
    };
    if slave < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, owned by nobody else.
    let slave = unsafe { OwnedFd::from_raw_fd(slave) };
    if size.width > 0 && size.height > 0 {
        fds::resize(master.as_raw_fd(), size)?;
    }
    // SAFETY: TIOCSCTTY takes an int; this process leads a session without a terminal.
    if unsafe { libc::ioctl(slave.as_raw_fd(), libc::TIOCSCTTY, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    for target in 0..3 {
        // SAFETY: dup2 onto stdio, which belongs to this process alone.
        if unsafe { libc::dup2(slave.as_raw_fd(), target) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    if slave.as_raw_fd() < 3 {
        std::mem::forget(slave); // It is stdio now.
    }
    fds::send(console, b"t", &[master.as_raw_fd()]).map(|_| ())
}

/// The plan as libcontainer's executor: `validate` runs inside the container with full capabilities before
/// the start signal, `exec` after it.
impl Executor for ProcessPlan {
    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        self.prepare().map(|_| ()).map_err(|error| {
            self.report(&error);
            ExecutorValidationError::ArgValidationError(error.message)
        })
    }

    fn setup_envs(&self, _: std::collections::HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(()) // execve gets its own, in order.
    }

    fn exec(&self, _: &Spec) -> Result<(), ExecutorError> {
        let error = match find_command(&self.args, self.path()) {
            Ok(command) => self.execute(&command),
            Err(error) => error,
        };
        self.report(&error);
        Err(ExecutorError::Other(error.message))
    }
}
