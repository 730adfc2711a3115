//! The protobuf form of built-in kinds: the table of field numbers (written by `cargo xtask gen`) and which message a
//! kind is.

use codec::protobuf::{Envelope, List, Message, ProtobufError, Table};
use meta::Object;
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

/// An enveloped protobuf body as the value that its JSON form would give; `default` is what it is if it does not say so.
pub fn decode(body: &[u8], default: (&str, &str)) -> Result<Value, ProtobufError> {
    table().decode(body, default)
}

/// A kind that has a protobuf form.
#[derive(Debug, Clone)]
pub struct Wire {
    message: Message,
    pub envelope: Envelope,
}

impl Wire {
    /// `None` for custom resources and tables, which have none.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        Some(Self {
            message: table().message(api_version, kind)?,
            envelope: Envelope::new(api_version, kind),
        })
    }

    /// The message of an object of this kind, without its envelope.
    pub fn encode(&self, json: &[u8]) -> Result<Vec<u8>, ProtobufError> {
        // Shorter than the JSON in all but rare cases: names are numbers.
        let mut out = Vec::with_capacity(json.len());
        table().encode(self.message, json, &mut out)?;
        Ok(out)
    }

    /// `encode` of what is stored: one encoding for all who ask, as long as there is room to keep it.
    pub fn encode_stored(&self, object: &Object) -> Result<bytes::Bytes, ProtobufError> {
        object.encoded(|json| self.encode(json).map(Into::into))
    }

    /// The metadata of an object as `PartialObjectMetadata` (which this is): cut out of the encoding of the whole, which is
    /// of the kind `of`, where that is kept.
    pub fn encode_metadata(&self, of: Option<&Self>, object: &Object) -> Result<bytes::Bytes, ProtobufError> {
        let cut = |of: &Self| {
            let whole = object.kept()?;
            let size = table().metadata_bytes(of.message, &whole)?;
            Some(whole.slice(..size))
        };
        match of.and_then(cut) {
            Some(metadata) => Ok(metadata),
            None => self.encode(object.json()).map(Into::into),
        }
    }

    /// A list of this kind, which is one of lists, without its items.
    pub fn list(&self, metadata: &str) -> Result<Option<List>, ProtobufError> {
        table().list(self.message, metadata)
    }
}

/// The protobuf body of a value that says which kind it is; `None` if that kind has none.
pub fn body(value: &Value) -> Result<Option<Vec<u8>>, ProtobufError> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let Some(wire) = Wire::of(text("apiVersion"), text("kind")) else {
        return Ok(None);
    };
    let message = wire.encode(value.to_string().as_bytes())?;
    Ok(Some(wire.envelope.around(&message)))
}

/// When Go's encoder writes the fields of a type, and the inline structs they are in; `type_name` in full.
pub(crate) fn written(type_name: &str) -> HashMap<&'static str, (Written, Option<&'static str>)> {
    let mut parts = type_name.rsplit('.');
    let (kind, version, group) = (parts.next(), parts.next(), parts.next());
    let name = [group, version, kind].map(Option::unwrap_or_default).join(".");
    let message = table().named(&name);
    message.map(|m| table().written(m)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_the_same_cut_out_or_encoded() {
        let partial = Wire::of("meta.k8s.io/v1", "PartialObjectMetadata").expect("known");
        for (api_version, kind) in [("v1", "ConfigMap"), ("apps/v1", "Deployment")] {
            let wire = Wire::of(api_version, kind).expect("known");
            let value = serde_json::json!({"apiVersion": api_version, "kind": kind,
                "spec": {"replicas": 1}, "data": {"k": "v"}, "metadata": {"name": "a", "uid": "u", "annotations": {"b": "x".repeat(300)}}});
            let object = meta::Draft::new(value).expect("an object").seal(7);
            let encoded = partial.encode_metadata(Some(&wire), &object).expect("encodes");
            assert!(wire.encode_stored(&object).expect("encodes").len() > encoded.len());
            assert_eq!(
                partial.encode_metadata(Some(&wire), &object).expect("encodes"),
                encoded
            );
        }
    }

    #[test]
    fn every_built_in_kind_has_a_protobuf_form() {
        for row in crate::rows() {
            for kind in [row.kind.to_string(), format!("{}List", row.kind)] {
                let known = Wire::of(&row.api_version(), &kind).is_some();
                assert!(known || row.rules.is_question(), "{kind} has none");
            }
        }
        for (api_version, kind, known) in [
            ("apps/v1", "DeleteOptions", true),
            ("v1", "Status", true),
            ("meta.k8s.io/v1", "PartialObjectMetadata", true),
            ("meta.k8s.io/v1beta1", "PartialObjectMetadataList", true),
            ("autoscaling/v1", "Scale", true),
            ("rbac.authorization.k8s.io/v1", "Role", true),
            ("meta.k8s.io/v1", "Table", false),
            ("example.com/v1", "Widget", false),
            ("apps.example.com/v1", "Deployment", false),
            ("example.com/v1", "Status", false),
        ] {
            assert_eq!(
                Wire::of(api_version, kind).is_some(),
                known,
                "{api_version} {kind}"
            );
        }
    }
}
