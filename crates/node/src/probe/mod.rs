//! How probes and hooks ask a container: HTTP(S), TCP and gRPC, over connections that the caller makes (they start in
//! the cluster's network). Texts of failures are kubelet's.

mod grpc;
mod http;
mod tls;

pub use grpc::health;
pub use http::{Answer, Get, get};

/// Read of a body or of an exec's output; the rest does not matter. Source: kubelet's `maxRespBodyLength`.
pub const MAX_ANSWER_BYTES: usize = 10 << 10;
