//! Starts a further process in a running container (exec). Runs in a child that the shim forks for it:
//! join the cgroup, join the namespaces, fork into the pid namespace as the shim's child, execve.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::unistd::{Gid, Uid};

use super::create::{self, Report, Stdio, read_failure};
use super::process::{ProcessError, ProcessPlan, errno_words};
use super::protocol::{ErrorKind, WireError};
use super::{caps, fds};
use crate::runtime::cgroup::Cgroup;
use crate::runtime::spec::{ContainerSpec, ExecSpec};

const NAMESPACES: libc::c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

pub fn enter(
    container: &ContainerSpec,
    init_pid: i32,
    exec: &ExecSpec,
    stdio: Stdio,
    console: &OwnedFd,
) -> Report {
    match run(container, init_pid, exec, stdio, console) {
        Ok(pid) => Report {
            pid,
            ..Report::default()
        },
        Err(error) => Report {
            error: Some(error),
            ..Report::default()
        },
    }
}

fn run(
    container: &ContainerSpec,
    init_pid: i32,
    exec: &ExecSpec,
    stdio: Stdio,
    console: &OwnedFd,
) -> Result<i32, WireError> {
    let failed = |what: &str, error: io::Error| {
        WireError::new(ErrorKind::Internal, format!("{what}: {}", errno_words(&error)))
    };
    if exec.args.iter().any(|arg| arg.contains('\0')) {
        return Err(WireError::new(ErrorKind::Start, "a NUL byte in the command"));
    }
    Cgroup::new(&container.cgroup_path)
        .join()
        .map_err(|e| failed("join the container's cgroup", e))?;
    // Processes of the container must not look into this one before execve.
    nix::sys::prctl::set_dumpable(false).map_err(|e| failed("become undumpable", e.into()))?;
    let (reader, writer) = fds::pipe().map_err(|e| failed("make a pipe", e))?;
    let user = exec.user.clone().unwrap_or_else(|| container.user.clone());
    let mut plan = create::plan(container, console, &writer)?;
    plan.args.clone_from(&exec.args);
    plan.env.extend(exec.env.iter().cloned());
    plan.uid = user.uid;
    plan.tty = exec.tty.then(|| exec.size.unwrap_or_default());
    // These die with the container's first process.
    plan.die_with_shim = false;
    join_namespaces(init_pid).map_err(|e| failed("join the container's namespaces", e))?;
    // SAFETY: this process has one thread; the child goes on as after fork(2). CLONE_PARENT makes it the shim's child.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_PARENT | libc::SIGCHLD, 0, 0, 0, 0) };
    match pid {
        0 => in_child(&plan, container, exec, &user, stdio),
        pid if pid > 0 => {
            drop(writer);
            match read_failure(reader).map_err(|e| failed("wait for the command", e))? {
                None => Ok(pid as i32),
                Some(ProcessError { message, code }) => Err(WireError {
                    kind: ErrorKind::Start,
                    message,
                    code,
                }),
            }
        }
        _ => Err(failed("fork", io::Error::last_os_error())),
    }
}

fn join_namespaces(init_pid: i32) -> io::Result<()> {
    // SAFETY: pidfd_open takes integers and gives a new descriptor.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, init_pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, owned by nobody else.
    let pidfd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    // SAFETY: integers only; this process has one thread, as a change of the mount namespace needs.
    if unsafe { libc::setns(pidfd.as_raw_fd(), NAMESPACES) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The new process up to its execve; never returns.
fn in_child(
    plan: &ProcessPlan,
    container: &ContainerSpec,
    exec: &ExecSpec,
    user: &crate::runtime::spec::User,
    stdio: Stdio,
) -> ! {
    let error = match settle(container, exec, user, stdio).map_err(|(what, error)| ProcessError {
        message: format!("{what}: {}", errno_words(&error)),
        code: 128,
    }) {
        Ok(()) => plan
            .prepare()
            .map_or_else(|error| error, |command| plan.execute(&command)),
        Err(error) => error,
    };
    plan.report(&error);
    // SAFETY: ends this process at once; nothing of the shim's may run here.
    unsafe { libc::_exit(error.code) }
}

fn settle(
    container: &ContainerSpec,
    exec: &ExecSpec,
    user: &crate::runtime::spec::User,
    stdio: Stdio,
) -> Result<(), (String, io::Error)> {
    let step = |what: &'static str| move |error: nix::Error| (what.to_owned(), io::Error::from(error));
    nix::unistd::setsid().map_err(step("setsid"))?;
    for (source, target) in [(&stdio.stdin, 0), (&stdio.stdout, 1), (&stdio.stderr, 2)] {
        let Some(source) = source else {
            continue; // The shim's own stdio is /dev/null and its log; see `silence`.
        };
        // SAFETY: dup2 onto stdio, which belongs to this process alone.
        if unsafe { libc::dup2(source.as_raw_fd(), target) } < 0 {
            return Err(("set up stdio".to_owned(), io::Error::last_os_error()));
        }
    }
    silence(&stdio)?;
    let cwd = exec.cwd.as_deref().unwrap_or(if container.cwd.is_empty() {
        "/"
    } else {
        &container.cwd
    });
    nix::unistd::chdir(cwd).map_err(|e| (format!("chdir to cwd ({cwd:?})"), e.into()))?;
    let groups: Vec<Gid> = user
        .supplementary_groups
        .iter()
        .map(|gid| Gid::from_raw(*gid))
        .collect();
    nix::unistd::setgroups(&groups).map_err(step("set supplementary groups"))?;
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    nix::sys::prctl::set_keepcaps(true).map_err(step("keep capabilities"))?;
    nix::unistd::setresgid(gid, gid, gid).map_err(step("set the group"))?;
    nix::unistd::setresuid(uid, uid, uid).map_err(step("set the user"))?;
    nix::sys::prctl::set_keepcaps(false).map_err(step("keep capabilities"))?;
    caps::raise().map_err(|e| ("raise capabilities".to_owned(), e))
}

/// Streams that the caller did not ask for lead nowhere.
fn silence(stdio: &Stdio) -> Result<(), (String, io::Error)> {
    let null = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(|e| ("open /dev/null".to_owned(), e))?;
    for (given, target) in [
        (stdio.stdin.is_some(), 0),
        (stdio.stdout.is_some(), 1),
        (stdio.stderr.is_some(), 2),
    ] {
        // SAFETY: dup2 onto stdio, which belongs to this process alone.
        if !given && unsafe { libc::dup2(null.as_raw_fd(), target) } < 0 {
            return Err(("set up stdio".to_owned(), io::Error::last_os_error()));
        }
    }
    Ok(())
}
