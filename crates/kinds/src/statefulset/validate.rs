//! What a StatefulSet must be, and what of it may change.

use crate::Write;
use meta::Errors;
use serde_json::Value;

pub(super) fn object(_object: &Value, _errors: &mut Errors) {}

pub(super) fn update(_write: Write, _object: &Value, _old: &Value, _errors: &mut Errors) {}
