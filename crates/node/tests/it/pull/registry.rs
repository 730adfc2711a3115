//! Debian's `docker-registry` on loopback: open, behind passwords or tokens, over TLS. Images are pushed past the guard.

use crate::images::{Scratch, open};
use node::images::{Build, Source};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// bcrypt of `secret`, for the user `team`.
const HTPASSWD: &str = "team:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What stands between the registry and its users.
#[derive(Default)]
pub struct Guard<'a> {
    pub passwords: bool,
    /// Lines of the configuration under `auth: token:`.
    pub token: Option<String>,
    /// A certificate and its key, PEM.
    pub tls: Option<(&'a str, &'a str)>,
}

/// A registry of its own; ends with the value.
pub struct Registry {
    /// Where it is guarded.
    pub host: String,
    /// Where it is not; the same one where there is no guard.
    open: String,
    children: Vec<Child>,
    dir: Scratch,
}

impl Drop for Registry {
    fn drop(&mut self) {
        for child in &mut self.children {
            if let Err(error) = child.kill().and_then(|()| child.wait()) {
                eprintln!("the registry did not end: {error}");
            }
        }
    }
}

/// A port that nobody listens on; it may be taken before it is used, which then fails loudly.
pub fn closed_address() -> String {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    address.expect("a free port").to_string()
}

impl Registry {
    pub fn open() -> Option<Registry> {
        let mut registry = Registry {
            host: String::new(),
            open: closed_address(),
            children: Vec::new(),
            dir: Scratch::new(),
        };
        registry.host = registry.open.clone();
        let open = registry.open.clone();
        registry.serve(&open, "").then_some(registry)
    }

    pub fn guarded(guard: &Guard<'_>) -> Option<Registry> {
        let mut registry = Registry::open()?;
        registry.host = closed_address();
        let file = |name: &str, text: &str| {
            let path = registry.dir.path().join(name);
            fs::write(&path, text).expect("write");
            path.display().to_string()
        };
        let mut more = String::new();
        if let Some((certificate, key)) = guard.tls {
            let (certificate, key) = (file("tls.pem", certificate), file("tls.key", key));
            more.push_str(&format!(
                "  tls:\n    certificate: {certificate}\n    key: {key}\n"
            ));
        }
        if guard.passwords {
            let path = file("htpasswd", HTPASSWD);
            more.push_str(&format!(
                "auth:\n  htpasswd:\n    realm: test\n    path: {path}\n"
            ));
        }
        if let Some(token) = &guard.token {
            more.push_str(&format!("auth:\n  token:\n{token}"));
        }
        let host = registry.host.clone();
        registry.serve(&host, &more).then_some(registry)
    }

    fn serve(&mut self, address: &str, more: &str) -> bool {
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n{more}",
            self.dir.path().join("registry").display()
        );
        let config_file = self.dir.path().join(format!("{address}.yml"));
        fs::write(&config_file, config).expect("write");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config_file);
        match command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(child) => self.children.push(child),
            Err(error) => {
                eprintln!("SKIPPED: needs docker-registry (apt-get install docker-registry): {error}");
                return false;
            }
        }
        for _ in 0..500 {
            if TcpStream::connect(address).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20)); // pause: the registry says nothing when it is up
        }
        panic!("the registry does not answer");
    }

    /// Builds an image (its content depends on `text`) and pushes it; returns the manifest.
    pub async fn push(&self, name: &str, text: &str) -> Vec<u8> {
        let (manifest, blobs) = build(text);
        for blob in blobs {
            self.push_blob(name, blob).await;
        }
        self.push_manifest(name, manifest.clone(), MANIFEST).await;
        manifest
    }

    /// Returns the digest.
    pub async fn push_blob(&self, name: &str, bytes: Vec<u8>) -> String {
        let digest = node::images::Digest::of(&bytes).to_string();
        let repository = name.rsplit_once(':').map_or(name, |(repository, _)| repository);
        let url = format!("http://{}/v2/{repository}/blobs/uploads/", self.open);
        let begun = client().post(url).send().await.expect("an upload");
        let location = begun.headers()["location"].to_str().expect("text").to_owned();
        let joint = if location.contains('?') { '&' } else { '?' };
        let put = client().put(format!("{location}{joint}digest={digest}"));
        let done = put.body(bytes).send().await.expect("push blob");
        assert_eq!(done.status(), 201, "{:?}", done.text().await);
        digest
    }

    pub async fn push_manifest(&self, name: &str, manifest: Vec<u8>, media_type: &str) {
        let (repository, version) = name.rsplit_once(':').expect("a tag");
        let url = format!("http://{}/v2/{repository}/manifests/{version}", self.open);
        let put = client()
            .put(url)
            .header("content-type", media_type)
            .body(manifest);
        let done = put.send().await.expect("push manifest");
        assert_eq!(done.status(), 201, "{:?}", done.text().await);
    }

    pub fn blob_file(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let root = self.dir.path().join("registry/docker/registry/v2/blobs/sha256");
        root.join(&hex[..2]).join(hex).join("data")
    }
}

/// A small image whose one layer has `text` in /file: its manifest, and its blobs.
pub fn build(text: &str) -> (Vec<u8>, Vec<Vec<u8>>) {
    let scratch = Scratch::new();
    let images = open(scratch.path());
    let tree = scratch.path().join("tree");
    fs::create_dir(&tree).expect("mkdir");
    fs::write(tree.join("file"), text).expect("write");
    let built = images.build(&Build::new("x:1", Source::Folder(tree)));
    let digest = built.expect("build").digest;
    let folder = scratch.path().join("images/blobs/sha256");
    let read = |path: &Path| fs::read(path).expect("read");
    let blobs = fs::read_dir(&folder).expect("list");
    let blobs = blobs.map(|blob| read(&blob.expect("entry").path())).collect();
    (read(&folder.join(digest.hex())), blobs)
}

fn client() -> reqwest::Client {
    // Whoever is first installs it; the others find it there.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("a TLS provider is there");
    }
    reqwest::Client::builder().no_proxy().build().expect("a client")
}
