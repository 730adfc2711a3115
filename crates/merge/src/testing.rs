//! A small schema and generators for this crate's tests.

use meta::schema::{
    Arena, Field, ListType, Node, ObjectNode, PatchStrategy, Schema, SchemaKind, StringForm, Written,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Any JSON up to a few levels and some dozen values.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..300).prop_map(Value::from),
        "[a-c/~$]{0,3}".prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("[a-d]{1,2}|op|path|\\$patch", inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

struct Builder(Arena);

impl Builder {
    fn of(&mut self, kind: SchemaKind) -> u32 {
        self.0.push(Node {
            kind,
            ..Node::default()
        })
    }

    fn string(&mut self) -> u32 {
        self.of(SchemaKind::String(StringForm::Plain))
    }

    fn int(&mut self) -> u32 {
        self.of(SchemaKind::Integer { bits: 32 })
    }

    fn labels(&mut self) -> u32 {
        let values = self.string();
        self.of(SchemaKind::Map {
            values,
            atomic: false,
        })
    }

    fn list(&mut self, items: u32, list: ListType, patch: PatchStrategy) -> u32 {
        self.of(SchemaKind::Array { items, list, patch })
    }

    fn object(&mut self, fields: &[(&str, u32)], atomic: bool) -> u32 {
        let mut fields: Vec<_> = fields
            .iter()
            .map(|(name, node)| Field {
                name: (*name).into(),
                node: *node,
                required: false,
                written: Written::Given,
                inline: None,
            })
            .collect();
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        self.of(SchemaKind::Object(ObjectNode {
            fields,
            atomic,
            ..ObjectNode::default()
        }))
    }

    /// A pod template: keyed lists with and without key defaults, atomic lists and maps, and a place without schema.
    fn template(&mut self, metadata: u32) -> u32 {
        let b = self;
        let (string, int) = (b.string(), b.int());
        let any = b.of(SchemaKind::Any);
        let boolean = b.of(SchemaKind::Bool);
        let quantity = b.of(SchemaKind::Quantity);
        let protocol = b.0.push(Node {
            kind: SchemaKind::String(StringForm::Plain),
            default: Some(json!("TCP")),
            nullable: false,
        });
        let port = b.object(
            &[("containerPort", int), ("protocol", protocol), ("name", string)],
            false,
        );
        let ports = b.list(
            port,
            ListType::Map(vec!["containerPort".into(), "protocol".into()]),
            PatchStrategy::MergeByKey("containerPort".into()),
        );
        let env = b.object(&[("name", string), ("value", string)], false);
        let env = b.list(
            env,
            ListType::Map(vec!["name".into()]),
            PatchStrategy::MergeByKey("name".into()),
        );
        let command = b.list(string, ListType::Atomic, PatchStrategy::Replace);
        let limits = b.of(SchemaKind::Map {
            values: quantity,
            atomic: false,
        });
        let resources = b.object(&[("limits", limits), ("requests", limits)], false);
        let container = b.object(
            &[
                ("name", string),
                ("image", string),
                ("command", command),
                ("ports", ports),
                ("env", env),
                ("resources", resources),
                ("tty", boolean),
            ],
            false,
        );
        let containers = b.list(
            container,
            ListType::Map(vec!["name".into()]),
            PatchStrategy::MergeByKey("name".into()),
        );
        let node_selector = b.of(SchemaKind::Map {
            values: string,
            atomic: true,
        });
        let pod = b.object(
            &[
                ("containers", containers),
                ("nodeSelector", node_selector),
                ("extra", any),
            ],
            false,
        );
        b.object(&[("metadata", metadata), ("spec", pod)], false)
    }
}

/// Something like a Deployment, with one of each form that lists and maps can take.
pub(crate) fn deployment() -> Schema {
    let mut b = Builder(Arena::default());
    let (string, int, labels) = (b.string(), b.int(), b.labels());
    let any = b.of(SchemaKind::Any);
    let boolean = b.of(SchemaKind::Bool);
    let time = b.of(SchemaKind::String(StringForm::Time));
    let int_or_string = b.of(SchemaKind::IntOrString);
    let finalizers = b.list(string, ListType::Set, PatchStrategy::MergeScalars);
    let owner = b.object(&[("uid", string), ("name", string)], true);
    let owners = b.list(
        owner,
        ListType::Map(vec!["uid".into()]),
        PatchStrategy::MergeByKey("uid".into()),
    );
    let metadata = b.object(
        &[
            ("name", string),
            ("namespace", string),
            ("uid", string),
            ("generation", int),
            ("resourceVersion", string),
            ("creationTimestamp", time),
            ("labels", labels),
            ("annotations", labels),
            ("finalizers", finalizers),
            ("ownerReferences", owners),
            ("managedFields", any),
        ],
        false,
    );
    let template = b.template(metadata);
    let rolling = b.object(
        &[("maxSurge", int_or_string), ("maxUnavailable", int_or_string)],
        false,
    );
    let strategy = b.object(&[("type", string), ("rollingUpdate", rolling)], false);
    let selector = b.object(&[("matchLabels", labels)], true);
    let spec = b.object(
        &[
            ("replicas", int),
            ("paused", boolean),
            ("selector", selector),
            ("strategy", strategy),
            ("template", template),
        ],
        false,
    );
    let condition = b.object(&[("type", string), ("status", string)], false);
    let conditions = b.list(
        condition,
        ListType::Map(vec!["type".into()]),
        PatchStrategy::MergeByKey("type".into()),
    );
    let status = b.object(&[("replicas", int), ("conditions", conditions)], false);
    let root = b.object(
        &[
            ("apiVersion", string),
            ("kind", string),
            ("metadata", metadata),
            ("spec", spec),
            ("status", status),
        ],
        false,
    );
    Schema::new(Arc::new(b.0), root)
}

/// A Deployment named `default/web` with this spec.
pub(crate) fn web(spec: &Value) -> Value {
    json!({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"default"},"spec":spec})
}

/// Applied configurations that fit [`deployment`]: some of every form.
pub(crate) fn any_config() -> impl Strategy<Value = Value> {
    let word = || "[a-c]{1}";
    let labels = || prop::option::of(prop::collection::btree_map(word(), word(), 0..3));
    let port = (
        80u16..83,
        prop::option::of(prop_oneof![Just("TCP"), Just("UDP")]),
        prop::option::of(word()),
    );
    let ports = prop::collection::btree_map(80u16..83, port, 0..3);
    let container = (
        word(),
        ports,
        prop::option::of(prop::collection::vec(word(), 0..2)),
        prop::collection::btree_map(word(), word(), 0..3),
    );
    // An empty list that merges has no owner, upstream either, so nobody would remove it again.
    let containers = prop::option::of(prop::collection::btree_map(word(), container, 1..3));
    let finalizers = prop::collection::btree_set(word(), 0..3);
    (
        labels(),
        labels(),
        finalizers,
        prop::option::of(0i32..4),
        containers,
        prop::option::of(word()),
        any::<bool>(),
    )
        .prop_map(
            |(labels, selector, finalizers, replicas, containers, strategy, shuffled)| {
                let mut object = web(&json!({"paused": true}));
                set(&mut object["metadata"], "labels", labels.map(|m| json!(m)));
                set(
                    &mut object["metadata"],
                    "finalizers",
                    (!finalizers.is_empty()).then(|| json!(finalizers)),
                );
                set(&mut object["spec"], "replicas", replicas.map(Value::from));
                set(
                    &mut object["spec"],
                    "strategy",
                    strategy.map(|s| json!({"type": s})),
                );
                let mut items: Vec<Value> = containers
                    .iter()
                    .flatten()
                    .map(|(name, (image, ports, command, env))| {
                        container_value(name, image, ports, command.as_deref(), env)
                    })
                    .collect();
                if shuffled {
                    items.reverse();
                }
                let pod = json!({"containers": items});
                set(
                    &mut object["spec"],
                    "template",
                    containers.is_some().then(|| json!({"spec": pod})),
                );
                if let (Some(selector), Some(template)) =
                    (selector, object.pointer_mut("/spec/template/spec"))
                {
                    template["nodeSelector"] = json!(selector);
                }
                object
            },
        )
}

type Ports = std::collections::BTreeMap<u16, (u16, Option<&'static str>, Option<String>)>;

fn container_value(
    name: &str,
    image: &str,
    ports: &Ports,
    command: Option<&[String]>,
    env: &std::collections::BTreeMap<String, String>,
) -> Value {
    let mut container = json!({"name": name, "image": image});
    let ports: Vec<Value> = ports
        .iter()
        .map(|(number, (_, protocol, name))| {
            let mut port = json!({"containerPort": number});
            set(&mut port, "protocol", protocol.map(Value::from));
            set(&mut port, "name", name.clone().map(Value::from));
            port
        })
        .collect();
    set(&mut container, "ports", (!ports.is_empty()).then(|| json!(ports)));
    set(&mut container, "command", command.map(|c| json!(c)));
    let env: Vec<Value> = env.iter().map(|(k, v)| json!({"name": k, "value": v})).collect();
    set(&mut container, "env", (!env.is_empty()).then(|| json!(env)));
    container
}

fn set(object: &mut Value, name: &str, value: Option<Value>) {
    if let (Some(object), Some(value)) = (object.as_object_mut(), value) {
        object.insert(name.into(), value);
    }
}

/// Whether every scalar of `config` is in `object`, lists compared by their items' `name`s or ports.
pub(crate) fn lookup_all(config: &Value, object: &Value) -> Result<(), String> {
    match (config, object) {
        (Value::Object(config), Value::Object(object)) => {
            config.iter().try_for_each(|(key, value)| match object.get(key) {
                Some(found) => lookup_all(value, found).map_err(|e| format!(".{key}{e}")),
                None if value.as_array().is_some_and(Vec::is_empty)
                    || value.as_object().is_some_and(Map::is_empty) =>
                {
                    Ok(())
                }
                None => Err(format!(".{key} is missing")),
            })
        }
        (Value::Array(config), Value::Array(object)) => config.iter().try_for_each(|item| {
            let found = object.iter().any(|candidate| lookup_all(item, candidate).is_ok());
            if found {
                Ok(())
            } else {
                Err(format!("[{item}] is missing"))
            }
        }),
        _ if config == object => Ok(()),
        _ => Err(format!(": {object} instead of {config}")),
    }
}
