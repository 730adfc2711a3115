//! Ways to make a new object out of the stored one and what a client sent: JSON Patch, JSON merge patch,
//! strategic merge patch and server-side apply, with the bookkeeping of field owners (`managedFields`).
//! Pure: text in, text out; what differs between kinds comes in as a [`meta::schema::Schema`].

pub mod apply;
mod combine;
mod diff;
mod element;
mod extract;
pub mod fields;
pub mod json_patch;
mod managed;
pub mod merge_patch;
mod shape;
pub mod strategic;
mod typecheck;
pub mod update;
mod value;

#[cfg(test)]
mod testing;

pub use apply::{ApplyError, Conflict, Conflicts, apply};
pub use fields::{FieldSet, FieldSetError};
pub use managed::ManagerId;
pub use update::{create, timestamps_only, update};

/// What upstream answers, with code 422 and reason Invalid, when a well-formed patch cannot be done.
pub const REJECTED: &str = "the server rejected our request due to an error in our request";
