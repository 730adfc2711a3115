//! What the end-to-end tests and the load generator share: a plain HTTPS client for a cluster's API, with no caches, no
//! retries and no knowledge of Kubernetes, so that what is measured and asserted is the server alone.

pub mod client;
pub mod load;
pub mod rollout;
