//! The server's process from outside: is it there, ask it to end, wait until it has.

use crate::place::Place;
use crate::server::Running;
use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// When a process started, in clock ticks after the boot (field 22 of /proc/PID/stat). `None` when it is gone, also
/// when only its entry is left because its parent has not taken note of its end (a zombie).
pub fn start_ticks(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// The cluster's server, if it runs.
pub fn running(place: &Place) -> Option<Running> {
    let text = std::fs::read(place.pid_file()).ok()?;
    let running: Running = serde_json::from_slice(&text).ok()?;
    (start_ticks(running.pid) == Some(running.started_ticks)).then_some(running)
}

/// A handle on a process that names it and no other; `None` when it has ended.
fn pidfd(pid: i32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

/// Asks the server to end and waits for it; after `limit` it is killed.
pub fn end(running: &Running, limit: Duration) -> Result<()> {
    let Some(handle) = pidfd(running.pid) else {
        return Ok(());
    };
    if start_ticks(running.pid) != Some(running.started_ticks) {
        return Ok(());
    }
    send(&handle, Signal::TERM)?;
    if ended(&handle, limit)? {
        return Ok(());
    }
    send(&handle, Signal::KILL)?;
    if !ended(&handle, Duration::from_secs(5))? {
        bail!(
            "the server (process {}) does not end, even when it is killed; see dmesg",
            running.pid
        );
    }
    Ok(())
}

/// Asks the server to end all pods and then itself; says whether it has ended within `limit`.
pub fn ask_to_switch_off(running: &Running, limit: Duration) -> Result<bool> {
    match pidfd(running.pid).filter(|_| start_ticks(running.pid) == Some(running.started_ticks)) {
        Some(handle) => {
            send(&handle, Signal::USR1)?;
            ended(&handle, limit)
        }
        None => Ok(true),
    }
}

/// Waits for the server's end; says whether it has ended.
pub fn wait(running: &Running, limit: Duration) -> Result<bool> {
    match pidfd(running.pid).filter(|_| start_ticks(running.pid) == Some(running.started_ticks)) {
        Some(handle) => ended(&handle, limit),
        None => Ok(true),
    }
}

fn send(handle: &OwnedFd, signal: Signal) -> Result<()> {
    match pidfd_send_signal(handle, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(e) => Err(e).with_context(|| format!("cannot send {signal:?} to the server")),
    }
}

fn ended(handle: &OwnedFd, limit: Duration) -> Result<bool> {
    let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(handle.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut fds, timeout)? > 0)
}
