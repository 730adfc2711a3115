//! Node: a machine that runs pods. Source: core/v1 API reference.

use crate::{Column, Row, Rules};
use meta::Res;
use std::sync::Arc;

pub const NODES: Res = Res::new("", "nodes");

pub fn row() -> Row {
    Row {
        res: NODES,
        version: "v1",
        kind: "Node",
        singular: "node",
        short_names: &["no"],
        categories: &[],
        namespaced: false,
        type_name: "io.k8s.api.core.v1.Node",
        generation: false,
        status: true,
        scale: None,
        selectable: &["spec.unschedulable"],
        columns: const {
            &[
                Column::NAME,
                Column::new("Status", "string"),
                Column::new("Roles", "string"),
                Column::AGE,
                Column::new("Version", "string"),
                Column::wide("Internal-IP", "string"),
                Column::wide("External-IP", "string"),
                Column::wide("OS-Image", "string"),
                Column::wide("Kernel-Version", "string"),
                Column::wide("Container-Runtime", "string"),
            ]
        },
        rules: Arc::new(Node),
    }
}

struct Node;

impl Rules for Node {}
