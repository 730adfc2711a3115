//! The node: containers, images, volumes, probes and the pod machine that drives them.

pub mod agent;
pub mod env;
pub mod images;
pub mod machine;
pub mod probe;
pub mod rlimits;
pub mod runtime;
#[allow(unsafe_code)] // It is made of system calls.
pub mod shim;
pub mod volumes;
