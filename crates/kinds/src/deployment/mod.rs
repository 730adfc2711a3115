//! Deployment: ReplicaSets that follow a template as it changes. Source: apps/v1 API reference.

mod plan;
mod replicasets;
mod rolling;
mod status;

pub use plan::CONTROLLER;

use meta::Res;

pub const DEPLOYMENTS: Res = Res::new("apps", "deployments");
