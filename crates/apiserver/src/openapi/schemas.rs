//! Schemas of types as OpenAPI has them, from the documents and facts in `kinds`: version 2 and 3 differ in how they
//! refer to types and in the few types that are one of several.

use kinds::Row;
use kinds::facts::KEY_DEFAULTS;
use kinds::schema::{FieldFacts, facts};
use meta::schema::{ListType, PatchStrategy};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Definitions by type name, each read only when it is needed.
pub type Documents<'a> = BTreeMap<&'a str, &'a RawValue>;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Which OpenAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edition {
    V2,
    V3,
}

/// A type's group, version and kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gvk {
    pub group: String,
    pub version: String,
    pub kind: String,
}

/// What a document's schemas are made of: types to publish, and what objects each of them is.
#[derive(Default)]
pub struct Wanted {
    /// Types and the kinds that they are the schema of.
    pub types: BTreeMap<String, Vec<Gvk>>,
    /// List types and the type of their items.
    pub lists: BTreeMap<String, String>,
    /// Types of custom resources.
    pub custom: BTreeMap<String, Arc<Row>>,
}

impl Gvk {
    pub fn new(group: &str, version: &str, kind: &str) -> Self {
        Self {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
        }
    }

    pub fn value(&self) -> Value {
        json!({"group": self.group, "kind": self.kind, "version": self.version})
    }
}

impl Wanted {
    /// A type with objects of its own, and the type of lists of them.
    pub fn resource(&mut self, type_name: &str, gvk: &Gvk) {
        self.add(type_name, Some(gvk.clone()));
        let list = format!("{type_name}List");
        let gvk = Gvk::new(&gvk.group, &gvk.version, &format!("{}List", gvk.kind));
        self.lists.insert(list.clone(), type_name.to_string());
        self.add(&list, Some(gvk));
    }

    /// The type of a row's objects, whose schema may be the row's own.
    pub fn row(&mut self, row: &Arc<Row>, gvk: &Gvk) {
        if row.rules.made_of().is_some() {
            self.custom.insert(row.type_name.to_string(), row.clone());
        }
        self.resource(row.type_name, gvk);
    }

    pub fn add(&mut self, type_name: &str, gvk: Option<Gvk>) {
        let kinds = self.types.entry(type_name.to_string()).or_default();
        if let Some(gvk) = gvk.filter(|gvk| !kinds.contains(gvk)) {
            kinds.push(gvk);
        }
    }
}

/// The name of a type of `meta/v1`.
pub fn meta_type(kind: &str) -> String {
    format!("{META}.{kind}")
}

/// A reference to a named type.
pub fn reference(edition: Edition, type_name: &str) -> Value {
    let root = match edition {
        Edition::V2 => "#/definitions/",
        Edition::V3 => "#/components/schemas/",
    };
    json!({"$ref": format!("{root}{type_name}")})
}

/// Gives the wanted types and all that they refer to, one after the other, so that they are never in memory together.
pub fn schemas<E: From<serde_json::Error>>(
    edition: Edition,
    wanted: &Wanted,
    documents: &Documents,
    give: &mut dyn FnMut(&str, &Value) -> Result<(), E>,
) -> Result<(), E> {
    let mut open: BTreeSet<String> = wanted.types.keys().cloned().collect();
    let mut done: BTreeSet<String> = BTreeSet::new();
    while let Some(name) = open.pop_first() {
        let mut value = match (wanted.lists.get(&name), documents.get(&*name)) {
            (Some(items), _) => list(edition, items),
            (None, _) if wanted.custom.contains_key(&name) => {
                let schema = wanted.custom[&name].rules.document().unwrap_or_default();
                super::custom::document(edition, &schema)
            }
            (None, Some(document)) => named(edition, &name, &serde_json::from_str(document.get())?),
            (None, None) => own(edition, &name),
        };
        let kinds = wanted.types.get(&name).filter(|kinds| !kinds.is_empty());
        if let Some(kinds) = kinds {
            let kinds: Vec<Value> = kinds.iter().map(Gvk::value).collect();
            value["x-kubernetes-group-version-kind"] = kinds.into();
        }
        give(&name, &value)?;
        done.insert(name);
        references(&value, &mut |to| {
            if !done.contains(to) {
                open.insert(to.to_string());
            }
        });
    }
    Ok(())
}

/// Calls `found` for each type that a document refers to.
fn references(document: &Value, found: &mut dyn FnMut(&str)) {
    match document {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(to) if key == "$ref" => found(to.rsplit('/').next().unwrap_or(to)),
                    value => references(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// A type of the API's registry package.
fn named(edition: Edition, name: &str, document: &Value) -> Value {
    let description = document.get("description").cloned();
    let described = |mut value: Value| {
        if let Some(description) = description.clone() {
            value["description"] = description;
        }
        value
    };
    match (name.rsplit('.').next().unwrap_or(name), edition) {
        ("Quantity", Edition::V3) => {
            return described(json!({"oneOf": [{"type": "string"}, {"type": "number"}]}));
        }
        ("IntOrString", Edition::V3) => {
            return described(
                json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
            );
        }
        ("Quantity", Edition::V2) => return described(json!({"type": "string"})),
        ("IntOrString", Edition::V2) => {
            return described(json!({"format": "int-or-string", "type": "string"}));
        }
        _ if document.get("oneOf").is_some() => return described(json!({})),
        _ => {}
    }
    let mut value = shape(edition, document);
    if let Some(Value::Object(properties)) = value.get_mut("properties") {
        for (field, property) in properties.iter_mut() {
            annotate(property, &facts(name, field));
            if let Some(default) = key_default(name, field) {
                property["default"] = default.into();
            }
        }
    }
    required(name, &mut value);
    if facts(name, "*").atomic {
        value["x-kubernetes-map-type"] = "atomic".into();
    }
    value
}

/// Default of a list key, which server-side apply needs to tell items apart.
fn key_default(type_name: &str, field: &str) -> Option<&'static str> {
    let short = type_name.strip_prefix("io.k8s.api.")?;
    let found = KEY_DEFAULTS.iter().find(|(t, f, _)| *t == short && *f == field);
    found.map(|(_, _, value)| *value)
}

/// The registry package calls fields required that Go always writes; for clients they may be left out: the metadata of
/// objects, and names of references that default to the empty text.
fn required(type_name: &str, value: &mut Value) {
    const NAMELESS: [&str; 8] = [
        "ConfigMapEnvSource",
        "ConfigMapKeySelector",
        "ConfigMapProjection",
        "ConfigMapVolumeSource",
        "LocalObjectReference",
        "SecretEnvSource",
        "SecretKeySelector",
        "SecretProjection",
    ];
    let has_kind = value.pointer("/properties/kind").is_some();
    // The one kind of object that upstream's document wants metadata of.
    if type_name == "io.k8s.api.core.v1.Event" {
        return;
    }
    let drop = match type_name.strip_prefix("io.k8s.api.core.v1.") {
        Some(kind) if NAMELESS.contains(&kind) => "name",
        _ if has_kind => "metadata",
        _ => return,
    };
    let mut left: Vec<Value> = match value.get("required") {
        Some(Value::Array(list)) => list.iter().filter(|f| *f != drop).cloned().collect(),
        _ => Vec::new(),
    };
    if type_name == "io.k8s.api.events.v1.Event" {
        left.push("eventTime".into());
    }
    if let Some(map) = value.as_object_mut() {
        map.remove("required");
        if !left.is_empty() {
            map.insert("required".into(), left.into());
        }
    }
}

/// A part of a document, with references as the edition writes them.
fn shape(edition: Edition, document: &Value) -> Value {
    let Some(map) = document.as_object() else {
        return json!({});
    };
    let mut out = Map::new();
    for (key, value) in map {
        match (key.as_str(), value) {
            ("$ref", Value::String(to)) => {
                let to = reference(edition, to.rsplit('/').next().unwrap_or(to));
                match edition {
                    Edition::V3 if map.len() > 1 => {
                        out.insert("allOf".into(), json!([to]));
                    }
                    _ => {
                        out.insert("$ref".into(), to["$ref"].clone());
                    }
                }
            }
            ("properties", Value::Object(properties)) => {
                let properties: Map<String, Value> = properties
                    .iter()
                    .map(|(name, property)| (name.clone(), shape(edition, property)))
                    .collect();
                out.insert(key.clone(), properties.into());
            }
            ("items" | "additionalProperties", inner @ Value::Object(_)) => {
                out.insert(key.clone(), shape(edition, inner));
            }
            _ => {
                out.insert(key.clone(), value.clone());
            }
        }
    }
    Value::Object(out)
}

/// Writes the facts of a field as extensions.
fn annotate(property: &mut Value, facts: &FieldFacts) {
    match &facts.list {
        ListType::Map(keys) => {
            property["x-kubernetes-list-type"] = "map".into();
            let keys: Vec<Value> = keys.iter().map(|k| Value::from(&**k)).collect();
            property["x-kubernetes-list-map-keys"] = keys.into();
        }
        ListType::Set => property["x-kubernetes-list-type"] = "set".into(),
        ListType::Atomic if property.get("items").is_some() => {
            property["x-kubernetes-list-type"] = "atomic".into();
        }
        ListType::Atomic => {}
    }
    let merges = !matches!(facts.patch, PatchStrategy::Replace);
    let strategy = match (merges, facts.retain_keys) {
        (true, true) => "merge,retainKeys",
        (true, false) => "merge",
        (false, true) => "retainKeys",
        (false, false) => "",
    };
    if !strategy.is_empty() {
        property["x-kubernetes-patch-strategy"] = strategy.into();
    }
    if let PatchStrategy::MergeByKey(key) = &facts.patch {
        property["x-kubernetes-patch-merge-key"] = (&**key).into();
    }
    if facts.atomic {
        property["x-kubernetes-map-type"] = "atomic".into();
    }
}

/// The type of a list of objects.
fn list(edition: Edition, items: &str) -> Value {
    let kind = items.rsplit('.').next().unwrap_or(items);
    let described = |text: String, to: &str| {
        let mut value = json!({"$ref": to, "description": text});
        value = shape(edition, &value);
        value
    };
    json!({
        "description": format!("{kind}List is a list of {kind} objects."),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": "The group and version that define this form of the object."},
            "kind": {"type": "string", "description": "The kind of this list."},
            "metadata": described("Standard metadata of lists.".into(), &meta_type("ListMeta")),
            "items": {"type": "array", "items": reference(edition, items),
                "description": format!("The {kind} objects of this list.")},
        },
    })
}

/// Types that the registry package does not have: those of requests, and custom resources without a schema.
fn own(edition: Edition, name: &str) -> Value {
    match name.strip_prefix(META).map(|n| n.trim_start_matches('.')) {
        Some("Patch") => json!({"type": "object",
            "description": "The body of a PATCH request; its form is the content type's."}),
        Some("WatchEvent") => json!({"type": "object", "required": ["type", "object"],
        "description": "One event of a watch.",
        "properties": {
            "type": {"type": "string"},
            "object": shape(edition, &json!({"$ref": "io.k8s.apimachinery.pkg.runtime.RawExtension",
                "description": "The object after the change; before it, for DELETED; a Status for ERROR."})),
        }}),
        _ => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
    }
}
