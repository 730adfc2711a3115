//! THE ROOMS: one a kind, with its row, defaults, validation, columns and, where it is reconciled, its plan.
//! This file holds the only list of kinds; everything else is derived from the rows.

mod address;
mod admission;
mod check;
pub mod collector;
pub mod column;
pub mod facts;
mod internal;
mod json;
pub mod lifecycle;
pub mod plan;
pub mod registry;
pub mod row;
pub mod schema;

pub mod apiservice;
pub mod certificatesigningrequest;
pub mod componentstatus;
pub mod configmap;
pub mod controllerrevision;
pub mod cronjob;
pub mod csidriver;
pub mod csinode;
pub mod csistoragecapacity;
pub mod custom;
pub mod customresourcedefinition;
pub mod daemonset;
pub mod deployment;
pub mod deviceclass;
mod devices;
pub mod endpoints;
pub mod endpointslice;
pub mod event;
pub mod flowschema;
pub mod horizontalpodautoscaler;
pub mod ingress;
pub mod ingressclass;
pub mod ipaddress;
pub mod job;
pub mod lease;
pub mod limitrange;
pub mod metadata;
pub mod mutatingadmissionpolicy;
pub mod mutatingadmissionpolicybinding;
pub mod mutatingwebhookconfiguration;
pub mod namespace;
pub mod networkpolicy;
pub mod node;
pub mod node_selector;
pub mod persistentvolume;
pub mod persistentvolumeclaim;
pub mod pod;
pub mod poddisruptionbudget;
pub mod podtemplate;
pub mod priorityclass;
pub mod prioritylevelconfiguration;
pub mod rbac;
pub mod replicaset;
pub mod replicationcontroller;
pub mod resourceclaim;
pub mod resourceclaimtemplate;
pub mod resourcequota;
pub mod resourceslice;
pub mod review;
pub mod runtimeclass;
pub mod scale;
pub mod secret;
pub mod service;
pub mod serviceaccount;
pub mod servicecidr;
pub mod statefulset;
pub mod storageclass;
pub mod validatingadmissionpolicy;
pub mod validatingadmissionpolicybinding;
pub mod validatingwebhookconfiguration;
pub mod volumeattachment;
pub mod volumeattributesclass;
mod volumes;
pub mod wire;
pub mod workload;

pub use column::Column;
pub use plan::{Act, Controller, Key, Plan, Seen, Target};
pub use registry::Registry;
pub use row::{Check, Row, Rules, Within, Write};

/// Every built-in kind.
pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        componentstatus::row(),
        configmap::row(),
        controllerrevision::row(),
        customresourcedefinition::row(),
        cronjob::row(),
        daemonset::row(),
        apiservice::row(),
        certificatesigningrequest::row(),
        csidriver::row(),
        csinode::row(),
        csistoragecapacity::row(),
        deployment::row(),
        deviceclass::row(),
        endpoints::row(),
        endpointslice::row(),
        event::row(),
        event::v1::row(),
        horizontalpodautoscaler::row(),
        horizontalpodautoscaler::v1::row(),
        ingress::row(),
        ingressclass::row(),
        ipaddress::row(),
        job::row(),
        lease::row(),
        limitrange::row(),
        flowschema::row(),
        mutatingadmissionpolicy::row(),
        mutatingadmissionpolicybinding::row(),
        mutatingwebhookconfiguration::row(),
        namespace::row(),
        networkpolicy::row(),
        node::row(),
        persistentvolume::row(),
        persistentvolumeclaim::row(),
        pod::row(),
        poddisruptionbudget::row(),
        podtemplate::row(),
        replicaset::row(),
        replicationcontroller::row(),
        resourcequota::row(),
        priorityclass::row(),
        prioritylevelconfiguration::row(),
        resourceclaim::row(),
        resourceclaimtemplate::row(),
        resourceslice::row(),
        runtimeclass::row(),
        secret::row(),
        service::row(),
        serviceaccount::row(),
        servicecidr::row(),
        statefulset::row(),
        storageclass::row(),
        validatingadmissionpolicy::row(),
        validatingadmissionpolicybinding::row(),
        validatingwebhookconfiguration::row(),
        volumeattachment::row(),
        volumeattributesclass::row(),
    ];
    rows.extend(rbac::rows());
    rows.extend(review::rows());
    rows
}

/// Every controller, in no particular order.
pub fn controllers() -> Vec<Controller> {
    vec![
        collector::CONTROLLER,
        customresourcedefinition::CONTROLLER,
        deployment::CONTROLLER,
        endpointslice::CONTROLLER,
        endpointslice::MIRROR,
        event::TTL,
        namespace::CONTROLLER,
        node::cordon::CONTROLLER,
        persistentvolume::PROTECTION,
        persistentvolumeclaim::CONTROLLER,
        persistentvolumeclaim::PROTECTION,
        pod::orphans::CONTROLLER,
        rbac::CONTROLLER,
        replicaset::CONTROLLER,
        secret::TOKENS,
        serviceaccount::ACCOUNTS,
        serviceaccount::ROOT_CA,
        statefulset::CONTROLLER,
    ]
}
