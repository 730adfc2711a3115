//! THE ROOMS: one a kind, with its row, defaults, validation, columns and, where it is reconciled, its plan.
//! This file holds the only list of kinds; everything else is derived from the rows.

pub mod added;
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

pub mod configmap;
pub mod controllerrevision;
pub mod deployment;
pub mod endpoints;
pub mod endpointslice;
pub mod event;
pub mod lease;
pub mod namespace;
pub mod node;
pub mod node_selector;
pub mod persistentvolume;
pub mod persistentvolumeclaim;
pub mod pod;
pub mod rbac;
pub mod replicaset;
pub mod review;
pub mod scale;
pub mod secret;
pub mod service;
pub mod serviceaccount;
pub mod statefulset;
pub mod storageclass;
mod volumes;
pub mod wire;
pub mod workload;

pub use column::Column;
pub use plan::{Act, Controller, Key, Plan, Seen, Target};
pub use registry::Registry;
pub use row::{Check, Row, Rules, Write};

/// Every built-in kind.
pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        configmap::row(),
        controllerrevision::row(),
        deployment::row(),
        endpoints::row(),
        endpointslice::row(),
        event::row(),
        event::v1::row(),
        lease::row(),
        namespace::row(),
        node::row(),
        persistentvolume::row(),
        persistentvolumeclaim::row(),
        pod::row(),
        replicaset::row(),
        secret::row(),
        service::row(),
        serviceaccount::row(),
        statefulset::row(),
        storageclass::row(),
    ];
    rows.extend(rbac::rows());
    rows.extend(review::rows());
    rows
}

/// Every controller, in no particular order.
pub fn controllers() -> Vec<Controller> {
    vec![
        collector::CONTROLLER,
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
