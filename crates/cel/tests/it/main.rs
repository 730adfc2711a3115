//! Tests of the crate, at its public API.
