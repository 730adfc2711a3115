//! Which registry certificates are believed: those that the system's authorities vouch for (`SSL_CERT_FILE` and
//! `SSL_CERT_DIR` move them), those of the registry's `ca` file, and a certificate that is itself named there.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;

/// A client's side of TLS. Blocks (it reads the trust store). The error is one message for the user.
pub fn client_config(ca: Option<&Path>) -> Result<rustls::ClientConfig, String> {
    let mut certificates = ca.map(self::certificates).transpose()?.unwrap_or_default();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!(%error, "a part of the system's trust store cannot be read");
    }
    certificates.extend(system.certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    let (taken, passed_over) = roots.add_parsable_certificates(certificates.iter().cloned());
    tracing::debug!(taken, passed_over, "trusted authorities");
    // Without any authority plain http still works, and https fails with a message of its own.
    let inner = match roots.is_empty() {
        true => None,
        false => {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
            Some(
                verifier
                    .build()
                    .map_err(|e| format!("cannot set up trust in certificates: {e}"))?,
            )
        }
    };
    let verifier = Verifier {
        inner,
        trusted: certificates,
        algorithms: provider.signature_verification_algorithms,
    };
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("cannot set up TLS: {e}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

/// What a user needs to know about a failed handshake with `host`.
pub(super) fn explain(error: &rustls::Error, host: &str) -> String {
    const SETTINGS: &str = "the settings file of 'isopod up --config'";
    match error {
        rustls::Error::InvalidMessage(_) => format!(
            "http: server gave HTTP response to HTTPS client; if {host} speaks plain http only, say \"insecure: true\" for it \
             under \"registries\" in {SETTINGS}"
        ),
        rustls::Error::InvalidCertificate(why) => {
            // A wrong signature: the authority has the name of a trusted one, but is another.
            let strange = [CertificateError::UnknownIssuer, CertificateError::BadSignature];
            let unknown = strange.contains(why) || is_authority(error);
            match unknown {
                true => format!(
                    "tls: failed to verify certificate: x509: certificate signed by unknown authority; if you trust it, give \
                     {host} a \"ca\" (a PEM file) under \"registries\" in {SETTINGS}, or add it to this machine's trust store \
                     (update-ca-certificates)"
                ),
                false => format!("tls: failed to verify certificate: {why}"),
            }
        }
        other => format!("tls: {other}"),
    }
}

/// The server's certificate is one of an authority: refused, but see `Verifier`.
fn is_authority(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = error else {
        return false;
    };
    other.0.downcast_ref::<webpki::Error>() == Some(&webpki::Error::CaUsedAsEndEntity)
}

/// All certificates of a PEM file, at least one.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = file.display();
    let text = std::fs::read(file).map_err(|e| format!("cannot read {shown}: {e}"))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!(
            "{shown} has no certificate; it must be PEM, with -----BEGIN CERTIFICATE-----"
        )),
        Err(error) => Err(format!("{shown} is not PEM: {error}")),
    }
}

/// The usual checks, but for one that is common with registries: `openssl req -x509` makes a certificate that is its
/// own authority. Such a one is refused as a server's by the usual checks; here it is believed when it is itself trusted.
#[derive(Debug)]
struct Verifier {
    inner: Option<Arc<WebPkiServerVerifier>>,
    trusted: Vec<CertificateDer<'static>>,
    algorithms: rustls::crypto::WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(inner) = &self.inner else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        let checked = inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match checked {
            // Its dates were checked before this was found; its name comes after.
            Err(error) if is_authority(&error) && self.trusted.iter().any(|known| known == end_entity) => {
                let parsed = rustls::server::ParsedCertificate::try_from(end_entity)?;
                rustls::client::verify_server_name(&parsed, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
