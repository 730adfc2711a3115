//! Lease: who leads, and which nodes are alive. Source: coordination.k8s.io/v1 API reference.

use crate::{Column, Row, Rules};
use meta::Res;
use std::sync::Arc;

pub const LEASES: Res = Res::new("coordination.k8s.io", "leases");

pub fn row() -> Row {
    Row {
        res: LEASES,
        version: "v1",
        kind: "Lease",
        singular: "lease",
        short_names: &[],
        categories: &[],
        namespaced: true,
        type_name: "io.k8s.api.coordination.v1.Lease",
        generation: false,
        status: false,
        scale: None,
        selectable: &[],
        columns: const { &[Column::NAME, Column::new("Holder", "string"), Column::AGE] },
        rules: Arc::new(Lease),
    }
}

struct Lease;

impl Rules for Lease {
    fn creates_on_update(&self) -> bool {
        true
    }
}
