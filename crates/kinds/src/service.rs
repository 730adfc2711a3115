//! Service: a stable address for pods. Source: core/v1 API reference.

use crate::{Column, Row, Rules};
use meta::Res;
use std::sync::Arc;

pub const SERVICES: Res = Res::new("", "services");

pub fn row() -> Row {
    Row {
        res: SERVICES,
        version: "v1",
        kind: "Service",
        singular: "service",
        short_names: &["svc"],
        categories: &["all"],
        namespaced: true,
        type_name: "io.k8s.api.core.v1.Service",
        generation: false,
        status: true,
        scale: None,
        selectable: &["spec.clusterIP", "spec.type"],
        columns: const {
            &[
                Column::NAME,
                Column::new("Type", "string"),
                Column::new("Cluster-IP", "string"),
                Column::new("External-IP", "string"),
                Column::new("Port(s)", "string"),
                Column::AGE,
                Column::wide("Selector", "string"),
            ]
        },
        rules: Arc::new(Service),
    }
}

struct Service;

impl Rules for Service {
    fn returns_deleted(&self) -> bool {
        true
    }
}
