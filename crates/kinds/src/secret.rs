//! Secret: bytes for pods that lists do not show. Source: core/v1 API reference.

use crate::{Column, Row, Rules};
use meta::Res;
use std::sync::Arc;

pub const SECRETS: Res = Res::new("", "secrets");

pub fn row() -> Row {
    Row {
        res: SECRETS,
        version: "v1",
        kind: "Secret",
        singular: "secret",
        short_names: &[],
        categories: &[],
        namespaced: true,
        type_name: "io.k8s.api.core.v1.Secret",
        generation: false,
        status: false,
        scale: None,
        selectable: &["type"],
        columns: const {
            &[
                Column::NAME,
                Column::new("Type", "string"),
                Column::new("Data", "string"),
                Column::AGE,
            ]
        },
        rules: Arc::new(Secret),
    }
}

struct Secret;

impl Rules for Secret {}
