//! Custom resources: rows that are made from CustomResourceDefinitions while the server runs. They take the same path as
//! built-in kinds; what their definition says of them is read when it is first needed.

mod cells;
mod defaults;
mod embedded;
mod expressions;
mod formats;
pub mod jsonpath;
mod lists;
mod number;
mod prune;
mod rules;
mod shape;
mod structure;
mod validate;

pub(crate) use prune::prune;
pub use rules::Custom;
pub use structure::{Additional, Kind, Structure};
pub(crate) use validate::validate as validate_value;

use crate::row::{ScalePaths, text};
use crate::{Registry, Row};
use meta::res::{intern, intern_list};
use meta::{Object, Res};
use serde_json::Value;
use std::sync::Arc;

/// The group of the definitions.
pub const DEFINITIONS: Res = Res::new("apiextensions.k8s.io", "customresourcedefinitions");

/// Whether what a definition describes is served: its names are nobody else's.
pub fn is_established(definition: &Value) -> bool {
    condition(definition, "Established").is_some_and(|c| text(c, "/status") == "True")
}

/// A condition of a definition.
pub fn condition<'a>(definition: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = definition.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|c| text(c, "/type") == kind)
}

/// The resource that a definition is about.
pub fn resource(definition: &Value) -> Res {
    Res::interned(
        text(definition, "/spec/group"),
        text(definition, "/spec/names/plural"),
    )
}

/// The rows of a definition: one a served version; none before it is established. `before` are the rows that were made of
/// an older state of it.
pub fn rows(definition: &Object, before: &Registry) -> Vec<Row> {
    let value = definition.value();
    if !is_established(&value) {
        return Vec::new();
    }
    let versions = value.pointer("/spec/versions").and_then(Value::as_array);
    let served = versions
        .into_iter()
        .flatten()
        .filter(|version| version.get("served").and_then(Value::as_bool).unwrap_or(false));
    served
        .map(|version| row(definition, &value, version, before))
        .collect()
}

fn row(definition: &Object, value: &Value, version: &Value, before: &Registry) -> Row {
    let res = resource(value);
    let name = intern(text(version, "/name"));
    let names = |field: &str| {
        let list = value.pointer(&format!("/status/acceptedNames/{field}"));
        let list = list.and_then(Value::as_array).into_iter().flatten();
        intern_list(list.filter_map(Value::as_str))
    };
    let kind = intern(text(value, "/spec/names/kind"));
    let older = before.by_path(res.group, name, res.plural);
    Row {
        res,
        version: name,
        kind,
        singular: intern(text(value, "/status/acceptedNames/singular")),
        short_names: names("shortNames"),
        categories: names("categories"),
        namespaced: text(value, "/spec/scope") == "Namespaced",
        type_name: intern(&type_name(res.group, name, kind)),
        generation: true,
        status: version
            .pointer("/subresources/status")
            .is_some_and(Value::is_object),
        scale: version.pointer("/subresources/scale").and_then(scale),
        selectable: &[],
        columns: &[],
        rules: Arc::new(Custom::new(
            definition,
            value,
            version,
            older.map(|row| &*row.rules),
        )),
    }
}

fn scale(scale: &Value) -> Option<ScalePaths> {
    let path = |name: &str| scale.get(name).and_then(Value::as_str).map(intern);
    Some(ScalePaths {
        replicas: path("specReplicasPath")?,
        status_replicas: path("statusReplicasPath")?,
        selector: path("labelSelectorPath"),
    })
}

/// A type's name in OpenAPI: the group backwards, the version, the kind.
fn type_name(group: &str, version: &str, kind: &str) -> String {
    let mut parts: Vec<&str> = group.split('.').rev().collect();
    parts.extend([version, kind]);
    parts.join(".")
}
