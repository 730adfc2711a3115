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

/// Why a kind may not be the owner of anything.
pub fn never_owns(api_version: &str, kind: &str) -> Option<&'static str> {
    let row = crate::event::row();
    let is_event = row.kind == kind && row.api_version() == api_version;
    is_event.then_some("/v1, Kind=Event is disallowed from being an owner")
}
