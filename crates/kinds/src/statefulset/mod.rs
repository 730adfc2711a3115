//! StatefulSet: pods with names and disks of their own. Source: apps/v1 API reference.

mod claims;
mod controller;
mod plan;
mod pods;
mod revisions;

pub use controller::CONTROLLER;

use meta::Res;

pub const STATEFULSETS: Res = Res::new("apps", "statefulsets");
