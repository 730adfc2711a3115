//! Volumes of pods on this node.

pub mod downward;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use std::collections::BTreeMap;

/// The objects that a pod's volumes and environment refer to, as the caller fetched them. What is not in here does not
/// exist.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub config_maps: BTreeMap<String, ConfigMap>,
    pub secrets: BTreeMap<String, Secret>,
}

/// A Secret's value as bytes.
pub(crate) fn lookup<'a>(data: Option<&'a BTreeMap<String, ByteString>>, key: &str) -> Option<&'a [u8]> {
    data?.get(key).map(|bytes| bytes.0.as_slice())
}
