//! The node's parts against the real kernel; needs root.
#![allow(clippy::unwrap_used)]

mod agent;
mod defined_volumes;
mod images;
mod layers;
mod pull;
mod runtime;
mod volumes;
