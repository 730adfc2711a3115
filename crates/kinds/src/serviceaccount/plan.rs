//! What every namespace gets: the ServiceAccount `default` and the cluster's CA for its pods.

use super::SERVICEACCOUNTS;
use crate::configmap::CONFIGMAPS;
use crate::namespace::NAMESPACES;
use crate::plan::{Act, Plan, Target};
use crate::{Controller, Key, Seen};
use meta::{Change, Object};
use serde_json::json;

/// Keeps `default` in place.
pub const ACCOUNTS: Controller = Controller {
    name: "service-account-controller",
    wakes,
    plan: plan_account,
    failed: crate::plan::untold,
};

/// Keeps `kube-root-ca.crt` in place. The certificate itself comes from the copy in kube-system, which the server
/// writes when it starts.
pub const ROOT_CA: Controller = Controller {
    name: "root-ca-cert-publisher",
    wakes,
    plan: plan_root_ca,
    failed: crate::plan::untold,
};

const ACCOUNT: &str = "default";
pub const ROOT_CA_NAME: &str = "kube-root-ca.crt";
pub const ROOT_CA_SOURCE: &str = "kube-system";

fn wakes(change: &Change, seen: &Seen) -> Vec<Key> {
    let object = &change.object;
    if change.res == NAMESPACES {
        return vec![Key::of(NAMESPACES, object)];
    }
    let ours = (change.res == SERVICEACCOUNTS && object.name() == ACCOUNT)
        || (change.res == CONFIGMAPS && object.name() == ROOT_CA_NAME);
    if ours && object.namespace() == ROOT_CA_SOURCE && change.res == CONFIGMAPS {
        return seen
            .snapshot
            .list(NAMESPACES, "")
            .map(|n| Key::of(NAMESPACES, n))
            .collect();
    }
    if ours {
        vec![Key::new(NAMESPACES, "", object.namespace())]
    } else {
        Vec::new()
    }
}

/// The namespace, if things may be created in it.
fn active<'a>(seen: &Seen<'a>, key: &Key) -> Option<&'a Object> {
    seen.snapshot
        .by_key(NAMESPACES, &key.key)
        .filter(|n| !n.meta().is_deleting())
}

fn plan_account(seen: &Seen, key: &Key) -> Plan {
    let mut plan = Plan::nothing();
    let Some(namespace) = active(seen, key).map(Object::name) else {
        return plan;
    };
    if seen.snapshot.get(SERVICEACCOUNTS, namespace, ACCOUNT).is_none() {
        let object = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": namespace},
        });
        plan.acts.push(Act::Create {
            res: SERVICEACCOUNTS,
            namespace: namespace.into(),
            object,
        });
    }
    plan
}

fn plan_root_ca(seen: &Seen, key: &Key) -> Plan {
    let mut plan = Plan::nothing();
    let Some(namespace) = active(seen, key).map(Object::name) else {
        return plan;
    };
    let Some(source) = seen.snapshot.get(CONFIGMAPS, ROOT_CA_SOURCE, ROOT_CA_NAME) else {
        return plan;
    };
    let data = source.value().get("data").cloned().unwrap_or_default();
    match seen.snapshot.get(CONFIGMAPS, namespace, ROOT_CA_NAME) {
        None => {
            let note = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc.";
            let object = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "data": data,
                "metadata": {"name": ROOT_CA_NAME, "namespace": namespace,
                    "annotations": {"kubernetes.io/description": note}},
            });
            plan.acts.push(Act::Create {
                res: CONFIGMAPS,
                namespace: namespace.into(),
                object,
            });
        }
        Some(copy) if copy.value().get("data") != Some(&data) => {
            let target = Target::exactly(CONFIGMAPS, copy);
            plan.acts.push(Act::Patch {
                target,
                subresource: "",
                patch: json!({"data": data}),
            });
        }
        Some(_) => {}
    }
    plan
}
