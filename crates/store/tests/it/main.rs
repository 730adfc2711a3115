//! The store as its users see it: durability, crashes, watches, limits.
#![allow(clippy::expect_used, clippy::print_stdout)]

mod crash;
mod durable;
mod laws;
mod live;
mod support;
