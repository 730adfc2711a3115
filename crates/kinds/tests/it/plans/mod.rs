//! Plans from outside: a cluster in a few words goes in, the plan in words comes out. `text.rs` knows the words.

mod claims;
mod collector;
mod cordon;
mod deployments;
mod events;
mod orphans;
mod properties;
mod statefulsets;
mod text;
