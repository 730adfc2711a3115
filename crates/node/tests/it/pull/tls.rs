//! Registries over TLS: whom a pull believes, and what it says about those it does not.

use super::registry::{Guard, Registry};
use super::stub::{Stub, answer};
use super::{nothing, pull};
use crate::images::Scratch;
use node::images::auth::Credentials;
use node::images::{HostConfig, Images, RegistryConfig};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::fs;
use std::path::{Path, PathBuf};

/// A certificate and its key, PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("params");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "test authority");
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        Authority { pem, issuer }
    }

    pub fn identity(&self, names: &[&str], change: impl Fn(&mut CertificateParams)) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("params");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// As `openssl req -x509` makes them: an authority of its own.
fn self_signed() -> Identity {
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("params");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    Identity {
        certificate: params.self_signed(&key).expect("a certificate").pem(),
        key: key.serialize_pem(),
    }
}

fn over_tls(identity: &Identity) -> Option<Registry> {
    Registry::guarded(&Guard {
        tls: Some((&identity.certificate, &identity.key)),
        ..Guard::default()
    })
}

/// A store that trusts what is in the PEM file for this host.
pub fn trusting(data: &Path, host: &str, pem: &str) -> Images {
    let ca: PathBuf = data.join("ca.pem");
    fs::write(&ca, pem).expect("write");
    let config = HostConfig {
        ca: Some(ca),
        ..HostConfig::default()
    };
    let config = RegistryConfig {
        hosts: [(host.to_owned(), config)].into(),
        ..RegistryConfig::default()
    };
    Images::open(data, config).expect("open")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_is_believed_by_its_authority() {
    let authority = Authority::new();
    let Some(registry) = over_tls(&authority.identity(&["127.0.0.1"], |_| {})) else {
        return;
    };
    registry.push("app:1", "text").await;
    let name = format!("{}/app:1", registry.host);

    // Without a word about it, it is asked over http first, as all on loopback, and says that it speaks https.
    let scratch = Scratch::new();
    let images = crate::images::open(scratch.path());
    let text = pull(&images, &name).await.expect_err("not trusted").to_string();
    let host = &registry.host;
    assert_eq!(
        text,
        format!(
            "failed to pull and unpack image \"{name}\": failed to resolve reference \"{name}\": failed to do request: \
             Get \"https://{host}/v2/app/manifests/1\": tls: failed to verify certificate: x509: certificate signed by unknown \
             authority; if you trust it, give {host} a \"ca\" (a PEM file) under \"registries\" in the settings file of \
             'isopod up --config', or add it to this machine's trust store (update-ca-certificates)"
        )
    );

    let images = trusting(scratch.path(), host, &authority.pem);
    pull(&images, &name).await.expect("pull");
    // The file is read at each pull: another authority in it is believed from then on.
    fs::write(scratch.path().join("ca.pem"), Authority::new().pem).expect("write");
    let text = pull(&images, &name).await.expect_err("not trusted").to_string();
    assert!(text.contains("unknown authority"), "{text}");
    fs::write(scratch.path().join("ca.pem"), "no certificate").expect("write");
    let text = pull(&images, &name).await.expect_err("no PEM").to_string();
    assert!(
        text.contains("ca.pem has no certificate; it must be PEM"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_self_signed_certificate_can_be_trusted_itself() {
    let (identity, other) = (self_signed(), self_signed());
    let Some(registry) = over_tls(&identity) else {
        return;
    };
    registry.push("app:1", "text").await;
    let name = format!("{}/app:1", registry.host);
    let scratch = Scratch::new();
    let images = trusting(scratch.path(), &registry.host, &identity.certificate);
    pull(&images, &name).await.expect("pull");
    let images = trusting(scratch.path(), &registry.host, &other.certificate);
    let text = pull(&images, &name).await.expect_err("another's").to_string();
    assert!(text.contains("unknown authority"), "{text}");
    // It is still for the names in it only.
    let local = name.replace("127.0.0.1", "localhost");
    let images = trusting(
        scratch.path(),
        &registry.host.replace("127.0.0.1", "localhost"),
        &identity.certificate,
    );
    let text = pull(&images, &local).await.expect_err("another name").to_string();
    assert!(
        text.contains("certificate not valid for name \"localhost\""),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_certificates_say_what_is_wrong() {
    let authority = Authority::new();
    let named = authority.identity(&["registry.example"], |_| {});
    let expired = authority.identity(&["127.0.0.1"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    for (identity, want) in [
        (
            named,
            "tls: failed to verify certificate: certificate not valid for name \"127.0.0.1\"; certificate is only valid for",
        ),
        (expired, "tls: failed to verify certificate: certificate expired"),
    ] {
        let Some(registry) = over_tls(&identity) else {
            return;
        };
        let scratch = Scratch::new();
        let images = trusting(scratch.path(), &registry.host, &authority.pem);
        let text = pull(&images, &format!("{}/app:1", registry.host)).await;
        let text = text.expect_err("refused").to_string();
        assert!(text.contains(want), "{text}");
    }
    // One that speaks no TLS at all.
    let stub = Stub::start(None, |_, _| Some(answer(200, "{}"))).await;
    let scratch = Scratch::new();
    let images = trusting(scratch.path(), &stub.host, &authority.pem);
    let text = pull(&images, &format!("{}/app:1", stub.host)).await;
    let text = text.expect_err("refused").to_string();
    assert!(
        text.contains("http: server gave HTTP response to HTTPS client; if")
            && text.contains("insecure: true"),
        "{text}"
    );
    assert_eq!(stub.asked().len(), 0, "nothing went over plain http");
}

/// The credentials' way to a mirror: only those that are its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_gets_no_credentials_of_the_registry() {
    let mirror = Stub::start(None, |_, _| Some(answer(404, ""))).await;
    let registry = Stub::start(None, |_, _| Some(answer(404, ""))).await;
    let scratch = Scratch::new();
    let mirrored = HostConfig {
        mirrors: vec![mirror.host.clone()],
        ..HostConfig::default()
    };
    let config = RegistryConfig {
        hosts: [(registry.host.clone(), mirrored)].into(),
        ..RegistryConfig::default()
    };
    let images = Images::open(scratch.path(), config).expect("open");
    let login = serde_json::json!({"auths": {registry.host.clone(): {"registrytoken": "t"}}});
    let login = Credentials::parse(login.to_string().as_bytes()).expect("parse");
    let name = format!("{}/team/app:1", registry.host);
    images
        .pull(&name, &login, &nothing)
        .await
        .expect_err("nobody has it");
    let asked = mirror.asked();
    assert_eq!(
        asked[0].path,
        format!("/v2/team/app/manifests/1?ns={}", registry.host)
    );
    assert!(asked.iter().all(|asked| asked.authorization().is_none()));
    assert_eq!(registry.asked().len(), 1);
}
