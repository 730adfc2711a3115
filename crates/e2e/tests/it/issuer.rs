//! ID tokens of somebody else: an OpenID Connect issuer on loopback, behind TLS with an authority of its own.

use crate::harness::Cluster;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

struct Issuer {
    key: KeyPair,
    url: String,
    /// PEM of the certificate, which vouches for itself.
    certificate: String,
}

impl Issuer {
    /// Answers for as long as the test runs.
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("https://{}", listener.local_addr().expect("an address"));
        let (key, tls) = (
            KeyPair::generate().expect("a key"),
            KeyPair::generate().expect("a key"),
        );
        let params = CertificateParams::new(["127.0.0.1".to_string()]).expect("a name");
        let certificate = params.self_signed(&tls).expect("signed");
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(tls.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .expect("a certificate");
        let found = json!({"issuer": url, "jwks_uri": format!("{url}/keys")});
        let (x, y) = key.public_key_raw()[1..].split_at(32);
        let keys = json!({"keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "one",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]});
        let config = Arc::new(config);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, config.clone(), &found, &keys);
            }
        });
        Self {
            key,
            url,
            certificate: certificate.pem(),
        }
    }

    fn token(&self, claims: &Value) -> String {
        let header = Header {
            kid: Some("one".into()),
            ..Header::new(Algorithm::ES256)
        };
        let key = EncodingKey::from_ec_der(&self.key.serialize_der());
        encode(&header, claims, &key).expect("signed")
    }
}

/// One request; who does not go through with it gets nothing.
fn answer(stream: TcpStream, config: Arc<ServerConfig>, found: &Value, keys: &Value) {
    let Ok(connection) = ServerConnection::new(config) else {
        return;
    };
    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
    let mut first = String::new();
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
        if first.is_empty() {
            first.clone_from(&line);
        }
        line.clear();
    }
    let body = match first.split(' ').nth(1) {
        Some("/keys") => keys.to_string(),
        _ => found.to_string(),
    };
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
    let text = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    let mut stream = reader.into_inner();
    stream.write_all(text.as_bytes()).ok();
    stream.conn.send_close_notify();
    stream.flush().ok();
}

#[test]
fn id_tokens_of_an_issuer() {
    let Some(cluster) = Cluster::prepare("id_tokens_of_an_issuer", &[]) else {
        return;
    };
    let issuer = Issuer::start();
    let file = |name: &str, text: &str| {
        let path = cluster.home.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let ca = file("issuer.pem", &issuer.certificate);
    let settings = format!(
        "kubeconfig: {}\napi-port: {}\noidc:\n  issuer-url: {}\n  client-id: isopod\n  username-claim: email\n  groups-claim: groups\n  groups-prefix: 'id:'\n  signing-algs: [ES256]\n  ca-file: {ca}\n",
        cluster.kubeconfig.display(),
        cluster.api_port,
        issuer.url
    );
    let settings = file("up.yml", &settings);
    cluster.isopod(&format!("up --config {settings}"));
    let year_2100 = 4_102_444_800_i64;
    let claims = json!({
        "iss": issuer.url, "aud": "isopod", "sub": "1", "email": "jane@example.com", "groups": ["devs"], "exp": year_2100,
    });
    let with = |token: &str, what: &str| {
        format!(
            "{what} --kubeconfig=/dev/null --server=https://127.0.0.1:{} --insecure-skip-tls-verify --token={token}",
            cluster.api_port
        )
    };
    let token = issuer.token(&claims);
    let whoami = with(&token, "auth whoami");
    // The keys are fetched beside the start, and may come a moment after it.
    let known = (0..50).any(|_| cluster.kubectl_with(&whoami).run().status.success());
    assert!(known, "{}", cluster.server_log());
    let me = cluster.kubectl(&whoami);
    assert!(
        me.contains("jane@example.com") && me.contains("[id:devs system:authenticated]"),
        "{me}"
    );
    let refused = cluster.kubectl_fails(&with(&token, "get pods"));
    assert!(
        refused.contains("User \"jane@example.com\" cannot list resource \"pods\""),
        "{refused}"
    );
    cluster.kubectl("create rolebinding devs --clusterrole=view --group=id:devs");
    cluster.kubectl(&with(&token, "get pods"));
    let mut old = claims.clone();
    old["exp"] = 1.into();
    let refused = cluster.kubectl_fails(&with(&issuer.token(&old), "get pods"));
    assert!(
        refused.contains("Unauthorized") || refused.contains("logged in"),
        "{refused}"
    );
    // It is kept: the next `up` needs no file.
    cluster.isopod("down");
    cluster.up().ok();
    let known = (0..50).any(|_| cluster.kubectl_with(&whoami).run().status.success());
    assert!(known, "{}", cluster.server_log());
    cluster.remove();
}
