//! Strict decoding against the real schemas: the words of Go's decoder, what is dropped, what is brought into form.

use meta::schema::Schema;
use serde_json::{Value, json};

fn conform(type_name: &str, mut value: Value) -> Result<(Value, Vec<String>), String> {
    let name = format!("io.k8s.api.{type_name}");
    let schema = Schema::of(kinds::schema::arena(), &name).expect("a schema");
    let unknown = codec::strict::conform(&schema, &mut value).map_err(|misfits| misfits.told(None))?;
    Ok((value, unknown))
}

fn container(member: Value) -> Value {
    json!({"spec": {"containers": [member]}})
}

// LONG: one table of cases.
#[test]
fn wrong_types_are_told_in_the_words_of_gos_decoder() {
    let quantities = meta::quantity::FORMAT_ERROR;
    let field = |found: &str, at: &str, wanted: &str| {
        format!("json: cannot unmarshal {found} into Go struct field {at} of type {wanted}")
    };
    let deployment = "apps.v1.Deployment";
    let pod = "core.v1.Pod";
    let cases = [
        (
            deployment,
            json!({"spec": {"replicas": "x"}}),
            field("string", "DeploymentSpec.spec.replicas", "int32"),
        ),
        (
            deployment,
            json!({"spec": {"replicas": 1.5}}),
            field("number 1.5", "DeploymentSpec.spec.replicas", "int32"),
        ),
        (
            deployment,
            json!({"spec": {"replicas": 3_000_000_000_i64}}),
            field("number 3000000000", "DeploymentSpec.spec.replicas", "int32"),
        ),
        (
            deployment,
            json!({"spec": {"paused": "x"}}),
            field("string", "DeploymentSpec.spec.paused", "bool"),
        ),
        (
            deployment,
            json!({"spec": []}),
            field("array", "Deployment.spec", "v1.DeploymentSpec"),
        ),
        (
            deployment,
            json!({"metadata": {"labels": {"a": 1}}}),
            field("number", "ObjectMeta.metadata.labels", "string"),
        ),
        (
            deployment,
            json!({"metadata": {"labels": []}}),
            field("array", "ObjectMeta.metadata.labels", "map[string]string"),
        ),
        (
            deployment,
            json!({"metadata": {"creationTimestamp": 1}}),
            field("number", "ObjectMeta.metadata.creationTimestamp", "string"),
        ),
        (
            deployment,
            json!({"metadata": {"creationTimestamp": "x"}}),
            "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\"".into(),
        ),
        (
            pod,
            json!({"spec": {"containers": {}}}),
            field("object", "PodSpec.spec.containers", "[]v1.Container"),
        ),
        (
            pod,
            container(json!(1)),
            field("number", "PodSpec.spec.containers", "v1.Container"),
        ),
        (
            pod,
            container(json!({"ports": [{"containerPort": "x"}]})),
            field(
                "string",
                "ContainerPort.spec.containers.ports.containerPort",
                "int32",
            ),
        ),
        (
            pod,
            container(json!({"command": [1]})),
            field("number", "Container.spec.containers.command", "string"),
        ),
        (
            pod,
            container(json!({"resources": {"limits": {"cpu": "x"}}})),
            quantities.into(),
        ),
        (
            pod,
            container(json!({"resources": {"limits": {"cpu": {}}}})),
            quantities.into(),
        ),
        (
            pod,
            container(json!({"resources": {"limits": []}})),
            field(
                "array",
                "ResourceRequirements.spec.containers.resources.limits",
                "v1.ResourceList",
            ),
        ),
        (
            "core.v1.Secret",
            json!({"data": {"a": "YWJj!"}}),
            "illegal base64 data at input byte 4".into(),
        ),
        (
            "core.v1.Secret",
            json!({"data": {"a": 1}}),
            field("number", "Secret.data", "[]uint8"),
        ),
        (
            "core.v1.ConfigMap",
            json!([]),
            "json: cannot unmarshal array into Go value of type v1.ConfigMap".into(),
        ),
    ];
    for (type_name, value, wanted) in cases {
        assert_eq!(conform(type_name, value.clone()), Err(wanted), "{value}");
    }
}

#[test]
fn of_several_wrong_values_the_one_is_told_that_gos_decoder_would_tell() {
    let told = |json: &str| {
        let schema = Schema::of(kinds::schema::arena(), "io.k8s.api.core.v1.Pod").expect("a schema");
        let mut value = serde_json::from_str(json).expect("json");
        let misfits = codec::strict::conform(&schema, &mut value).expect_err("wrong values");
        misfits.told(Some(json.as_bytes()))
    };
    let first = told(r#"{"spec": {"subdomain": 1, "containers": [{"image": 1}], "hostname": 1}}"#);
    assert!(first.contains("PodSpec.spec.subdomain"), "{first}");
    let first = told(r#"{"spec": {"containers": [{"name": "a"}, {"name": 1, "image": 1}], "hostname": 1}}"#);
    assert!(first.contains("Container.spec.containers.name"), "{first}");
    // A type that reads its own text ends it all, wherever it stands.
    let ends = told(r#"{"spec": {"hostname": 1, "overhead": {"cpu": "x"}, "subdomain": 1}}"#);
    assert_eq!(ends, meta::quantity::FORMAT_ERROR);
    let ends =
        told(r#"{"spec": {"overhead": {"cpu": 1}, "hostname": 1}, "metadata": {"creationTimestamp": "x"}}"#);
    assert!(ends.starts_with("parsing time"), "{ends}");
}

#[test]
fn unknown_fields_are_dropped_and_named_with_their_place() {
    let value = json!({"foo": 1, "spec": {"containers": [{"name": "a", "bar": {"x": 1}, "env": [{"name": "b", "c": 1}]}]}});
    let (value, mut unknown) = conform("core.v1.Pod", value).expect("a pod");
    unknown.sort();
    let wanted = [
        "unknown field \"foo\"",
        "unknown field \"spec.containers[0].bar\"",
        "unknown field \"spec.containers[0].env[0].c\"",
    ];
    assert_eq!(unknown, wanted);
    assert_eq!(value, container(json!({"name": "a", "env": [{"name": "b"}]})));
}

#[test]
fn values_get_the_form_that_typed_decoding_gives_them() {
    let value = json!({
        "metadata": {"name": "a", "labels": {}, "finalizers": [], "annotations": null, "creationTimestamp": "2026-01-02T04:04:05+01:00"},
        "spec": {"tolerations": [], "nodeSelector": {}, "securityContext": {}, "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [{"name": "c", "args": [], "env": [{"name": "n", "value": ""}],
                "resources": {"requests": {"cpu": 0.5, "memory": "1024Mi"}, "limits": {}}}]},
        "status": {"conditions": []},
    });
    let decoded = json!({
        "metadata": {"name": "a", "labels": {}, "finalizers": [], "creationTimestamp": "2026-01-02T03:04:05Z"},
        "spec": {"tolerations": [], "nodeSelector": {}, "securityContext": {}, "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [{"name": "c", "args": [], "env": [{"name": "n"}],
                "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {}}}]},
        "status": {"conditions": []},
    });
    let (once, unknown) = conform("core.v1.Pod", value).expect("a pod");
    assert_eq!(once, decoded);
    assert!(unknown.is_empty());
    let (twice, _) = conform("core.v1.Pod", once.clone()).expect("a pod");
    assert_eq!(once, twice);
    let written = json!({
        "metadata": {"name": "a", "creationTimestamp": "2026-01-02T03:04:05Z"},
        "spec": {"securityContext": {}, "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [{"name": "c", "env": [{"name": "n"}], "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}]},
        "status": {},
    });
    assert_eq!(complete("core.v1.Pod", once.clone()), written);
    let schema = Schema::of(kinds::schema::arena(), "io.k8s.api.core.v1.Pod").expect("a schema");
    let mut as_sent = once;
    codec::strict::complete_as_sent(&schema, &mut as_sent);
    assert_eq!(as_sent["spec"]["tolerations"], json!([]));
    assert_eq!(as_sent["spec"]["containers"][0]["resources"]["limits"], json!({}));
    codec::strict::complete(&schema, &mut as_sent);
    assert_eq!(as_sent, written);
}

/// Zeros that mean nothing are gone; what a pointer points at, and what every object of a type has, stays.
#[test]
fn objects_look_as_typed_code_writes_them() {
    let form = |type_name: &str, value: Value| {
        let (value, _) = conform(type_name, value).expect("fields of the right types");
        complete(type_name, value)
    };
    let spec = json!({"hostNetwork": false, "hostUsers": false, "hostname": "", "runtimeClassName": "", "containers": [{"name": "c", "stdin": false}]});
    assert_eq!(
        form("core.v1.PodSpec", spec),
        json!({"hostUsers": false, "runtimeClassName": "", "containers": [{"name": "c", "resources": {}}]})
    );
    assert_eq!(
        form(
            "discovery.v1.EndpointSlice",
            json!({"endpoints": [], "ports": [{"protocol": ""}]})
        ),
        json!({"metadata": {}, "addressType": "", "endpoints": null, "ports": [{"protocol": ""}]})
    );
    assert_eq!(
        form(
            "core.v1.PersistentVolumeClaimSpec",
            json!({"dataSource": {"kind": "A"}, "volumeName": ""})
        ),
        json!({"resources": {}, "dataSource": {"apiGroup": null, "kind": "A", "name": ""}})
    );
    let capacity = json!({"capacity": {"storage": "100n", "cpu": "0.0015"}});
    assert_eq!(
        form("core.v1.PersistentVolumeSpec", capacity),
        json!({"capacity": {"storage": "1m", "cpu": "2m"}})
    );
    let wrong = conform("core.v1.Volume", json!({"configMap": {"name": 1}})).expect_err("not a text");
    let place = "ConfigMapVolumeSource.VolumeSource.configMap.LocalObjectReference.name";
    assert_eq!(
        wrong,
        format!("json: cannot unmarshal number into Go struct field {place} of type string")
    );
}

fn complete(type_name: &str, mut value: Value) -> Value {
    let schema = Schema::of(kinds::schema::arena(), &format!("io.k8s.api.{type_name}")).expect("a schema");
    codec::strict::complete(&schema, &mut value);
    value
}
