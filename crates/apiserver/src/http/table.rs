//! Objects as `meta.k8s.io/v1 Table`, which `kubectl get` prints, and as PartialObjectMetadata.

use kinds::Row;
use meta::{Object, Timestamp};
use serde_json::{Value, json};

/// How much of each object a table carries along (`includeObject`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    Nothing,
    Metadata,
    Object,
}

impl Include {
    pub fn parse(text: &str) -> Self {
        match text {
            "None" => Self::Nothing,
            "Object" => Self::Object,
            _ => Self::Metadata,
        }
    }
}

/// `columns` may be left out of all but the first table of a watch.
pub fn table(row: &Row, rows: Vec<Value>, metadata: Value, columns: bool) -> Value {
    let definitions: Vec<Value> = match columns {
        true => row.columns.iter().map(definition).collect(),
        false => Vec::new(),
    };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": definitions, "rows": rows,
    })
}

fn definition(column: &kinds::Column) -> Value {
    json!({
        "name": column.name, "type": column.kind, "format": column.format,
        "description": column.description, "priority": column.priority,
    })
}

pub fn line(row: &Row, object: Value, include: Include, now: Timestamp) -> Value {
    let cells = row.rules.cells(&object, now);
    let carried = match include {
        Include::Nothing => Value::Null,
        Include::Metadata => partial(object),
        Include::Object => object,
    };
    match carried {
        Value::Null => json!({"cells": cells}),
        carried => json!({"cells": cells, "object": carried}),
    }
}

/// The metadata of an object, as a kind of its own.
pub fn partial(mut object: Value) -> Value {
    let metadata = object
        .get_mut("metadata")
        .map(Value::take)
        .unwrap_or_else(|| json!({}));
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

pub fn lines(row: &Row, objects: &[Object], include: Include, now: Timestamp) -> Vec<Value> {
    objects
        .iter()
        .map(|o| line(row, o.value(), include, now))
        .collect()
}
