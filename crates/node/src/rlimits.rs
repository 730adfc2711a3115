//! What processes may use: the same on every machine, whatever the shell allowed from which the server was started.
//! Source: for containers, what systemd and containerd's own unit give them.

use std::io;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// `fs.nr_open`, which no limit of open files may exceed, is this unless somebody has changed it.
const OPEN_FILES: u64 = 1 << 20;
const STACK_BYTES: u64 = 8 << 20;
const LOCKED_BYTES: u64 = 8 << 20;

/// Soft and hard.
const OF_CONTAINERS: [(Resource, u64, u64); 10] = [
    (Resource::RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES),
    (Resource::RLIMIT_STACK, STACK_BYTES, RLIM_INFINITY),
    (Resource::RLIMIT_MEMLOCK, LOCKED_BYTES, LOCKED_BYTES),
    (Resource::RLIMIT_NPROC, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_CORE, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_FSIZE, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_AS, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_DATA, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_CPU, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_RSS, RLIM_INFINITY, RLIM_INFINITY),
];

/// Sets what containers have on this process, whose children inherit it.
pub fn set_for_containers() -> io::Result<()> {
    OF_CONTAINERS
        .into_iter()
        .try_for_each(|(resource, soft, hard)| set(resource, soft, hard))
}

/// As many open files as this process may have: each connection through the cluster's ports is one.
pub fn raise_open_files() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = hard.max(OPEN_FILES);
    set(Resource::RLIMIT_NOFILE, wanted, wanted)
}

/// Who may not raise a hard limit has all that it allows.
fn set(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    if setrlimit(resource, soft, hard).is_err() {
        let (_, allowed) = getrlimit(resource)?;
        setrlimit(resource, soft.min(allowed), allowed)?;
    }
    Ok(())
}
