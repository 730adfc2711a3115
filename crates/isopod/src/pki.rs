//! The cluster's own certificate authority and what it signs: the API server's certificate, the administrator's, and
//! the key for service account tokens. Made once, kept under `pki/` with mode 0600.

use crate::place::{Place, write_atomic};
use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// PEM texts.
pub struct Pki {
    pub ca: String,
    pub server: Identity,
    /// PKCS#8, ECDSA P-256.
    pub token_key: String,
}

#[derive(Clone)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

/// Certificates are good for ten years: a cluster on a laptop has nobody to renew them.
const VALID_DAYS: i64 = 3650;

impl Pki {
    /// The CA and the administrator's certificate, where they have been made.
    pub fn read_admin(place: &Place) -> Result<(String, Identity)> {
        let read = |name: &str| {
            let path = place.pki().join(name);
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let identity = Identity {
            certificate: read("admin.crt")?,
            key: read("admin.key")?,
        };
        Ok((read("ca.crt")?, identity))
    }

    /// Reads what is there, and makes what is not.
    pub fn open(place: &Place, server_ips: &[Ipv4Addr]) -> Result<Self> {
        let dir = place.pki();
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let ca_key = key(&dir.join("ca.key"))?;
        let ca = file(&dir.join("ca.crt"), || {
            let mut params = params("isopod-ca", &[])?;
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![
                KeyUsagePurpose::KeyCertSign,
                KeyUsagePurpose::CrlSign,
                KeyUsagePurpose::DigitalSignature,
            ];
            Ok(params.self_signed(&ca_key)?.pem())
        })?;
        let issuer = Issuer::from_ca_cert_pem(&ca, &ca_key).context("pki/ca.crt is damaged")?;
        let server = identity(
            &dir,
            "apiserver",
            || {
                let mut params = params("kube-apiserver", &[])?;
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                params.subject_alt_names = server_names(server_ips)?;
                Ok(params)
            },
            &issuer,
        )?;
        // Nobody here asks for it; it is for the kubeconfig and the command line (`read_admin`).
        identity(
            &dir,
            "admin",
            || {
                let mut params = params("kubernetes-admin", &["system:masters"])?;
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
                Ok(params)
            },
            &issuer,
        )?;
        let token_key = key(&dir.join("sa.key"))?.serialize_pem();
        Ok(Self {
            ca,
            server,
            token_key,
        })
    }
}

fn params(name: &str, groups: &[&str]) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    for group in groups {
        params.distinguished_name.push(DnType::OrganizationName, *group);
    }
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    // A day back: clocks of containers and hosts differ.
    let now = jiff::Timestamp::now().as_second();
    let day = 86_400;
    params.not_before = date(now - day)?;
    params.not_after = date(now + VALID_DAYS * day)?;
    Ok(params)
}

fn date(unix_seconds: i64) -> Result<time::OffsetDateTime> {
    Ok(time::OffsetDateTime::from_unix_timestamp(unix_seconds)?)
}

fn server_names(ips: &[Ipv4Addr]) -> Result<Vec<rcgen::SanType>> {
    let names = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    let mut all = Vec::new();
    for name in names {
        all.push(rcgen::SanType::DnsName(name.try_into()?));
    }
    let own = [Ipv4Addr::LOCALHOST];
    all.extend(
        own.iter()
            .chain(ips)
            .map(|ip| rcgen::SanType::IpAddress(IpAddr::V4(*ip))),
    );
    Ok(all)
}

fn key(path: &Path) -> Result<KeyPair> {
    let pem = file(path, || Ok(KeyPair::generate()?.serialize_pem()))?;
    KeyPair::from_pem(&pem).with_context(|| format!("{} is damaged", path.display()))
}

fn identity(
    dir: &Path,
    name: &str,
    params: impl FnOnce() -> Result<CertificateParams>,
    issuer: &Issuer<'_, &KeyPair>,
) -> Result<Identity> {
    let key = key(&dir.join(format!("{name}.key")))?;
    let certificate = file(&dir.join(format!("{name}.crt")), || {
        Ok(params()?.signed_by(&key, issuer)?.pem())
    })?;
    Ok(Identity {
        certificate,
        key: key.serialize_pem(),
    })
}

/// The file's text; made and written when it is not there.
fn file(path: &Path, make: impl FnOnce() -> Result<String>) -> Result<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let text = make()?;
            write_atomic(path, text.as_bytes(), 0o600)?;
            Ok(text)
        }
        Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
    }
}
