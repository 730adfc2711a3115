//! The API at its boundary: requests in, responses out, over a store in memory.

mod access;
mod answers;
mod bad;
mod customs;
mod discovery;
mod evictions;
mod golden;
mod identity;
mod manners;
mod properties;
mod protobuf;
mod proxy;
mod sessions;
mod strict;
mod watches;
mod words;
mod world;
