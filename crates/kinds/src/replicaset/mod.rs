//! ReplicaSet: a number of equal pods. Source: apps/v1 API reference.

mod plan;

pub use plan::CONTROLLER;

use meta::Res;

pub const REPLICASETS: Res = Res::new("apps", "replicasets");
