//! Endpoints: the older form of EndpointSlices. Source: core/v1 API reference.

use crate::{Column, Row, Rules};
use meta::Res;
use std::sync::Arc;

pub const ENDPOINTS: Res = Res::new("", "endpoints");

pub fn row() -> Row {
    Row {
        res: ENDPOINTS,
        version: "v1",
        kind: "Endpoints",
        singular: "endpoints",
        short_names: &["ep"],
        categories: &[],
        namespaced: true,
        type_name: "io.k8s.api.core.v1.Endpoints",
        generation: false,
        status: false,
        scale: None,
        selectable: &[],
        columns: const { &[Column::NAME, Column::new("Endpoints", "string"), Column::AGE] },
        rules: Arc::new(Endpoints),
    }
}

struct Endpoints;

impl Rules for Endpoints {
    fn creates_on_update(&self) -> bool {
        true
    }
}
