//! What a write of a definition may not choose. Source: upstream's strategy of CustomResourceDefinitions.

use super::defaults::storage_version;
use crate::Write;
use crate::json::{child_mut, get, has, list, push, put, take};
use serde_json::{Value, json};

/// A new definition has no status but the version that objects are stored in; an update adds the one that they will be
/// stored in from now on. What the older form of a definition has no place for goes.
pub(super) fn prepare(write: Write, object: &mut Value, old: Option<&Value>) {
    match write {
        Write::Create => put(object, "status", json!({})),
        Write::Update => match old.and_then(|old| old.get("status")) {
            Some(kept) => put(object, "status", kept.clone()),
            None => put(object, "status", json!({})),
        },
        Write::Status | Write::Other(_) => {
            let spec = old.and_then(|old| old.get("spec"));
            put(object, "spec", spec.cloned().unwrap_or_else(|| json!({})));
            return;
        }
    }
    add_stored_version(object);
    if let Some(conversion) = object
        .pointer_mut("/spec/conversion")
        .filter(|conversion| conversion.is_object())
        && let webhook = get(conversion, "webhook")
        && !has(webhook, "clientConfig")
        && list(webhook, "conversionReviewVersions").is_empty()
        && !get(webhook, "conversionReviewVersions").is_array()
    {
        take(conversion, "webhook");
    }
}

fn add_stored_version(object: &mut Value) {
    let Some(stored) = storage_version(object).map(str::to_string) else {
        return;
    };
    let known = list(get(object, "status"), "storedVersions");
    if known.iter().all(|version| version.as_str() != Some(&stored))
        && let Some(status) = child_mut(object, "status")
    {
        push(status, "storedVersions", stored.into());
    }
}
