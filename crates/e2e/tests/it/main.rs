//! End to end: the real binary, real containers, real kubectl and helm. Each test has a cluster of its own, which goes
//! away with it, whatever happens; and each asserts on what the tools print.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod harness;

mod corpus;
