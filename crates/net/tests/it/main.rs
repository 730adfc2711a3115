//! The network with real namespaces and real traffic. Needs root.
#![allow(clippy::unwrap_used)]

mod dns;
mod node;
mod outside;
mod services;
mod world;
