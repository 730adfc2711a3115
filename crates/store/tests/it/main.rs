//! The store as its users see it: durability, crashes, watches, limits.
#![allow(clippy::expect_used, clippy::print_stdout)]

mod durable;
mod support;
