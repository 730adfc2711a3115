//! The server's process from outside: is it there, ask it to end, wait until it has.

use crate::place::Place;
use crate::server::Running;
use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// What /proc/PID/stat says.
struct Stat {
    state: char,
    flags: u64,
    /// When it started, in clock ticks after the boot.
    started_ticks: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses and may hold anything; from the third on all are words.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        flags: fields.get(6)?.parse().ok()?,
        started_ticks: fields.get(19)?.parse().ok()?,
    })
}

/// When a process started, in clock ticks after the boot. `None` when it is gone, also when only its entry is left
/// because its parent has not taken note of its end (a zombie).
pub fn start_ticks(pid: i32) -> Option<u64> {
    let stat = stat(pid)?;
    (!matches!(stat.state, 'Z' | 'X')).then_some(stat.started_ticks)
}

/// The server that the cluster's folder names; it may have ended.
fn noted(place: &Place) -> Option<Running> {
    let text = std::fs::read(place.pid_file()).ok()?;
    serde_json::from_slice(&text).ok()
}

/// The cluster's server, if it runs.
pub fn running(place: &Place) -> Option<Running> {
    let running = noted(place)?;
    (start_ticks(running.pid) == Some(running.started_ticks)).then_some(running)
}

/// A server that was asked to end, or killed, still holds its store, its port and its network for a while: waits for its
/// end, for at most `DYING_LIMIT`.
pub fn wait_for_dying(place: &Place) -> Result<()> {
    let Some(last) = noted(place) else { return Ok(()) };
    let Some(handle) = pidfd(last.pid) else {
        return Ok(());
    };
    let is_it = stat(last.pid).is_some_and(|now| now.started_ticks == last.started_ticks);
    if !is_it || ended(&handle, Duration::ZERO)? {
        return Ok(());
    }
    // Between taking its signal and saying that it exits, a process looks like any other, for a moment.
    // Read anew each time: it may have been asked to end just now.
    let is_ending = || noted(place).is_some_and(|now| now.ending);
    let is_dying = |pid| is_ending() || is_dying(pid);
    if !is_dying(last.pid) && (ended(&handle, DYING_MOMENT)? || !is_dying(last.pid)) {
        return Ok(());
    }
    if ended(&handle, DYING_SILENCE)? {
        return Ok(());
    }
    let why = if is_ending() { "is stopping" } else { "was killed" };
    eprintln!(
        "waiting for the last server (process {}), which {why}, to end",
        last.pid
    );
    if ended(&handle, DYING_LIMIT)? {
        return Ok(());
    }
    bail!(
        "the last server (process {}) {why}, but does not end; see {} and dmesg",
        last.pid,
        place.log_file().display()
    )
}

const DYING_MOMENT: Duration = Duration::from_millis(50);
const DYING_SILENCE: Duration = Duration::from_secs(1);
const DYING_LIMIT: Duration = Duration::from_secs(20);

/// Whether SIGKILL waits for a process, or it exits already (PF_EXITING), or only threads of it are left.
fn is_dying(pid: i32) -> bool {
    const PF_EXITING: u64 = 0x4;
    if stat(pid).is_none_or(|stat| matches!(stat.state, 'Z' | 'X') || stat.flags & PF_EXITING != 0) {
        return true;
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pending = |line: &str| {
        let mask = line.strip_prefix("SigPnd:").or(line.strip_prefix("ShdPnd:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    };
    let kill = 1 << (Signal::KILL.as_raw() - 1);
    status.lines().filter_map(pending).any(|mask| mask & kill != 0)
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
