//! The API at its boundary: requests in, responses out, over a store in memory.

mod bad;
mod golden;
mod properties;
mod sessions;
mod watches;
mod world;
