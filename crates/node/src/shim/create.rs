//! Makes and starts a container with libcontainer. Runs in a child that the shim forks for it, because
//! libcontainer changes its process (working directory, dumpable flag, oom score) and leaves memory behind.

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use serde::{Deserialize, Serialize};

use super::details::Details;
use super::process::{ProcessError, ProcessPlan, errno_words};
use super::protocol::{ErrorKind, WireError};
use super::{caps, device_filter, fds, oci};
use crate::runtime::cgroup::Cgroup;
use crate::runtime::spec::{ContainerSpec, Seccomp, TerminalSize};

/// What the child tells the shim, with the terminal's master as a descriptor where there is one.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    pub pid: i32,
    pub error: Option<WireError>,
    pub warnings: Vec<String>,
}

/// The container's ends of its stdio; `None` is /dev/null (or the terminal).
#[derive(Default)]
pub struct Stdio {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

/// Where the container's own directory is; it holds the termination message.
pub fn container_dir(pod_dir: &Path, name: &str, attempt: u32) -> PathBuf {
    pod_dir.join("containers").join(format!("{name}.{attempt}"))
}

/// Where libcontainer's files of it are while it runs: on the sandbox's file system in memory.
pub fn bundle_dir(pod_dir: &Path, name: &str, attempt: u32) -> PathBuf {
    pod_dir.join("ns/bundles").join(format!("{name}.{attempt}"))
}

pub fn create(spec: &ContainerSpec, pod: &oci::PodPaths<'_>, stdio: Stdio, console: &OwnedFd) -> Report {
    let mut warnings = Vec::new();
    match run(spec, pod, stdio, console, &mut warnings) {
        Ok(pid) => Report {
            pid,
            error: None,
            warnings,
        },
        Err(error) => Report {
            pid: 0,
            error: Some(error),
            warnings,
        },
    }
}

fn run(
    spec: &ContainerSpec,
    pod: &oci::PodPaths<'_>,
    stdio: Stdio,
    console: &OwnedFd,
    warnings: &mut Vec<String>,
) -> Result<i32, WireError> {
    let refused = |what: &str, error: &dyn std::fmt::Display| {
        WireError::new(ErrorKind::Create, format!("{what}: {error}"))
    };
    check(spec)?;
    let state_dir = bundle_dir(pod.dir, &spec.id.name, spec.id.attempt);
    if state_dir.exists() {
        fs::remove_dir_all(&state_dir).map_err(|e| refused("remove what an earlier try left", &e))?;
    }
    make_cwd(spec).map_err(|e| refused(&format!("mkdir {} for the working directory", spec.cwd), &e))?;
    let config = serde_json::to_vec(&oci::config(spec, pod))
        .map_err(|e| refused("encode the OCI configuration", &e))?;
    fs::create_dir_all(&state_dir).map_err(|e| refused("make the container's bundle", &e))?;
    fs::write(state_dir.join("config.json"), config)
        .map_err(|e| refused("write the OCI configuration", &e))?;
    if let Some(score) = spec.resources.oom_score_adj
        && let Err(error) = fs::write("/proc/self/oom_score_adj", score.to_string())
    {
        warnings.push(format!(
            "oom_score_adj {score} was not set ({}); CAP_SYS_RESOURCE may be missing",
            errno_words(&error)
        ));
    }
    let (reader, writer) = fds::pipe().map_err(|e| refused("make a pipe", &e))?;
    let plan = plan(spec, console, &writer)?;
    let details = Details::collect().map_err(|e| refused("collect errors", &e))?;
    let outcome = build_and_start(spec, &state_dir, stdio, plan, warnings);
    drop(writer);
    // The end of this pipe means that execve worked (or that the process is dead).
    let failure = read_failure(reader).map_err(|e| refused("wait for the command", &e))?;
    match (outcome, failure) {
        (_, Some(error)) => Err(WireError {
            kind: ErrorKind::Start,
            message: error.message,
            code: error.code,
        }),
        (Ok(pid), None) => Ok(pid),
        (Err(message), None) => {
            let message = details
                .first()
                .map_or(message.clone(), |cause| format!("{message}: {cause}"));
            Err(WireError::new(ErrorKind::Create, message))
        }
    }
}

/// What would otherwise end in a panic or in odd words deep inside.
fn check(spec: &ContainerSpec) -> Result<(), WireError> {
    let refuse = |message: String| Err(WireError::new(ErrorKind::Create, message));
    if spec.args.first().is_none_or(String::is_empty) {
        return refuse("no command specified".to_owned());
    }
    let texts = spec
        .args
        .iter()
        .chain(spec.env.iter().flat_map(|(name, value)| [name, value]));
    if texts.into_iter().any(|text| text.contains('\0')) {
        return refuse("a NUL byte in the command or the environment".to_owned());
    }
    if !spec.cwd.is_empty() && !spec.cwd.starts_with('/') {
        return refuse(format!("workingDir {:?} is not an absolute path", spec.cwd));
    }
    if !spec.rootfs.is_dir() {
        return refuse(format!(
            "root file system {} is not a directory",
            spec.rootfs.display()
        ));
    }
    if let Some(missing) = spec.mounts.iter().find(|m| !m.source.exists()) {
        return refuse(format!(
            "failed to mount {:?} to {:?}: {} does not exist",
            missing.source.display(),
            missing.destination.display(),
            missing.source.display()
        ));
    }
    Ok(())
}

/// How a process of this container starts: by its own command, until the caller says otherwise.
pub fn plan(spec: &ContainerSpec, console: &OwnedFd, errors: &OwnedFd) -> Result<ProcessPlan, WireError> {
    let capabilities = caps::resolve(&spec.capabilities_add, &spec.capabilities_drop, spec.privileged)
        .map_err(|name| WireError::new(ErrorKind::Create, format!("unknown capability {name:?}")))?;
    Ok(ProcessPlan {
        args: spec.args.clone(),
        env: spec.env.clone(),
        uid: spec.user.uid,
        capabilities,
        no_new_privileges: spec.no_new_privileges,
        seccomp: spec.seccomp == Seccomp::RuntimeDefault && !spec.privileged,
        tty: spec.tty.then(TerminalSize::default),
        console: console.as_raw_fd(),
        errors: errors.as_raw_fd(),
        die_with_shim: true,
    })
}

fn build_and_start(
    spec: &ContainerSpec,
    dir: &Path,
    stdio: Stdio,
    plan: ProcessPlan,
    warnings: &mut Vec<String>,
) -> Result<i32, String> {
    let words = |error: libcontainer::error::LibcontainerError| chain(&error);
    let mut builder = ContainerBuilder::new("c".to_owned(), SyscallType::default())
        .with_executor(plan)
        .with_root_path(dir)
        .map_err(words)?;
    builder.stdin = stdio.stdin;
    builder.stdout = stdio.stdout;
    builder.stderr = stdio.stderr;
    // As a sibling, so that the container's first process is the shim's child from its first moment.
    let mut container = builder
        .as_init(dir)
        .with_systemd(false)
        .with_detach(true)
        .as_sibling(true)
        .build()
        .map_err(words)?;
    let pid = container
        .pid()
        .map(|pid| pid.as_raw())
        .ok_or("the container has no process")?;
    warnings.extend(limit_devices(spec));
    warnings.extend(limit_pod(spec));
    container.start().map_err(|error| {
        // It waits for a start that never comes.
        if let Err(error) =
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)
        {
            tracing::error!(pid, %error, "cannot kill a container that did not start");
        }
        words(error)
    })?;
    tracing::debug!(container = %spec.id, pid, "started");
    Ok(pid)
}

/// Before the command runs, so that it has never used what it must not. `Some`: what could not be done.
fn limit_devices(spec: &ContainerSpec) -> Option<String> {
    if spec.privileged {
        return None;
    }
    let cgroup = Cgroup::new(&spec.cgroup_path).without_device_controller()?;
    let error = device_filter::attach(&cgroup).err()?;
    Some(format!(
        "the container may use any device that it makes a node for: no filter on its cgroup ({}); CAP_BPF may be missing",
        errno_words(&error)
    ))
}

/// The pod's cgroup is made with that of its first container. `Some`: what could not be done.
fn limit_pod(spec: &ContainerSpec) -> Option<String> {
    let pod = Path::new(&spec.cgroup_path).parent()?;
    let error = Cgroup::new(pod).limit(&spec.pod_resources).err()?;
    Some(format!("the pod's share and limits were not set: {error}"))
}

/// An error with all its causes: libcontainer's outermost words say little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}

/// Reads the error pipe to its end. `None`: execve worked.
pub fn read_failure(reader: OwnedFd) -> io::Result<Option<ProcessError>> {
    let mut text = Vec::new();
    fs::File::from(reader).take(64 << 10).read_to_end(&mut text)?;
    if text.is_empty() {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&text).unwrap_or_else(|_| {
        ProcessError {
            message: String::from_utf8_lossy(&text).into_owned(),
            code: 128,
        }
    })))
}

/// Makes the working directory where the image lacks it, as runc does, without leaving the root file system
/// by a symlink.
fn make_cwd(spec: &ContainerSpec) -> io::Result<()> {
    if spec.cwd.is_empty()
        || spec
            .mounts
            .iter()
            .any(|m| Path::new(&spec.cwd).starts_with(&m.destination))
    {
        return Ok(());
    }
    let mut parent = fs::File::open(&spec.rootfs)?;
    let mut walked = PathBuf::new();
    let root = fs::File::open(&spec.rootfs)?;
    for part in Path::new(&spec.cwd).components() {
        let std::path::Component::Normal(name) = part else {
            continue;
        };
        walked.push(name);
        parent = match open_in_root(&root, &walked) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mode = nix::sys::stat::Mode::from_bits_truncate(0o755);
                match nix::sys::stat::mkdirat(&parent, name, mode) {
                    Ok(()) => open_in_root(&root, &walked)?,
                    // A read-only root: let chdir say that it is missing.
                    Err(nix::Error::EROFS | nix::Error::EEXIST) => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
            other => other?,
        };
    }
    Ok(())
}

fn open_in_root(root: &fs::File, path: &Path) -> io::Result<fs::File> {
    use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT);
    Ok(fs::File::from(openat2(root, path, how)?))
}
