//! The API server: one pure pipeline (`core`), a shell that commits its decisions (`api`), and HTTP over TLS (`http`).

pub mod api;
pub mod authenticators;
pub mod bootstrap_tokens;
pub mod core;
pub mod discovery;
pub mod http;
pub mod node_ops;
pub mod oidc;
pub mod openapi;
pub mod options;
pub mod tokens;
mod views;

pub use api::{Api, Parts};
pub use authenticators::Authenticators;
pub use bootstrap_tokens::BootstrapTokens;
pub use core::Caller;
pub use core::access::{Authenticator, Authorizer, Signer};
pub use node_ops::NodeOps;
pub use tokens::Tokens;
