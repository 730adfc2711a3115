//! Probes and lifecycle hooks.

use crate::check;
use crate::json::{get, has, int, list, number, some, string};
use meta::{Errors, Path, name};
use serde_json::Value;

/// All probes and hooks of a container that runs as long as its pod.
pub(super) fn all(spec: &Value, c: &Value, path: &Path, errors: &mut Errors) {
    let lifecycle = get(c, "lifecycle");
    for hook in ["postStart", "preStop"] {
        if let Some(h) = some(lifecycle, hook) {
            let path = path.child("lifecycle").child(hook);
            handler(spec, h, &path, errors);
        }
    }
    for kind in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(p) = some(c, kind) else { continue };
        let path = path.child(kind);
        probe(spec, p, &path, errors);
        if kind == "readinessProbe" {
            if let Some(seconds) = int(p, "terminationGracePeriodSeconds") {
                let path = path.child("terminationGracePeriodSeconds");
                errors.invalid(&path, seconds, "must not be set for readinessProbes");
            }
        } else if number(p, "successThreshold") != 1 {
            let n = number(p, "successThreshold");
            errors.invalid(&path.child("successThreshold"), n, "must be 1");
        }
    }
}

fn probe(spec: &Value, p: &Value, path: &Path, errors: &mut Errors) {
    handler(spec, p, path, errors);
    let counts = [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ];
    for field in counts {
        check::not_negative(p, field, path, errors);
    }
    if let Some(seconds) = int(p, "terminationGracePeriodSeconds")
        && seconds <= 0
    {
        let path = path.child("terminationGracePeriodSeconds");
        errors.invalid(&path, seconds, "must be greater than 0");
    }
}

fn handler(spec: &Value, h: &Value, path: &Path, errors: &mut Errors) {
    let mut given = 0;
    for kind in ["exec", "httpGet", "tcpSocket", "grpc", "sleep"] {
        let (action, path) = (get(h, kind), path.child(kind));
        if action.is_null() {
            continue;
        }
        given += 1;
        if given > 1 {
            errors.forbidden(&path, "may not specify more than 1 handler type");
            continue;
        }
        match kind {
            "exec" if list(action, "command").is_empty() => {
                errors.required(&path.child("command"), "");
            }
            "httpGet" => http_get(action, &path, errors),
            "tcpSocket" | "grpc" => {
                check::port_or_name(get(action, "port"), &path.child("port"), errors);
            }
            "sleep" => sleep(spec, action, &path, errors),
            _ => {}
        }
    }
    if given == 0 {
        errors.required(path, "must specify a handler type");
    }
}

fn http_get(http: &Value, path: &Path, errors: &mut Errors) {
    check::required(http, "path", path, errors);
    check::port_or_name(get(http, "port"), &path.child("port"), errors);
    let scheme = string(http, "scheme");
    if !matches!(scheme, "HTTP" | "HTTPS") {
        errors.not_supported(&path.child("scheme"), scheme, &["HTTP", "HTTPS"]);
    }
    for header in list(http, "httpHeaders") {
        let text = string(header, "name");
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if text.is_empty() || !text.bytes().all(plain) {
            let msg = "a valid HTTP header must consist of alphanumeric characters or '-'";
            let detail = name::regex_error(msg, "[-A-Za-z0-9]+", &["X-Header-Name"]);
            errors.invalid(&path.child("httpHeaders"), text, &detail);
        }
    }
}

fn sleep(spec: &Value, action: &Value, path: &Path, errors: &mut Errors) {
    let seconds = number(action, "seconds");
    if !has(spec, "terminationGracePeriodSeconds") {
        return;
    }
    // A negative period means one second, and is stored as that.
    let grace = match number(spec, "terminationGracePeriodSeconds") {
        seconds if seconds < 0 => 1,
        seconds => seconds,
    };
    if seconds < 0 || seconds > grace {
        let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.invalid(path, seconds, &detail);
    }
}
