//! Certificates that a webhook's server is checked against.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_parser::pem::Pem;

/// What is wrong with a bundle, given in base64 as JSON has it: nothing if one certificate in it can be read.
pub(super) fn check(bundle: &str) -> Result<(), String> {
    // What is not base64 was refused when the object was decoded.
    let bytes = STANDARD.decode(bundle).unwrap_or_default();
    let (mut blocks, mut is_bad) = (0, false);
    for block in Pem::iter_from_buffer(&bytes) {
        let Ok(block) = block else { break };
        blocks += 1;
        if block.label != "CERTIFICATE" {
            continue;
        }
        match block.parse_x509() {
            Ok(_) => return Ok(()),
            // Each library has words of its own for what exactly is wrong with a certificate.
            Err(_) => is_bad = true,
        }
    }
    let why = if is_bad {
        "failed to parse certificate: x509: malformed certificate"
    } else if blocks == 0 {
        "unable to parse bytes as PEM block"
    } else {
        "no valid certificate authority data seen"
    };
    Err(format!("unable to load root certificates: {why}"))
}
