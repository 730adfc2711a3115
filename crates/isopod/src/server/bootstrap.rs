//! What every cluster has from its first moment: namespaces, the default storage class, the `kubernetes` Service, the
//! range of Services, the CA for pods, and what upstream's server makes for itself. Written through the API; what is there
//! already stays as it is, unless it must follow the machine.
//! The storage class is the user's from then on: changed, replaced or deleted, it stays so.

use anyhow::{Result, anyhow};
use futures::StreamExt;
use kinds::apiservice::{APISERVICES, of_own_groups};
use kinds::configmap::CONFIGMAPS;
use kinds::endpoints::ENDPOINTS;
use kinds::endpointslice::ENDPOINTSLICES;
use kinds::flowschema::FLOWSCHEMAS;
use kinds::namespace::NAMESPACES;
use kinds::priorityclass::PRIORITYCLASSES;
use kinds::prioritylevelconfiguration::PRIORITYLEVELCONFIGURATIONS;
use kinds::service::{CLUSTER_IPS, SERVICES};
use kinds::serviceaccount::{ROOT_CA_NAME, ROOT_CA_SOURCE};
use kinds::servicecidr::{self, SERVICECIDRS};
use kinds::storageclass::{PROVISIONER, STORAGECLASSES};
use meta::{Call, Change, Client, Res};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Where the API is, for pods.
#[derive(Clone)]
pub struct Addresses {
    /// First address of the service range.
    pub service: Ipv4Addr,
    /// The API's listener inside the cluster's namespace.
    pub endpoint: Ipv4Addr,
    pub endpoint_port: u16,
    pub dns: Ipv4Addr,
}

/// What a new cluster gets once.
pub async fn first(client: &dyn Client) -> Result<()> {
    ensure(client, STORAGECLASSES, "", storage_class()).await
}

/// Puts everything else in place. Objects without an order among them share an fsync.
pub async fn run(client: &dyn Client, ca: &str, addresses: &Addresses) -> Result<()> {
    let namespaces = ["default", "kube-system", "kube-public", "kube-node-lease"].map(namespace);
    ensure_all(client, namespaces.map(|n| (NAMESPACES, "", n))).await?;
    let authorities = [root_ca(ca), client_ca(ca)].map(|object| (CONFIGMAPS, ROOT_CA_SOURCE, object));
    let range = (SERVICECIDRS, "", service_range());
    let own = own_services(addresses)
        .into_iter()
        .chain(authorities)
        .chain([range]);
    let objects = ensure_all(client, own.chain(initial()));
    futures::future::try_join(objects, reconcile_policy(client)).await?;
    range_is_ready(client).await
}

/// The range that Services get their addresses from, as an object. It stays as it was made.
fn service_range() -> Value {
    let (first, bits) = CLUSTER_IPS;
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": servicecidr::DEFAULT},
        "spec": {"cidrs": [format!("{first}/{bits}")]},
    })
}

/// Says that the range can be used, unless something has been said of that already.
async fn range_is_ready(client: &dyn Client) -> Result<()> {
    let snapshot = client.snapshot();
    let Some(range) = snapshot.get(SERVICECIDRS, "", servicecidr::DEFAULT) else {
        return Ok(());
    };
    let value = range.value();
    let conditions = value.pointer("/status/conditions").and_then(Value::as_array);
    let is_said =
        conditions.is_some_and(|c| c.iter().any(|c| c["type"] == "Ready" && c["status"] != "Unknown"));
    if is_said || range.meta().is_deleting() {
        return Ok(());
    }
    let ready = json!({
        "type": "Ready", "status": "True", "reason": "", "message": "Kubernetes default Service CIDR is ready",
        "lastTransitionTime": value["metadata"]["creationTimestamp"],
    });
    let patch = json!({"status": {"conditions": [ready]}});
    let mut call = Call::merge_patch(SERVICECIDRS, "", servicecidr::DEFAULT, patch).manager("isopod");
    call.subresource = "status";
    let patched = client.call(call).await;
    patched
        .map(|_| ())
        .map_err(|status| anyhow!("cannot write the status of the range of Services: {status}"))
}

/// What upstream's server makes for itself when it starts: classes of its own pods, what is served first, and the
/// groups that it has.
fn initial() -> impl Iterator<Item = (Res, &'static str, Value)> {
    let of = |res: Res| move |object: Value| (res, "", object);
    let rows = kinds::Registry::builtin();
    let own = of_own_groups(rows.iter().map(AsRef::as_ref));
    kinds::priorityclass::system_classes()
        .map(of(PRIORITYCLASSES))
        .chain(kinds::prioritylevelconfiguration::initial().map(of(PRIORITYLEVELCONFIGURATIONS)))
        .chain(kinds::flowschema::initial().map(of(FLOWSCHEMAS)))
        .chain(own.into_iter().map(of(APISERVICES)))
}

/// Default roles and bindings: what is missing of them.
async fn reconcile_policy(client: &dyn Client) -> Result<()> {
    let calls = kinds::rbac::policy::calls(&client.snapshot());
    let each = calls.into_iter().map(|calls| async move {
        for call in calls {
            let what = format!("{} {}", call.res.qualified(), call.name);
            let written = client.call(call.manager("isopod")).await;
            written.map_err(|status| anyhow!("cannot reconcile {what}: {status}"))?;
        }
        Ok(())
    });
    futures::future::try_join_all(each).await.map(|_| ())
}

/// The API and DNS, as pods find them.
fn own_services(addresses: &Addresses) -> [(Res, &'static str, Value); 5] {
    [
        (SERVICES, "default", kubernetes_service(addresses)),
        (ENDPOINTS, "default", kubernetes_endpoints(addresses)),
        (ENDPOINTSLICES, "default", kubernetes_slice(addresses)),
        (SERVICES, "kube-system", dns_service(addresses)),
        (ENDPOINTSLICES, "kube-system", dns_slice(addresses)),
    ]
}

/// Brings the cluster's own Services back when somebody deletes them (`kubectl delete svc --all`), and their endpoints
/// when somebody changes them: without them no pod finds the API or DNS.
pub async fn keep(client: Arc<dyn Client>, addresses: Addresses, stop: CancellationToken) {
    let own = own_services(&addresses);
    loop {
        // Also what happened before the first change that is seen, or in a gap.
        restore(client.as_ref(), &own, |_| true).await;
        let mut changes = client.changes(client.snapshot().revision());
        loop {
            let change = tokio::select! {
                () = stop.cancelled() => return,
                change = changes.next() => change,
            };
            match change {
                Some(Ok(change)) => restore(client.as_ref(), &own, |own| is_about(&change, own)).await,
                Some(Err(_)) => break,
                None => return,
            }
        }
    }
}

fn is_about(change: &Change, (res, namespace, object): &(Res, &str, Value)) -> bool {
    let changed = &change.object;
    change.res == *res && changed.namespace() == *namespace && object["metadata"]["name"] == changed.name()
}

async fn restore(
    client: &dyn Client,
    own: &[(Res, &'static str, Value)],
    wanted: impl Fn(&(Res, &'static str, Value)) -> bool,
) {
    let writes = own.iter().filter(|own| wanted(own)).cloned();
    if let Err(error) = ensure_all(client, writes).await {
        tracing::warn!("the cluster's own Services are not as they should be: {error:#}");
    }
}

async fn ensure_all<'a>(
    client: &dyn Client,
    objects: impl IntoIterator<Item = (Res, &'a str, Value)>,
) -> Result<()> {
    let writes = objects
        .into_iter()
        .map(|(res, namespace, object)| ensure(client, res, namespace, object));
    futures::future::try_join_all(writes).await.map(|_| ())
}

/// Creates, or sets the fields that are ours to the values that they have now.
async fn ensure(client: &dyn Client, res: Res, namespace: &str, object: Value) -> Result<()> {
    let name = kinds::row::text(&object, "/metadata/name").to_string();
    let call = match client.snapshot().get(res, namespace, &name) {
        Some(_) if [NAMESPACES, SERVICES, SERVICECIDRS, PRIORITYCLASSES].contains(&res) => return Ok(()),
        Some(found) if is_taken_over(res, &found.value()) => return Ok(()),
        Some(_) => Call::merge_patch(res, namespace, &name, object),
        None => Call::create(res, namespace, object),
    };
    let call = call.manager("isopod");
    client
        .call(call)
        .await
        .map(|_| ())
        .map_err(|status| anyhow!("cannot write {} {name}: {status}", res.qualified()))
}

/// Somebody said that the server is to leave this alone from now on.
fn is_taken_over(res: Res, object: &Value) -> bool {
    let left = kinds::row::annotation(object, "apf.kubernetes.io/autoupdate-spec");
    [FLOWSCHEMAS, PRIORITYLEVELCONFIGURATIONS].contains(&res) && left != Some("true")
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn storage_class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate", "allowVolumeExpansion": true,
    })
}

fn root_ca(ca: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"ca.crt": ca},
        "metadata": {"name": ROOT_CA_NAME, "namespace": ROOT_CA_SOURCE},
    })
}

/// Whose client certificates are believed, for API servers that extend this one.
fn client_ca(ca: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"client-ca-file": ca},
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
    })
}

fn kubernetes_labels() -> Value {
    json!({"component": "apiserver", "provider": "kubernetes"})
}

fn kubernetes_service(at: &Addresses) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": kubernetes_labels()},
        "spec": {
            "clusterIP": at.service, "type": "ClusterIP",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": at.endpoint_port}],
        },
    })
}

fn kubernetes_endpoints(at: &Addresses) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": "kubernetes", "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{
            "addresses": [{"ip": at.endpoint}],
            "ports": [{"name": "https", "port": at.endpoint_port, "protocol": "TCP"}],
        }],
    })
}

fn kubernetes_slice(at: &Addresses) -> Value {
    slice(
        "kubernetes",
        "default",
        at.endpoint,
        json!([{"name": "https", "port": at.endpoint_port, "protocol": "TCP"}]),
    )
}

fn slice(service: &str, namespace: &str, address: Ipv4Addr, ports: Value) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": service, "namespace": namespace, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
        "ports": ports,
    })
}

fn dns_ports() -> Value {
    json!([
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ])
}

/// The cluster's DNS answers on this address itself; the Service shows where, as users look for it.
fn dns_service(at: &Addresses) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system",
            "labels": {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}},
        "spec": {"clusterIP": at.dns, "type": "ClusterIP", "ports": dns_ports()},
    })
}

fn dns_slice(at: &Addresses) -> Value {
    slice("kube-dns", "kube-system", at.dns, dns_ports())
}
