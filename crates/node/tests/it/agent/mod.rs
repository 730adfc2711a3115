//! The agent with real containers (busybox) against a small API in memory; needs root.

pub mod api;
mod real;
