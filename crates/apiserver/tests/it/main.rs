//! The API at its boundary: requests in, responses out, over a store in memory.

mod answers;
mod bad;
mod discovery;
mod golden;
mod manners;
mod properties;
mod protobuf;
mod proxy;
mod sessions;
mod strict;
mod watches;
mod words;
mod world;
