//! The downward API: what a pod may know about itself, as text. Pure.
//! Source: "Downward API" reference; formats as kubelet's `fieldpath` and `resource` packages write them.

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use meta::quantity::Quantity;
use std::collections::BTreeMap;

/// What is known about the pod beyond its spec, from the node at the time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    pub pod_ips: Vec<String>,
    pub host_ips: Vec<String>,
    pub node_name: String,
    /// The node's allocatable resources, as quantities: the limit of a container that states none.
    pub allocatable: BTreeMap<String, String>,
}

/// The value of a `fieldRef`.
pub fn field(pod: &Pod, facts: &Facts, path: &str) -> Result<String, String> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let spec = pod.spec.as_ref();
    let meta = &pod.metadata;
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return Err(format!("unsupported fieldPath: {path}")),
        };
        return Ok(map
            .as_ref()
            .and_then(|map| map.get(key))
            .cloned()
            .unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => text(&meta.name),
        "metadata.namespace" => text(&meta.namespace),
        "metadata.uid" => text(&meta.uid),
        "metadata.labels" => format_map(meta.labels.as_ref()),
        "metadata.annotations" => format_map(meta.annotations.as_ref()),
        "spec.nodeName" => {
            let bound = spec
                .and_then(|spec| spec.node_name.clone())
                .filter(|name| !name.is_empty());
            bound.unwrap_or_else(|| facts.node_name.clone())
        }
        "spec.serviceAccountName" => spec
            .map(|spec| text(&spec.service_account_name))
            .unwrap_or_default(),
        "spec.restartPolicy" => spec.map(|spec| text(&spec.restart_policy)).unwrap_or_default(),
        "status.podIP" => facts.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => facts.pod_ips.join(","),
        "status.hostIP" => facts.host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => facts.host_ips.join(","),
        "status.phase" => pod
            .status
            .as_ref()
            .map(|status| text(&status.phase))
            .unwrap_or_default(),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

/// `metadata.labels['x']` to `(metadata.labels, x)`.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// One `key="value"` a line, sorted.
fn format_map(map: Option<&BTreeMap<String, String>>) -> String {
    let lines = map
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", quote(value)));
    lines.collect::<Vec<_>>().join("\n")
}

/// As Go's `%q` writes a string.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0b' => out.push_str("\\v"),
            '\x0c' => out.push_str("\\f"),
            c if u32::from(c) < 0x20 || u32::from(c) == 0x7f => {
                out.push_str(&format!("\\x{:02x}", u32::from(c)))
            }
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out + "\""
}

/// The value of a `resourceFieldRef`. `own` is the container that asks; volumes name one.
pub fn resource(
    pod: &Pod,
    own: Option<&Container>,
    facts: &Facts,
    selector: &ResourceFieldSelector,
) -> Result<String, String> {
    let named = selector.container_name.as_deref().filter(|name| !name.is_empty());
    let container = match named {
        Some(name) => find_container(pod, name).ok_or_else(|| format!("container {name} not found"))?,
        None => own.ok_or("a resourceFieldRef in a volume needs a containerName")?,
    };
    let (list, resource) = selector
        .resource
        .split_once('.')
        .ok_or_else(|| format!("unsupported container resource : {}", selector.resource))?;
    let known =
        matches!(resource, "cpu" | "memory" | "ephemeral-storage") || resource.starts_with("hugepages-");
    let resources = container.resources.as_ref();
    let limits = resources
        .and_then(|r| r.limits.as_ref())
        .and_then(|l| l.get(resource))
        .map(|q| q.0.as_str());
    let requests = resources
        .and_then(|r| r.requests.as_ref())
        .and_then(|l| l.get(resource))
        .map(|q| q.0.as_str());
    let quantity = match (list, known) {
        ("limits", true) => limits
            .or(facts.allocatable.get(resource).map(String::as_str))
            .unwrap_or("0"),
        ("requests", true) => requests.unwrap_or("0"),
        _ => return Err(format!("unsupported container resource : {}", selector.resource)),
    };
    let divisor = selector
        .divisor
        .as_ref()
        .map(|q| q.0.as_str())
        .filter(|d| !matches!(*d, "" | "0"))
        .unwrap_or("1");
    let parse = |text: &str| Quantity::parse(text).ok_or_else(|| format!("{text:?} is not a quantity"));
    let (quantity, divisor) = (parse(quantity)?, parse(divisor)?);
    // As upstream: CPU is counted in thousandths, all else in whole units, both rounded up.
    let (value, by) = match resource {
        "cpu" => (quantity.millis(), divisor.millis()),
        _ => (quantity.value(), divisor.value()),
    };
    if by <= 0 || value < 0 {
        return Err(format!(
            "{} and its divisor must be above zero",
            selector.resource
        ));
    }
    Ok((value / by + i64::from(value % by != 0)).to_string())
}

fn find_container<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    spec.containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .find(|container| container.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web-0", "labels": {"b": "2", "a": "say \"hi\"\n"}, "annotations": {"x/y": "é\u{1}"}},
            "spec": {"containers": [{"name": "c", "resources": {
                "limits": {"cpu": "1500m", "memory": "100Mi"}, "requests": {"memory": "64M"}}}, {"name": "d"}]},
        }))
        .expect("a pod")
    }

    #[test]
    fn fields_are_written_as_kubelet_writes_them() {
        let facts = Facts {
            pod_ips: vec!["10.0.0.1".into(), "fd00::1".into()],
            node_name: "n1".into(),
            ..Facts::default()
        };
        for (path, want) in [
            ("metadata.name", "web-0"),
            ("metadata.labels", "a=\"say \\\"hi\\\"\\n\"\nb=\"2\""),
            ("metadata.annotations['x/y']", "é\u{1}"),
            ("metadata.annotations", "x/y=\"é\\x01\""),
            ("metadata.labels['none']", ""),
            ("status.podIP", "10.0.0.1"),
            ("status.podIPs", "10.0.0.1,fd00::1"),
            ("spec.nodeName", "n1"),
        ] {
            assert_eq!(field(&pod(), &facts, path).as_deref(), Ok(want), "{path}");
        }
        assert_eq!(
            field(&pod(), &facts, "spec.x"),
            Err("unsupported fieldPath: spec.x".into())
        );
    }

    #[test]
    fn resources_are_divided_and_rounded_up() {
        let facts = Facts {
            allocatable: BTreeMap::from([("cpu".into(), "2".into()), ("memory".into(), "1Gi".into())]),
            ..Facts::default()
        };
        let value = |container: &str, resource: &str, divisor: &str| {
            let selector = serde_json::from_value(
                json!({"containerName": container, "resource": resource, "divisor": divisor}),
            )
            .expect("a selector");
            resource_text(&facts, &selector)
        };
        for (container, resource, divisor, want) in [
            ("c", "limits.cpu", "0", "2"),
            ("c", "limits.cpu", "1m", "1500"),
            ("c", "limits.memory", "1Mi", "100"),
            ("c", "limits.memory", "0", "104857600"),
            ("c", "requests.memory", "1Mi", "62"),
            ("c", "requests.cpu", "1", "0"),
            ("d", "limits.cpu", "1m", "2000"),
            ("d", "limits.memory", "1Ki", "1048576"),
            ("x", "limits.cpu", "1", "error: container x not found"),
            (
                "c",
                "limits.gpu",
                "1",
                "error: unsupported container resource : limits.gpu",
            ),
            ("c", "limits.cpu", "x", "error: \"x\" is not a quantity"),
            (
                "c",
                "limits.cpu",
                "-1",
                "error: limits.cpu and its divisor must be above zero",
            ),
        ] {
            assert_eq!(
                value(container, resource, divisor),
                want,
                "{container} {resource} {divisor}"
            );
        }
    }

    fn resource_text(facts: &Facts, selector: &ResourceFieldSelector) -> String {
        resource(&pod(), None, facts, selector).unwrap_or_else(|error| format!("error: {error}"))
    }
}
