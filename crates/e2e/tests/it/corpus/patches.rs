//! Patches of all four kinds that make no sense, or would make the object wrong.

use super::Bad;
use super::objects::NAMESPACE;
use http::Method;
use serde_json::{Value, json};

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
/// As upstream's: a JSON patch may hold no more operations.
const MOST_OPERATIONS: usize = 10_000;

fn deployment() -> String {
    format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/kept")
}

fn config_map() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/configmaps/kept")
}

fn patch(why: &str, path: String, kind: &str, body: impl Into<Vec<u8>>) -> Bad {
    Bad::new(why, Method::PATCH, path).raw(kind, body)
}

pub fn all() -> Vec<Bad> {
    [
        json_patches(),
        merge_patches(),
        strategic_patches(),
        applies(),
        kinds(),
    ]
    .concat()
}

// LONG: one table of cases, which reads best in one piece.
fn json_patches() -> Vec<Bad> {
    let invalid = |why: &str, operations: Value| patch(why, deployment(), JSON, operations.to_string());
    let many: Vec<Value> = (0..=MOST_OPERATIONS)
        .map(|i| json!({"op": "add", "path": "/metadata/labels", "value": {"n": i.to_string()}}))
        .collect();
    vec![
        invalid("an object", json!({"op": "add"})).code(400),
        invalid("a text", json!("add")).code(400),
        invalid("not objects", json!([1, 2])).code(400),
        invalid("no such operation", json!([{"op": "turn", "path": "/spec"}])),
        invalid("no path", json!([{"op": "remove"}])),
        invalid("no value", json!([{"op": "add", "path": "/metadata/labels"}])).any_answer(),
        invalid(
            "a path that is not there",
            json!([{"op": "remove", "path": "/spec/nothing/at/all"}]),
        )
        .code(422),
        invalid(
            "replaces what is not there",
            json!([{"op": "replace", "path": "/metadata/labels/no", "value": "x"}]),
        )
        .code(422),
        invalid(
            "an index that is too high",
            json!([{"op": "add", "path": "/spec/template/spec/containers/9", "value": {}}]),
        )
        .code(422),
        invalid(
            "an index that is huge",
            json!([{"op": "add", "path": "/spec/template/spec/containers/99999999999999999999", "value": {}}]),
        ),
        invalid(
            "an index below zero",
            json!([{"op": "remove", "path": "/spec/template/spec/containers/-1"}]),
        ),
        invalid(
            "a pointer without a slash",
            json!([{"op": "remove", "path": "spec"}]),
        ),
        invalid(
            "a pointer with a bad escape",
            json!([{"op": "remove", "path": "/spec/~2"}]),
        ),
        invalid(
            "a test that fails",
            json!([{"op": "test", "path": "/spec/replicas", "value": 77}]),
        )
        .code(422),
        invalid(
            "moves into itself",
            json!([{"op": "move", "from": "/spec", "path": "/spec/template/inner"}]),
        ),
        invalid(
            "copies from nowhere",
            json!([{"op": "copy", "from": "/nowhere", "path": "/spec/x"}]),
        )
        .code(422),
        invalid("removes everything", json!([{"op": "remove", "path": ""}])),
        invalid(
            "replaces everything by a number",
            json!([{"op": "replace", "path": "", "value": 7}]),
        ),
        invalid(
            "replaces everything by nothing",
            json!([{"op": "replace", "path": "", "value": null}]),
        ),
        invalid(
            "another name",
            json!([{"op": "replace", "path": "/metadata/name", "value": "other"}]),
        )
        .codes(&[400, 422]),
        invalid(
            "another namespace",
            json!([{"op": "replace", "path": "/metadata/namespace", "value": "other"}]),
        )
        .codes(&[400, 422]),
        invalid(
            "another kind",
            json!([{"op": "replace", "path": "/kind", "value": "Pod"}]),
        ),
        invalid(
            "another version",
            json!([{"op": "replace", "path": "/apiVersion", "value": "apps/v9"}]),
        ),
        invalid("no selector", json!([{"op": "remove", "path": "/spec/selector"}])).code(422),
        invalid(
            "replicas below zero",
            json!([{"op": "replace", "path": "/spec/replicas", "value": -1}]),
        )
        .code(422),
        invalid(
            "replicas as text",
            json!([{"op": "replace", "path": "/spec/replicas", "value": "three"}]),
        ),
        invalid(
            "replicas beyond 32 bits",
            json!([{"op": "replace", "path": "/spec/replicas", "value": 4_294_967_296_u64}]),
        ),
        invalid("too many operations", Value::Array(many)).code(413),
        patch("cut short", deployment(), JSON, "[{\"op\":\"add\"").code(400),
        patch("empty", deployment(), JSON, "").code(400),
        patch("not UTF-8", deployment(), JSON, vec![b'[', 0xff, 0xfe, b']']).code(400),
    ]
}

fn merge_patches() -> Vec<Bad> {
    let invalid = |why: &str, body: Value| patch(why, deployment(), MERGE, body.to_string());
    vec![
        invalid("a list", json!([])).codes(&[400, 422]),
        invalid("a number", json!(7)).codes(&[400, 422]),
        invalid("nothing", json!(null)).codes(&[400, 422]),
        invalid("spec as text", json!({"spec": "none"})),
        invalid("no spec", json!({"spec": null})).code(422),
        invalid("metadata as a list", json!({"metadata": []})),
        invalid("labels as a list", json!({"metadata": {"labels": ["a"]}})),
        invalid(
            "a label that is a number",
            json!({"metadata": {"labels": {"a": 1}}}),
        ),
        invalid(
            "a label that is too long",
            json!({"metadata": {"labels": {"a": "x".repeat(64)}}}),
        )
        .code(422),
        invalid(
            "another uid",
            json!({"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}}),
        )
        .codes(&[409, 422]),
        invalid(
            "another version of the object",
            json!({"metadata": {"resourceVersion": "1"}}),
        )
        .code(409),
        invalid(
            "a version that is none",
            json!({"metadata": {"resourceVersion": "one"}}),
        )
        .codes(&[400, 409, 422]),
        invalid(
            "another selector",
            json!({"spec": {"selector": {"matchLabels": {"app": "other"}}}}),
        )
        .code(422),
        patch(
            "immutable data",
            config_map(),
            MERGE,
            json!({"data": {"k": "other"}}).to_string(),
        )
        .code(422)
        .says("immutable"),
        patch(
            "not immutable again",
            config_map(),
            MERGE,
            json!({"immutable": false}).to_string(),
        )
        .code(422),
        patch("of nothing", format!("{}-not", config_map()), MERGE, "{}").code(404),
        patch("cut short", deployment(), MERGE, "{\"spec\":").code(400),
        patch(
            "deep",
            deployment(),
            MERGE,
            format!("{}1{}", "{\"a\":".repeat(20_000), "}".repeat(20_000)),
        ),
    ]
}

fn strategic_patches() -> Vec<Bad> {
    let containers = |items: Value| json!({"spec": {"template": {"spec": {"containers": items}}}});
    let invalid = |why: &str, body: Value| patch(why, deployment(), STRATEGIC, body.to_string());
    vec![
        invalid("an item without its key", containers(json!([{"image": "x"}]))),
        invalid("an item that is no object", containers(json!(["x"]))),
        invalid("an item that is nothing", containers(json!([null]))),
        invalid("a list that is an object", containers(json!({"name": "main"}))),
        invalid(
            "a directive that is none",
            containers(json!([{"$patch": "burn", "name": "main"}])),
        ),
        invalid(
            "a directive that is a number",
            containers(json!([{"$patch": 3, "name": "main"}])),
        ),
        invalid(
            "all containers deleted",
            containers(json!([{"$patch": "delete", "name": "main"}])),
        )
        .code(422),
        invalid(
            "all containers replaced by none",
            containers(json!([{"$patch": "replace"}])),
        )
        .code(422),
        invalid(
            "an order of what is not there",
            json!({"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "no"}]}}}}),
        )
        .any_answer(),
        invalid(
            "an order that is no list",
            json!({"spec": {"template": {"spec": {"$setElementOrder/containers": "main"}}}}),
        ),
        invalid(
            "deletes from a list that is none",
            json!({"spec": {"$deleteFromPrimitiveList/replicas": [1]}}),
        )
        .any_answer(),
        invalid(
            "retains keys that are no list",
            json!({"spec": {"strategy": {"$retainKeys": "type"}}}),
        ),
        invalid("spec as text", json!({"spec": "none"})),
        invalid("a list", json!([])).codes(&[400, 422]),
        patch("cut short", deployment(), STRATEGIC, "{").code(400),
    ]
}

fn applies() -> Vec<Bad> {
    let path = |rest: &str| format!("{}{rest}", deployment());
    let right =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "kept"}}).to_string();
    let apply = |why: &str, rest: &str, body: &str| patch(why, path(rest), APPLY, body);
    let manager = "?fieldManager=me";
    vec![
        apply("without a manager", "", &right).codes(&[400, 422]).says("fieldManager"),
        apply("with an empty manager", "?fieldManager=", &right).codes(&[400, 422]),
        apply("a manager that is too long", &format!("?fieldManager={}", "m".repeat(129)), &right).codes(&[400, 422]),
        apply("a manager that cannot be printed", "?fieldManager=a%07b", &right).codes(&[400, 422]),
        apply("force that is none", "?fieldManager=me&force=perhaps", &right).any_answer(),
        apply("without a kind", manager, "apiVersion: apps/v1\nmetadata: {name: kept}").code(400),
        apply("without a version", manager, "kind: Deployment\nmetadata: {name: kept}").code(400),
        apply("another kind", manager, "apiVersion: v1\nkind: Pod\nmetadata: {name: kept}").code(400),
        apply("another name", manager, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: other}").code(400),
        apply("another namespace", manager, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: kept, namespace: other}").code(400),
        apply("with managed fields", manager,
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: kept, managedFields: [{manager: x, operation: Apply}]}").codes(&[400, 422]),
        apply("an unknown field", manager, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: kept}\nspec: {unheardOf: 1}").code(400).says(".spec.unheardOf: field not declared in schema"),
        apply("an unknown field that is to be ignored", "?fieldManager=me&fieldValidation=Ignore",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: kept}\nspec: {unheardOf: 1}")
            .code(400)
            .says("failed to create typed patch object (corpus/kept; apps/v1, Kind=Deployment): .spec.unheardOf: field not declared in schema"),
        apply("a wrong type", manager, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: kept}\nspec: {replicas: many}"),
        apply("twice the same container", manager,
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: kept}\nspec: {template: {spec: {containers: [{name: main}, {name: main}]}}}"),
        apply("a container without a name", manager,
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: kept}\nspec: {template: {spec: {containers: [{image: x}]}}}"),
        apply("two documents", manager, "apiVersion: v1\n---\napiVersion: v1"),
        apply("a number", manager, "7").code(400),
        apply("nothing", manager, "").code(400),
        apply("tabs", manager, "\tapiVersion: v1").code(400),
        apply("an anchor to nothing", manager, "apiVersion: *nothing").code(400),
        apply("a field that another owns", manager,
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: kept}\nspec: {replicas: 9}").code(409).says("conflict"),
        patch("a manager without a manager's words", deployment(), "application/apply-patch+cbor", vec![0xff]).codes(&[400, 415]),
    ]
}

fn kinds() -> Vec<Bad> {
    let of = |kind: &str| patch(&format!("a patch as {kind:?}"), deployment(), kind, "{}").code(415);
    let mut corpus = vec![
        of("application/json"),
        of("text/plain"),
        of("application/x-www-form-urlencoded"),
        of("application/yaml"),
        of("merge-patch+json"),
        Bad::new("a patch of no type", Method::PATCH, deployment()).code(415),
        patch(
            "a patch of a collection",
            format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments"),
            MERGE,
            "{}",
        )
        .code(405),
    ];
    for sub in ["scale", "status"] {
        let path = format!("{}/{sub}", deployment());
        corpus.push(patch(
            &format!("spec as text of {sub}"),
            path,
            MERGE,
            "{\"spec\":\"x\",\"status\":\"y\"}",
        ));
    }
    let scale = format!("{}/scale", deployment());
    corpus.push(
        patch(
            "a scale below zero",
            scale.clone(),
            MERGE,
            "{\"spec\":{\"replicas\":-1}}",
        )
        .code(422),
    );
    corpus.push(patch(
        "a scale as text",
        scale,
        MERGE,
        "{\"spec\":{\"replicas\":\"x\"}}",
    ));
    corpus
}
