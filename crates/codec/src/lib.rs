//! Bodies in: JSON, YAML and protobuf with limits on depth, size and aliases, telling of duplicate keys.
//! Strict decoding by schema. Values out: YAML as kubectl shows it.

pub mod protobuf;
mod json;
pub mod strict;
mod yaml;

pub use json::from_json;
pub use yaml::{from_yaml, to_yaml};

use serde_json::Value;

/// A decoded body.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    pub value: Value,
    /// Fields that stood more than once in one map, as `duplicate field "data.a"`; the last one counts.
    pub duplicates: Vec<String>,
}

/// A text that is not in the format it says it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

/// More duplicates than these are not listed.
pub(crate) const MAX_REPORTED: usize = 100;
