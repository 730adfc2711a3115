//! Pods that ask for an AppArmor profile. Source: kubelet's `security/apparmor`. The server loads no profile into the
//! kernel: that would be a mark on the host.

use k8s_openapi::api::core::v1::{AppArmorProfile, Container, Pod, PodSpec};

const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";

pub fn is_enabled() -> bool {
    std::fs::read_to_string(ENABLED).is_ok_and(|text| text.starts_with('Y'))
}

/// Reason and message for a pod that has not run yet and wants what the machine does not have.
pub fn refusal(pod: &Pod, is_enabled: impl FnOnce() -> bool) -> Option<(&'static str, String)> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let is_new = matches!(phase, None | Some("Pending"));
    let message = "Cannot enforce AppArmor: AppArmor is not enabled on the host";
    (is_new && is_required(pod) && !is_enabled()).then(|| ("AppArmor", message.to_owned()))
}

fn is_required(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let confines = |profile: &AppArmorProfile| profile.type_ != "Unconfined";
    of_pod(spec).is_some_and(confines) || containers(spec).any(|c| of_container(c).is_some_and(confines))
}

/// What keeps a container from starting. Profiles of the machine's own are not applied yet.
pub fn problem(pod: &PodSpec, container: &Container) -> Option<&'static str> {
    let profile = of_container(container).or(of_pod(pod))?;
    (profile.type_ == "Localhost")
        .then_some("appArmorProfile type Localhost is not supported; use RuntimeDefault or Unconfined")
}

fn of_pod(spec: &PodSpec) -> Option<&AppArmorProfile> {
    spec.security_context.as_ref()?.app_armor_profile.as_ref()
}

fn of_container(container: &Container) -> Option<&AppArmorProfile> {
    container.security_context.as_ref()?.app_armor_profile.as_ref()
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(of_pod: Value, of_container: Value, phase: &str) -> Pod {
        let context = |profile: Value| json!({"appArmorProfile": profile});
        let containers = json!([{"name": "c", "securityContext": context(of_container)}]);
        let spec = json!({"containers": containers, "securityContext": context(of_pod)});
        serde_json::from_value(json!({"spec": spec, "status": {"phase": phase}})).expect("a pod")
    }

    #[test]
    fn who_asks_for_a_profile_is_refused_where_there_is_none() {
        let (unconfined, default) = (json!({"type": "Unconfined"}), json!({"type": "RuntimeDefault"}));
        let local = json!({"type": "Localhost", "localhostProfile": "foo"});
        for (of_pod, of_container, refused) in [
            (Value::Null, Value::Null, false),
            (unconfined.clone(), unconfined.clone(), false),
            (default.clone(), Value::Null, true),
            (unconfined.clone(), local.clone(), true),
        ] {
            let pod = pod(of_pod, of_container, "Pending");
            assert_eq!(refusal(&pod, || false).is_some(), refused, "{:?}", pod.spec);
            assert_eq!(refusal(&pod, || true), None);
        }
        assert_eq!(
            refusal(&pod(default.clone(), Value::Null, "Running"), || false),
            None
        );
        let spec = |of_pod, of_container| pod(of_pod, of_container, "").spec.unwrap_or_default();
        let local_pod = spec(local, default);
        assert_eq!(
            problem(&local_pod, &local_pod.containers[0]),
            None,
            "its own counts"
        );
        let local_pod = spec(json!({"type": "Localhost"}), Value::Null);
        assert!(problem(&local_pod, &local_pod.containers[0]).is_some());
    }
}
