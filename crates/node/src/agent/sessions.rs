//! What the API asks of a running pod: logs, exec, attach, and connections to its ports.

use super::Agent;
use crate::runtime::logs::{self, LogOptions, LogReader};
use crate::runtime::{
    AttachSession, AttachStreams, ContainerId, ContainerState, ExecSession, ExecSpec, PodState, RuntimeError,
};
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kinds::pod::PODS;
use meta::{Object, Status};
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Names the container that `kubectl` means when none is given.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Pieces of a log as they are read.
pub type LogStream = BoxStream<'static, io::Result<Bytes>>;

/// Why a session cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("{0}")]
    Refused(Status),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error("cannot read the log: {0}")]
    Log(#[from] io::Error),
}

impl From<SessionError> for Status {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Refused(status) => status,
            SessionError::Runtime(RuntimeError::NotFound(message)) => Self::new(404, "NotFound", message),
            SessionError::Runtime(RuntimeError::Conflict(message)) => Self::bad_request(message),
            other => Self::new(500, "InternalError", other.to_string()),
        }
    }
}

impl Agent {
    /// The container's log; of the attempt before with `previous`. `container` may be empty when there is one only.
    pub async fn logs(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        previous: bool,
        options: LogOptions,
    ) -> Result<LogStream, SessionError> {
        let (object, name) = self.find(namespace, pod, container)?;
        let state = self.shell().runtime.pod(object.uid()).await?;
        let newest = state
            .as_ref()
            .and_then(|state| newest(state, &name))
            .or_else(|| stored_attempt(&object, &name));
        let waiting = || {
            let message = format!(
                "container \"{name}\" in pod \"{pod}\" is waiting to start: {}",
                reason(&object, &name)
            );
            SessionError::Refused(Status::bad_request(message))
        };
        let mut attempt = newest.ok_or_else(waiting)?;
        if previous {
            attempt = attempt.checked_sub(1).ok_or_else(|| {
                let message = format!("previous terminated container \"{name}\" in pod \"{pod}\" not found");
                SessionError::Refused(Status::bad_request(message))
            })?;
        }
        let id = ContainerId::new(object.uid(), &name, attempt);
        let runs = state.iter().flat_map(|state| &state.containers).any(|status| {
            status.id == id
                && matches!(
                    status.state,
                    ContainerState::Running { .. } | ContainerState::Creating
                )
        });
        let ended = match options.follow {
            true => self.end_of(id.clone(), runs),
            false => watch::channel(true).1,
        };
        let reader = logs::read(&self.shell().runtime.log_path(&id), &options, ended)?;
        Ok(pieces(reader))
    }

    /// Turns true when the container has ended.
    fn end_of(&self, id: ContainerId, runs: bool) -> watch::Receiver<bool> {
        let (sender, receiver) = watch::channel(!runs);
        if !runs {
            return receiver;
        }
        let mut events = self.shell().runtime.subscribe();
        let (runtime, stop) = (self.shell().runtime.clone(), self.stop.clone());
        self.shell().tasks.spawn(async move {
            loop {
                let state = runtime.pod(&id.pod_uid).await.ok().flatten();
                let runs = state
                    .iter()
                    .flat_map(|state| &state.containers)
                    .any(|status| status.id == id && !matches!(status.state, ContainerState::Exited(_)));
                if !runs {
                    sender.send_replace(true);
                    return;
                }
                tokio::select! {
                    () = sender.closed() => return,
                    // Nobody would say it any more.
                    () = stop.cancelled() => {
                        sender.send_replace(true);
                        return;
                    }
                    event = events.recv() => match event {
                        Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                        Err(_) => return,
                    },
                }
            }
        });
        receiver
    }

    pub async fn exec(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        spec: &ExecSpec,
    ) -> Result<ExecSession, SessionError> {
        let id = self.running(namespace, pod, container).await?;
        Ok(self.shell().runtime.exec(&id, spec).await?)
    }

    pub async fn attach(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        streams: AttachStreams,
    ) -> Result<AttachSession, SessionError> {
        let id = self.running(namespace, pod, container).await?;
        Ok(self.shell().runtime.attach(&id, streams).await?)
    }

    /// Connects to a port on the pod's own loopback.
    pub async fn dial(&self, namespace: &str, pod: &str, port: u16) -> Result<TcpStream, SessionError> {
        let object = self.object(namespace, pod)?;
        Ok(self.shell().runtime.dial(object.uid(), port).await?)
    }

    /// Connects to an address of a pod, as others in the cluster do.
    pub async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        self.shell().network.dial(to).await
    }

    fn object(&self, namespace: &str, pod: &str) -> Result<Object, SessionError> {
        let snapshot = self.shell().client.snapshot();
        let found = snapshot.get(PODS, namespace, pod).cloned();
        found.ok_or_else(|| SessionError::Refused(Status::not_found(PODS, pod)))
    }

    fn find(&self, namespace: &str, pod: &str, container: &str) -> Result<(Object, String), SessionError> {
        let object = self.object(namespace, pod)?;
        let typed: Pod = serde_json::from_slice(object.json())
            .map_err(|e| SessionError::Refused(Status::new(500, "InternalError", e.to_string())))?;
        let spec = typed.spec.unwrap_or_default();
        let init = spec.init_containers.iter().flatten();
        let names: Vec<&str> = spec
            .containers
            .iter()
            .chain(init)
            .map(|container| container.name.as_str())
            .collect();
        let annotated = typed
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(DEFAULT_CONTAINER));
        let chosen = match (container, annotated, spec.containers.as_slice()) {
            ("", Some(name), _) => name.as_str(),
            ("", None, [only]) => only.name.as_str(),
            ("", None, several) => {
                let several: Vec<&str> = several.iter().map(|container| container.name.as_str()).collect();
                let message = format!(
                    "a container name must be specified for pod {pod}, choose one of: [{}]",
                    several.join(" ")
                );
                return Err(SessionError::Refused(Status::bad_request(message)));
            }
            (name, ..) => name,
        };
        if !names.contains(&chosen) {
            let message = format!("container {chosen} is not valid for pod {pod}");
            return Err(SessionError::Refused(Status::bad_request(message)));
        }
        Ok((object.clone(), chosen.to_owned()))
    }

    async fn running(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> Result<ContainerId, SessionError> {
        let (object, name) = self.find(namespace, pod, container)?;
        let state = self.shell().runtime.pod(object.uid()).await?;
        let running = state
            .iter()
            .flat_map(|state| &state.containers)
            .rfind(|status| status.id.name == name && matches!(status.state, ContainerState::Running { .. }));
        running.map(|status| status.id.clone()).ok_or_else(|| {
            let message = format!("unable to upgrade connection: container not found (\"{name}\")");
            SessionError::Refused(Status::new(500, "InternalError", message))
        })
    }
}

fn newest(state: &PodState, name: &str) -> Option<u32> {
    state
        .containers
        .iter()
        .filter(|status| status.id.name == name)
        .map(|status| status.id.attempt)
        .max()
}

/// As the API last heard, for pods whose shim is gone.
fn stored_attempt(object: &Object, name: &str) -> Option<u32> {
    let status = container_status(object, name)?;
    let ran = status
        .pointer("/state/running")
        .or(status.pointer("/state/terminated"))
        .is_some();
    let restarts = u32::try_from(status.get("restartCount")?.as_u64()?).ok()?;
    ran.then_some(restarts)
}

fn container_status(object: &Object, name: &str) -> Option<serde_json::Value> {
    let value = object.value();
    let lists = ["/status/containerStatuses", "/status/initContainerStatuses"];
    let mut all = lists
        .iter()
        .filter_map(|list| value.pointer(list)?.as_array())
        .flatten();
    all.find(|status| status["name"] == name).cloned()
}

fn reason(object: &Object, name: &str) -> String {
    let status = container_status(object, name);
    let reason = status
        .as_ref()
        .and_then(|status| status.pointer("/state/waiting/reason")?.as_str());
    reason.unwrap_or("ContainerCreating").to_owned()
}

fn pieces(reader: LogReader) -> LogStream {
    futures::stream::unfold(Some(reader), async |reader| {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(piece)) => Some((Ok(Bytes::from(piece)), Some(reader))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}
