//! `isopod k`: the everyday subset of kubectl, over the same API and in the same words.

pub mod args;
pub mod client;
mod error;
