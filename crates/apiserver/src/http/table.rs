//! Objects as `meta.k8s.io` Table, which `kubectl get` prints, and as PartialObjectMetadata.

use super::negotiate::{Form, Shape};
use crate::options::Query;
use bytes::Bytes;
use kinds::Row;
use meta::{Errors, Object, Path, Status, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// How much of each object a table carries along (`includeObject`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    Nothing,
    Metadata,
    Object,
}

impl Include {
    /// What a request says of it, which matters for tables alone.
    pub fn asked(form: Form, query: &Query) -> Result<Self, Status> {
        match query.text("includeObject") {
            _ if form.shape != Shape::Table => Ok(Self::Metadata),
            "None" => Ok(Self::Nothing),
            "Object" => Ok(Self::Object),
            "" | "Metadata" => Ok(Self::Metadata),
            other => {
                let mut errors = Errors::new();
                let detail = "must be 'Metadata', 'Object', 'None', or empty";
                errors.invalid(&Path::new("includeObject"), other, detail);
                let why = format!("Unable to convert to Table as requested: {}", errors.summary());
                Err(Status::bad_request(why))
            }
        }
    }
}

/// How objects become rows.
#[derive(Clone, Copy)]
pub struct Layout<'a> {
    pub row: &'a Row,
    /// `meta.k8s.io/v1`, or the older version that was asked for.
    pub version: &'static str,
    pub include: Include,
    pub now: Timestamp,
}

impl Layout<'_> {
    /// `columns` are left out of all but the first table of a watch.
    pub fn table(&self, rows: Vec<Value>, metadata: Value, columns: bool) -> Value {
        let definitions = match columns {
            true => {
                let own = self.row.rules.column_definitions();
                own.unwrap_or_else(|| self.row.columns.iter().map(definition).collect())
                    .into()
            }
            false => Value::Null,
        };
        json!({
            "kind": "Table", "apiVersion": self.version, "metadata": metadata,
            "columnDefinitions": definitions, "rows": rows,
        })
    }

    pub fn line(&self, object: Value) -> Value {
        let mut line = json!({"cells": self.row.rules.cells(&object, self.now)});
        let conditions = self.row.rules.row_conditions(&object);
        if !conditions.is_empty() {
            line["conditions"] = conditions.into();
        }
        line["object"] = match self.include {
            Include::Nothing => Value::Null,
            Include::Metadata => partial(object, self.version),
            Include::Object => object,
        };
        line
    }

    pub fn lines(&self, objects: &[Object]) -> Vec<Value> {
        objects.iter().map(|o| self.line(o.value())).collect()
    }
}

fn definition(column: &kinds::Column) -> Value {
    json!({
        "name": column.name, "type": column.kind, "format": column.format,
        "description": column.description(), "priority": column.priority,
    })
}

/// The metadata of an object, as a kind of its own.
pub fn partial(mut object: Value, version: &str) -> Value {
    let metadata = object
        .get_mut("metadata")
        .map(Value::take)
        .unwrap_or_else(|| json!({}));
    json!({"kind": "PartialObjectMetadata", "apiVersion": version, "metadata": metadata})
}

/// `partial` of a stored object, whose metadata is copied as it stands.
pub fn partial_json(object: &Object, version: &str) -> Result<Bytes, Status> {
    #[derive(Deserialize)]
    struct Outer<'a> {
        #[serde(borrow)]
        metadata: &'a RawValue,
    }
    let outer: Outer = serde_json::from_slice(object.json()).map_err(|e| Status::internal(e.to_string()))?;
    let metadata = outer.metadata.get();
    let text = format!(
        "{{\"apiVersion\":\"{version}\",\"kind\":\"PartialObjectMetadata\",\"metadata\":{metadata}}}"
    );
    Ok(text.into())
}
