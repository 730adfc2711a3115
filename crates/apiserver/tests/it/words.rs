//! What is said of writes that upstream refuses, in its words and its order, and what it takes in silence.

use crate::world::World;
use serde_json::{Value, json};

const DEFAULT: &str = "/api/v1/namespaces/default";
const APPS: &str = "/apis/apps/v1/namespaces/default";

/// A world in which the objects under test are made and changed.
struct Talk(World);

impl Talk {
    async fn new() -> Self {
        let talk = Self(World::new().await);
        let account = json!({"metadata": {"name": "default"}});
        talk.made(&format!("{DEFAULT}/serviceaccounts"), account).await;
        talk
    }

    /// Code and message of a refusal, or the code alone.
    async fn said(&self, method: &str, path: &str, body: &Value) -> String {
        let (code, answer) = self.0.json(method, path, body).await;
        match answer["message"].as_str().filter(|_| code >= 400) {
            Some(message) => format!("{code} {message}"),
            None => code.to_string(),
        }
    }

    async fn made(&self, list: &str, body: Value) -> Value {
        let (code, answer) = self.0.json("POST", list, &body).await;
        assert_eq!(code, 201, "{answer}");
        answer
    }

    /// What is said when `object` takes these changes (JSON pointers and values; null takes away).
    async fn changed(&self, path: &str, object: &Value, changes: &[(&str, Value)]) -> String {
        let mut new = object.clone();
        for (pointer, value) in changes {
            let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
            let parent = new.pointer_mut(parent).expect("the parent exists");
            parent[key] = value.clone();
        }
        self.said("PUT", path, &new).await
    }
}

fn workload(name: &str, more: Value) -> Value {
    let mut spec = json!({
        "selector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    });
    for (key, value) in more.as_object().expect("fields") {
        spec[key] = value.clone();
    }
    json!({"metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn a_refused_change_shows_what_was_sent_without_content() {
    let talk = Talk::new().await;
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let list = format!("{DEFAULT}/persistentvolumeclaims");
    let claim = talk.made(&list, claim).await;
    let changes = [
        ("/spec/accessModes", json!([])),
        ("/spec/volumeName", "v".into()),
        ("/spec/volumeMode", "Block".into()),
    ];
    let said = talk.changed(&format!("{list}/c"), &claim, &changes).await;
    assert!(said.contains("+ \"AccessModes\": [],\n"), "{said}");
    // The volume may be named, so that it stands on both sides.
    assert!(said.contains("\n  \"VolumeName\": \"v\",\n"), "{said}");

    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}], "nodeSelector": {"a": "b"}}});
    let pod = talk.made(&format!("{DEFAULT}/pods"), pod).await;
    let changes = [
        ("/spec/nodeSelector", json!({})),
        ("/spec/initContainers", json!([])),
    ];
    let said = talk.changed(&format!("{DEFAULT}/pods/p"), &pod, &changes).await;
    assert!(
        said.contains("+ \"NodeSelector\": {},\n") && !said.contains("InitContainers"),
        "{said}"
    );
    let limits = [
        ("/spec/containers/0/resources", json!({"limits": {}})),
        ("/spec/hostname", "h".into()),
    ];
    let said = talk.changed(&format!("{DEFAULT}/pods/p"), &pod, &limits).await;
    assert!(
        said.contains(
            "+    \"Requests\": {},
"
        ),
        "requests are made of limits: {said}"
    );

    let map = json!({"metadata": {"name": "m"}, "immutable": true, "data": {"x": "1"}});
    let map = talk.made(&format!("{DEFAULT}/configmaps"), map).await;
    assert_eq!(
        talk.changed(
            &format!("{DEFAULT}/configmaps/m"),
            &map,
            &[("/binaryData", json!({}))]
        )
        .await,
        "422 ConfigMap \"m\" is invalid: binaryData: Forbidden: field is immutable when `immutable` is set"
    );
    let class = json!({"metadata": {"name": "s"}, "provisioner": "p", "parameters": {"a": "b"}});
    let classes = "/apis/storage.k8s.io/v1/storageclasses";
    let class = talk.made(classes, class).await;
    assert_eq!(
        talk.changed(&format!("{classes}/s"), &class, &[("/parameters", json!({}))])
            .await,
        "422 StorageClass.storage.k8s.io \"s\" is invalid: parameters: Invalid value: {}: field is immutable"
    );
}

#[tokio::test]
async fn a_scale_is_read_and_checked_as_an_object() {
    let talk = Talk::new().await;
    talk.made(
        &format!("{APPS}/replicasets"),
        workload("r", json!({"replicas": 0})),
    )
    .await;
    let path = format!("{APPS}/replicasets/r/scale");
    let (_, scale) = talk.0.json("GET", &path, &Value::Null).await;
    assert_eq!(scale["spec"], json!({}));
    assert_eq!(scale["status"]["selector"], "a in (b)");
    let with = |metadata: Value, replicas: Value| {
        let mut scale = json!({"metadata": {"name": "r"}, "spec": {"replicas": replicas}});
        for (key, value) in metadata.as_object().expect("fields") {
            scale["metadata"][key] = value.clone();
        }
        scale
    };
    let scale = with(json!({"generation": -1, "finalizers": ["x"]}), (-1).into());
    assert_eq!(
        talk.said("PUT", &path, &scale).await,
        "422 Scale.autoscaling \"r\" is invalid: [metadata.generation: Invalid value: -1: must be greater than or equal to 0, metadata.finalizers[0]: Invalid value: \"x\": name is neither a standard finalizer name nor is it fully qualified, spec.replicas: Invalid value: -1: must be greater than or equal to 0]"
    );
    assert_eq!(
        talk.said("PUT", &path, &with(json!({}), "x".into())).await,
        "400 Scale in version \"v1\" cannot be handled as a Scale: json: cannot unmarshal string into Go struct field ScaleSpec.spec.replicas of type int32"
    );
    let said = talk
        .said("PUT", &path, &with(json!({"uid": "other"}), (-1).into()))
        .await;
    assert!(said.starts_with("409 "), "{said}");
    assert_eq!(talk.said("PUT", &path, &with(json!({}), 2.into())).await, "200");
}

#[tokio::test]
async fn revisions_and_marks_are_the_servers() {
    let talk = Talk::new().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease = json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "h"}});
    talk.made(leases, lease.clone()).await;
    assert_eq!(
        talk.said("PUT", &format!("{leases}/l"), &lease).await,
        "422 leases.coordination.k8s.io \"l\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update"
    );
    let patch = json!({"spec": {"holderIdentity": "other"}});
    assert_eq!(talk.said("PATCH", &format!("{leases}/l"), &patch).await, "200");

    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let slice =
        json!({"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": [{"addresses": ["1.2.3.4"]}]});
    let said = talk.said("PUT", &format!("{slices}/s"), &slice).await;
    assert!(said.starts_with("404 "), "{said}");
    let made = talk.made(slices, slice).await;
    assert_eq!(
        talk.changed(&format!("{slices}/s"), &made, &[("/addressType", "FQDN".into())])
            .await,
        "422 EndpointSlice.discovery.k8s.io \"s\" is invalid: addressType: Invalid value: \"FQDN\": field is immutable"
    );
    let mut topology = made.clone();
    topology["endpoints"][0]["deprecatedTopology"] = json!({"a": "b"});
    let (_, answer) = talk.0.json("PUT", &format!("{slices}/s"), &topology).await;
    assert_eq!(answer["metadata"]["generation"], 2);
    assert_eq!(answer["endpoints"], made["endpoints"]);

    let node = json!({"metadata": {"name": "n", "resourceVersion": "0", "generateName": "g-"}});
    let node = talk.made("/api/v1/nodes", node).await;
    let path = "/api/v1/nodes/n/status";
    let mark = "2020-01-01T00:00:00Z";
    let said = talk
        .changed(path, &node, &[("/metadata/deletionTimestamp", mark.into())])
        .await;
    let sentence = "metadata.deletionTimestamp: Invalid value: \"2020-01-01T00:00:00Z\": field is immutable";
    assert!(said.contains(sentence), "{said}");
    let changes = [
        ("/metadata/creationTimestamp", mark.into()),
        ("/metadata/generateName", "h-".into()),
    ];
    assert_eq!(talk.changed("/api/v1/nodes/n", &node, &changes).await, "200");
    let (_, after) = talk.0.json("GET", "/api/v1/nodes/n", &Value::Null).await;
    assert_eq!(
        after["metadata"]["creationTimestamp"],
        node["metadata"]["creationTimestamp"]
    );
    assert_eq!(after["metadata"]["generateName"], "h-");
}

#[tokio::test]
async fn checks_come_in_upstreams_order() {
    let talk = Talk::new().await;
    let event = json!({"metadata": {"name": "a/b", "labels": {"Bad key!": "x"}}, "involvedObject": {"namespace": "x"}});
    assert_eq!(
        talk.said("POST", &format!("{DEFAULT}/events"), &event).await,
        "422 Event \"a/b\" is invalid: involvedObject.namespace: Invalid value: \"x\": does not match event.namespace"
    );
    let event = json!({"metadata": {"name": "."}, "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal",
        "action": "A", "reportingController": "example.com/x", "reportingInstance": "i", "regarding": {"namespace": "default"}});
    let said = talk
        .said("POST", "/apis/events.k8s.io/v1/namespaces/default/events", &event)
        .await;
    assert!(
        said.contains("is invalid: [reason: Required value, metadata.name: Invalid"),
        "{said}"
    );

    let namespace = talk
        .made("/api/v1/namespaces", json!({"metadata": {"name": "new"}}))
        .await;
    let said = talk
        .changed(
            "/api/v1/namespaces/new/finalize",
            &namespace,
            &[("/spec/finalizers", json!(["a"]))],
        )
        .await;
    assert!(
        said.contains("is invalid: spec.finalizers[0]: Invalid value: \"a\": name is neither"),
        "{said}"
    );

    let set = talk
        .made(&format!("{APPS}/statefulsets"), workload("s", json!({})))
        .await;
    let said = talk
        .changed(
            &format!("{APPS}/statefulsets/s"),
            &set,
            &[("/spec/template/metadata/labels", json!({}))],
        )
        .await;
    assert!(
        said.contains("metadata.labels: Invalid value: {}: `selector` does not match"),
        "{said}"
    );
    let strategy = json!({"type": "x", "rollingUpdate": {"maxSurge": "25%"}});
    let said = talk
        .said(
            "POST",
            &format!("{APPS}/deployments"),
            &workload("d", json!({"strategy": strategy})),
        )
        .await;
    assert!(
        said.contains("{\"Type\":\"x\",\"RollingUpdate\":{\"MaxUnavailable\":0,\"MaxSurge\":\"25%\"}}"),
        "{said}"
    );
}

#[tokio::test]
async fn a_claims_source_may_name_any_group_once_it_names_one() {
    let talk = Talk::new().await;
    let list = format!("{DEFAULT}/persistentvolumeclaims");
    let claim = |group: &str| {
        json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
            "dataSourceRef": {"apiGroup": group, "kind": "K", "name": "x"}}})
    };
    let said = talk.said("POST", &list, &claim("X y")).await;
    assert!(said.contains("spec.dataSourceRef.apiGroup: Invalid"), "{said}");
    let made = talk.made(&list, claim("example.com")).await;
    let said = talk
        .changed(
            &format!("{list}/c"),
            &made,
            &[("/spec/dataSourceRef/apiGroup", "X y".into())],
        )
        .await;
    assert!(
        said.contains("spec is immutable") && !said.contains("apiGroup: Invalid"),
        "{said}"
    );
}

#[tokio::test]
async fn services_are_changed_by_upstreams_rules() {
    let talk = Talk::new().await;
    let list = format!("{DEFAULT}/services");
    let made =
        |name: &'static str, spec: Value| talk.made(&list, json!({"metadata": {"name": name}, "spec": spec}));
    let path = |name: &str| format!("{list}/{name}");
    let headless = made("h", json!({"clusterIP": "None"})).await;
    assert_eq!(
        talk.changed(&path("h"), &headless, &[("/spec/selector", json!({"a": "b"}))])
            .await,
        "422 Service \"h\" is invalid: [spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services, spec.ipFamilies[1]: Invalid value: \"IPv6\": not configured on this cluster]"
    );
    assert_eq!(
        talk.changed(&path("h"), &headless, &[("/spec/type", "X y".into())])
            .await,
        "422 Service \"h\" is invalid: spec.type: Unsupported value: \"X y\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\""
    );
    assert_eq!(
        talk.changed(
            &path("h"),
            &headless,
            &[("/spec/clusterIPs", json!(["None", "None"]))]
        )
        .await,
        "422 Service \"h\" is invalid: spec.clusterIPs: Invalid value: [\"None\",\"None\"]: 'None' must be the first and only value"
    );
    let balancer = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]});
    let balancer = made("l", balancer).await;
    assert_eq!(
        talk.changed(&path("l"), &balancer, &[("/spec/healthCheckNodePort", 1.into())])
            .await,
        "422 Service \"l\" is invalid: spec.healthCheckNodePort: Forbidden: field is immutable"
    );
    // A port is known by its name.
    let mut new = balancer.clone();
    new["spec"]["ports"] =
        json!([{"name": "b", "port": 80, "protocol": "TCP"}, {"name": "a", "port": 81, "protocol": "TCP"}]);
    let (code, answer) = talk.0.json("PUT", &path("l"), &new).await;
    assert_eq!(code, 200, "{answer}");
    let node_port = |service: &Value, i: usize| service["spec"]["ports"][i]["nodePort"].clone();
    assert_eq!(node_port(&answer, 0), node_port(&balancer, 1));
    assert_eq!(node_port(&answer, 1), node_port(&balancer, 0));
    let alias = made(
        "e",
        json!({"type": "ExternalName", "externalName": "a.b", "internalTrafficPolicy": "Local"}),
    )
    .await;
    assert_eq!(alias["spec"]["internalTrafficPolicy"], Value::Null);
}

#[tokio::test]
async fn pods_are_read_as_upstream_reads_them() {
    let talk = Talk::new().await;
    let list = format!("{DEFAULT}/pods");
    let pod = |spec: Value| json!({"metadata": {"name": "p"}, "spec": spec});
    let asks = |cpu: &str| json!({"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}});
    for (asked, sum) in [("1e3", "1e3"), ("1.5Gi", "1536Mi")] {
        let spec = json!({"resources": {"requests": {"cpu": "2"}}, "containers": [asks(asked)]});
        let said = talk.said("POST", &list, &pod(spec)).await;
        let wanted = format!("must be greater than or equal to aggregate container requests of {sum}");
        assert!(said.ends_with(&wanted), "{said}");
    }
    let spec = json!({"containers": [{"image": "i"}, {"image": "i"}]});
    let said = talk.said("POST", &list, &pod(spec)).await;
    assert!(
        said.contains(
            "spec.containers[1].name: Required value, spec.containers[1].name: Duplicate value: \"\""
        ),
        "{said}"
    );
    let name = "v".repeat(63);
    let iscsi = json!({"targetPortal": "1.2.3.4", "iqn": "iqn.2015-02.example.com:a", "lun": 0, "initiatorName": "iqn.2015-02.example.com:b"});
    let spec = json!({"containers": [{"name": "c", "image": "i"}], "volumes": [{"name": name, "emptyDir": {}, "iscsi": iscsi}]});
    let said = talk.said("POST", &list, &pod(spec)).await;
    assert!(
        said.contains("may not specify more than 1 volume type, spec.volumes[0].name: Invalid value"),
        "{said}"
    );
    let spec = json!({"resources": {}, "containers": [asks("1")]});
    let made = talk.made(&list, pod(spec)).await;
    assert_eq!(made["status"]["qosClass"], "BestEffort");
}
