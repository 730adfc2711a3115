//! The cluster's key for service account tokens, as the API server's signer and checker.

use anyhow::{Context, Result};
use apiserver::tokens::Tokens;
use rcgen::KeyPair;

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Tokens under the key in `pki/sa.key` (PEM).
pub fn open(key_pem: &str) -> Result<Tokens> {
    let pair = KeyPair::from_pem(key_pem).context("pki/sa.key is damaged")?;
    Ok(Tokens::new(
        &pair.serialize_der(),
        pair.public_key_raw(),
        ISSUER,
        vec![ISSUER.to_string()],
    ))
}
