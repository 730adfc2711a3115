//! What every Kubernetes object has in common: its bytes and parsed metadata, names, selectors, quantities,
//! field errors, `Status`, schemas, one consistent snapshot of all objects, and the two traits (`Client`, `Env`)
//! through which the rooms above meet. Synchronous and without clock, randomness or IO.

pub mod client;
pub mod env;
pub mod field;
pub mod name;
pub mod object;
pub mod quantity;
pub mod res;
pub mod schema;
pub mod selector;
pub mod snapshot;
pub mod status;
pub mod time;

pub use client::{Call, Client, Options, Propagation, Reply, Verb};
pub use env::Env;
pub use field::{Errors, FieldError, Path};
pub use object::{Draft, Meta, Object, OwnerRef};
pub use quantity::Quantity;
pub use res::Res;
pub use snapshot::{Change, ChangeKind, Snapshot};
pub use status::Status;
pub use time::Timestamp;
