//! `autoscaling/v1 Scale`, which kinds with replicas show under `scale`: how it is printed. It is stored nowhere.

use crate::json::{get, number};
use crate::row::{age, text};
use crate::{Column, Row, Rules};
use meta::{Res, Timestamp};
use serde_json::Value;
use std::sync::{Arc, OnceLock};

/// A view on other kinds, which no row of the registry serves.
const KIND: &str = "Scale";

pub fn row() -> &'static Arc<Row> {
    static ROW: OnceLock<Arc<Row>> = OnceLock::new();
    ROW.get_or_init(|| {
        Arc::new(Row {
            res: Res::new("autoscaling", "scales"),
            version: "v1",
            kind: KIND,
            singular: "scale",
            short_names: &[],
            categories: &[],
            namespaced: true,
            type_name: "io.k8s.api.autoscaling.v1.Scale",
            generation: false,
            status: false,
            scale: None,
            selectable: &[],
            columns: const {
                &[
                    Column::NAME,
                    Column::new("Desired", "integer").shows("autoscaling.v1.ScaleSpec", "replicas"),
                    Column::new("Available", "integer").shows("autoscaling.v1.ScaleStatus", "replicas"),
                    Column::AGE,
                ]
            },
            rules: Arc::new(Scale),
        })
    })
}

struct Scale;

impl Rules for Scale {
    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            text(object, "/metadata/name").into(),
            number(get(object, "spec"), "replicas").into(),
            number(get(object, "status"), "replicas").into(),
            age(object, now).into(),
        ]
    }
}
