//! Containers, init containers and ephemeral ones: names, images, ports, and who may have which handlers.

use super::{Scope, env, handlers, resources, security, volumes};
use crate::check;
use crate::json::{get, has, int, is_true, list, number, string};
use crate::pod::is_sidecar;
use meta::{Errors, Path};
use serde_json::Value;

/// All containers of a pod spec.
pub(super) fn containers(scope: &Scope, path: &Path, errors: &mut Errors) {
    let spec = scope.spec;
    let (app, app_path) = (list(spec, "containers"), path.child("containers"));
    let init_path = path.child("initContainers");
    if app.is_empty() {
        errors.required(&app_path, "");
    }
    let mut names: Vec<&str> = Vec::new();
    for (i, c) in app.iter().enumerate() {
        let path = app_path.index(i);
        common(scope, c, &path, errors);
        unique_name(c, &mut names, &path, errors);
        handlers::all(spec, c, &path, errors);
        let policies = ["Always", "OnFailure", "Never"];
        check::one_of(c, "restartPolicy", &policies, false, &path, errors);
        restart_rules(c, &path, errors);
    }
    host_port_conflicts(app, &app_path, 0, errors);
    for (i, c) in list(spec, "initContainers").iter().enumerate() {
        let path = init_path.index(i);
        common(scope, c, &path, errors);
        unique_name(c, &mut names, &path, errors);
        init_only(scope, c, &path, errors);
        host_port_conflicts(std::slice::from_ref(c), &init_path, i, errors);
    }
    ephemeral(scope, &mut names, &path.child("ephemeralContainers"), errors);
    if is_true(spec, "hostNetwork") {
        host_network(app, &app_path, errors);
        host_network(list(spec, "initContainers"), &init_path, errors);
    }
}

fn unique_name<'a>(c: &'a Value, names: &mut Vec<&'a str>, path: &Path, errors: &mut Errors) {
    let name = string(c, "name");
    if names.contains(&name) {
        errors.duplicate(&path.child("name"), name);
    } else if !name.is_empty() {
        names.push(name);
    }
}

fn init_only(scope: &Scope, c: &Value, path: &Path, errors: &mut Errors) {
    let policies = ["Always", "OnFailure", "Never"];
    check::one_of(c, "restartPolicy", &policies, false, path, errors);
    restart_rules(c, path, errors);
    if is_sidecar(c) {
        handlers::all(scope.spec, c, path, errors);
        return;
    }
    for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if has(c, field) {
            let detail = "may not be set for init containers without restartPolicy=Always";
            errors.forbidden(&path.child(field), detail);
        }
    }
    if !list(c, "resizePolicy").is_empty() {
        let (field, value) = ("resizePolicy", get(c, "resizePolicy").clone());
        errors.invalid(&path.child(field), value, "must not be set for init containers");
    }
}

fn restart_rules(c: &Value, path: &Path, errors: &mut Errors) {
    let rules = list(c, "restartPolicyRules");
    if !rules.is_empty() && string(c, "restartPolicy").is_empty() {
        let detail = "must specify restartPolicy when restart rules are used";
        errors.required(&path.child("restartPolicy"), detail);
    }
    if rules.len() > 20 {
        errors.too_many(&path.child("restartPolicyRules"), rules.len(), 20);
    }
    for (i, rule) in rules.iter().enumerate() {
        let path = path.child("restartPolicyRules").index(i);
        let actions = ["Restart", "RestartAllContainers"];
        check::one_of(rule, "action", &actions, true, &path, errors);
        let codes = get(rule, "exitCodes");
        let codes_path = path.child("exitCodes");
        if codes.is_null() {
            errors.required(&codes_path, "must be specified");
            continue;
        }
        check::one_of(codes, "operator", &["In", "NotIn"], true, &codes_path, errors);
        let values = list(codes, "values").len();
        if values > 255 {
            errors.too_many(&codes_path.child("values"), values, 255);
        }
    }
}

fn ephemeral<'a>(scope: &Scope<'a>, names: &mut Vec<&'a str>, path: &Path, errors: &mut Errors) {
    for (i, c) in list(scope.spec, "ephemeralContainers").iter().enumerate() {
        let path = path.index(i);
        common(scope, c, &path, errors);
        unique_name(c, names, &path, errors);
        let target = string(c, "targetContainerName");
        let known = list(scope.spec, "containers")
            .iter()
            .chain(list(scope.spec, "initContainers"))
            .any(|other| string(other, "name") == target);
        if !target.is_empty() && !known {
            errors.not_found(&path.child("targetContainerName"), target);
        }
        let forbidden = [
            "lifecycle",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "ports",
            "resizePolicy",
            "restartPolicy",
        ];
        for field in forbidden {
            let given = match get(c, field) {
                Value::Null => false,
                Value::Array(items) => !items.is_empty(),
                _ => true,
            };
            if given {
                errors.forbidden(&path.child(field), "cannot be set for an Ephemeral Container");
            }
        }
        let resources = get(c, "resources").as_object();
        if resources.is_some_and(|r| !r.is_empty()) {
            let path = path.child("resources");
            errors.forbidden(&path, "cannot be set for an Ephemeral Container");
        }
    }
}

/// What holds for every container.
fn common(scope: &Scope, c: &Value, path: &Path, errors: &mut Errors) {
    match string(c, "name") {
        "" => errors.required(&path.child("name"), ""),
        name => check::dns_label(&path.child("name"), name, errors),
    }
    check::required(c, "image", path, errors);
    let policies = ["FallbackToLogsOnError", "File"];
    check::one_of(c, "terminationMessagePolicy", &policies, true, path, errors);
    ports(list(c, "ports"), &path.child("ports"), errors);
    env::env(list(c, "env"), &path.child("env"), errors);
    env::env_from(list(c, "envFrom"), &path.child("envFrom"), errors);
    volumes::mounts(scope, c, path, errors);
    volumes::devices(scope, c, path, errors);
    let pull = ["Always", "IfNotPresent", "Never"];
    check::one_of(c, "imagePullPolicy", &pull, true, path, errors);
    resources::requirements(get(c, "resources"), &path.child("resources"), errors);
    resize_policy(scope, c, path, errors);
    security::container(get(c, "securityContext"), &path.child("securityContext"), errors);
}

fn resize_policy(scope: &Scope, c: &Value, path: &Path, errors: &mut Errors) {
    let mut seen = Vec::new();
    for (i, policy) in list(c, "resizePolicy").iter().enumerate() {
        let path = path.child("resizePolicy").index(i);
        let resource = string(policy, "resourceName");
        if seen.contains(&resource) {
            errors.duplicate(&path, resource);
        }
        seen.push(resource);
        let resources = ["cpu", "memory"];
        check::one_of(policy, "resourceName", &resources, true, &path, errors);
        let restart = ["NotRequired", "RestartContainer"];
        check::one_of(policy, "restartPolicy", &restart, true, &path, errors);
        let never = string(scope.spec, "restartPolicy") == "Never";
        if never && string(policy, "restartPolicy") == "RestartContainer" {
            let detail = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.invalid(&path.child("restartPolicy"), "RestartContainer", detail);
        }
    }
}

fn ports(ports: &[Value], path: &Path, errors: &mut Errors) {
    let mut names = Vec::new();
    for (i, port) in ports.iter().enumerate() {
        let path = path.index(i);
        let name = string(port, "name");
        if !name.is_empty() {
            let wrong = check::port_name_messages(name);
            if wrong.is_empty() && names.contains(&name) {
                errors.duplicate(&path.child("name"), name);
            } else if wrong.is_empty() {
                names.push(name);
            }
            check::messages(&path.child("name"), name, wrong, errors);
        }
        match number(port, "containerPort") {
            0 => errors.required(&path.child("containerPort"), ""),
            n => check::port_number(n, &path.child("containerPort"), errors),
        }
        if let Some(n) = int(port, "hostPort").filter(|n| *n != 0) {
            check::port_number(n, &path.child("hostPort"), errors);
        }
        let protocols = ["SCTP", "TCP", "UDP"];
        check::one_of(port, "protocol", &protocols, true, &path, errors);
        let ip = string(port, "hostIP");
        if !ip.is_empty() && !super::is_ip(ip) {
            errors.invalid(&path.child("hostIP"), ip, super::IP_MESSAGE);
        }
    }
}

/// No two containers that run together take the same port of the host. `first` is the index of the first one.
fn host_port_conflicts(containers: &[Value], path: &Path, first: usize, errors: &mut Errors) {
    let mut taken = Vec::new();
    for (i, c) in containers.iter().enumerate() {
        for (j, port) in list(c, "ports").iter().enumerate() {
            let host_port = number(port, "hostPort");
            if host_port == 0 {
                continue;
            }
            let (protocol, ip) = (string(port, "protocol"), string(port, "hostIP"));
            let claim = format!("{protocol}/{ip}/{host_port}");
            if taken.contains(&claim) {
                let path = path.index(first + i).child("ports").index(j);
                errors.duplicate(&path.child("hostPort"), claim);
            } else {
                taken.push(claim);
            }
        }
    }
}

fn host_network(containers: &[Value], path: &Path, errors: &mut Errors) {
    for (i, c) in containers.iter().enumerate() {
        for (j, port) in list(c, "ports").iter().enumerate() {
            let container_port = number(port, "containerPort");
            if number(port, "hostPort") != container_port {
                let path = path.index(i).child("ports").index(j).child("containerPort");
                let detail = "must match `hostPort` when `hostNetwork` is true";
                errors.invalid(&path, container_port, detail);
            }
        }
    }
}
