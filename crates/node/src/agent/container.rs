//! Makes a container's process as its spec and image say, and starts it.

use super::perform::Job;
use super::shell::Shell;
use super::{apparmor, files, resources, sources};
use crate::env;
use crate::images::user::{process_user, read_accounts};
use crate::images::{self, Image, Images, MountPoints, RunConfig};
use crate::machine::{self, Outcome, PodView, StartFailure};
use crate::runtime::logs::{self, LogOptions};
use crate::runtime::{self, ContainerId, ContainerSpec, Exit, Mount, RuntimeError, Seccomp, User};
use crate::volumes::{self, Propagation};
use k8s_openapi::api::core::v1::{Container, PodSpec};
use kinds::workload::{PODS, Pod};
use meta::Timestamp;
use std::path::{Path, PathBuf};

/// Of a log, for `FallbackToLogsOnError`.
const FALLBACK_BYTES: usize = 64 << 10;
const CONFIG: &str = "CreateContainerConfigError";
const CREATE: &str = "CreateContainerError";

type Failure = (&'static str, String);

pub async fn start(job: &Job, name: &str, attempt: u32) -> Outcome {
    let id = ContainerId::new(&job.pod.uid, name, attempt);
    let spec = match job.shell.images.clone() {
        Some(images) => prepare(job, &id, images).await,
        None => Ok(ContainerSpec {
            id: id.clone(),
            ..ContainerSpec::default()
        }),
    };
    let spec = match spec {
        Ok(spec) => spec,
        Err((reason, message)) => return Outcome::NotStarted(StartFailure::Create { reason, message }),
    };
    // Without images nothing real is started.
    let user = job.shell.images.as_ref().map(|_| spec.user.clone());
    let outcome = match job.shell.runtime.start_container(&spec).await {
        Ok(started) => {
            for warning in started.warnings {
                tracing::debug!(container = %id, warning, "started with a warning");
            }
            let at = jiff::Timestamp::from_nanosecond(i128::from(started.started_at_ns));
            Outcome::Started {
                at: at.map_or_else(|_| job.shell.env.now(), Timestamp::new),
                user,
            }
        }
        Err(RuntimeError::Start { message }) => Outcome::NotStarted(StartFailure::Run { message }),
        Err(RuntimeError::ShimGone(_) | RuntimeError::NotFound(_)) => {
            Outcome::NotStarted(StartFailure::NoSandbox)
        }
        Err(error) => Outcome::NotStarted(StartFailure::Create {
            reason: CREATE,
            message: error.to_string(),
        }),
    };
    if let Err(error) = forget_older(job, &id).await {
        tracing::warn!(container = %id, error, "an older attempt was not cleaned up");
    }
    outcome
}

/// Of older attempts the log of the last one stays, for `kubectl logs --previous`.
async fn forget_older(job: &Job, id: &ContainerId) -> Result<(), String> {
    let Some(before) = id.attempt.checked_sub(1) else {
        return Ok(());
    };
    let older = ContainerId::new(&id.pod_uid, &id.name, before);
    if let Some(images) = job.shell.images.clone() {
        let dir = files::rootfs_dir(&job.shell.pod_dir(&id.pod_uid), &id.name, before);
        let work = move || {
            images.remove_rootfs(&dir).map_err(|e| e.to_string())?;
            match std::fs::remove_dir(&dir) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
                _ => Ok(()),
            }
        };
        job.shell.blocking(work).await??;
    }
    match job.shell.runtime.remove_container(&older).await {
        Ok(()) | Err(RuntimeError::NotFound(_)) => {}
        Err(error) => return Err(error.to_string()),
    }
    match before.checked_sub(1) {
        Some(oldest) => {
            let oldest = ContainerId::new(&id.pod_uid, &id.name, oldest);
            job.shell
                .runtime
                .remove_log(&oldest)
                .await
                .map_err(|e| e.to_string())
        }
        None => Ok(()),
    }
}

/// Everything up to the start: environment, root file system, user, mounts.
async fn prepare(job: &Job, id: &ContainerId, images: Images) -> Result<ContainerSpec, Failure> {
    let pod = job.pod.clone();
    let config = |message: String| (CONFIG, message);
    let snapshot = job.shell.client.snapshot();
    let mut sources = sources::known(&snapshot, &pod);
    sources::claims(&job.shell, &snapshot, &pod, &mut sources).map_err(config)?;
    let services = env::service_environment(&pod.pod, &sources::services(&snapshot, &pod));
    let facts = job.shell.facts(&pod, &job.ips);
    let container = pod.container_spec(&id.name).cloned().unwrap_or_default();
    if volumes::needs_env_files(&container) {
        let (volumes, pod, container) = (job.shell.volumes.clone(), pod.clone(), container.clone());
        let work = move || volumes.env_files(&pod.pod, &container);
        sources.env_files = job.shell.blocking(work).await.map_err(config)?;
    }
    let variables = env::resolve(&pod.pod, &container, &sources, &facts, &services)
        .map_err(|error| config(error.to_string()))?;
    let image = match job.container.as_ref().map(|container| &container.image) {
        Some(machine::Image::Present { name, .. }) => name.clone(),
        _ => container.image.clone().unwrap_or_default(),
    };
    let (volumes, pod_dir, id) = (job.shell.volumes.clone(), job.shell.pod_dir(&pod.uid), id.clone());
    let stored = snapshot.get(PODS, &pod.namespace, &pod.name);
    let requests = stored.map(|stored| Pod::of(stored).share().requests.clone());
    let requests = requests.unwrap_or_default();
    let memory = super::node::memory_bytes(&job.shell.allocatable);
    let domain = job.shell.config.cluster_domain.clone();
    let work = move || -> Result<ContainerSpec, Failure> {
        let create = |error: images::Error| (CREATE, error.to_string());
        let image = images.require(&image).map_err(create)?;
        let own = volumes
            .mounts(&pod.pod, &container, &sources, &variables)
            .map_err(|error| (CONFIG, error.to_string()))?;
        let mut mounts = files::mounts(&pod_dir, &container);
        mounts.extend(own.into_iter().map(runtime_mount));
        let dir = files::rootfs_dir(&pod_dir, &id.name, id.attempt);
        let rootfs = root(&images, &image, &dir, &mut mounts).map_err(create)?;
        let accounts = read_accounts(&rootfs).map_err(create)?;
        let pod_spec = pod.pod.spec.clone().unwrap_or_default();
        let names = (pod.namespace.as_str(), pod.name.as_str());
        let user = process_user(names, &pod_spec, &container, &image.run, &accounts)
            .map_err(|error| (CONFIG, error.to_string()))?;
        let (hostname, _) = volumes::files::hostname(&pod.pod, &domain);
        let mut env = image.run.environment(&hostname, &variables);
        if !env.iter().any(|(name, _)| name == "HOME") {
            env.push(("HOME".to_owned(), user.home.clone()));
        }
        let spec = ContainerSpec {
            id,
            rootfs,
            mounts,
            env,
            user: User {
                uid: user.uid,
                gid: user.gid,
                supplementary_groups: user.additional_gids,
            },
            resources: resources::of(&container, &pod_spec, kinds_qos(&pod), memory),
            pod_resources: resources::of_pod(&pod_spec, &requests),
            ..ContainerSpec::default()
        };
        with_spec(spec, &pod_spec, &container, &image.run)
    };
    job.shell
        .blocking(work)
        .await
        .map_err(|message| (CREATE, message))?
}

/// The root file system, and the volumes that the image declares: these become mounts too.
fn root(images: &Images, image: &Image, dir: &Path, mounts: &mut Vec<Mount>) -> images::Result<PathBuf> {
    let volumes = image.defined_volumes(dir, mounts.iter().map(|mount| &*mount.destination))?;
    mounts.extend(volumes.iter().map(|volume| Mount {
        source: volume.source.clone(),
        destination: volume.destination.clone(),
        ..Mount::default()
    }));
    // Outer before inner: one on /etc must not hide /etc/hosts.
    mounts.sort_by_key(|mount| mount.destination.components().count());
    let paths = mounts.iter().map(|mount| (&*mount.source, &*mount.destination));
    let rootfs = images.rootfs(image, dir, &MountPoints::new(paths))?;
    images::fill_volumes(&rootfs, &volumes)?;
    Ok(rootfs)
}

fn kinds_qos(pod: &PodView) -> &str {
    pod.stored
        .get("qosClass")
        .and_then(serde_json::Value::as_str)
        .unwrap_or("BestEffort")
}

fn runtime_mount(mount: volumes::Mount) -> Mount {
    Mount {
        source: mount.source,
        destination: mount.destination,
        read_only: mount.read_only,
        recursive_read_only: mount.recursive_read_only,
        propagation: match mount.propagation {
            Propagation::Private => runtime::Propagation::None,
            Propagation::HostToContainer => runtime::Propagation::HostToContainer,
            Propagation::Bidirectional => runtime::Propagation::Bidirectional,
        },
    }
}

/// Command, security and streams.
fn with_spec(
    spec: ContainerSpec,
    pod: &PodSpec,
    container: &Container,
    image: &RunConfig,
) -> Result<ContainerSpec, Failure> {
    let args = image.command(container, &spec.env);
    if args.is_empty() {
        let id = &spec.id.name;
        let message = format!(
            "failed to generate container \"{id}\" spec: failed to generate spec: no command specified"
        );
        return Err((CREATE, message));
    }
    let own = container.security_context.clone().unwrap_or_default();
    let of_pod = pod.security_context.clone().unwrap_or_default();
    let privileged = own.privileged == Some(true);
    let profile = own.seccomp_profile.as_ref().or(of_pod.seccomp_profile.as_ref());
    let seccomp = match profile.map(|profile| profile.type_.as_str()) {
        _ if privileged => Seccomp::Unconfined,
        Some("Unconfined") => Seccomp::Unconfined,
        Some("Localhost") => {
            let what = "seccompProfile type Localhost is not supported; use RuntimeDefault or Unconfined";
            return Err((CONFIG, what.to_owned()));
        }
        _ => Seccomp::RuntimeDefault,
    };
    if let Some(problem) = apparmor::problem(pod, container) {
        return Err((CONFIG, problem.to_owned()));
    }
    let capabilities = own.capabilities.clone().unwrap_or_default();
    let sysctls = of_pod
        .sysctls
        .iter()
        .flatten()
        .map(|sysctl| (sysctl.name.clone(), sysctl.value.clone()));
    Ok(ContainerSpec {
        args,
        cwd: image.working_dir(container),
        capabilities_add: capabilities.add.unwrap_or_default(),
        capabilities_drop: capabilities.drop.unwrap_or_default(),
        privileged,
        read_only_root_filesystem: own.read_only_root_filesystem == Some(true),
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        seccomp,
        unmasked_proc: own.proc_mount.as_deref() == Some("Unmasked"),
        tty: container.tty == Some(true),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        termination_message_path: container
            .termination_message_path
            .clone()
            .unwrap_or_else(|| "/dev/termination-log".to_owned()),
        sysctls: sysctls.collect(),
        ..spec
    })
}

/// The signal that asks the container to end; 0 is SIGTERM.
pub fn stop_signal(job: &Job, name: &str) -> i32 {
    let own = job
        .pod
        .container_spec(name)
        .and_then(|spec| spec.lifecycle.as_ref()?.stop_signal.clone());
    let of_image = || {
        let life = job.container.as_ref()?.life.as_ref()?;
        let image = job.shell.images.as_ref()?.get(&life.image.0).ok()??;
        image.run.stop_signal.clone()
    };
    own.or_else(of_image)
        .and_then(|text| signal_number(&text))
        .unwrap_or(0)
}

fn signal_number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let name = if text.starts_with("SIG") {
        text.to_owned()
    } else {
        format!("SIG{text}")
    };
    name.parse::<nix::sys::signal::Signal>()
        .ok()
        .map(|signal| signal as i32)
}

/// What the container said about its end.
pub async fn termination_message(shell: &Shell, pod: &PodView, id: &ContainerId, exit: &Exit) -> String {
    let policy = pod
        .container_spec(&id.name)
        .and_then(|spec| spec.termination_message_policy.clone());
    let file = match shell.runtime.termination_message(id).await {
        Ok(text) => text,
        Err(error) => {
            tracing::debug!(container = %id, %error, "no termination message");
            String::new()
        }
    };
    let failed = exit.code != 0;
    let wants_log = file.is_empty() && failed && policy.as_deref() == Some("FallbackToLogsOnError");
    let log = if wants_log {
        last_lines(shell, id)
    } else {
        String::new()
    };
    volumes::files::termination_message(file.as_bytes(), policy.as_deref(), failed, &log)
}

fn last_lines(shell: &Shell, id: &ContainerId) -> String {
    let options = LogOptions {
        tail_lines: Some(80),
        ..LogOptions::default()
    };
    let (_still, ended) = tokio::sync::watch::channel(true);
    let read = logs::read(&shell.runtime.log_path(id), &options, ended)
        .and_then(|mut reader| reader.read_to_end(FALLBACK_BYTES));
    match read {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            tracing::debug!(container = %id, %error, "no log for the termination message");
            String::new()
        }
    }
}
