//! Who may do what, with kubectl as it is: roles for service accounts and people, what is told to those who may not, and
//! the roles that gather others.

use crate::harness::Cluster;

const READER: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: default}
rules:
- {apiGroups: [''], resources: [pods, configmaps], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: robot-reads, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects:
- {kind: ServiceAccount, name: robot, namespace: default}
";

#[test]
fn roles_bindings_and_what_they_allow() {
    let Some(cluster) = Cluster::start("roles_bindings_and_what_they_allow", &[]) else {
        return;
    };
    // A service account with a token of its own, before and after it is given a role.
    cluster.kubectl("create sa robot");
    let token = cluster.kubectl("create token robot").trim().to_string();
    let as_robot = |what: &str| {
        format!(
            "{what} --kubeconfig=/dev/null --server=https://127.0.0.1:{} --insecure-skip-tls-verify --token={token}",
            cluster.api_port
        )
    };
    let refused = cluster.kubectl_fails(&as_robot("get pods"));
    assert!(
        refused.contains(
            "pods is forbidden: User \"system:serviceaccount:default:robot\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
        ),
        "{refused}"
    );
    cluster.apply(READER);
    let said = cluster.kubectl(&as_robot("get cm kube-root-ca.crt -o name"));
    assert_eq!(said, "configmap/kube-root-ca.crt\n");
    assert_eq!(cluster.kubectl(&as_robot("auth can-i list pods")), "yes\n");
    let listed = cluster.kubectl(&as_robot("auth can-i --list"));
    assert!(
        listed.contains("configmaps") && listed.contains("selfsubjectreviews.authentication.k8s.io"),
        "{listed}"
    );
    let robot = "--as system:serviceaccount:default:robot";
    let run = cluster
        .kubectl_with(&format!("auth can-i delete pods {robot}"))
        .run();
    assert_eq!((run.stdout.as_str(), run.status.code()), ("no\n", Some(1)));
    // Nobody gives away what they do not hold.
    let grants = "create clusterrole grants --verb=create --resource=roles.rbac.authorization.k8s.io";
    cluster.kubectl(grants);
    cluster.kubectl("create clusterrolebinding grants --clusterrole=grants --user=jane");
    let refused = cluster.kubectl_fails("create role x --verb=get --resource=secrets --as jane");
    assert!(
        refused.contains("is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}"),
        "{refused}"
    );
    // `view` gathers what is labelled for it.
    cluster.kubectl("create rolebinding jane-views --clusterrole=view --user=jane");
    assert_eq!(
        cluster.kubectl("auth can-i list deployments.apps --as jane"),
        "yes\n"
    );
    let run = cluster.kubectl_with("auth can-i list secrets --as jane").run();
    assert_eq!(run.stdout, "no\n");
    cluster.kubectl("create clusterrole more --verb=list --resource=secrets");
    cluster.kubectl("label clusterrole more rbac.authorization.k8s.io/aggregate-to-view=true");
    let gathered = "jsonpath={.rules[?(@.resources[0]==\"secrets\")].verbs[0]}=list";
    cluster.kubectl(&format!("wait clusterrole/view --for={gathered} --timeout=30s"));
    assert_eq!(cluster.kubectl("auth can-i list secrets --as jane"), "yes\n");
    // kubectl compares rules itself.
    let run = cluster.kubectl_with("auth reconcile -f -").input(READER).run();
    assert_eq!(run.status.code(), Some(0), "{}", run.report("is as it is"));
    let printed = cluster.kubectl("get rolebinding robot-reads -o wide");
    assert!(
        printed.contains("Role/reader") && printed.contains("default/robot"),
        "{printed}"
    );
    cluster.remove();
}

#[test]
fn a_node_reads_what_its_pods_need() {
    let Some(cluster) = Cluster::start("a_node_reads_what_its_pods_need", &[]) else {
        return;
    };
    let nodes = cluster.kubectl("get nodes -o jsonpath={.items[0].metadata.name}");
    let node = format!("--as system:node:{nodes} --as-group system:nodes");
    let run = cluster
        .kubectl_with(&format!("auth can-i get secret/hidden {node}"))
        .run();
    let why = format!("no - no relationship found between node '{nodes}' and this object\n");
    assert_eq!(run.stdout.lines().next(), why.lines().next());
    let refused = cluster.kubectl_fails(&format!("get secret hidden {node}"));
    assert!(
        refused.contains(&format!(
            "no relationship found between node '{nodes}' and this object"
        )),
        "{refused}"
    );
    let refused = cluster.kubectl_fails(&format!("label node {nodes} kubernetes.io/role=king {node}"));
    assert!(
        refused.contains("is not allowed to modify labels: kubernetes.io/role"),
        "{refused}"
    );
    let refused = cluster.kubectl_fails(&format!("get nodes {node}"));
    assert!(
        refused.contains("cannot read all nodes, only its own Node object"),
        "{refused}"
    );
    assert!(
        cluster
            .kubectl(&format!("get node {nodes} {node}"))
            .contains(&nodes)
    );
    cluster.remove();
}
