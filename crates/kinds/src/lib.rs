//! THE ROOMS: one a kind, with its row, defaults, validation, columns and, where it is reconciled, its plan.
//! This file holds the only list of kinds; everything else is derived from the rows.

pub mod lifecycle;
pub mod plan;
pub mod registry;
pub mod row;
pub mod schema;

pub mod configmap;

pub use plan::{Act, Controller, Key, Plan, Seen, Target};
pub use registry::Registry;
pub use row::{Column, Row, Rules, Write};

/// Every built-in kind.
pub fn rows() -> Vec<Row> {
    vec![configmap::row()]
}

/// Every controller, in no particular order.
pub fn controllers() -> Vec<Controller> {
    vec![]
}
