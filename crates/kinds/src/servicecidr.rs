//! ServiceCIDR: ranges that Services get their addresses from. Source: networking.k8s.io/v1 API reference.

use crate::json::{ensure_object, get, list};
use crate::row::{age, text};
use crate::{Check, Column, Row, Rules, Write, address, check, internal};
use meta::{Errors, Path, Res, Timestamp};
use serde_json::Value;
use std::sync::Arc;

pub const SERVICECIDRS: Res = Res::new("networking.k8s.io", "servicecidrs");

/// The range that the cluster was made with.
pub const DEFAULT: &str = "kubernetes";

pub fn row() -> Row {
    Row {
        res: SERVICECIDRS,
        version: "v1",
        kind: "ServiceCIDR",
        singular: "servicecidr",
        short_names: &[],
        categories: &[],
        namespaced: false,
        type_name: "io.k8s.api.networking.v1.ServiceCIDR",
        generation: false,
        status: true,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("CIDRs", "string").shows("networking.v1.ServiceCIDRSpec", "cidrs"),
                Column::AGE,
            ]
        },
        rules: Arc::new(ServiceCidr),
    }
}

struct ServiceCidr;

impl Rules for ServiceCidr {
    fn default(&self, object: &mut Value) {
        ensure_object(object, "status");
    }

    fn prepare(&self, _write: Write, object: &mut Value, _old: Option<&Value>, _now: Timestamp) {
        ensure_object(object, "status");
    }

    fn status_keeps(&self) -> &'static [&'static str] {
        &["labels", "annotations", "finalizers", "ownerReferences"]
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        ranges(get(object, "spec"), errors);
    }

    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Status => Check::CHANGES,
            _ => &[Check::MetadataChange, Check::Change],
        }
    }

    fn compares_as_sent(&self) -> bool {
        true
    }

    fn validate_update(&self, write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        if write == Write::Status {
            return;
        }
        let spec = get(object, "spec");
        let (now, was) = (list(spec, "cidrs"), list(get(old, "spec"), "cidrs"));
        let path = Path::new("spec").child("cidrs");
        // A second range may come, of the other family; else they stay.
        let grows = was.len() == 1 && now.len() == 2;
        if now.len() != was.len() && !grows {
            errors.invalid(&path, get(spec, "cidrs").clone(), check::IMMUTABLE);
            return;
        }
        for (i, (now, was)) in now.iter().zip(was).enumerate() {
            check::immutable_text(now, was, &path.index(i), errors);
        }
        if grows {
            ranges(spec, errors);
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let ranges = list(get(object, "spec"), "cidrs").iter();
        let ranges: Vec<&str> = ranges.filter_map(Value::as_str).collect();
        vec![
            text(object, "/metadata/name").into(),
            ranges.join(",").into(),
            age(object, now).into(),
        ]
    }
}

/// One, or one of each family.
fn ranges(spec: &Value, errors: &mut Errors) {
    let (given, path) = (list(spec, "cidrs"), Path::new("spec").child("cidrs"));
    if given.is_empty() {
        errors.required(&path, "at least one CIDR required");
        return;
    }
    if given.len() > 2 {
        let shown = internal::shown("ServiceCIDRSpec", spec);
        errors.invalid(&path, shown, "may only hold up to 2 values");
        return;
    }
    for (i, range) in given.iter().enumerate() {
        let range = range.as_str().unwrap_or_default();
        if let Some(message) = address::canonical_cidr_message(range) {
            errors.invalid(&path.index(i), range, &message);
        }
    }
    let family = |range: &Value| address::Range::parse(range.as_str()?).map(address::Range::is_ipv4);
    if let [first, second] = given
        && family(first).is_some()
        && family(first) == family(second)
    {
        let detail =
            "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errors.invalid(&path, given.to_vec(), detail);
    }
}
