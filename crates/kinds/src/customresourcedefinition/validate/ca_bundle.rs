//! Certificates that a webhook's server is checked against.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_parser::pem::Pem;

/// What is wrong with a bundle, given in base64 as JSON has it: nothing if one certificate in it can be read.
pub(super) fn check(bundle: &str) -> Result<(), String> {
    // What is not base64 was refused when the object was decoded.
    let bytes = STANDARD.decode(bundle).unwrap_or_default();
    let (mut blocks, mut first_bad) = (0, None);
    for block in Pem::iter_from_buffer(&bytes) {
        let Ok(block) = block else { break };
        blocks += 1;
        if block.label != "CERTIFICATE" {
            continue;
        }
        match block.parse_x509() {
            Ok(_) => return Ok(()),
            Err(why) => {
                first_bad.get_or_insert_with(|| format!("failed to parse certificate: {why}"));
            }
        }
    }
    Err(match first_bad {
        Some(why) => why,
        None if blocks == 0 => "unable to parse bytes as PEM block".into(),
        None => "no valid certificate authority data seen".into(),
    })
}
