//! Registries on loopback: Debian's, open and behind TLS and tokens, as the big ones are, and pods that pull from them.

use crate::harness::cluster::free_port;
use crate::harness::{Cluster, Tool};
use crate::lifecycle::pod;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

/// Debian's registry on a port of its own; ends with the test.
pub struct Registry {
    child: Child,
    pub address: String,
}

impl Registry {
    pub fn start(cluster: &Cluster) -> Self {
        let registry = Self::serve(cluster, "");
        // It answers once it listens; until then a connection is refused, which kubectl's client would retry as well.
        let answers = (0..2000).any(|_| {
            std::thread::yield_now();
            crate::services::try_get(&registry.address, "/v2/").is_ok()
        });
        assert!(
            answers || registry.wait_until_listening("http"),
            "the registry does not answer"
        );
        registry
    }

    /// Another door to the same images, with TLS and whatever the lines (of YAML) ask for.
    pub fn guarded(cluster: &Cluster, tls: &str, auth: &str) -> Self {
        let registry = Self::serve(cluster, &format!("  tls: {tls}\nauth: {auth}\n"));
        assert!(
            registry.wait_until_listening("https"),
            "the registry does not answer"
        );
        registry
    }

    fn serve(cluster: &Cluster, more: &str) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let folder = cluster.home.path().join("registry");
        let config = cluster.home.path().join(format!("{address}.yml"));
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp:\n  addr: '{address}'\n{more}",
            folder.display()
        );
        std::fs::write(&config, text).expect("written");
        let child = Command::new(Tool::Registry.path())
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the registry starts");
        Self { child, address }
    }

    /// Connection attempts that block: each is answered or refused by the kernel at once, and curl's retry waits between.
    fn wait_until_listening(&self, scheme: &str) -> bool {
        let url = format!("{scheme}://{}/v2/", self.address);
        let args = [
            "-sSk",
            "--retry",
            "60",
            "--retry-connrefused",
            "--retry-delay",
            "1",
            "--retry-max-time",
            "30",
            &url,
        ];
        crate::harness::command::prepare(&Tool::Curl.path(), args)
            .run()
            .status
            .success()
    }

    /// Puts an image there, blob by blob, as `docker push` does.
    pub fn push(&self, cluster: &Cluster, image: &str, name: &str) {
        let folder = cluster.home.path().join("pushed");
        let archive = cluster.home.path().join("pushed.tar");
        cluster.isopod(&format!("image save {image} --file {}", archive.display()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let tar = crate::harness::command::prepare(
            "tar".as_ref(),
            [
                "-xf",
                archive.to_str().expect("UTF-8"),
                "-C",
                folder.to_str().expect("UTF-8"),
            ],
        );
        tar.run().ok();
        let read = |path: std::path::PathBuf| {
            std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        };
        let json = |bytes: &[u8]| -> serde_json::Value { serde_json::from_slice(bytes).expect("JSON") };
        let blob = |digest: &str| read(folder.join("blobs").join(digest.replace(':', "/")));
        let index = json(&read(folder.join("index.json")));
        let descriptor = &index["manifests"][0];
        let manifest = blob(descriptor["digest"].as_str().expect("a digest"));
        let parsed = json(&manifest);
        let layers = parsed["layers"].as_array().expect("layers").clone();
        for item in layers.iter().chain([&parsed["config"]]) {
            let digest = item["digest"].as_str().expect("a digest");
            self.upload(name, digest, &blob(digest));
        }
        let kind = parsed["mediaType"]
            .as_str()
            .or(descriptor["mediaType"].as_str())
            .expect("a media type");
        let tag = name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        let path = format!("/v2/{}/manifests/{tag}", repository(name));
        let (code, _) = self.curl(
            &[
                "-X",
                "PUT",
                "-H",
                &format!("Content-Type: {kind}"),
                "--data-binary",
                "@-",
            ],
            &path,
            manifest,
        );
        assert_eq!(code, "201", "the manifest was not taken");
    }

    fn upload(&self, name: &str, digest: &str, bytes: &[u8]) {
        let (code, headers) = self.curl(
            &["-X", "POST", "-D", "-"],
            &format!("/v2/{}/blobs/uploads/", repository(name)),
            Vec::new(),
        );
        assert_eq!(code, "202", "{headers}");
        let location = headers
            .lines()
            .find_map(|l| l.strip_prefix("Location: "))
            .expect("a location")
            .trim();
        let path = location
            .split_once(&self.address)
            .map_or(location, |(_, path)| path);
        let joint = if path.contains('?') { '&' } else { '?' };
        let args = [
            "-X",
            "PUT",
            "-H",
            "Content-Type: application/octet-stream",
            "--data-binary",
            "@-",
        ];
        let (code, said) = self.curl(&args, &format!("{path}{joint}digest={digest}"), bytes.to_vec());
        assert_eq!(code, "201", "{said}");
    }

    fn curl(&self, args: &[&str], path: &str, body: Vec<u8>) -> (String, String) {
        let url = format!("http://{}{path}", self.address);
        let all = [&["-sS", "--max-time", "30", "-w", "%{http_code}"], args, &[&url]].concat();
        let said = crate::harness::command::prepare(&Tool::Curl.path(), all)
            .input(body)
            .run()
            .ok();
        let (head, code) = said.split_at(said.len() - 3);
        (code.to_owned(), head.to_owned())
    }
}

fn repository(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(repository, _)| repository)
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Two certificates of one authority: the registry's for TLS, and the token server's for signing.
struct Keys {
    authority: String,
    tls: (String, String),
    signer: (Vec<u8>, KeyPair),
}

impl Keys {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("params");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "test authority");
        let key = KeyPair::generate().expect("a key");
        let authority = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        let of = |name: &str| {
            let params = CertificateParams::new(vec![name.to_owned()]).expect("params");
            let key = KeyPair::generate().expect("a key");
            (params.signed_by(&key, &issuer).expect("a certificate"), key)
        };
        let ((tls, tls_key), (signer, signer_key)) = (of("127.0.0.1"), of("tokens"));
        Self {
            authority,
            tls: (tls.pem(), tls_key.serialize_pem()),
            signer: (signer.der().to_vec(), signer_key),
        }
    }

    /// Says that its bearer may pull from the repository, or (none) nothing.
    fn token(&self, repository: Option<&str>) -> String {
        let header = Header {
            x5c: Some(vec![STANDARD.encode(&self.signer.0)]),
            ..Header::new(Algorithm::ES256)
        };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.expect("after 1970").as_secs();
        let access = repository
            .map(|name| serde_json::json!({"type": "repository", "name": name, "actions": ["pull"]}));
        let claims = serde_json::json!({"iss": "tokens", "sub": "someone", "aud": "registry", "exp": now + 300, "nbf": now - 10,
            "iat": now, "jti": "1", "access": access.into_iter().collect::<Vec<_>>()});
        let key = EncodingKey::from_ec_der(&self.signer.1.serialize_der());
        encode(&header, &claims, &key).expect("a token")
    }
}

/// A token server: `public/…` for anybody, all for `team` with `secret`. Its threads end with the test's process.
fn serve_tokens(keys: Keys) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if let Err(error) = answer(&keys, stream) {
                eprintln!("a token was not given: {error}");
            }
        }
    });
    address
}

fn answer(keys: &Keys, mut stream: TcpStream) -> std::io::Result<()> {
    let (mut repository, mut known) = (String::new(), None);
    for line in BufReader::new(&stream).lines() {
        let line = line?;
        if let Some((_, scope)) = line.split_once("scope=repository%3A") {
            let name = scope.split("%3A").next().unwrap_or_default();
            repository = name.replace("%2F", "/");
        }
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("authorization")
        {
            known = Some(value == format!("Basic {}", STANDARD.encode("team:secret")));
        }
        if line.is_empty() {
            break;
        }
    }
    let may = known == Some(true) || repository.starts_with("public/");
    let (status, body) = match known {
        Some(false) => (
            "401 Unauthorized",
            r#"{"details":"incorrect username or password"}"#.to_owned(),
        ),
        _ => {
            let token = keys.token(may.then_some(repository.as_str()));
            ("200 OK", serde_json::json!({"token": token}).to_string())
        }
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The second registry over TLS with tokens, on the images of the first.
fn guarded(cluster: &Cluster) -> Registry {
    let keys = Keys::new();
    let file = |name: &str, text: &str| {
        let path = cluster.home.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let ca = file("ca.pem", &keys.authority);
    let (certificate, key) = (file("tls.pem", &keys.tls.0), file("tls.key", &keys.tls.1));
    let tls = format!("{{certificate: {certificate}, key: {key}}}");
    let realm = format!("http://{}/token", serve_tokens(keys));
    let auth =
        format!("{{token: {{realm: '{realm}', service: registry, issuer: tokens, rootcertbundle: {ca}}}}}");
    Registry::guarded(cluster, &tls, &auth)
}

fn failing(cluster: &Cluster, name: &str, want: &str) {
    let reason = "jsonpath={.status.containerStatuses[0].state.waiting.reason}=";
    cluster.wait(&format!("pod/{name}"), &format!("{reason}ImagePullBackOff"));
    let waiting = cluster.jsonpath(
        &format!("pod/{name}"),
        "{.status.containerStatuses[0].state.waiting.message}",
    );
    let image = cluster.jsonpath(&format!("pod/{name}"), "{.spec.containers[0].image}");
    let start = format!("Back-off pulling image \"{image}\": ErrImagePull: failed to pull and unpack image ");
    assert!(waiting.starts_with(&start) && waiting.contains(want), "{waiting}");
    let mut events = cluster.watch(&format!(
        "get events --field-selector=involvedObject.name={name} -w --no-headers"
    ));
    let failed = format!("Failed to pull image \"{image}\": failed to pull and unpack image ");
    for text in [failed.as_str(), "Error: ErrImagePull", "Error: ImagePullBackOff"] {
        if !events.seen.iter().any(|line| line.contains(text)) {
            events.until_contains(text);
        }
    }
    let told = events
        .seen
        .iter()
        .any(|line| line.contains(&failed) && line.contains(want));
    assert!(told, "{:?}", events.seen);
}

/// Gives the registry its authority, by way of a file that is not there.
fn trust(cluster: &Cluster, address: &str) {
    let settings = cluster.home.path().join("up.yml");
    let text = format!(
        "registries:\n  {address}: {{ca: {}}}\n",
        cluster.home.path().join("none.pem").display()
    );
    std::fs::write(&settings, &text).expect("written");
    cluster.isopod("down");
    let up = format!("up --config {}", settings.display());
    let said = cluster.isopod_with(&up).run().fails();
    assert!(
        said.contains(&format!("registries: {address}: ca: cannot read ")),
        "{said}"
    );
    std::fs::write(&settings, text.replace("none.pem", "ca.pem")).expect("written");
    cluster.isopod(&up);
    // It is kept: the next `up` needs no file.
    cluster.isopod("down");
    std::fs::remove_file(&settings).expect("removed");
    cluster.up().ok();
}

/// What a user of a private registry goes through: its authority, its tokens, the pod's secret.
#[test]
fn pulled_over_tls_with_tokens() {
    let tools = [Tool::Registry, Tool::Curl];
    let Some(cluster) = Cluster::with_images("pulled_over_tls_with_tokens", &tools) else {
        return;
    };
    let open = Registry::start(&cluster);
    for repository in ["public", "private"] {
        open.push(&cluster, "busybox:1", &format!("{repository}/busybox:1"));
    }
    let registry = guarded(&cluster);
    let address = registry.address.clone();
    let with = |name: &str, repository: &str, secret: &str| {
        let more = format!("imagePullSecrets: [{{name: {secret}}}]");
        pod(name, "echo pulled; sleep 3600", &more, "imagePullPolicy: Always")
            .replace("busybox:1", &format!("{address}/{repository}/busybox:1"))
    };
    cluster.apply(&with("untrusted", "public", "none"));
    failing(
        &cluster,
        "untrusted",
        &format!("x509: certificate signed by unknown authority; if you trust it, give {address} a \"ca\""),
    );

    trust(&cluster, &address);
    for (secret, password) in [("right", "secret"), ("wrong", "guess")] {
        cluster.kubectl(&format!(
            "create secret docker-registry {secret} --docker-server={address} --docker-username=team --docker-password={password}"
        ));
    }
    cluster.apply(
        &[
            with("anybody", "public", "none"),
            with("nobody", "private", "none"),
            with("team", "private", "right"),
            with("guessed", "private", "wrong"),
        ]
        .concat(),
    );
    for name in ["untrusted", "anybody", "team"] {
        cluster.wait(&format!("pod/{name}"), "condition=Ready");
    }
    failing(
        &cluster,
        "nobody",
        "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
    );
    failing(
        &cluster,
        "guessed",
        "401 Unauthorized - Server message: incorrect username or password",
    );
    let pulled = cluster.isopod(&format!("image pull {address}/public/busybox:1"));
    assert!(pulled.contains("pulled "), "{pulled}");
    // Their files are the cluster's neighbours, and count as traces.
    drop((open, registry));
    cluster.remove();
}
