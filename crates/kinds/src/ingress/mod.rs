//! Ingress: how requests from outside find their Services. Source: networking.k8s.io/v1 API reference.

mod validate;

use crate::json::{at, ensure_object, get, has, list, string};
use crate::row::{age, annotation, text};
use crate::{Check, Column, Row, Rules, Write, address};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

pub const INGRESSES: Res = Res::new("networking.k8s.io", "ingresses");

/// Named the class before there was a field for it.
const CLASS: &str = "kubernetes.io/ingress.class";
/// So many hosts are shown.
const HOSTS_SHOWN: usize = 3;

pub fn row() -> Row {
    Row {
        res: INGRESSES,
        version: "v1",
        kind: "Ingress",
        singular: "ingress",
        short_names: &["ing"],
        categories: &[],
        namespaced: true,
        type_name: "io.k8s.api.networking.v1.Ingress",
        generation: true,
        status: true,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("Class", "string").says(
                    "The name of the IngressClass resource that should be used for additional configuration",
                ),
                Column::new("Hosts", "string")
                    .says("Hosts that incoming requests are matched against before the ingress rule"),
                Column::new("Address", "string")
                    .says("Address is a list containing ingress points for the load-balancer"),
                Column::new("Ports", "string").says("Ports of TLS configurations that open"),
                Column::AGE,
            ]
        },
        rules: Arc::new(Ingress),
    }
}

struct Ingress;

impl Rules for Ingress {
    fn default(&self, object: &mut Value) {
        status(object);
    }

    fn prepare(&self, _write: Write, object: &mut Value, _old: Option<&Value>, _now: Timestamp) {
        status(object);
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        validate::spec(get(object, "spec"), false, errors);
    }

    fn validate_replacement(&self, object: &Value, old: &Value, errors: &mut Errors) {
        validate::spec(get(object, "spec"), validate::has_bad_secret(old), errors);
    }

    fn validate_new(&self, object: &Value, errors: &mut Errors) {
        let class = get(get(object, "spec"), "ingressClassName").as_str();
        if let (Some(given), Some(class)) = (annotation(object, CLASS), class)
            && given != class
        {
            // Upstream leaves `metadata` out here.
            let path = Path::new("annotations").child(CLASS);
            let detail = "must match `ingressClassName` when both are specified";
            errors.invalid(&path, given, detail);
        }
    }

    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Status => Check::CHANGES,
            _ => &[Check::MetadataChange, Check::Metadata, Check::Object],
        }
    }

    fn validate_update(&self, write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        if write == Write::Status {
            validate::status(object, old, errors);
        }
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let path = Path::new("status").child("loadBalancer").child("ingress");
        match old {
            None if annotation(object, CLASS).is_some() && !has(get(object, "spec"), "ingressClassName") => {
                vec![format!(
                    "annotation {CLASS:?} is deprecated, please use 'spec.ingressClassName' instead"
                )]
            }
            None => Vec::new(),
            // Who changes the spec has not changed these.
            Some(old) if get(old, "status") == get(object, "status") => Vec::new(),
            Some(_) => {
                let points = list(at(object, "/status/loadBalancer"), "ingress")
                    .iter()
                    .enumerate();
                let warned = points.filter_map(|(i, p)| address::ip_warning(&path.index(i), string(p, "ip")));
                warned.collect()
            }
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = get(object, "spec");
        let ports = match list(spec, "tls").is_empty() {
            true => "80",
            false => "80, 443",
        };
        vec![
            text(object, "/metadata/name").into(),
            get(spec, "ingressClassName").as_str().unwrap_or("<none>").into(),
            hosts(list(spec, "rules")).into(),
            points(list(at(object, "/status/loadBalancer"), "ingress")).into(),
            ports.into(),
            age(object, now).into(),
        ]
    }
}

fn status(object: &mut Value) {
    if let Some(status) = ensure_object(object, "status") {
        ensure_object(status, "loadBalancer");
    }
}

fn hosts(rules: &[Value]) -> String {
    let (mut shown, mut more) = (Vec::new(), false);
    for host in rules.iter().map(|rule| string(rule, "host")) {
        more |= shown.len() == HOSTS_SHOWN;
        if !more && !host.is_empty() {
            shown.push(host);
        }
    }
    match (shown.join(","), more) {
        (all, _) if all.is_empty() => "*".to_string(),
        (all, false) => all,
        (all, true) => format!("{all} + {} more...", rules.len() - HOSTS_SHOWN),
    }
}

/// Where it is reached, each place once.
fn points(points: &[Value]) -> String {
    let one = |point| match string(point, "ip") {
        "" => string(point, "hostname"),
        ip => ip,
    };
    let all: BTreeSet<&str> = points.iter().map(one).filter(|p| !p.is_empty()).collect();
    all.into_iter().collect::<Vec<_>>().join(",")
}
