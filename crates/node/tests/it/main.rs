//! The node's tests on a real machine, as root.
#![allow(clippy::unwrap_used)]

mod runtime;
