//! CertificateSigningRequest: somebody wants a certificate. Source: certificates.k8s.io/v1 API reference.

mod pem;
mod validate;

use crate::json::{at, child_mut, get, has, int, items_mut, list, put, put_default, string, take};
use crate::review::User;
use crate::row::{age, duration, text};
use crate::{Check, Column, Row, Rules, Write};
use meta::{Errors, Res, Snapshot, Status, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub const CERTIFICATESIGNINGREQUESTS: Res = Res::new("certificates.k8s.io", "certificatesigningrequests");

pub fn row() -> Row {
    Row {
        res: CERTIFICATESIGNINGREQUESTS,
        version: "v1",
        kind: "CertificateSigningRequest",
        singular: "certificatesigningrequest",
        short_names: &["csr"],
        categories: &[],
        namespaced: false,
        type_name: "io.k8s.api.certificates.v1.CertificateSigningRequest",
        generation: false,
        status: true,
        scale: None,
        selectable: &["spec.signerName"],
        columns: const {
            &[
                Column::NAME,
                Column::AGE,
                Column::new("SignerName", "string").shows(SPEC, "signerName"),
                Column::new("Requestor", "string").shows(SPEC, "request"),
                Column::new("RequestedDuration", "string").shows(SPEC, "expirationSeconds"),
                Column::new("Condition", "string")
                    .shows("certificates.v1.CertificateSigningRequestStatus", "conditions"),
            ]
        },
        rules: Arc::new(CertificateSigningRequest),
    }
}

const SPEC: &str = "certificates.v1.CertificateSigningRequestSpec";
/// The subresource through which a request is approved or denied.
pub const APPROVAL: &str = "approval";
const DECISIONS: [&str; 2] = ["Approved", "Denied"];
/// The signer of certificates that our own API takes.
const CLIENTS: &str = "kubernetes.io/kube-apiserver-client";

struct CertificateSigningRequest;

impl Rules for CertificateSigningRequest {
    fn subresources(&self) -> &'static [&'static str] {
        &[APPROVAL]
    }

    /// Who asks is who calls.
    fn sign(&self, object: &mut Value, maker: &User) {
        let Some(spec) = crate::json::ensure_object(object, "spec") else {
            return;
        };
        for field in ["username", "uid", "groups", "extra"] {
            take(spec, field);
        }
        put(spec, "username", maker.name.as_str());
        if !maker.uid.is_empty() {
            put(spec, "uid", maker.uid.as_str());
        }
        if !maker.groups.is_empty() {
            put(spec, "groups", json!(maker.groups));
        }
        if !maker.extra.is_empty() {
            put(spec, "extra", json!(maker.extra));
        }
    }

    /// What is asked for stays. A status write leaves the decision, and a decision the rest of the status.
    fn prepare(&self, write: Write, object: &mut Value, old: Option<&Value>, now: Timestamp) {
        let Some(old) = old else { return };
        put(object, "spec", get(old, "spec").clone());
        match write {
            Write::Status => {
                DECISIONS
                    .iter()
                    .for_each(|kind| keep_conditions(object, old, kind));
                complete_times(object, old, now);
            }
            Write::Other(APPROVAL) => {
                complete_times(object, old, now);
                let given = at(object, "/status/conditions").clone();
                let mut status = match get(old, "status") {
                    Value::Null => json!({}),
                    status => status.clone(),
                };
                take(&mut status, "conditions");
                if !given.is_null() {
                    put(&mut status, "conditions", given);
                }
                put(object, "status", status);
            }
            _ => {}
        }
    }

    /// Their names are their makers' own business, as long as they fit into a path.
    fn check_name(&self, name: &str) -> Vec<String> {
        meta::name::check_path_segment(name)
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        validate::request(object, None, errors);
    }

    fn validate_replacement(&self, object: &Value, old: &Value, errors: &mut Errors) {
        validate::request(object, Some(old), errors);
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        &[
            Check::Metadata,
            Check::Object,
            Check::Change,
            Check::MetadataChange,
        ]
    }

    fn validate_update(&self, write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        validate::change(write, object, old, errors);
    }

    /// Nobody becomes an administrator by a certificate. Source: the admission plugin CertificateSubjectRestriction.
    fn admit(
        &self,
        write: Write,
        object: &mut Value,
        _old: Option<&Value>,
        _seen: &Snapshot,
    ) -> Result<(), Status> {
        if write != Write::Create || text(object, "/spec/signerName") != CLIENTS {
            return Ok(());
        }
        let name = text(object, "/metadata/name");
        let refused = |why: &str| Status::forbidden(CERTIFICATESIGNINGREQUESTS, name, why);
        let request = pem::request(text(object, "/spec/request"));
        let organizations = request.map_err(|why| refused(&format!("failed to parse CSR: {why}")))?;
        if organizations
            .iter()
            .any(|organization| organization == "system:masters")
        {
            let why = format!("use of {CLIENTS} signer with system:masters group is not allowed");
            return Err(refused(&why));
        }
        Ok(())
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = get(object, "spec");
        let or_none = |text: &str| if text.is_empty() { "<none>" } else { text }.to_string();
        let asked = int(spec, "expirationSeconds").map(|seconds| match u64::try_from(seconds) {
            Ok(seconds) => duration(Duration::from_secs(seconds)),
            Err(_) => "<invalid>".to_string(),
        });
        vec![
            text(object, "/metadata/name").into(),
            age(object, now).into(),
            or_none(string(spec, "signerName")).into(),
            string(spec, "username").into(),
            asked.unwrap_or_else(|| "<none>".into()).into(),
            state(get(object, "status")).into(),
        ]
    }
}

fn state(status: &Value) -> String {
    let is = |kind: &str| {
        list(status, "conditions")
            .iter()
            .any(|c| string(c, "type") == kind)
    };
    let decided = match (is("Denied"), is("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    };
    let failed = if is("Failed") { ",Failed" } else { "" };
    let issued = if has(status, "certificate") { ",Issued" } else { "" };
    format!("{decided}{failed}{issued}")
}

/// Conditions of this type are as they were, as long as there are as many.
fn keep_conditions(object: &mut Value, old: &Value, kind: &str) {
    let was: Vec<&Value> = list(get(old, "status"), "conditions")
        .iter()
        .filter(|c| string(c, "type") == kind)
        .collect();
    let Some(status) = child_mut(object, "status") else {
        return;
    };
    let now: Vec<&mut Value> = items_mut(status, "conditions")
        .filter(|c| string(c, "type") == kind)
        .collect();
    if now.len() == was.len() {
        for (now, was) in now.into_iter().zip(was) {
            *now = was.clone();
        }
    }
}

/// Conditions say since when they are so; the server does where they don't.
fn complete_times(object: &mut Value, old: &Value, now: Timestamp) {
    let now = now.rfc3339();
    let before = list(get(old, "status"), "conditions");
    let Some(status) = child_mut(object, "status") else {
        return;
    };
    for condition in items_mut(status, "conditions") {
        put_default(condition, "lastUpdateTime", now.as_str());
        let alike = |was: &&Value| {
            ["type", "status"]
                .iter()
                .all(|f| string(was, f) == string(condition, f))
                && has(was, "lastTransitionTime")
        };
        let since = before
            .iter()
            .find(alike)
            .map(|was| string(was, "lastTransitionTime").to_string());
        put_default(
            condition,
            "lastTransitionTime",
            since.unwrap_or_else(|| now.clone()),
        );
    }
}
