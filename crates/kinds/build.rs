//! Turns the API's registry package (k8s-openapi) into two tables: `shapes.json`, what processing needs, and
//! `documents.json.gz`, the same with descriptions, for OpenAPI. Only the names of top-level types stand here.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value};
use std::io::Write;

type Fail = Box<dyn std::error::Error>;

macro_rules! roots {
    ($generator:expr, $($group:ident :: $version:ident { $($kind:ident),* $(,)? })*) => {
        $($( $generator.subschema_for::<k8s_openapi::api::$group::$version::$kind>(); )*)*
    };
}

fn main() -> Result<(), Fail> {
    println!("cargo::rerun-if-changed=build.rs");
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    declare(&mut generator);
    let mut documents: Map<String, Value> = generator.take_definitions(false);
    for definition in documents.values_mut() {
        strip(definition, &["title", "$schema"]);
    }
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    let file = std::fs::File::create(out.join("documents.json.gz"))?;
    let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::best());
    gzip.write_all(&serde_json::to_vec(&documents)?)?;
    gzip.finish()?;
    for definition in documents.values_mut() {
        strip(definition, &["description"]);
    }
    std::fs::write(out.join("shapes.json"), serde_json::to_vec(&documents)?)?;
    Ok(())
}

/// Every top-level type of the stable API.
fn declare(g: &mut SchemaGenerator) {
    roots!(g,
        core::v1 { Binding, ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, PodTemplate,
            ReplicationController, ResourceQuota, Secret, Service, ServiceAccount, ComponentStatus }
        apps::v1 { ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet }
        batch::v1 { Job, CronJob }
        autoscaling::v1 { Scale, HorizontalPodAutoscaler }
        autoscaling::v2 { HorizontalPodAutoscaler }
        policy::v1 { PodDisruptionBudget, Eviction }
        rbac::v1 { Role, RoleBinding, ClusterRole, ClusterRoleBinding }
        networking::v1 { Ingress, IngressClass, NetworkPolicy, IPAddress, ServiceCIDR }
        storage::v1 { StorageClass, VolumeAttachment, CSIDriver, CSINode, CSIStorageCapacity, VolumeAttributesClass }
        discovery::v1 { EndpointSlice }
        coordination::v1 { Lease }
        events::v1 { Event }
        node::v1 { RuntimeClass }
        scheduling::v1 { PriorityClass }
        certificates::v1 { CertificateSigningRequest }
        admissionregistration::v1 { ValidatingWebhookConfiguration, MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
            MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding }
        authentication::v1 { TokenRequest, TokenReview, SelfSubjectReview }
        authorization::v1 { SubjectAccessReview, SelfSubjectAccessReview, LocalSubjectAccessReview, SelfSubjectRulesReview }
        flowcontrol::v1 { FlowSchema, PriorityLevelConfiguration }
        resource::v1 { DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice }
    );
    g.subschema_for::<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition>();
    g.subschema_for::<k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService>();
    g.subschema_for::<k8s_openapi::apimachinery::pkg::apis::meta::v1::Status>();
    g.subschema_for::<k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions>();
    g.subschema_for::<k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta>();
}

/// Removes these annotations everywhere, but not properties that happen to have such a name.
fn strip(schema: &mut Value, names: &[&str]) {
    let Some(map) = schema.as_object_mut() else {
        return;
    };
    map.retain(|key, value| !(names.contains(&key.as_str()) && value.is_string()));
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(|p| strip(p, names));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(key) {
            strip(inner, names);
        }
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        if let Some(Value::Array(inner)) = map.get_mut(key) {
            inner.iter_mut().for_each(|i| strip(i, names));
        }
    }
}
