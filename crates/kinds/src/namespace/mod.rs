//! Namespace: a scope for names. Source: core/v1 API reference.

mod plan;

pub use plan::CONTROLLER;

use crate::{Column, Row, Rules};
use meta::Res;
use std::sync::Arc;

pub const NAMESPACES: Res = Res::new("", "namespaces");

pub fn row() -> Row {
    Row {
        res: NAMESPACES,
        version: "v1",
        kind: "Namespace",
        singular: "namespace",
        short_names: &["ns"],
        categories: &[],
        namespaced: false,
        type_name: "io.k8s.api.core.v1.Namespace",
        generation: false,
        status: true,
        scale: None,
        selectable: &["status.phase"],
        columns: const { &[Column::NAME, Column::new("Status", "string"), Column::AGE] },
        rules: Arc::new(Namespace),
    }
}

struct Namespace;

impl Rules for Namespace {
    // All namespaces at once is never what anyone meant; upstream does not serve it either.
    fn deletes_collections(&self) -> bool {
        false
    }
}
