//! A pod as the machine looks at it: containers in the order in which they start, with what decides about their lives.

use super::probe::{ProbeKind, ProbeSpec};
use k8s_openapi::api::core::v1::{Container, Pod};
use meta::{Object, object::NotAnObject};
use serde_json::Value;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct PodView {
    /// The whole pod, for the shell.
    pub pod: Arc<Pod>,
    pub uid: String,
    pub namespace: String,
    pub name: String,
    pub node: String,
    pub generation: i64,
    pub revision: u64,
    /// Grace seconds of the deletion that is under way.
    pub deletion: Option<i64>,
    /// The API object is no longer there.
    pub gone: bool,
    pub restart: Restart,
    pub grace_seconds: i64,
    pub active_deadline_seconds: Option<i64>,
    pub host_network: bool,
    pub readiness_gates: Vec<String>,
    /// Init containers first, in order.
    pub containers: Vec<ContainerView>,
    /// The status as it is stored.
    pub stored: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    Always,
    OnFailure,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerKind {
    Init,
    /// An init container with `restartPolicy: Always`.
    Sidecar,
    App,
}

#[derive(Clone, Debug)]
pub struct ContainerView {
    pub name: String,
    pub kind: ContainerKind,
    pub image: String,
    pub restart: Restart,
    pub probes: Vec<(ProbeKind, ProbeSpec)>,
    pub has_post_start: bool,
    /// `spec.containers{name}`, as events point to it.
    pub field_path: String,
}

impl PodView {
    pub fn of(object: &Object) -> Result<Self, NotAnObject> {
        let value = object.value();
        let stored = value
            .get("status")
            .cloned()
            .unwrap_or_else(|| Value::Object(Default::default()));
        let pod: Pod = serde_json::from_slice(object.json())
            .map_err(|e| NotAnObject(format!("{}: {e}", object.meta().key())))?;
        let meta = object.meta();
        let spec = pod.spec.clone().unwrap_or_default();
        let restart = Restart::of(spec.restart_policy.as_deref()).unwrap_or(Restart::Always);
        let init = spec.init_containers.iter().flatten();
        let init = init.map(|container| ContainerView::of_init(container, restart));
        let app = spec.containers.iter();
        let app = app.map(|container| ContainerView::of_app(container, restart));
        Ok(Self {
            uid: meta.uid.to_string(),
            namespace: meta.namespace.to_string(),
            name: meta.name.to_string(),
            node: spec.node_name.clone().unwrap_or_default(),
            generation: meta.generation,
            revision: meta.revision,
            deletion: meta.deleted.map(|_| meta.deletion_grace_seconds.unwrap_or(0)),
            gone: false,
            restart,
            grace_seconds: spec.termination_grace_period_seconds.unwrap_or(30),
            active_deadline_seconds: spec.active_deadline_seconds,
            host_network: spec.host_network == Some(true),
            readiness_gates: spec
                .readiness_gates
                .iter()
                .flatten()
                .map(|gate| gate.condition_type.clone())
                .collect(),
            containers: init.chain(app).collect(),
            stored,
            pod: Arc::new(pod),
        })
    }

    pub fn container(&self, name: &str) -> Option<&ContainerView> {
        self.containers.iter().find(|container| container.name == name)
    }

    pub fn of_kind(&self, kind: ContainerKind) -> impl DoubleEndedIterator<Item = &ContainerView> {
        self.containers
            .iter()
            .filter(move |container| container.kind == kind)
    }

    /// The container as the API has it.
    pub fn container_spec(&self, name: &str) -> Option<&Container> {
        let spec = self.pod.spec.as_ref()?;
        let init = spec.init_containers.iter().flatten();
        init.chain(&spec.containers)
            .find(|container| container.name == name)
    }

    /// What was stored about the container.
    pub(super) fn stored_container(&self, name: &str) -> Option<&Value> {
        ["containerStatuses", "initContainerStatuses"]
            .iter()
            .filter_map(|list| self.stored.get(list)?.as_array())
            .flatten()
            .find(|status| status.get("name").and_then(Value::as_str) == Some(name))
    }

    /// Succeeded or Failed for good.
    pub fn is_finished(&self) -> bool {
        matches!(
            self.stored.get("phase").and_then(Value::as_str),
            Some("Succeeded" | "Failed")
        )
    }
}

/// An init container that goes on beside the others.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

impl ContainerView {
    fn of_init(container: &Container, pod: Restart) -> Self {
        let (kind, restart) = match (is_sidecar(container), pod) {
            (true, _) => (ContainerKind::Sidecar, Restart::Always),
            (false, Restart::Never) => (ContainerKind::Init, Restart::Never),
            (false, _) => (ContainerKind::Init, Restart::OnFailure),
        };
        Self::of(container, kind, restart, "initContainers")
    }

    fn of_app(container: &Container, pod: Restart) -> Self {
        let restart = Restart::of(container.restart_policy.as_deref()).unwrap_or(pod);
        Self::of(container, ContainerKind::App, restart, "containers")
    }

    fn of(container: &Container, kind: ContainerKind, restart: Restart, list: &str) -> Self {
        let probes = [
            (ProbeKind::Startup, &container.startup_probe),
            (ProbeKind::Liveness, &container.liveness_probe),
            (ProbeKind::Readiness, &container.readiness_probe),
        ];
        let hooks = container.lifecycle.as_ref();
        Self {
            name: container.name.clone(),
            kind,
            image: container.image.clone().unwrap_or_default(),
            restart,
            probes: probes
                .into_iter()
                .filter_map(|(kind, probe)| Some((kind, ProbeSpec::of(probe.as_ref()?))))
                .collect(),
            has_post_start: hooks.is_some_and(|hooks| hooks.post_start.is_some()),
            field_path: format!("spec.{list}{{{}}}", container.name),
        }
    }

    pub fn probe(&self, kind: ProbeKind) -> Option<&ProbeSpec> {
        self.probes.iter().find(|(k, _)| *k == kind).map(|(_, spec)| spec)
    }

    /// Whether it is started again after this exit code.
    pub fn restarts_after(&self, code: i32) -> bool {
        match self.restart {
            Restart::Always => true,
            Restart::OnFailure => code != 0,
            Restart::Never => false,
        }
    }
}

impl Restart {
    fn of(text: Option<&str>) -> Option<Self> {
        match text? {
            "Always" => Some(Self::Always),
            "OnFailure" => Some(Self::OnFailure),
            "Never" => Some(Self::Never),
            _ => None,
        }
    }
}
