//! Options of containers on Windows. No node here runs them, but what is wrong with them is said all the same.

use super::containers_with_paths;
use crate::check;
use crate::json::{flag, get, is_true, some};
use meta::{Errors, Path, name};
use serde_json::Value;

/// Bytes of a credential spec.
const SPEC_MAX: usize = 64 * 1024;
const DOMAIN_MAX: usize = 256;
const USER_MAX: usize = 104;

pub(super) fn options(security: &Value, path: &Path, errors: &mut Errors) {
    let Some(options) = some(security, "windowsOptions") else {
        return;
    };
    let path = path.child("windowsOptions");
    let text = |field: &str| get(options, field).as_str().map(|text| (text, path.child(field)));
    if let Some((spec_name, path)) = text("gmsaCredentialSpecName") {
        let wrong = name::check_dns1123_subdomain(spec_name);
        check::messages(&path, spec_name, wrong, errors);
    }
    if let Some((spec, path)) = text("gmsaCredentialSpec") {
        if spec.is_empty() {
            errors.invalid(&path, spec, "gmsaCredentialSpec cannot be an empty string");
        } else if spec.len() > SPEC_MAX {
            errors.invalid(&path, spec, "gmsaCredentialSpec size must be under 64 KiB");
        }
    }
    if let Some((user, path)) = text("runAsUserName") {
        for message in user_messages(user) {
            errors.invalid(&path, user, &message);
        }
    }
}

/// `DOMAIN\user` or `user`.
fn user_messages(text: &str) -> Vec<String> {
    let what = |rest: &str| format!("runAsUserName{rest}");
    if text.is_empty() {
        return vec![what(" cannot be an empty string")];
    }
    if text.chars().any(|c| c.is_ascii_control()) {
        return vec![what(" cannot contain control characters")];
    }
    let (domain, user) = match text.split_once('\\') {
        Some((_, user)) if user.contains('\\') => {
            return vec![what(" cannot contain more than one backslash")];
        }
        Some((domain, user)) => (Some(domain), user),
        None => (None, text),
    };
    let mut out = Vec::new();
    if domain.is_some_and(|d| d.len() >= DOMAIN_MAX) {
        out.push(what(&format!(
            "'s Domain length must be under {DOMAIN_MAX} characters"
        )));
    }
    if domain.is_some_and(|d| !is_netbios(d) && !is_dns(d)) {
        out.push(what("'s Domain doesn't match the NetBios nor the DNS format"));
    }
    if user.is_empty() {
        out.push(what("'s User cannot be empty"));
    } else if user.len() > USER_MAX {
        let detail = format!("'s User length must not be longer than {USER_MAX} characters");
        out.push(what(&detail));
    }
    if !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' ')) {
        out.push(what("'s User cannot contain only periods or spaces"));
    }
    let bad = "\"/\\:;|=,+*?<>@[]";
    if user.contains(|c| bad.contains(c)) {
        out.push(what(&format!(
            "'s User cannot contain the following characters: {bad}"
        )));
    }
    out
}

fn is_netbios(text: &str) -> bool {
    let plain = |c: char| !"\\/:*?\"<>|".contains(c);
    (1..=15).contains(&text.chars().count()) && !text.starts_with('.') && text.chars().all(plain)
}

fn is_dns(text: &str) -> bool {
    let label = |part: &str| name::check_dns1123_label(&part.to_lowercase()).is_empty();
    text.split('.').all(label)
}

/// Containers that are processes of the host: all or none, and on its network.
pub(super) fn host_processes(spec: &Value, path: &Path, errors: &mut Errors) {
    let asked = |holder: &Value| {
        flag(
            get(get(holder, "securityContext"), "windowsOptions"),
            "hostProcess",
        )
    };
    let of_pod = asked(spec);
    let all = containers_with_paths(spec, path);
    let mut count = 0;
    for (container, path) in &all {
        let own = asked(container);
        if let (Some(pod), Some(own)) = (of_pod, own)
            && pod != own
        {
            let detail = format!("pod hostProcess value must be identical if both are specified, was {pod}");
            let at = path.child("securityContext").child("windowsOptions");
            errors.invalid(&at.child("hostProcess"), own, &detail);
        }
        count += usize::from(own.or(of_pod) == Some(true));
    }
    if count == 0 {
        return;
    }
    if count != all.len() {
        let detail =
            "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.invalid(path, "", detail);
    }
    if !is_true(spec, "hostNetwork") {
        let detail = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.invalid(&path.child("hostNetwork"), false, detail);
    }
}
