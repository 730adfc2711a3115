//! An API server over memory on a free port of loopback, for trying things by hand: writes certificates and a
//! kubeconfig into the folder that is its argument, and says where it listens.

use apiserver::http::{Config, Server, Tls, tls};
use apiserver::{Api, Parts};
use futures::future::BoxFuture;
use meta::{Env, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::Path;
use std::sync::Arc;

/// The machine's own clock and randomness.
struct Machine;

impl Env for Machine {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp::EPOCH.plus(since.unwrap_or_default())
    }

    fn random(&self) -> u64 {
        RandomState::new().hash_one(std::time::Instant::now())
    }

    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()> {
        let left = until.since(self.now());
        Box::pin(tokio::time::sleep(left))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
}

type Failed = Box<dyn std::error::Error>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failed> {
    let folder = std::env::args().nth(1).ok_or("usage: dev FOLDER")?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let certificates = certificates(Path::new(&folder), &address.to_string())?;
    let store = store::Store::memory(store::Options::new("dev"));
    let mut parts = Parts::new(store, Arc::new(Machine));
    let key = KeyPair::generate()?;
    let tokens = Arc::new(apiserver::Tokens::new(
        &key.serialize_der(),
        key.public_key_raw(),
        "https://kubernetes.default.svc",
        vec!["https://kubernetes.default.svc".into()],
    ));
    parts.signer = Some(tokens.clone());
    parts.authenticator = Some(tokens);
    let api = Api::new(parts);
    let admin = apiserver::Caller {
        name: "dev".into(),
        groups: vec!["system:masters".into()],
        ..Default::default()
    };
    let client = api.client(admin);
    for name in ["default", "kube-system"] {
        let object = serde_json::json!({"metadata": {"name": name}});
        client
            .call(meta::Call::create(kinds::lifecycle::NAMESPACES, "", object))
            .await?;
    }
    let server = Server::new(api, Config::default());
    eprintln!("KUBECONFIG={folder}/kubeconfig https://{address}");
    server.serve(listener, tls(certificates)?).await;
    Ok(())
}

fn certificates(folder: &Path, address: &str) -> Result<Tls, Failed> {
    std::fs::create_dir_all(folder)?;
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "dev-ca");
    let ca_certificate = ca.self_signed(&ca_key)?;
    let issuer = Issuer::new(ca, ca_key);
    let server_key = KeyPair::generate()?;
    let mut server = CertificateParams::default();
    server.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
    let server_certificate = server.signed_by(&server_key, &issuer)?;
    let client_key = KeyPair::generate()?;
    let mut client = CertificateParams::default();
    client.distinguished_name.push(DnType::CommonName, "admin");
    client
        .distinguished_name
        .push(DnType::OrganizationName, "system:masters");
    let client_certificate = client.signed_by(&client_key, &issuer)?;
    std::fs::write(folder.join("ca.crt"), ca_certificate.pem())?;
    std::fs::write(folder.join("client.crt"), client_certificate.pem())?;
    std::fs::write(folder.join("client.key"), client_key.serialize_pem())?;
    let at = folder.display();
    std::fs::write(
        folder.join("kubeconfig"),
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: dev\nclusters:\n- name: dev\n  cluster:\n    server: https://{address}\n    certificate-authority: {at}/ca.crt\nusers:\n- name: dev\n  user:\n    client-certificate: {at}/client.crt\n    client-key: {at}/client.key\ncontexts:\n- name: dev\n  context: {{cluster: dev, user: dev}}\n"
        ),
    )?;
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(server_key.serialize_der());
    Ok(Tls {
        chain: vec![server_certificate.der().clone()],
        key: key.into(),
        client_ca: vec![ca_certificate.der().clone()],
    })
}
