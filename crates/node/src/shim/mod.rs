//! `isopod shim`: one small single-threaded process a pod. It is the parent of the pod's containers, holds their
//! stdio, logs and exit codes, and outlives the server, which finds it again by the socket in the pod's directory.
//! If the shim itself dies, the kernel kills its containers (parent-death signal): none runs on unwatched.

mod caps;
mod connection;
mod containers;
mod create;
mod details;
mod device_filter;
mod devices;
mod enter;
mod event_loop;
pub(crate) mod fds;
mod log;
mod oci;
mod process;
pub mod protocol;
mod seccomp;
pub mod state;
mod streams;

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;

pub use create::container_dir;
pub use log::rotated;

/// What the server passes on the shim's command line.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    /// The pod's directory.
    dir: PathBuf,
    /// The cgroup that the shims of a cluster share; empty for none.
    cgroup: String,
    /// Where cgroups are mounted, as the server found it.
    cgroup_mounts: Option<String>,
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options = Options {
        dir: PathBuf::new(),
        cgroup: String::new(),
        cgroup_mounts: None,
    };
    for pair in args.chunks(2) {
        match pair {
            [name, value] if name == "--dir" => options.dir = value.into(),
            [name, value] if name == "--cgroup" => options.cgroup = value.clone(),
            [name, value] if name == "--cgroup-mounts" => options.cgroup_mounts = Some(value.clone()),
            other => {
                return Err(format!(
                    "unknown argument {other:?}; the shim is started by the server only"
                ));
            }
        }
    }
    if options.dir.is_absolute() {
        Ok(options)
    } else {
        Err("--dir with an absolute path is missing".to_owned())
    }
}

/// The shim's whole life. `args` is what follows the word `shim`; descriptor 0 is the listening socket.
pub fn main(args: &[String]) -> ExitCode {
    let outcome = parse(args).and_then(|options| {
        if let Some(told) = &options.cgroup_mounts {
            crate::runtime::cgroup::know_mounts(told);
        }
        let (listener, signals) = settle().map_err(|e| format!("start the shim: {e}"))?;
        event_loop::Shim::new(options.dir, options.cgroup, listener, signals)
            .and_then(|mut shim| shim.run())
            .map_err(|e| format!("run the shim: {e}"))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&error);
            ExitCode::FAILURE
        }
    }
}

/// One line to the pod's `shim.log`, which is the shim's stderr. On a full disk the line is lost; `eprintln!` would
/// panic, and the containers would end with the shim.
fn note(text: &str) {
    use std::io::Write;
    writeln!(std::io::stderr().lock(), "{} {text}", jiff::Timestamp::now()).ok();
}

/// Leaves the server's session and group, and takes what a parent of containers needs.
fn settle() -> io::Result<(UnixListener, OwnedFd)> {
    // SAFETY: the server passes the listening socket as descriptor 0; the duplicate is ours alone.
    let listener = unsafe { libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3) };
    if listener < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above; and closing what lies above it (leaked by whoever started the server) touches nothing of ours.
    let listener = unsafe {
        libc::close_range(listener as u32 + 1, u32::MAX, 0);
        UnixListener::from_raw_fd(listener)
    };
    listener.set_nonblocking(true)?;
    let null = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    for target in [0, 1] {
        // SAFETY: dup2 onto our own stdio.
        if unsafe { libc::dup2(null.as_raw_fd(), target) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // Containers must not see the server's environment, and libcontainer reads LISTEN_FDS.
    let names: Vec<_> = std::env::vars_os().map(|(name, _)| name).collect();
    // SAFETY: this process has one thread.
    names
        .iter()
        .for_each(|name| unsafe { std::env::remove_var(name) });
    nix::unistd::setsid()?;
    std::env::set_current_dir("/")?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    crate::rlimits::set_for_containers()?;
    nix::unistd::setgroups(&[])?;
    nix::sys::prctl::set_child_subreaper(true)?;
    nix::sys::prctl::set_name(c"isopod-shim")?;
    keep_memory_small();
    Ok((listener, signals()?))
}

/// SIGCHLD as a descriptor. Signals that would end the shim are ignored: its containers get theirs themselves.
fn signals() -> io::Result<OwnedFd> {
    use nix::sys::signal::{SigSet, Signal};
    use nix::sys::signalfd::{SfdFlags, SignalFd};
    for signal in [
        libc::SIGTERM,
        libc::SIGINT,
        libc::SIGHUP,
        libc::SIGQUIT,
        libc::SIGPIPE,
    ] {
        // SAFETY: ignoring involves no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    set.thread_block()?;
    let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    // SAFETY: signalfd is leaked into the OwnedFd, which closes it.
    let owned = unsafe { OwnedFd::from_raw_fd(libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3)) };
    Ok(owned)
}

/// Tells the allocator to give memory back early.
fn keep_memory_small() {
    #[cfg(target_env = "gnu")]
    // SAFETY: integers only, before anything else runs.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, 32 << 10);
        libc::mallopt(libc::M_TOP_PAD, 4 << 10);
    }
}

/// Gives freed memory back to the kernel.
fn trim_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_pairs() {
        let args = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let given = [
            "--dir",
            "/d",
            "--cgroup",
            "/isopod/x/shims",
            "--cgroup-mounts",
            "{}",
        ];
        let options = parse(&args(&given)).expect("good");
        assert_eq!(
            options,
            Options {
                dir: "/d".into(),
                cgroup: "/isopod/x/shims".into(),
                cgroup_mounts: Some("{}".into()),
            }
        );
        assert!(parse(&args(&["--dir", "d"])).is_err());
        assert!(parse(&args(&["--dir"])).is_err());
    }
}
