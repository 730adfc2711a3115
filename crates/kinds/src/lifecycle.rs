//! Nothing new may appear in a namespace that does not exist or is on its way out (upstream's NamespaceLifecycle).

use crate::Row;
pub use crate::namespace::NAMESPACES;
use meta::{Snapshot, Status};
use serde_json::json;

/// Whether an object called `name` may be created in `namespace` now.
pub fn admit_create(row: &Row, namespace: &str, name: &str, seen: &Snapshot) -> Result<(), Status> {
    if !row.namespaced {
        return Ok(());
    }
    let Some(found) = seen.get(NAMESPACES, "", namespace) else {
        return Err(Status::not_found(NAMESPACES, namespace));
    };
    if !found.meta().is_deleting() {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut status = Status::forbidden(row.res, name, &why);
    status.details["causes"] = json!([{
        "reason": "NamespaceTerminating",
        "message": format!("namespace {namespace} is being terminated"),
        "field": "metadata.namespace",
    }]);
    Err(status)
}
