//! EndpointSlice: addresses behind a Service. Source: discovery.k8s.io/v1 API reference.

mod legacy;
mod plan;

pub use plan::{CONTROLLER, ServiceFacts};

use crate::{Column, Row, Rules};
use meta::Res;
use std::sync::Arc;

pub const ENDPOINTSLICES: Res = Res::new("discovery.k8s.io", "endpointslices");

pub fn row() -> Row {
    Row {
        res: ENDPOINTSLICES,
        version: "v1",
        kind: "EndpointSlice",
        singular: "endpointslice",
        short_names: &[],
        categories: &[],
        namespaced: true,
        type_name: "io.k8s.api.discovery.v1.EndpointSlice",
        generation: false,
        status: false,
        scale: None,
        selectable: &[],
        columns: const {
            &[
                Column::NAME,
                Column::new("AddressType", "string"),
                Column::new("Ports", "string"),
                Column::new("Endpoints", "string"),
                Column::AGE,
            ]
        },
        rules: Arc::new(EndpointSlice),
    }
}

struct EndpointSlice;

impl Rules for EndpointSlice {}
