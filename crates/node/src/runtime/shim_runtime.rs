//! The real runtime: each call goes to the shim of its pod.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;

use super::cgroup::Cgroup;
use super::pods::{Pod, lock};
use super::spec::*;
use super::*;
use crate::shim::protocol::Request;
use crate::shim::state::{SANDBOX_FILE, SandboxRecord, write_atomically};

/// kubelet reads no more of a termination message.
const TERMINATION_MESSAGE_LIMIT: u64 = 4096;

#[async_trait]
impl Runtime for ShimRuntime {
    async fn create_sandbox(&self, spec: &PodSandboxSpec) -> Result<Sandbox, RuntimeError> {
        let pod = self.pod_entry(&spec.uid);
        let failed = |error: std::io::Error| RuntimeError::Sandbox(error.to_string());
        std::fs::create_dir_all(&pod.dir).map_err(failed)?;
        *lock(&pod.sandbox) = spec.clone();
        let record = SandboxRecord {
            boot_id: self.0.boot_id.clone(),
            sandbox: spec.clone(),
        };
        write_atomically(&pod.dir.join(SANDBOX_FILE), &record).map_err(failed)?;
        let made = sandbox::create(&pod.dir, spec, &self.0.config.node_netns);
        let (made, shim) = tokio::join!(made, self.shim(&pod));
        made.map_err(failed)?;
        shim?;
        Ok(Sandbox {
            network_namespace: pod.dir.join("ns/net"),
        })
    }

    async fn start_container(&self, spec: &ContainerSpec) -> Result<Started, RuntimeError> {
        let pod = self.known_pod(&spec.id.pod_uid)?;
        let spec = self.complete(&pod, spec)?;
        let id = spec.id.clone();
        let shim = self.shim(&pod).await?;
        let _permit = self
            .0
            .starts
            .acquire()
            .await
            .map_err(|e| RuntimeError::Internal(e.to_string()))?;
        match shim.call(Request::Start { spec: Box::new(spec) }).await? {
            Ok(reply) => {
                pod.note(
                    id,
                    ContainerState::Running {
                        pid: reply.pid,
                        started_at_ns: reply.started_at_ns,
                    },
                );
                Ok(Started {
                    pid: reply.pid,
                    started_at_ns: reply.started_at_ns,
                    warnings: reply.warnings,
                })
            }
            Err(error) => {
                let error = RuntimeError::from_start(error);
                if let RuntimeError::Start { message } = &error {
                    let now = jiff::Timestamp::now().as_nanosecond() as i64;
                    let exit = Exit::start_error(message, now);
                    pod.note(id, ContainerState::Exited(exit));
                }
                Err(error)
            }
        }
    }

    async fn signal_container(&self, id: &ContainerId, signal: i32) -> Result<(), RuntimeError> {
        let pod = self.known_pod(&id.pod_uid)?;
        let request = Request::Kill {
            container: id.clone(),
            signal,
            all: false,
        };
        let answer = self.ask(&pod, request).await?;
        answer.map(drop).map_err(RuntimeError::from)
    }

    async fn stop_container(
        &self,
        id: &ContainerId,
        stop_signal: i32,
        grace: Duration,
    ) -> Result<Exit, RuntimeError> {
        let pod = self.known_pod(&id.pod_uid)?;
        let state = pod.watch(id)?;
        let signal = if stop_signal == 0 {
            libc::SIGTERM
        } else {
            stop_signal
        };
        let ending = Self::wait_exit(state);
        tokio::pin!(ending);
        if !grace.is_zero() {
            let until = tokio::time::Instant::now() + grace;
            match tokio::time::timeout_at(until, self.signal_container(id, signal)).await {
                // It ended, or was lost, just now: the state says so.
                Ok(Ok(()) | Err(RuntimeError::Conflict(_) | RuntimeError::ShimGone(_))) => {}
                Ok(Err(error)) => return Err(error),
                // The shim does not answer; it gets its last chance below.
                Err(_) => {}
            }
            if let Ok(exit) = tokio::time::timeout_at(until, &mut ending).await {
                return exit;
            }
        }
        let kill = Request::Kill {
            container: id.clone(),
            signal: libc::SIGKILL,
            all: true,
        };
        match self.ask(&pod, kill).await {
            Ok(Ok(_)) | Err(RuntimeError::ShimGone(_)) => {}
            Ok(Err(error)) => match RuntimeError::from(error) {
                RuntimeError::Conflict(_) => {}
                error => return Err(error),
            },
            Err(error) => return Err(error),
        }
        ending.await
    }

    async fn wait_container(&self, id: &ContainerId) -> Result<Exit, RuntimeError> {
        let pod = self.known_pod(&id.pod_uid)?;
        Self::wait_exit(pod.watch(id)?).await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let Ok(pod) = self.known_pod(&id.pod_uid) else {
            return Ok(());
        };
        match self
            .shim(&pod)
            .await?
            .call(Request::Remove {
                container: id.clone(),
            })
            .await?
            .map_err(RuntimeError::from)
        {
            Ok(_) | Err(RuntimeError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        lock(&pod.containers).remove(id);
        Ok(())
    }

    async fn remove_log(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let path = self.log_path(id);
        let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
            return Ok(());
        };
        let entries = match std::fs::read_dir(directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(RuntimeError::path("read", directory))?,
        };
        for entry in entries.filter_map(Result::ok) {
            let file = entry.file_name();
            let older = file.to_str().and_then(|f| f.strip_prefix(name));
            if older.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
                std::fs::remove_file(entry.path()).map_err(RuntimeError::path("remove", &entry.path()))?;
            }
        }
        Ok(())
    }

    async fn release_pod(&self, uid: &str) -> Result<(), RuntimeError> {
        let pod = self.pod_entry(uid);
        self.end_processes(&pod).await?;
        // What the shim could not say any more. The slot is held so that nobody looks for the shim meanwhile.
        let slot = pod.client.lock().await;
        self.settle_lost(&pod).await?;
        drop(slot);
        self.remove_files(&pod, &paths::TRANSIENT).await
    }

    async fn remove_pod(&self, uid: &str) -> Result<(), RuntimeError> {
        let pod = self.pod_entry(uid);
        self.end_processes(&pod).await?;
        self.remove_files(&pod, &paths::OWNED).await?;
        lock(&self.0.pods).remove(uid);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<PodState>, RuntimeError> {
        let mut pods: Vec<Arc<Pod>> = lock(&self.0.pods).values().cloned().collect();
        pods.sort_by(|a, b| a.uid.cmp(&b.uid));
        Ok(pods.iter().map(|pod| self.state_of(pod)).collect())
    }

    async fn pod(&self, uid: &str) -> Result<Option<PodState>, RuntimeError> {
        let pod = lock(&self.0.pods).get(uid).cloned();
        Ok(pod.map(|pod| self.state_of(&pod)))
    }

    async fn exec(&self, id: &ContainerId, spec: &ExecSpec) -> Result<ExecSession, RuntimeError> {
        self.open_exec(id, spec).await
    }

    async fn attach(&self, id: &ContainerId, streams: AttachStreams) -> Result<AttachSession, RuntimeError> {
        self.open_attach(id, streams).await
    }

    async fn dial(&self, uid: &str, port: u16) -> Result<tokio::net::TcpStream, RuntimeError> {
        let pod = self.known_pod(uid)?;
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let failed = || RuntimeError::io(format!("connect to port {port} of pod {uid}"));
        let socket = sandbox::socket_in(&pod.dir.join("ns/net"))
            .await
            .map_err(failed())?;
        socket.connect(address).await.map_err(failed())
    }

    async fn usage(&self, uid: &str) -> Result<PodUsage, RuntimeError> {
        let pod = self.known_pod(uid)?;
        let running: Vec<String> = lock(&pod.containers)
            .iter()
            .filter(|(_, state)| matches!(*state.borrow(), ContainerState::Running { .. }))
            .map(|(id, _)| id.name.clone())
            .collect();
        let mut usage = PodUsage::default();
        for name in running {
            let cgroup = Cgroup::new(format!("{}/{name}", self.0.config.pod_cgroup(uid)));
            if let Some(used) = cgroup.usage() {
                usage.total += used;
                usage.containers.push((name, used));
            }
        }
        usage.containers.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(usage)
    }

    fn log_path(&self, id: &ContainerId) -> PathBuf {
        paths::log_path(
            &paths::pod_dir(&self.0.config.data_dir, &id.pod_uid),
            &id.name,
            id.attempt,
        )
    }

    async fn termination_message(&self, id: &ContainerId) -> Result<String, RuntimeError> {
        use std::io::Read;
        let path = paths::termination_path(
            &paths::pod_dir(&self.0.config.data_dir, &id.pod_uid),
            &id.name,
            id.attempt,
        );
        let mut text = Vec::new();
        let file = match std::fs::File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
            other => other.map_err(RuntimeError::path("open", &path))?,
        };
        file.take(TERMINATION_MESSAGE_LIMIT)
            .read_to_end(&mut text)
            .map_err(RuntimeError::path("read", &path))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn subscribe(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.0.events.subscribe()
    }
}
