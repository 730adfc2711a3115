//! What is allowed in a pod or template but is hardly meant. Source: upstream's `pod/warnings.go`.

use crate::json::{at, get, list, members, number, quantity_text, string};
use meta::{Path, Quantity, name};
use serde_json::Value;

/// Of a new pod, or one whose spec was sent again.
pub(super) fn of_pod(pod: &Value, old: Option<&Value>) -> Vec<String> {
    let mut out = Vec::new();
    if old.is_none() {
        let wrong = name::check_dns1123_label(crate::row::text(pod, "/metadata/name"));
        warn_of_name("the Pod's hostname", &wrong, &mut out);
    }
    of_spec(get(pod, "spec"), &Path::new("spec"), &mut out);
    out
}

/// Of a workload: its name, which becomes part of its pods' names, and its template, when that is new.
pub fn of_workload(object: &Value, old: Option<&Value>) -> Vec<String> {
    let mut out = Vec::new();
    let template = at(object, "/spec/template");
    if old.is_some_and(|old| at(old, "/spec/template") == template) {
        return out;
    }
    if old.is_none() {
        let wrong = name::check_dns1123_label(crate::row::text(object, "/metadata/name"));
        warn_of_name("Pod names and hostnames", &wrong, &mut out);
    }
    let path = Path::new("spec").child("template").child("spec");
    of_spec(get(template, "spec"), &path, &mut out);
    out
}

/// Of a workload whose pods take its name as theirs.
pub(crate) fn of_name(object: &Value) -> Vec<String> {
    let mut out = Vec::new();
    let wrong = name::check_dns1123_label(crate::row::text(object, "/metadata/name"));
    warn_of_name("Pod names and hostnames", &wrong, &mut out);
    out
}

/// Of a template that is at `path`.
pub(crate) fn of_template(template: &Value, path: &Path) -> Vec<String> {
    let mut out = Vec::new();
    of_spec(get(template, "spec"), &path.child("spec"), &mut out);
    out
}

/// The object is new, or its spec is.
pub(crate) fn is_respecified(object: &Value, old: Option<&Value>) -> bool {
    let generation = |object| number(get(object, "metadata"), "generation");
    old.is_none_or(|old| generation(old) != generation(object))
}

fn warn_of_name(used: &str, wrong: &[String], out: &mut Vec<String>) {
    if !wrong.is_empty() {
        let why = wrong.join(" ");
        out.push(format!(
            "metadata.name: this is used in {used}, which can result in surprising behavior; a DNS label is recommended: [{why}]"
        ));
    }
}

fn of_spec(spec: &Value, path: &Path, out: &mut Vec<String>) {
    for kind in ["initContainers", "containers"] {
        for (i, container) in list(spec, kind).iter().enumerate() {
            let path = path.child(kind).index(i);
            fractional_bytes(container, &path, out);
            repeated_variables(container, &path, out);
            repeated_ports(container, &path, out);
        }
    }
}

fn fractional_bytes(container: &Value, path: &Path, out: &mut Vec<String>) {
    let resources = get(container, "resources");
    for resource in ["memory", "ephemeral-storage"] {
        for field in ["limits", "requests"] {
            let amounts = members(resources, field).filter(|(name, _)| *name == resource);
            for (name, amount) in amounts {
                let text = quantity_text(amount);
                if Quantity::parse(&text).is_some_and(|amount| !amount.is_whole()) {
                    let path = path.child("resources").child(field).key(name);
                    out.push(format!(
                        "{path}: fractional byte value {text:?} is invalid, must be an integer"
                    ));
                }
            }
        }
    }
}

/// Values that the environment defines twice: the later one wins, and an apply may drop it.
fn repeated_variables(container: &Value, path: &Path, out: &mut Vec<String>) {
    let vars = list(container, "env");
    for (i, var) in vars.iter().enumerate() {
        let name = string(var, "name");
        // A value that refers to the earlier one means to replace it.
        let refers = string(var, "value").contains(&format!("$({name})"));
        if !refers && vars[..i].iter().any(|v| string(v, "name") == name) {
            let path = path.child("env").index(i);
            out.push(format!(
                "{path}: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
    }
}

fn repeated_ports(container: &Value, path: &Path, out: &mut Vec<String>) {
    let ports = list(container, "ports");
    let own = |port: &Value| {
        (
            number(port, "containerPort"),
            string(port, "protocol").to_string(),
        )
    };
    let host = |port: &Value| (number(port, "hostPort"), string(port, "hostIP").to_string());
    for (i, port) in ports.iter().enumerate() {
        let Some(other) = ports[..i].iter().position(|p| own(p) == own(port)) else {
            continue;
        };
        let (a, b) = (host(port), host(&ports[other]));
        let what = if a == b {
            "duplicate"
        } else if a.0 == 0 || b.0 == 0 || (a.0 == b.0 && (a.1.is_empty() || b.1.is_empty())) {
            "overlapping"
        } else {
            continue;
        };
        let ports = path.child("ports");
        out.push(format!(
            "{}: {what} port definition with {}",
            ports.index(i),
            ports.index(other)
        ));
    }
}
