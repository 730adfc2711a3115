//! Specs as upstream prints them when it tells what of one has changed: in the form of its internal version (Go's names in
//! Go's order, nothing left out), as indented JSON, and of two such texts the unified difference.

mod layout;
mod unified;

use crate::json::{ensure_object, get, put, quantity_text, take};
use meta::Quantity;
use meta::field::Shown;
use meta::schema::{Schema, SchemaKind, StringForm, Written};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::OnceLock;

/// What a text stands for.
#[derive(Clone, Copy, PartialEq)]
enum For {
    People,
    /// Quantities of equal size read the same.
    Comparing,
    /// Without breaks and blanks, within a sentence.
    Line,
}

/// The difference from `old` to `new`, both of this type (`core.v1.PodSpec`); `None` when they say the same.
pub(crate) fn difference(type_name: &str, old: &Value, new: &Value) -> Option<String> {
    if same(type_name, old, new) {
        return None;
    }
    Some(unified::difference(
        &text(type_name, old, For::People),
        &text(type_name, new, For::People),
    ))
}

/// Whether both, of this type, mean the same.
pub(crate) fn same(type_name: &str, old: &Value, new: &Value) -> bool {
    old == new || text(type_name, old, For::Comparing) == text(type_name, new, For::Comparing)
}

/// A structure whole, as it stands in a sentence.
pub(crate) fn shown(type_name: &str, value: &Value) -> Shown {
    Shown(text(type_name, value, For::Line))
}

fn text(type_name: &str, value: &Value, purpose: For) -> String {
    let mut out = String::new();
    match schema_of(type_name) {
        Some((name, schema)) => write_value(&mut out, name, Some(&schema), value, 0, purpose),
        None => out.push_str(&value.to_string()),
    }
    out
}

/// Groups whose types are printed, the first that knows a name before the others.
const PACKAGES: [&str; 8] = [
    "core.v1",
    "storage.v1",
    "resource.v1",
    "flowcontrol.v1",
    "batch.v1",
    "policy.v1",
    "networking.v1",
    "autoscaling.v2",
];

/// The part of a type's layout that is printed, and the schema it comes from.
fn schema_of(type_name: &str) -> Option<(&str, Schema)> {
    let (layout, holder) = match type_name {
        "PersistentVolumeSource" => (type_name, "PersistentVolumeSpec"),
        name => (name, name),
    };
    let mut names = PACKAGES
        .iter()
        .map(|package| format!("io.k8s.api.{package}.{holder}"));
    let schema = names.find_map(|name| Schema::of(crate::schema::arena(), &name))?;
    Some((layout, schema))
}

/// A pod spec with what upstream keeps in the security context.
pub(crate) fn pod_spec(spec: &Value) -> Value {
    let mut spec = spec.clone();
    for field in [
        "hostNetwork",
        "hostPID",
        "hostIPC",
        "shareProcessNamespace",
        "hostUsers",
    ] {
        if let Some(value) = take(&mut spec, field)
            && let Some(security) = ensure_object(&mut spec, "securityContext")
        {
            put(security, field, value);
        }
    }
    // Upstream has no use for the older name of the account.
    take(&mut spec, "serviceAccount");
    spec
}

/// A pod template in the same form.
pub(crate) fn pod_template(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(spec) = template.get_mut("spec") {
        *spec = pod_spec(spec);
    }
    template
}

fn indent(out: &mut String, depth: usize, purpose: For) {
    if purpose == For::Line {
        return;
    }
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', depth));
}

fn colon(purpose: For) -> &'static str {
    if purpose == For::Line { ":" } else { ": " }
}

/// Upstream also escapes what HTML gives a meaning to.
fn write_scalar(out: &mut String, value: &Value) {
    for c in value.to_string().chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
}

fn write_value(
    out: &mut String,
    name: &str,
    schema: Option<&Schema>,
    value: &Value,
    depth: usize,
    purpose: For,
) {
    match (schema.map(Schema::kind), value) {
        (Some(SchemaKind::Quantity), value) if purpose == For::Comparing && !value.is_null() => {
            let size = Quantity::parse(&quantity_text(value)).unwrap_or_default();
            out.push_str(&format!("{size:?}"));
        }
        (Some(SchemaKind::Object(_)), Value::Object(_)) => match layout::fields(name) {
            Some(fields) => write_struct(out, fields, schema, value, depth, purpose),
            None => write_plain(out, schema, value, depth, purpose),
        },
        // A list without content reads as it was sent, and means the same as none.
        _ if purpose == For::Comparing && is_empty(value) && is_list_or_map(schema) => {
            write_scalar(out, &Value::Null);
        }
        (Some(SchemaKind::Array { .. }), Value::Array(items)) if !items.is_empty() => {
            let of = schema.and_then(Schema::items);
            let name = of.as_ref().map_or("", type_name);
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                indent(out, depth + 1, purpose);
                write_value(out, name, of.as_ref(), item, depth + 1, purpose);
            }
            indent(out, depth, purpose);
            out.push(']');
        }
        (Some(SchemaKind::Map { .. }), Value::Object(map)) if !map.is_empty() => {
            let of = schema.and_then(Schema::values);
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            out.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                indent(out, depth + 1, purpose);
                write_scalar(out, &key.as_str().into());
                out.push_str(colon(purpose));
                write_value(out, "", of.as_ref(), &map[key], depth + 1, purpose);
            }
            indent(out, depth, purpose);
            out.push('}');
        }
        _ => write_plain(out, schema, value, depth, purpose),
    }
}

fn write_struct(
    out: &mut String,
    fields: &[layout::Field],
    schema: Option<&Schema>,
    value: &Value,
    depth: usize,
    purpose: For,
) {
    out.push('{');
    let mut first = true;
    for field in fields {
        if field.json == layout::METADATA {
            let own = schema.and_then(|s| s.field(layout::METADATA));
            let metadata = get(value, layout::METADATA);
            write_metadata(out, own.as_ref(), metadata, depth, purpose, &mut first);
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        indent(out, depth + 1, purpose);
        out.push_str(&format!("\"{}\"{}", field.go, colon(purpose)));
        let own = schema.and_then(|s| s.field(&field.json));
        let name = own.as_ref().map_or("", type_name);
        match get(value, &field.json) {
            Value::Null => {
                let zero = zero(field, schema, own.as_ref());
                write_value(out, name, own.as_ref(), &zero, depth + 1, purpose);
            }
            given => write_value(out, name, own.as_ref(), given, depth + 1, purpose),
        }
    }
    indent(out, depth, purpose);
    out.push('}');
}

/// Metadata stands in its holder, with the names of the API and without what is not there.
fn write_metadata(
    out: &mut String,
    schema: Option<&Schema>,
    metadata: &Value,
    depth: usize,
    purpose: For,
    first: &mut bool,
) {
    const ORDER: [&str; 15] = [
        "name",
        "generateName",
        "namespace",
        "selfLink",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "labels",
        "annotations",
        "ownerReferences",
        "finalizers",
        "managedFields",
    ];
    for field in ORDER {
        let value = get(metadata, field);
        if value.is_null() || is_empty(value) {
            continue;
        }
        if !std::mem::take(first) {
            out.push(',');
        }
        indent(out, depth + 1, purpose);
        out.push_str(&format!("\"{field}\"{}", colon(purpose)));
        let own = schema.and_then(|schema| schema.field(field));
        write_plain(out, own.as_ref(), value, depth + 1, purpose);
    }
}

/// What Go has in a field that nobody set.
fn zero(field: &layout::Field, holder: Option<&Schema>, own: Option<&Schema>) -> Value {
    // Fields that only the internal version has here.
    let Some(own) = own else {
        let flags = ["hostNetwork", "hostPID", "hostIPC"];
        return if flags.contains(&&*field.json) {
            false.into()
        } else {
            Value::Null
        };
    };
    let is_pointer =
        holder.is_some_and(|holder| matches!(holder.written(&field.json), Written::Given | Written::OrNull));
    match own.kind() {
        _ if is_pointer => Value::Null,
        SchemaKind::Bool => false.into(),
        SchemaKind::Integer { .. } | SchemaKind::Number | SchemaKind::IntOrString => 0.into(),
        SchemaKind::Quantity => "0".into(),
        SchemaKind::String(StringForm::Plain) => "".into(),
        SchemaKind::Object(_) => Value::Object(serde_json::Map::new()),
        _ => Value::Null,
    }
}

/// The last word of a type's name.
fn type_name(schema: &Schema) -> &'static str {
    static NAMES: OnceLock<HashMap<u32, &str>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let all = crate::schema::arena().type_names();
        all.filter_map(|(name, node)| Some((node, name.rsplit('.').next()?)))
            .collect()
    });
    names.get(&schema.node_id()).copied().unwrap_or_default()
}

fn is_list_or_map(schema: Option<&Schema>) -> bool {
    matches!(
        schema.map(Schema::kind),
        Some(SchemaKind::Array { .. } | SchemaKind::Map { .. })
    )
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// The order of fields in types of the API's own machinery, which have one form in all versions: selectors and their
/// requirements, owners, records of fields.
const MACHINERY: [&str; 17] = [
    "manager",
    "operation",
    "apiVersion",
    "time",
    "fieldsType",
    "fieldsV1",
    "subresource",
    "kind",
    "name",
    "uid",
    "controller",
    "blockOwnerDeletion",
    "matchLabels",
    "matchExpressions",
    "key",
    "operator",
    "values",
];

/// JSON as it is, but for the order of fields and for lists and maps without content, which those types leave out.
fn write_plain(out: &mut String, schema: Option<&Schema>, value: &Value, depth: usize, purpose: For) {
    let is_struct = matches!(schema.map(Schema::kind), Some(SchemaKind::Object(_)));
    match value {
        Value::Array(items) if !items.is_empty() => {
            let of = schema.and_then(Schema::items);
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                indent(out, depth + 1, purpose);
                write_plain(out, of.as_ref(), item, depth + 1, purpose);
            }
            indent(out, depth, purpose);
            out.push(']');
        }
        Value::Object(map) => {
            let mut members: Vec<(&String, &Value)> = map.iter().collect();
            if is_struct {
                members.retain(|(name, member)| {
                    let own = schema.and_then(|schema| schema.field(name));
                    !(is_empty(member) && is_list_or_map(own.as_ref()))
                });
            }
            let place = |name: &String| MACHINERY.iter().position(|m| is_struct && m == name);
            members.sort_by_key(|(name, _)| (place(name), *name));
            out.push('{');
            for (i, (name, member)) in members.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                indent(out, depth + 1, purpose);
                write_scalar(out, &name.as_str().into());
                out.push_str(colon(purpose));
                let own = schema.and_then(|schema| schema.field(name));
                write_plain(out, own.as_ref(), member, depth + 1, purpose);
            }
            if !members.is_empty() {
                indent(out, depth, purpose);
            }
            out.push('}');
        }
        scalar => write_scalar(out, scalar),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_field_of_the_layout_is_a_field_of_the_api() {
        for (name, fields) in layout::all() {
            let Some((_, schema)) = schema_of(name) else {
                panic!("no type {name}");
            };
            for field in fields {
                let moved = *name == "PodSecurityContext" && field.go.starts_with("Host");
                let moved = moved || field.go == "ShareProcessNamespace";
                assert!(
                    schema.field(&field.json).is_some() || moved,
                    "{name}.{}",
                    field.json
                );
            }
        }
    }

    #[test]
    fn a_change_is_shown_among_its_neighbours() {
        let claim = |size: &str, mode: &str| {
            json!({
                "accessModes": ["ReadWriteOnce"], "volumeMode": mode,
                "resources": {"requests": {"storage": size}},
            })
        };
        let shown = difference(
            "PersistentVolumeClaimSpec",
            &claim("1Gi", "Filesystem"),
            &claim("1Gi", "Block"),
        );
        let wanted = [
            "@@ -11,7 +11,7 @@",
            "  },",
            "  \"VolumeName\": \"\",",
            "  \"StorageClassName\": null,",
            "- \"VolumeMode\": \"Filesystem\",",
            "+ \"VolumeMode\": \"Block\",",
            "  \"DataSource\": null,",
            "  \"DataSourceRef\": null,",
            "  \"VolumeAttributesClassName\": null",
        ];
        assert_eq!(shown.expect("a difference").trim_end(), wanted.join("\n"));
        let same = difference(
            "PersistentVolumeClaimSpec",
            &claim("1Gi", "Block"),
            &claim("1024Mi", "Block"),
        );
        assert_eq!(same, None, "sizes are compared, not their texts");
        let folder = |limit: serde_json::Value| json!({"volumes": [{"name": "v", "emptyDir": limit}]});
        let empty = json!({"volumes": [], "nodeSelector": {}});
        assert_eq!(
            difference("PodSpec", &json!({}), &empty),
            None,
            "no content is none"
        );
        let sent = difference("PodSpec", &json!({"nodeSelector": {"a": "b"}}), &empty).expect("a difference");
        assert!(sent.contains("+ \"NodeSelector\": {},"), "as it was sent: {sent}");
        let selector =
            |selector| json!({"topologySpreadConstraints": [{"maxSkew": 1, "labelSelector": selector}]});
        let bare = selector(json!({}));
        let given = selector(json!({"matchLabels": {}, "matchExpressions": []}));
        assert_eq!(difference("PodSpec", &bare, &given), None);
        let limited = difference("PodSpec", &folder(json!({})), &folder(json!({"sizeLimit": "0"})));
        assert!(limited.is_some(), "none is not 0");
    }
}
