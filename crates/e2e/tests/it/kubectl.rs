//! kubectl's everyday commands, by what they print: create, apply both ways, diff, edit, patch, explain, describe, and the
//! server's tables.

use crate::harness::Cluster;
use crate::helm::rows;
use crate::lifecycle::pod;

const CM: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: c, labels: {a: b}}
data: {k: v}
";

#[test]
fn apply_diff_edit_and_patch() {
    let Some(cluster) = Cluster::start("apply_diff_edit_and_patch", &[]) else {
        return;
    };
    assert_eq!(cluster.apply(CM), "configmap/c created\n");
    assert_eq!(cluster.apply(CM), "configmap/c unchanged\n");
    let run = cluster.kubectl_with("diff -f -").input(CM).run();
    assert_eq!(
        run.status.code(),
        Some(0),
        "{}",
        run.report("differs from itself")
    );
    let changed = CM.replace("k: v", "k: w, l: x");
    let run = cluster.kubectl_with("diff -f -").input(changed.as_str()).run();
    assert_eq!(run.status.code(), Some(1), "{}", run.report("differs"));
    assert!(
        run.stdout.contains("-  k: v") && run.stdout.contains("+  k: w"),
        "{}",
        run.stdout
    );
    assert_eq!(cluster.apply(&changed), "configmap/c configured\n");
    // What was left out of the second apply goes.
    cluster.apply(CM);
    assert_eq!(cluster.get("cm/c")["data"], serde_json::json!({"k": "v"}));
    let dry = cluster
        .kubectl_with("apply -f - --dry-run=server")
        .input(changed.as_str())
        .run()
        .ok();
    assert_eq!(dry, "configmap/c configured (server dry run)\n");
    assert_eq!(cluster.get("cm/c")["data"], serde_json::json!({"k": "v"}));
    let edited = cluster
        .kubectl_with("edit cm c")
        .env("KUBE_EDITOR", "sed -i s/k:.v/k:\\ edited/")
        .run()
        .ok();
    assert_eq!(edited, "configmap/c edited\n");
    assert_eq!(cluster.get("cm/c")["data"]["k"], "edited");
    for (kind, patch) in [
        ("strategic", "{\"data\":{\"k\":\"one\"}}"),
        ("merge", "{\"data\":{\"k\":\"two\"}}"),
        (
            "json",
            "[{\"op\":\"test\",\"path\":\"/data/k\",\"value\":\"two\"},{\"op\":\"replace\",\"path\":\"/data/k\",\"value\":\"three\"}]",
        ),
    ] {
        assert_eq!(
            cluster.kubectl(&format!("patch cm c --type={kind} -p '{patch}'")),
            "configmap/c patched\n"
        );
    }
    assert_eq!(cluster.get("cm/c")["data"]["k"], "three");
    assert_eq!(
        cluster.kubectl("label cm c a=c --overwrite"),
        "configmap/c labeled\n"
    );
    assert_eq!(cluster.kubectl("annotate cm c note=x"), "configmap/c annotated\n");
    let said = cluster.kubectl_with("replace -f -").input(CM).run().ok();
    assert_eq!(said, "configmap/c replaced\n");
    assert_eq!(
        cluster.kubectl("delete cm c"),
        "configmap \"c\" deleted from default namespace\n"
            .replace(" from default namespace", &suffix(&cluster))
    );
    let said = cluster.kubectl_fails("get cm c");
    assert_eq!(said, "Error from server (NotFound): configmaps \"c\" not found\n");
    cluster.remove();
}

/// kubectl 1.33 and later say which namespace.
fn suffix(cluster: &Cluster) -> String {
    let version = cluster.kubectl("version --client -o json");
    let version: serde_json::Value = serde_json::from_str(&version).expect("JSON");
    let minor = version["clientVersion"]["minor"].as_str().expect("a minor");
    let minor: u32 = minor.trim_end_matches('+').parse().expect("a number");
    if minor >= 34 {
        " from default namespace".to_owned()
    } else {
        String::new()
    }
}

#[test]
fn server_side_apply_knows_who_owns_what() {
    let Some(cluster) = Cluster::start("server_side_apply_knows_who_owns_what", &[]) else {
        return;
    };
    let apply = |manifest: &str, flags: &str| {
        cluster
            .kubectl_with(&format!("apply --server-side -f - {flags}"))
            .input(manifest)
            .run()
    };
    assert_eq!(apply(CM, "").ok(), "configmap/c serverside-applied\n");
    let other = CM.replace("k: v", "k: other");
    let said = apply(&other, "--field-manager=other").fails();
    assert!(
        said.contains("Apply failed with 1 conflict: conflict with \"kubectl\": .data.k"),
        "{said}"
    );
    apply(&other, "--field-manager=other --force-conflicts").ok();
    assert_eq!(cluster.get("cm/c")["data"]["k"], "other");
    // The first one takes back what it alone owned.
    let less = "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}";
    apply(less, "").ok();
    let object: serde_json::Value =
        serde_json::from_str(&cluster.kubectl("get cm c -o json --show-managed-fields")).expect("JSON");
    assert_eq!(object["data"]["k"], "other");
    let managers: Vec<&str> = object["metadata"]["managedFields"]
        .as_array()
        .expect("managed fields")
        .iter()
        .filter_map(|m| m["manager"].as_str())
        .collect();
    assert!(managers.contains(&"other"), "{managers:?}");
    cluster.remove();
}

#[test]
// LONG: one table of cases, which reads best in one piece.
fn discovery_explain_and_describe() {
    let Some(cluster) = Cluster::with_images("discovery_explain_and_describe", &[]) else {
        return;
    };
    let resources = cluster.kubectl("api-resources");
    for row in [
        "pods                    po",
        "statefulsets            sts",
        "persistentvolumeclaims  pvc",
    ] {
        let wanted = rows(row)[0].clone();
        assert!(
            rows(&resources).iter().any(|row| row[..2] == wanted[..2]),
            "no {wanted:?} in {resources}"
        );
    }
    let versions = cluster.kubectl("api-versions");
    assert!(
        versions.lines().any(|l| l == "apps/v1") && versions.lines().any(|l| l == "v1"),
        "{versions}"
    );
    let version = cluster.kubectl("version -o json");
    assert!(version.contains("\"gitVersion\": \"v1.36"), "{version}");
    let explained = cluster.kubectl("explain statefulset.spec.podManagementPolicy");
    assert!(
        explained.contains("KIND:       StatefulSet")
            && explained.contains("GROUP:      apps")
            && explained.contains("FIELD: podManagementPolicy"),
        "{explained}"
    );
    let explained = cluster.kubectl("explain pod.spec.containers.livenessProbe --recursive");
    assert!(explained.contains("failureThreshold\t<integer>"), "{explained}");
    cluster.kubectl("explain svc --output=plaintext-openapiv2");
    let unknown = cluster.kubectl_fails("explain pod.spec.unheardOf");
    assert!(
        unknown.contains("field \"unheardOf\" does not exist"),
        "{unknown}"
    );
    cluster.apply(&pod(
        "p",
        "sleep 3600",
        "",
        "readinessProbe: {exec: {command: ['true']}, periodSeconds: 1}",
    ));
    cluster.wait("pod/p", "condition=Ready");
    let described = cluster.kubectl("describe pod p");
    for text in [
        "Name:             p",
        "Status:           Running",
        "Image:         busybox:1",
        "Readiness:      exec [true]",
        "Events:",
        "Started",
        "QoS Class:",
    ] {
        let squeezed = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            described.lines().any(|l| l
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .contains(&squeezed)),
            "no {text:?} in {described}"
        );
    }
    let node = cluster.kubectl("describe node");
    assert!(
        node.contains("Allocatable:") && node.contains("Non-terminated Pods:"),
        "{node}"
    );
    let nodes = rows(&cluster.kubectl("get nodes"));
    assert_eq!(nodes[0], ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]);
    assert_eq!(nodes[1][1], "Ready");
    assert!(nodes[1][4].starts_with("v1.36."), "{nodes:?}");
    let refused = cluster.kubectl_fails("top pods");
    assert!(refused.contains("Metrics API not available"), "{refused}");
    cluster.remove();
}

#[test]
fn lists_selectors_sorts_and_columns() {
    let Some(cluster) = Cluster::start("lists_selectors_sorts_and_columns", &[]) else {
        return;
    };
    for n in 0..12 {
        cluster.kubectl(&format!("create cm c{n:02} --from-literal=n={n}"));
    }
    cluster.kubectl("label cm c03 c04 pick=yes");
    assert_eq!(
        cluster.kubectl("get cm -l pick=yes -o name"),
        "configmap/c03\nconfigmap/c04\n"
    );
    assert_eq!(
        cluster
            .kubectl("get cm -l 'pick in (yes,no),pick' -o name")
            .lines()
            .count(),
        2
    );
    assert_eq!(
        cluster.kubectl("get cm --field-selector metadata.name=c07 -o name"),
        "configmap/c07\n"
    );
    assert_eq!(
        cluster.kubectl("get cm --chunk-size=5 -o name").lines().count(),
        13
    );
    cluster.remove();
}

#[test]
fn waits_and_events() {
    let Some(cluster) = Cluster::with_images("waits_and_events", &[]) else {
        return;
    };
    cluster.apply(&pod("p", "sleep 3600", "", ""));
    assert_eq!(
        cluster.kubectl("wait pod/p --for=condition=Ready --timeout=60s"),
        "pod/p condition met\n"
    );
    let late = cluster.kubectl_fails("wait pod/p --for=jsonpath={.status.phase}=Failed --timeout=1s");
    assert!(
        late.contains("timed out waiting for the condition on pods/p"),
        "{late}"
    );
    let mut watch = cluster.watch("events --for pod/p --watch");
    for reason in ["Scheduled", "Pulled", "Created", "Started"] {
        if !watch.seen.iter().any(|line| line.contains(reason)) {
            watch.until_contains(reason);
        }
    }
    drop(watch);
    let events = cluster.kubectl("get events --field-selector=involvedObject.name=p");
    assert_eq!(
        rows(&events)[0],
        ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    );
    assert!(events.contains("Successfully assigned default/p to"), "{events}");
    cluster.remove();
}

/// For machines without kubectl.
#[test]
fn the_built_in_subset_prints_what_kubectl_prints() {
    let Some(cluster) = Cluster::with_images("the_built_in_subset_prints_what_kubectl_prints", &[]) else {
        return;
    };
    let manifest = cluster.home.path().join("p.yaml");
    std::fs::write(&manifest, pod("p", "echo hello; sleep 3600", "", "")).expect("written");
    let said = cluster.isopod(&format!("k apply -f {}", manifest.display()));
    assert!(said.contains("pod/p"), "{said}");
    cluster.isopod("k wait pod/p --for=condition=Ready --timeout=60s");
    assert_eq!(cluster.isopod("k logs p"), "hello\n");
    assert_eq!(cluster.isopod("k exec p -- echo inside"), "inside\n");
    let ours = cluster.isopod("k get pods -o wide");
    let theirs = cluster.kubectl("get pods -o wide");
    assert_eq!(rows(&ours)[0], rows(&theirs)[0]);
    assert_eq!(rows(&ours)[1][..4], rows(&theirs)[1][..4]);
    let code = cluster
        .isopod_with("k exec p -- sh -c 'exit 7'")
        .run()
        .status
        .code();
    assert_eq!(code, Some(7));
    cluster.isopod("k delete pod p");
    let said = cluster.isopod_with("k get pod p").run().fails();
    assert!(said.contains("pods \"p\" not found"), "{said}");
    cluster.remove();
}

#[test]
fn who_am_i_and_what_may_i() {
    let Some(cluster) = Cluster::start("who_am_i_and_what_may_i", &[]) else {
        return;
    };
    let me = cluster.kubectl("auth whoami");
    assert!(me.contains("system:masters"), "{me}");
    assert_eq!(cluster.kubectl("auth can-i create pods"), "yes\n");
    let bob = cluster.kubectl("auth whoami --as bob --as-group team");
    assert!(
        bob.contains("bob") && bob.contains("[team system:authenticated]"),
        "{bob}"
    );
    let run = cluster.kubectl_with("auth can-i create pods --as bob").run();
    assert_eq!((run.stdout.as_str(), run.status.code()), ("no\n", Some(1)));
    let refused = cluster.kubectl_fails("get pods --as bob");
    assert!(
        refused.contains(
            "User \"bob\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
        ),
        "{refused}"
    );
    cluster.kubectl("create sa robot");
    cluster.apply(
        "{apiVersion: v1, kind: Secret, type: kubernetes.io/service-account-token, metadata: {name: robot-token, annotations: {kubernetes.io/service-account.name: robot}}}",
    );
    cluster.wait("secret/robot-token", "jsonpath={.data.token}");
    let described = cluster.kubectl("describe secret robot-token");
    let token = described
        .lines()
        .find_map(|line| line.strip_prefix("token:"))
        .expect("a token")
        .trim();
    let robot = format!(
        "auth whoami --kubeconfig=/dev/null --server=https://127.0.0.1:{} --insecure-skip-tls-verify --token={token}",
        cluster.api_port
    );
    let said = cluster.kubectl(&robot);
    assert!(said.contains("system:serviceaccount:default:robot"), "{said}");
    cluster.kubectl("delete sa robot");
    cluster.kubectl("wait --for=delete secret/robot-token --timeout=60s");
    let said = cluster.kubectl_fails(&robot);
    assert!(
        said.contains("Unauthorized") || said.contains("logged in"),
        "{said}"
    );
    cluster.remove();
}

#[test]
fn events_under_both_names() {
    let Some(cluster) = Cluster::start("events_under_both_names", &[]) else {
        return;
    };
    cluster.apply("{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: main, image: 'nowhere.invalid/x:1'}]}}");
    let mut watch = cluster.watch("get events.events.k8s.io --watch --field-selector regarding.name=p");
    watch.until_contains("Scheduled");
    drop(watch);
    let old = cluster.kubectl("get events.v1. --sort-by=.metadata.name");
    let new = cluster.kubectl("get events.v1.events.k8s.io --sort-by=.metadata.name");
    let reasons = |table: &str| -> Vec<String> {
        let reason = |line: &str| line.split_whitespace().nth(2).map(str::to_string);
        table.lines().filter_map(reason).collect()
    };
    assert!(!reasons(&old).is_empty());
    assert!(reasons(&new).starts_with(&reasons(&old)[..2]), "{old}\n{new}");
    let note = cluster.kubectl("get events.events.k8s.io --field-selector reason=Scheduled -o 'jsonpath={.items[0].note} {.items[0].regarding.name}'");
    assert!(note.contains("assigned") && note.ends_with(" p"), "{note}");
    assert!(cluster.kubectl("events --for pod/p").contains("Scheduled"));
    let warned = cluster.kubectl_with("get endpoints").run();
    assert_eq!(
        warned.stderr.matches("Warning: ").count(),
        1,
        "{}",
        warned.report("said")
    );
    cluster.remove();
}
