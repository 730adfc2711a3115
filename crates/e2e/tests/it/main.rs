//! End to end: the real binary, real containers, real kubectl and helm. Each test has a cluster of its own, which goes
//! away with it, whatever happens; and each asserts on what the tools print.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod harness;

mod access;
mod corpus;
mod custom;
mod deployment;
mod environment;
mod errors;
mod garbage;
mod helm;
mod host;
mod hostnetwork;
mod images;
mod interactive;
mod issuer;
mod kubectl;
mod lifecycle;
mod probes;
mod registry;
mod restart;
mod services;
mod statefulset;
mod status;
mod volumes;
