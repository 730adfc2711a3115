//! Carries out the steps of one pod. Nothing is decided here.

use super::shell::Shell;
use super::{container, files, hooks, images, sources};
use crate::machine::{Container, Ended, Outcome, PodEvent, PodView, ProbeKind, Step, report};
use crate::runtime::{ContainerId, PodSandboxSpec, RuntimeError};
use crate::volumes;
use futures::FutureExt;
use k8s_openapi::api::core::v1::PodSpec;
use kinds::row::text;
use kinds::runtimeclass::RUNTIMECLASSES;
use meta::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// What is left of a grace period after a preStop hook is never less.
const LEAST_GRACE: Duration = Duration::from_secs(2);

/// The handler that means the usual runtime, as containerd calls its own.
const DEFAULT_HANDLER: &str = "runc";

/// A step's surroundings as they were when it began.
pub struct Job {
    pub shell: Arc<Shell>,
    pub pod: Arc<PodView>,
    pub ips: Vec<String>,
    /// The container that it is about.
    pub container: Option<Container>,
}

impl Job {
    /// `first`: the container is not being stopped already.
    pub async fn perform(&self, step: &Step, first: bool) -> Outcome {
        match step {
            Step::SetUpVolumes => self.set_up_volumes().boxed().await,
            Step::CreateSandbox => match self.create_sandbox().boxed().await {
                Ok(ips) => Outcome::Sandbox { ips },
                Err(message) => Outcome::Failed(format!("Failed to create pod sandbox: {message}")),
            },
            Step::PullImage { container } => images::provide(self, container).boxed().await,
            Step::StartContainer { container, attempt } => {
                container::start(self, container, *attempt).boxed().await
            }
            Step::PostStart { container, attempt } => {
                Outcome::Hook(hooks::post_start(self, &self.id(container, *attempt)).await)
            }
            Step::StopContainer {
                container,
                attempt,
                deadline,
                ..
            } => {
                let id = self.id(container, *attempt);
                Outcome::Stopped(self.stop(&id, *deadline, first).boxed().await)
            }
            Step::Probe {
                container,
                attempt,
                kind,
            } => Outcome::Probed(self.probe(&self.id(container, *attempt), *kind).await),
            Step::Release => match self.shell.release_pod(&self.pod.uid).await {
                Ok(()) => Outcome::Done,
                Err(message) => Outcome::Failed(message),
            },
            Step::TearDown => match self.shell.remove_pod(&self.pod.uid).await {
                Ok(()) => Outcome::Done,
                Err(message) => Outcome::Failed(message),
            },
            Step::DeletePod => self.delete().await,
        }
    }

    fn id(&self, container: &str, attempt: u32) -> ContainerId {
        ContainerId::new(&self.pod.uid, container, attempt)
    }

    async fn set_up_volumes(&self) -> Outcome {
        if self.shell.is_simulated() {
            return Outcome::Done;
        }
        let (sources, refresh_at) = match sources::gather(&self.shell, &self.pod).await {
            Ok(gathered) => gathered,
            Err(message) => return Outcome::Failed(message),
        };
        let (volumes, pod) = (self.shell.volumes.clone(), self.pod.pod.clone());
        let facts = self.shell.facts(&self.pod, &self.ips);
        let work = move || volumes.set_up(&pod, &sources, &facts);
        match self.shell.blocking(work).await {
            Ok(Ok(())) => Outcome::Volumes { refresh_at },
            Ok(Err(errors)) => {
                let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
                Outcome::Failed(texts.join("\n"))
            }
            Err(message) => Outcome::Failed(message),
        }
    }

    async fn create_sandbox(&self) -> Result<Vec<String>, String> {
        let pod = &self.pod;
        let spec = pod.pod.spec.clone().unwrap_or_default();
        self.check_isolation(&spec)?;
        let sandbox = PodSandboxSpec {
            uid: pod.uid.clone(),
            hostname: volumes::files::kernel_hostname(&pod.pod, &self.shell.config.cluster_domain),
            host_network: pod.host_network,
            host_ipc: spec.host_ipc == Some(true),
            host_pid: spec.host_pid == Some(true),
            share_process_namespace: spec.share_process_namespace == Some(true),
            ..PodSandboxSpec::default()
        };
        let made = self
            .shell
            .runtime
            .create_sandbox(&sandbox)
            .await
            .map_err(|e| e.to_string())?;
        let ips = if pod.host_network {
            Vec::new()
        } else {
            let ips = self.shell.network.attach(&pod.uid, &made.network_namespace).await;
            ips?.into_iter().map(|ip| ip.to_string()).collect()
        };
        if !self.shell.is_simulated() {
            let ips = self.shell.facts(pod, &ips).pod_ips;
            files::write(&self.shell, pod, &ips).await?;
        }
        Ok(ips)
    }

    /// Isolation that this runtime does not give is not silently left out. Source: kubelet's user namespace manager;
    /// containerd's choice of a runtime by its handler.
    fn check_isolation(&self, spec: &PodSpec) -> Result<(), String> {
        if self.shell.is_simulated() {
            return Ok(());
        }
        if spec.host_users == Some(false) {
            return Err(
                "can't set `spec.hostUsers: false`, runtime does not support user namespaces".to_owned(),
            );
        }
        let Some(class) = spec
            .runtime_class_name
            .as_deref()
            .filter(|class| !class.is_empty())
        else {
            return Ok(());
        };
        let snapshot = self.shell.client.snapshot();
        let class = snapshot
            .get(RUNTIMECLASSES, "", class)
            .ok_or_else(|| format!("runtimeclass.node.k8s.io {class:?} not found"))?;
        let handler = text(&class.value(), "/handler").to_owned();
        if matches!(handler.as_str(), "" | DEFAULT_HANDLER) {
            return Ok(());
        }
        Err(format!(
            "failed to get sandbox runtime: no runtime for {handler:?} is configured"
        ))
    }

    /// `None`: it could not be stopped.
    async fn stop(&self, id: &ContainerId, deadline: Timestamp, first: bool) -> Option<Ended> {
        let left = || deadline.since(self.shell.env.now());
        if first && let Err(message) = hooks::pre_stop(self, id, left()).await {
            let event = PodEvent {
                warning: true,
                reason: "FailedPreStopHook",
                message,
                field_path: self
                    .pod
                    .container(&id.name)
                    .map(|container| container.field_path.clone()),
            };
            self.shell.recorder.pod(&self.pod, event);
        }
        let grace = if first { left().max(LEAST_GRACE) } else { left() };
        let signal = container::stop_signal(self, &id.name);
        match self.shell.runtime.stop_container(id, signal, grace).await {
            Ok(exit) => {
                let message = container::termination_message(&self.shell, &self.pod, id, &exit).await;
                Some(Ended::of(id.attempt, &exit, message))
            }
            Err(RuntimeError::NotFound(message)) => Some(Ended {
                attempt: id.attempt,
                code: 137,
                reason: "ContainerStatusUnknown".to_owned(),
                message,
                finished: Some(self.shell.env.now()),
                ..Ended::default()
            }),
            Err(error) => {
                tracing::warn!(container = %id, %error, "a container was not stopped, trying again");
                // Not at once again: the deadline is near when this repeats.
                self.shell
                    .env
                    .sleep_until(self.shell.env.now().plus_seconds(1))
                    .await;
                None
            }
        }
    }

    async fn probe(&self, id: &ContainerId, kind: ProbeKind) -> Result<(), String> {
        let Some(spec) = self
            .pod
            .container_spec(&id.name)
            .filter(|_| !self.shell.is_simulated())
        else {
            return match self.shell.runtime.is_well(id) {
                true => Ok(()),
                false => Err("the simulated container is not ready yet".to_owned()),
            };
        };
        let probe = match kind {
            ProbeKind::Startup => &spec.startup_probe,
            ProbeKind::Liveness => &spec.liveness_probe,
            ProbeKind::Readiness => &spec.readiness_probe,
        };
        match probe {
            Some(probe) => hooks::probe(self, id, spec, probe).await,
            None => Ok(()),
        }
    }

    async fn delete(&self) -> Outcome {
        match self.shell.client.call(report::delete(&self.pod)).await {
            Ok(_) => Outcome::Done,
            // It is gone, or another one has its name.
            Err(status) if matches!(status.code, 404 | 409) => Outcome::Done,
            Err(status) => Outcome::Failed(format!("the pod could not be deleted: {status}")),
        }
    }
}

impl Shell {
    /// Gives back what a pod that is over takes of this node; logs and exit statuses stay. Idempotent.
    pub async fn release_pod(&self, uid: &str) -> Result<(), String> {
        let (released, detached) = tokio::join!(self.runtime.release_pod(uid), self.network.detach(uid));
        released.map_err(|e| e.to_string())?;
        detached?;
        self.remove_files(uid, false).await
    }

    /// Takes away everything of a pod on this node. Idempotent.
    pub async fn remove_pod(&self, uid: &str) -> Result<(), String> {
        let (removed, detached) = tokio::join!(self.runtime.remove_pod(uid), self.network.detach(uid));
        removed.map_err(|e| e.to_string())?;
        detached?;
        self.remove_files(uid, true).await
    }

    async fn remove_files(&self, uid: &str, folder_too: bool) -> Result<(), String> {
        let Some(images) = self.images.clone() else {
            return Ok(());
        };
        let (volumes, dir, uid) = (self.volumes.clone(), self.pod_dir(uid), uid.to_owned());
        let work = move || {
            files::remove(&images, &volumes, &dir, &uid)?;
            if folder_too {
                files::remove_folder(&dir)?;
            }
            Ok(())
        };
        self.blocking(work).await?
    }

    /// A pod that the API does not know.
    pub async fn remove_unknown(&self, uid: &str) {
        tracing::info!(uid, "removing a pod that the API does not know");
        if let Err(error) = self.remove_pod(uid).await {
            tracing::error!(
                uid,
                error,
                "a pod that the API does not know could not be removed"
            );
        }
    }
}
