//! The protobuf form of built-in kinds: the table of field numbers (written by `cargo xtask gen`) and which message a
//! kind is.

use codec::protobuf::{ProtobufError, Table};
use meta::schema::Written;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::OnceLock;

static WIRE: &str = include_str!("wire.txt");

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    // A table that does not parse would fail every test of this room.
    TABLE.get_or_init(|| Table::parse(WIRE).unwrap_or_default())
}

/// An enveloped protobuf body as the value that its JSON form would give.
pub fn decode(body: &[u8]) -> Result<Value, ProtobufError> {
    table().decode(body, message_of)
}

/// When Go's encoder writes the fields of a type, and the inline structs they are in; `type_name` in full.
pub(crate) fn written(type_name: &str) -> HashMap<&'static str, (Written, Option<&'static str>)> {
    let mut parts = type_name.rsplit('.');
    let (kind, version, group) = (parts.next(), parts.next(), parts.next());
    let name = [group, version, kind].map(Option::unwrap_or_default).join(".");
    table().written(&name)
}

/// The table's name for an `apiVersion` and `kind`: `apps/v1` + `Deployment` is `apps.v1.Deployment`. Options of
/// requests are meta/v1 under whatever version they come.
fn message_of(api_version: &str, kind: &str) -> Option<String> {
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    let package = group.split('.').next().unwrap_or(group);
    let own = format!("{package}.{version}.{kind}");
    let common = format!("meta.v1.{kind}");
    [own, common].into_iter().find(|name| table().knows(name))
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_built_in_kind_has_a_protobuf_form() {
        for row in crate::rows() {
            assert!(
                super::message_of(&row.api_version(), row.kind).is_some(),
                "{} has none",
                row.kind
            );
        }
        assert_eq!(
            super::message_of("apps/v1", "DeleteOptions").as_deref(),
            Some("meta.v1.DeleteOptions")
        );
        assert_eq!(super::message_of("example.com/v1", "Widget"), None);
    }
}
