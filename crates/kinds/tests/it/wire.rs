//! The protobuf form of every kind: generated objects of every schema survive it, whatever bytes come in do no harm.

use kinds::wire::{self, Wire};
use meta::schema::{Schema, SchemaKind, StringForm};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};
use serde_json::{Map, Value, json};

/// Lists and structs within each other in what is generated.
const MAX_DEPTH: usize = 9;

/// Every type of the API that stands by itself: name in the schemas, version, kind.
fn kinds() -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for (name, _) in kinds::schema::arena().type_names() {
        let mut parts = name.rsplitn(3, '.');
        let (Some(kind), Some(version), Some(package)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let package = package.rsplit('.').next().unwrap_or_default();
        for group in ["", ".k8s.io", ".authorization.k8s.io", ".apiserver.k8s.io"] {
            let api_version = match package {
                "core" => version.to_string(),
                package => format!("{package}{group}/{version}"),
            };
            let own = Schema::of(kinds::schema::arena(), name).is_some_and(|s| s.field("metadata").is_some());
            if own && Wire::of(&api_version, kind).is_some() {
                all.push((name.to_string(), api_version, kind.to_string()));
                break;
            }
        }
    }
    all
}

/// A value of the schema in which nothing is empty or zero, so that Go would write all of it.
fn value(schema: &Schema, depth: usize, rng: &mut TestRng) -> Option<Value> {
    let mut small = |n: u32| rng.next_u32() % n;
    Some(match schema.kind() {
        SchemaKind::Any => json!({"a": [1, null, {"b": "c"}]}),
        SchemaKind::Bool => true.into(),
        SchemaKind::Integer { bits: 32 } => [1, -1, 300, i32::MAX, i32::MIN][small(5) as usize].into(),
        SchemaKind::Integer { .. } => [1, -1, 300, i64::MAX, i64::MIN][small(5) as usize].into(),
        SchemaKind::Number => [0.1, -2.5, 1e300][small(3) as usize].into(),
        SchemaKind::String(StringForm::Plain) => ["a", "ü\"\\\n", "\u{1f980}x"][small(3) as usize].into(),
        SchemaKind::String(StringForm::Bytes) => "AP8=".into(),
        SchemaKind::String(StringForm::Time) => {
            ["2026-11-21T10:00:00Z", "1960-01-01T00:00:00Z"][small(2) as usize].into()
        }
        SchemaKind::String(StringForm::MicroTime) => "2026-11-21T10:00:00.000001Z".into(),
        SchemaKind::IntOrString => [json!(80), json!("80%"), json!(0)][small(3) as usize].clone(),
        SchemaKind::Quantity => ["1", "100m", "1Gi"][small(3) as usize].into(),
        _ if depth > MAX_DEPTH => return None,
        SchemaKind::Array { .. } => {
            let items = (0..=small(2)).filter_map(|_| value(&schema.items()?, depth + 1, rng));
            let items: Vec<Value> = items.collect();
            (!items.is_empty()).then(|| items.into())?
        }
        SchemaKind::Map { .. } => json!({"k": value(&schema.values()?, depth + 1, rng)?}),
        SchemaKind::Object(object) => {
            let mut map = Map::new();
            let of_its_own = object
                .fields
                .iter()
                .any(|f| matches!(&*f.name, "metadata" | "dryRun"));
            for field in &object.fields {
                // An object within another (or its options) has no version and kind in its protobuf form.
                if of_its_own && matches!(&*field.name, "apiVersion" | "kind") {
                    continue;
                }
                if !field.required && rng.next_u32().is_multiple_of(3) {
                    continue;
                }
                let inner = schema.field(&field.name)?;
                let any = matches!(inner.kind(), SchemaKind::Any);
                let several = (any || field.name.as_ref() == "dependencies")
                    .then(|| one_of_schemas(&field.name, rng))
                    .flatten();
                let inner = several.or_else(|| value(&inner, depth + 1, rng));
                inner.map(|v| map.insert(field.name.to_string(), v));
            }
            (!map.is_empty()).then_some(Value::Object(map))?
        }
    })
}

/// Members of a custom resource's schema that are a schema or something else.
fn one_of_schemas(field: &str, rng: &mut TestRng) -> Option<Value> {
    let other = match field {
        "items" => json!([{"type": "b"}]),
        "additionalItems" | "additionalProperties" => json!(true),
        // A struct without fields, of which no schema says so.
        "status" => return Some(json!({})),
        "dependencies" => return Some(json!({"a": ["b"], "b": {"type": "c"}})),
        _ => return None,
    };
    (rng.next_u32().is_multiple_of(2))
        .then_some(other)
        .or(Some(json!({"type": "c"})))
}

/// What `more` has beside `less`: nothing but zeros. Each difference is told.
fn compare(at: &str, less: &Value, more: &Value, differences: &mut Vec<String>) {
    match (less, more) {
        (Value::Object(less), Value::Object(more)) => {
            for (name, value) in less {
                let known = more.get(name).unwrap_or(&Value::Null);
                compare(&format!("{at}.{name}"), value, known, differences);
            }
            let added = more
                .iter()
                .filter(|(name, value)| !less.contains_key(*name) && !is_zero(value));
            differences.extend(added.map(|(name, value)| format!("{at}.{name} came from nowhere: {value}")));
        }
        (Value::Array(less), Value::Array(more)) if less.len() == more.len() => {
            for (i, (a, b)) in less.iter().zip(more).enumerate() {
                compare(&format!("{at}[{i}]"), a, b, differences);
            }
        }
        (a, b) if a == b => {}
        (a, b) => differences.push(format!("{at}: {a} became {b}")),
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.values().all(is_zero),
        Value::String(text) => text.is_empty() || text == "0",
        other => matches!(other, Value::Null | Value::Bool(false)) || other.as_f64() == Some(0.0),
    }
}

#[test]
fn generated_objects_of_every_kind_come_back_as_they_went() {
    let kinds = kinds();
    assert!(kinds.len() > 70, "{}", kinds.len());
    let mut runner = TestRunner::new(Config::default());
    for (name, api_version, kind) in kinds {
        let schema = Schema::of(kinds::schema::arena(), &name).expect("declared");
        for _ in 0..12 {
            let mut object = value(&schema, 0, runner.rng()).unwrap_or_else(|| json!({}));
            object["apiVersion"] = api_version.as_str().into();
            object["kind"] = kind.as_str().into();
            let body = wire::body(&object).expect("encodes").expect("has a form");
            let back = wire::decode(&body, ("", "")).expect("decodes");
            let mut differences = Vec::new();
            compare(&name, &object, &back, &mut differences);
            assert!(differences.is_empty(), "{differences:#?}");
            let again = wire::body(&back).expect("encodes").expect("has a form");
            assert!(again == body, "{name}: {object}\nis not written as\n{back}");
        }
    }
}

/// Byte by byte what Go's encoder makes of them.
#[test]
fn bodies_are_those_of_gos_encoder() {
    let objects = [
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": {"b": "2", "a": "1"}}, "data": {"k": "v"}}),
        json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404, "metadata": {}}),
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 3}, "status": {"replicas": 0}}),
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "l", "creationTimestamp": "2026-11-21T10:00:00Z"}, "spec": {"renewTime": "2026-11-21T10:00:00.000001Z"}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
            "spec": {"ports": [{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 8081}]}}),
        json!({"apiVersion": "meta.k8s.io/v1beta1", "kind": "PartialObjectMetadataList", "metadata": {"resourceVersion": "7"},
            "items": [{"metadata": {"name": "a"}}]}),
    ];
    let mut text = String::new();
    for object in objects {
        let body = wire::body(&object).expect("encodes").expect("has a form");
        let hex: String = body.iter().map(|b| format!("{b:02x}")).collect();
        text += &format!("{} {}\n{hex}\n", object["apiVersion"], object["kind"]);
    }
    insta::assert_snapshot!(text);
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(raw in proptest::collection::vec(any::<u8>(), 0..200), at in any::<proptest::sample::Index>()) {
        let rows = kinds::rows();
        let row = &rows[at.index(rows.len())];
        let body = [codec::protobuf::MAGIC, &[0x12, raw.len() as u8 | 0x80, (raw.len() >> 7) as u8], &raw].concat();
        if let Ok(value) = wire::decode(&body, (&row.api_version(), row.kind)) {
            wire::body(&value).expect("what was read can be written");
        }
    }
}
