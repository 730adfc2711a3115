//! Objects in as JSON, variables out as text.

use super::*;
use serde_json::json;

fn get<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).expect("a valid object")
}

fn resolved(container: serde_json::Value) -> String {
    let pod: Pod = get(json!({
        "metadata": {"name": "web-0", "namespace": "ns", "uid": "u1", "labels": {"app": "web"}},
        "spec": {"nodeName": "n1", "containers": [container]},
    }));
    let mut sources = Sources::default();
    let map = json!({"metadata": {"name": "cm"}, "data": {"k": "from-map", "other": "$(NOT_EXPANDED)"}});
    sources.config_maps.insert("cm".into(), get(map));
    let secret = json!({"metadata": {"name": "s"}, "data": {"pw": "aHVudGVy", "bad": "/w=="}});
    sources.secrets.insert("s".into(), get(secret));
    let facts = Facts {
        pod_ips: vec!["10.0.0.7".into()],
        ..Facts::default()
    };
    let services = [("DB_SERVICE_HOST".to_owned(), "10.1.0.1".to_owned())];
    let container = &pod.spec.as_ref().expect("spec").containers[0];
    told(resolve(&pod, container, &sources, &facts, &services))
}

fn told(resolved: Result<Vec<(String, String)>, EnvError>) -> String {
    match resolved {
        Ok(list) => list
            .iter()
            .map(|(n, v)| format!("{n}={v}"))
            .collect::<Vec<_>>()
            .join("|"),
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn expansion_follows_the_reference() {
    let lookup = |name: &str| match name {
        "A" => Some("1".to_owned()),
        "B" => Some("$(A)".to_owned()),
        "" => Some("empty".to_owned()),
        _ => None,
    };
    for (text, want) in [
        ("$(A)", "1"),
        ("x$(A)y$(A)", "x1y1"),
        ("$(B)", "$(A)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$$$$(A)", "$$(A)"),
        ("$(NO)", "$(NO)"),
        ("$A", "$A"),
        ("$", "$"),
        ("$(A", "$(A"),
        ("a$$b", "a$b"),
        ("$()", "empty"),
        ("ü$(A)ü", "ü1ü"),
        ("$$", "$"),
    ] {
        assert_eq!(expand(text, lookup), want, "{text}");
    }
}

#[test]
fn all_kinds_of_sources() {
    let container = json!({"name": "c",
        "envFrom": [{"configMapRef": {"name": "cm"}}, {"prefix": "S_", "configMapRef": {"name": "gone", "optional": true}}],
        "env": [
            {"name": "A", "value": "a"},
            {"name": "B", "value": "$(A)-$(k)-$(DB_SERVICE_HOST)-$(LATER)"},
            {"name": "LATER", "value": "x"},
            {"name": "k", "value": "replaced"},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "s", "key": "pw"}}},
            {"name": "OPT", "valueFrom": {"secretKeyRef": {"name": "s", "key": "no", "optional": true}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
            {"name": "EMPTY"}],
        "resources": {"limits": {"cpu": "250m"}}});
    assert_eq!(
        resolved(container),
        "k=replaced|other=$(NOT_EXPANDED)|A=a|B=a-from-map-10.1.0.1-$(LATER)|LATER=x|POD=web-0|IP=10.0.0.7|APP=web|\
         PW=hunter|CPU=250|EMPTY=|DB_SERVICE_HOST=10.1.0.1"
    );
}

#[test]
fn missing_sources_in_kubelets_words() {
    let one =
        |from: serde_json::Value| resolved(json!({"name": "c", "env": [{"name": "X", "valueFrom": from}]}));
    assert_eq!(
        one(json!({"configMapKeyRef": {"name": "no", "key": "k"}})),
        "error: configmap \"no\" not found"
    );
    assert_eq!(
        one(json!({"configMapKeyRef": {"name": "cm", "key": "no"}})),
        "error: couldn't find key no in ConfigMap ns/cm"
    );
    assert_eq!(
        one(json!({"secretKeyRef": {"name": "no", "key": "k"}})),
        "error: secret \"no\" not found"
    );
    assert_eq!(
        one(json!({"secretKeyRef": {"name": "s", "key": "no"}})),
        "error: couldn't find key no in Secret ns/s"
    );
    assert!(one(json!({"secretKeyRef": {"name": "s", "key": "bad"}})).contains("not UTF-8"));
    assert_eq!(
        resolved(json!({"name": "c", "envFrom": [{"secretRef": {"name": "no"}}]})),
        "error: secret \"no\" not found"
    );
}

/// What upstream calls a missing key is one without a value; a file that cannot be read is no better when it is optional.
#[test]
fn variables_from_files() {
    let one = |path: &str, key: &str, optional: bool| {
        let from = json!({"volumeName": "v", "path": path, "key": key, "optional": optional});
        let container: Container = get(json!({"name": "c", "env": [
            {"name": "X", "valueFrom": {"fileKeyRef": from}}, {"name": "Y", "value": "$(X)!"}]}));
        let mut sources = Sources::default();
        let file = |is_damaged| crate::volumes::EnvFile {
            path: "/pods/u1/v/f".into(),
            values: [("K", "a $(Y)"), ("EMPTY", "")]
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
                .into(),
            is_damaged,
        };
        for (name, is_damaged) in [("f", false), ("bad", true)] {
            sources
                .env_files
                .insert(("v".to_owned(), name.to_owned()), file(is_damaged));
        }
        told(resolve(
            &Pod::default(),
            &container,
            &sources,
            &Facts::default(),
            &[],
        ))
    };
    let not_found =
        |key: &str| format!("error: environment variable key \"{key}\" not found in file \"/pods/u1/v/f\"");
    for (path, key, optional, want) in [
        ("f", "K", false, "X=a $(Y)|Y=a $(Y)!".to_owned()),
        ("bad", "K", false, "X=a $(Y)|Y=a $(Y)!".to_owned()),
        ("f", "NO", false, not_found("NO")),
        ("f", "EMPTY", false, not_found("EMPTY")),
        ("f", "NO", true, "Y=$(X)!".to_owned()),
        ("bad", "NO", true, "error: couldn't parse env file".to_owned()),
        (
            "gone",
            "K",
            true,
            "error: cannot find the volume \"v\" referenced by FileKeyRef".to_owned(),
        ),
    ] {
        assert_eq!(one(path, key, optional), want, "{path} {key} {optional}");
    }
}

#[test]
fn services_appear_in_both_forms() {
    let service = |namespace: &str, name: &str, ip: &str| -> Service {
        get(json!({"metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterIP": ip, "ports": [{"name": "http-main", "port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}}))
    };
    let services = [
        service("ns", "my-db", "10.1.0.9"),
        service("ns", "headless", "None"),
        service("other", "x", "10.1.0.8"),
        service("default", "kubernetes", "10.1.0.1"),
    ];
    let pod = |links: bool| -> Pod {
        get(json!({"metadata": {"namespace": "ns"}, "spec": {"enableServiceLinks": links, "containers": []}}))
    };
    let text = |links| {
        let list = service_environment(&pod(links), &services);
        list.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>()
    };
    let all = text(true).join(" ");
    assert!(
        all.starts_with("KUBERNETES_SERVICE_HOST=10.1.0.1 KUBERNETES_SERVICE_PORT=80 "),
        "{all}"
    );
    assert!(all.contains(
        "MY_DB_SERVICE_HOST=10.1.0.9 MY_DB_SERVICE_PORT=80 MY_DB_SERVICE_PORT_HTTP_MAIN=80 MY_DB_PORT=tcp://10.1.0.9:80 \
         MY_DB_PORT_80_TCP=tcp://10.1.0.9:80 MY_DB_PORT_80_TCP_PROTO=tcp MY_DB_PORT_80_TCP_PORT=80 \
         MY_DB_PORT_80_TCP_ADDR=10.1.0.9 MY_DB_PORT_53_UDP=udp://10.1.0.9:53"
    ));
    assert!(!all.contains("HEADLESS") && !all.contains("X_"), "{all}");
    assert!(text(false).iter().all(|line| line.starts_with("KUBERNETES_")));
}

/// Conformance: "Secrets should be consumable via the environment": any printable name but for `=`.
#[test]
fn keys_of_whole_sources_need_not_be_identifiers() {
    let pod: Pod = get(
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c",
        "envFrom": [{"secretRef": {"name": "s"}}, {"prefix": "p-", "secretRef": {"name": "s"}}]}]}}),
    );
    let mut sources = Sources::default();
    let secret = json!({"metadata": {"name": "s"}, "data": {"data-1": "dmFsdWUtMQ=="}});
    sources.secrets.insert("s".into(), get(secret));
    let container = &pod.spec.as_ref().expect("spec").containers[0];
    let list = resolve(&pod, container, &sources, &Facts::default(), &[]).expect("an environment");
    let pair = |name: &str| (name.to_owned(), "value-1".to_owned());
    assert_eq!(list, [pair("data-1"), pair("p-data-1")]);
}
