//! The protobuf form of built-in kinds, by a table of field numbers: bodies in as the value that their JSON would give,
//! JSON out as the bytes that Go's generated code would write. Source: "Kubernetes protobuf encoding" in the API
//! concepts, gogo's proto2 wire format.

mod decode;
mod encode;
mod frame;
mod layout;
mod table;
#[cfg(test)]
mod tests;

pub use frame::{ENVELOPE_END, Envelope, List};
pub use layout::Message;
pub use table::Table;

/// What every protobuf body starts with.
pub const MAGIC: &[u8] = b"k8s\0";

/// Why a body cannot be read, or an object not be written.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ProtobufError {
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NoMagic,
    #[error("empty body")]
    Empty,
    #[error("unexpected EOF")]
    Truncated,
    #[error("proto: illegal wireType {0}")]
    WireType(u8),
    #[error("proto: illegal tag {0}")]
    Tag(u64),
    #[error("field {0} is not UTF-8")]
    NotText(String),
    #[error("messages are nested deeper than {0} levels")]
    TooDeep(usize),
    #[error("the body has more than {0} values")]
    TooMany(usize),
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    UnknownType { api_version: String, kind: String },
    #[error("{field}: {problem}")]
    BadValue { field: String, problem: String },
    /// What is to be written is not what the table says.
    #[error("no protobuf form: {0}")]
    Mismatch(String),
}

pub type Result<T> = std::result::Result<T, ProtobufError>;
