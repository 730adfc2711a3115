//! Tests of the crate, at its public API: tables of expressions with what comes of them, properties, limits.

mod api;
mod hostile;
mod tables;
