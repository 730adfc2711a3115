//! The cluster's own certificate authority and what it signs: the API server's certificate, the administrator's, and
//! the key for service account tokens. Made once, kept under `pki/` with mode 0600.

use crate::place::{Place, write_atomic};
use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
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

    /// Reads what is there, and makes what is not. What everything else rests on is made once only: with another
    /// authority or another key for tokens, no kubeconfig and no service account of the cluster would work any more.
    pub fn open(place: &Place, server_ips: &[Ipv4Addr]) -> Result<Self> {
        let dir = place.pki();
        if place.has_been_up() && dir.exists() {
            check_roots(&dir)?;
        }
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
        let issuer = Issuer::from_ca_cert_pem(&ca, &ca_key)
            .map_err(|error| lost(&dir.join("ca.crt"), "is damaged", &error))?;
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

const ROOTS: [&str; 3] = ["ca.key", "ca.crt", "sa.key"];

fn check_roots(dir: &Path) -> Result<()> {
    for path in ROOTS.map(|name| dir.join(name)) {
        match std::fs::metadata(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(lost(&path, "is missing", &e)),
            Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// A file that cannot be made again without breaking what was made with it.
fn lost(path: &Path, how: &str, why: &dyn std::fmt::Display) -> anyhow::Error {
    let dir = path.parent().unwrap_or(path).display();
    anyhow::anyhow!(
        "{} {how} ({why}); the cluster's kubeconfigs and service account tokens rest on it, so no other is made. Put it back \
         from a copy; or, to give all of those up, move the whole folder away, and isopod up begins with new keys: mv {dir} {dir}.lost",
        path.display()
    )
}

/// A file that is made again from the others.
fn replaceable(path: &Path, why: &dyn std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!(
        "{0} is damaged ({why}); remove it, and isopod up makes a new one: rm {0}",
        path.display()
    )
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
    KeyPair::from_pem(&pem).map_err(|error| match ROOTS.iter().any(|root| path.ends_with(root)) {
        true => lost(path, "is damaged", &error),
        false => replaceable(path, &error),
    })
}

fn identity(
    dir: &Path,
    name: &str,
    params: impl FnOnce() -> Result<CertificateParams>,
    issuer: &Issuer<'_, &KeyPair>,
) -> Result<Identity> {
    let (key_path, path) = (dir.join(format!("{name}.key")), dir.join(format!("{name}.crt")));
    if !key_path.exists() && path.exists() {
        // It is for a key that is no more.
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    let key = key(&key_path)?;
    let certificate = file(&path, || Ok(params()?.signed_by(&key, issuer)?.pem()))?;
    check(&certificate, &key).map_err(|why| replaceable(&path, &why))?;
    Ok(Identity {
        certificate,
        key: key.serialize_pem(),
    })
}

/// A certificate that can be read and is this key's.
fn check(certificate: &str, key: &KeyPair) -> Result<(), String> {
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|e| e.to_string())?;
    let parsed = rustls::server::ParsedCertificate::try_from(&der).map_err(|e| e.to_string())?;
    match parsed.subject_public_key_info().as_ref() == key.subject_public_key_info() {
        true => Ok(()),
        false => Err("it is another key's".to_owned()),
    }
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
