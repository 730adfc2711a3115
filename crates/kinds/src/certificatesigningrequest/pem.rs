//! PEM blocks of requests and certificates: that they can be read, and that a request is signed with its own key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;

const REQUEST: &str = "CERTIFICATE REQUEST";
const CERTIFICATE: &str = "CERTIFICATE";

/// The organizations of a request's subject, or why it is none. `text` is as it stands in JSON.
pub(super) fn request(text: &str) -> Result<Vec<String>, String> {
    let no_request = || format!("PEM block type must be {REQUEST}");
    let block = blocks(text).into_iter().next().ok_or_else(no_request)?;
    if block.label != REQUEST {
        return Err(no_request());
    }
    let (rest, request) = X509CertificationRequest::from_der(&block.contents).map_err(|e| e.to_string())?;
    if !rest.is_empty() {
        return Err("asn1: syntax error: trailing data".into());
    }
    request.verify_signature().map_err(|e| e.to_string())?;
    let subject = &request.certification_request_info.subject;
    let organizations = subject.iter_organization();
    Ok(organizations
        .filter_map(|o| o.as_str().ok())
        .map(String::from)
        .collect())
}

/// Whether this is nothing, or nothing but certificates.
pub(super) fn certificates(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let blocks = blocks(text);
    for block in &blocks {
        if block.label != CERTIFICATE {
            return Err(format!(
                "only CERTIFICATE PEM blocks are allowed, found {:?}",
                block.label
            ));
        }
        let (rest, _) = x509_parser::parse_x509_certificate(&block.contents).map_err(|e| e.to_string())?;
        if !rest.is_empty() {
            return Err("x509: trailing data".into());
        }
    }
    if blocks.is_empty() {
        return Err("must contain at least one CERTIFICATE PEM block".into());
    }
    Ok(())
}

/// All blocks that can be read; what stands between them is nobody's.
fn blocks(text: &str) -> Vec<Pem> {
    let bytes = STANDARD.decode(text).unwrap_or_default();
    Pem::iter_from_buffer(&bytes).map_while(Result::ok).collect()
}
