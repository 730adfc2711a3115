//! Containers, init containers and ephemeral ones: names, images, ports, and who may have which handlers.

use super::{Scope, env, handlers, resources, security, volumes};
use crate::check;
use crate::json::{get, has, int, is_true, list, number, string};
use crate::pod::is_sidecar;
use meta::{Errors, Path};
use serde_json::Value;

/// Fields that a container for debugging does not have, in upstream's order.
const FORBIDDEN: [&str; 9] = [
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];
const NEEDS_POLICY: &str = "must specify restartPolicy when restart rules are used";
const NOT_EPHEMERAL: &str = "cannot be set for an Ephemeral Container";

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
        restart_rules(c, &path, errors);
    }
    host_port_conflicts(app, &app_path, errors);
    let mut unnamed = false;
    for (i, c) in list(spec, "initContainers").iter().enumerate() {
        let path = init_path.index(i);
        common(scope, c, &path, errors);
        // Without a policy upstream looks no further here.
        if has(c, "restartPolicy") {
            restart_rules(c, &path, errors);
        } else if !list(c, "restartPolicyRules").is_empty() {
            errors.required(&path.child("restartPolicy"), NEEDS_POLICY);
        }
        // Init containers without a name do not meet each other.
        match string(c, "name") {
            "" if !names.contains(&"") => unnamed = true,
            _ => unique_name(c, &mut names, &path, errors),
        }
        // Upstream always names the first one here.
        host_port_conflicts(std::slice::from_ref(c), &init_path, errors);
        init_only(scope, c, &path, errors);
    }
    if unnamed {
        names.push("");
    }
    ephemeral(scope, &mut names, &path.child("ephemeralContainers"), errors);
}

/// What a pod's own container must be, but not that of a template.
pub(super) fn image_of_pod(c: &Value, path: &Path, errors: &mut Errors) {
    let image = string(c, "image");
    if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        errors.invalid(&path.child("image"), image, detail);
    }
}

/// No name at all counts as one too.
fn unique_name<'a>(c: &'a Value, names: &mut Vec<&'a str>, path: &Path, errors: &mut Errors) {
    let name = string(c, "name");
    if names.contains(&name) {
        errors.duplicate(&path.child("name"), name);
    } else {
        names.push(name);
    }
}

fn init_only(scope: &Scope, c: &Value, path: &Path, errors: &mut Errors) {
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
    for (i, policy) in list(c, "resizePolicy").iter().enumerate() {
        let path = path.child("resizePolicy").index(i).child("restartPolicy");
        let restart = string(policy, "restartPolicy");
        if restart == "RestartContainer" {
            let detail = "must not be set to 'RestartContainer' for non-sidecar initContainers";
            errors.invalid(&path, restart, detail);
        }
    }
}

fn restart_rules(c: &Value, path: &Path, errors: &mut Errors) {
    let rules = list(c, "restartPolicyRules");
    let policies = ["Always", "Never", "OnFailure"];
    check::one_of_given(c, "restartPolicy", &policies, path, errors);
    if !has(c, "restartPolicy") && !rules.is_empty() {
        errors.required(&path.child("restartPolicy"), NEEDS_POLICY);
    }
    if rules.len() > 20 {
        errors.too_many(&path.child("restartPolicyRules"), rules.len(), 20);
    }
    for (i, rule) in rules.iter().enumerate() {
        let path = path.child("restartPolicyRules").index(i);
        let actions = ["Restart", "RestartAllContainers"];
        known(rule, "action", &actions, &path, errors);
        let codes = get(rule, "exitCodes");
        let codes_path = path.child("exitCodes");
        if codes.is_null() {
            errors.required(&codes_path, "must be specified");
            continue;
        }
        known(codes, "operator", &["In", "NotIn"], &codes_path, errors);
        let values = list(codes, "values").len();
        if values > 255 {
            errors.too_many(&codes_path.child("values"), values, 255);
        }
    }
}

/// A text that is one of these; what is missing is the empty text here.
fn known(object: &Value, field: &str, allowed: &[&str], path: &Path, errors: &mut Errors) {
    let value = string(object, field);
    if !allowed.contains(&value) {
        errors.not_supported(&path.child(field), value, allowed);
    }
}

fn ephemeral<'a>(scope: &Scope<'a>, names: &mut Vec<&'a str>, path: &Path, errors: &mut Errors) {
    for (i, c) in list(scope.spec, "ephemeralContainers").iter().enumerate() {
        let path = path.index(i);
        common(scope, c, &path, errors);
        image_of_pod(c, &path, errors);
        unique_name(c, names, &path, errors);
        let target = string(c, "targetContainerName");
        let known = list(scope.spec, "containers")
            .iter()
            .chain(list(scope.spec, "initContainers"))
            .any(|other| string(other, "name") == target);
        if !target.is_empty() && !known {
            errors.not_found(&path.child("targetContainerName"), target);
        }
        for field in FORBIDDEN {
            let given = match get(c, field) {
                Value::Null => false,
                Value::Object(fields) if field == "resources" => !fields.is_empty(),
                _ => true,
            };
            if given {
                errors.forbidden(&path.child(field), NOT_EPHEMERAL);
            }
        }
        for (i, mount) in list(c, "volumeMounts").iter().enumerate() {
            let path = path.child("volumeMounts").index(i);
            for field in ["subPath", "subPathExpr"] {
                if !string(mount, field).is_empty() {
                    errors.forbidden(&path.child(field), NOT_EPHEMERAL);
                }
            }
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
    let policies = ["File", "FallbackToLogsOnError"];
    check::one_of(c, "terminationMessagePolicy", &policies, true, path, errors);
    ports(list(c, "ports"), &path.child("ports"), errors);
    env::env(list(c, "env"), &path.child("env"), errors);
    env::env_from(list(c, "envFrom"), &path.child("envFrom"), errors);
    volumes::mounts(scope, c, path, errors);
    volumes::devices(scope, c, path, errors);
    let pull = ["Always", "IfNotPresent", "Never"];
    check::one_of(c, "imagePullPolicy", &pull, true, path, errors);
    resources::of_container(scope.spec, get(c, "resources"), &path.child("resources"), errors);
    resize_policy(scope, c, path, errors);
    let of_own_users = crate::json::flag(scope.spec, "hostUsers") == Some(false);
    let security = path.child("securityContext");
    security::container(get(c, "securityContext"), of_own_users, &security, errors);
}

/// Upstream names the list in what it says of one policy.
fn resize_policy(scope: &Scope, c: &Value, path: &Path, errors: &mut Errors) {
    let (all, never) = (
        path.child("resizePolicy"),
        string(scope.spec, "restartPolicy") == "Never",
    );
    let mut seen = Vec::new();
    for (i, policy) in list(c, "resizePolicy").iter().enumerate() {
        let (resource, restart) = (string(policy, "resourceName"), string(policy, "restartPolicy"));
        if seen.contains(&resource) {
            errors.duplicate(&all.index(i), resource);
        }
        seen.push(resource);
        let restarts = ["NotRequired", "RestartContainer"];
        for (value, allowed) in [(resource, ["cpu", "memory"]), (restart, restarts)] {
            match value {
                "" => errors.required(&all, ""),
                value if !allowed.contains(&value) => errors.not_supported(&all, value, &allowed),
                _ => {}
            }
        }
        if never && restart != "NotRequired" {
            let detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.invalid(&all, restart, detail);
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
    }
}

/// No two containers that run together take the same port of the host.
fn host_port_conflicts(containers: &[Value], path: &Path, errors: &mut Errors) {
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
                let path = path.index(i).child("ports").index(j);
                errors.duplicate(&path.child("hostPort"), claim);
            } else {
                taken.push(claim);
            }
        }
    }
}

/// On the host's network a container's port is the host's. A template may leave that to its defaults.
pub(super) fn host_network(spec: &Value, of_pod: bool, path: &Path, errors: &mut Errors) {
    if !is_true(spec, "hostNetwork") {
        return;
    }
    for (i, c) in list(spec, "containers").iter().enumerate() {
        for (j, port) in list(c, "ports").iter().enumerate() {
            let (own, host) = (number(port, "containerPort"), number(port, "hostPort"));
            if (of_pod || host != 0) && host != own {
                let path = path.child("containers").index(i).child("ports").index(j);
                let detail = "must match `containerPort` when `hostNetwork` is true";
                errors.invalid(&path.child("hostPort"), host, detail);
            }
        }
    }
}
