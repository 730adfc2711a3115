//! Pulls from a real registry (Debian's `docker-registry`) on loopback; skipped, with the reason, where there is none.

mod faults;
mod registry;
mod stub;
mod tls;
mod token;

use crate::images::{Scratch, open};
use node::images::auth::Credentials;
use node::images::{Error, HostConfig, Images, MountPoints, PullError, PullProgress, RegistryConfig};
use registry::{Guard, INDEX, MANIFEST, Registry, closed_address};
use std::fs;
use std::path::Path;
use std::sync::Mutex;

fn nothing(_: PullProgress) {}

async fn pull(images: &Images, name: &str) -> Result<node::images::Image, Error> {
    images.pull(name, &Credentials::default(), &nothing).await
}

fn layer_of(manifest: &[u8]) -> (String, u64) {
    let manifest: serde_json::Value = serde_json::from_slice(manifest).expect("JSON");
    let layer = &manifest["layers"][0];
    (
        layer["digest"].as_str().expect("digest").to_owned(),
        layer["size"].as_u64().expect("size"),
    )
}

fn ingest_is_empty(data: &Path) -> bool {
    fs::read_dir(data.join("images/ingest")).expect("list").count() == 0
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pulled_once_and_runs() {
    let Some(registry) = Registry::open() else {
        return;
    };
    let manifest = registry.push("team/app:1", "hello").await;
    let scratch = Scratch::new();
    let images = open(scratch.path());
    let name = format!("{}/team/app:1", registry.host);
    let seen = Mutex::new(Vec::new());
    let note = |progress: PullProgress| seen.lock().expect("lock").push(progress);
    let image = images
        .pull(&name, &Credentials::default(), &note)
        .await
        .expect("pull");
    let (layer, size) = layer_of(&manifest);
    let last = seen
        .lock()
        .expect("lock")
        .iter()
        .rfind(|p| p.blob == layer)
        .cloned()
        .expect("progress");
    assert_eq!((last.done_bytes, last.total_bytes), (size, size));
    let digest = node::images::Digest::of(&manifest);
    assert_eq!(image.repo_digest, format!("{}/team/app@{digest}", registry.host));
    let root = images
        .rootfs(&image, &scratch.path().join("c"), &MountPoints::default())
        .expect("mount");
    assert_eq!(fs::read_to_string(root.join("file")).expect("read"), "hello");

    // All blobs are there: only the manifest is asked for again.
    fs::remove_file(registry.blob_file(&layer)).expect("the registry loses the layer");
    pull(&images, &name).await.expect("pull again");
    let by_digest = pull(&images, &image.repo_digest).await.expect("by digest");
    assert_eq!(by_digest.id, image.id);
    assert!(ingest_is_empty(scratch.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pulls_of_one_image_at_once() {
    let Some(registry) = Registry::open() else {
        return;
    };
    registry.push("app:1", &"x".repeat(3_000_000)).await;
    let scratch = Scratch::new();
    let images = open(scratch.path());
    let name = format!("{}/app:1", registry.host);
    let downloads = Mutex::new(0u64);
    let count = |progress: PullProgress| {
        // Each download of the layer passes its middle once or never, a found one reports only its end.
        if progress.done_bytes < progress.total_bytes && progress.total_bytes > 1_000_000 {
            *downloads.lock().expect("lock") += 1;
        }
    };
    let credentials = Credentials::default();
    let pulls = (0..8).map(|_| images.pull(&name, &credentials, &count));
    let results = futures::future::join_all(pulls).await;
    let ids: std::collections::BTreeSet<String> = results
        .into_iter()
        .map(|result| result.expect("pull").id.to_string())
        .collect();
    assert_eq!(ids.len(), 1);
    let chunks = *downloads.lock().expect("lock");
    assert!(chunks > 0, "the layer came in more than one piece");
    assert_eq!(images.list().expect("list").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_download_is_resumed_and_a_wrong_one_is_fetched_anew() {
    let Some(registry) = Registry::open() else {
        return;
    };
    let text: String = (0..400_000).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
    let manifest = registry.push("app:1", &text).await;
    let (layer, size) = layer_of(&manifest);
    let whole = fs::read(registry.blob_file(&layer)).expect("the layer");
    let name = format!("{}/app:1", registry.host);
    for (start, what) in [
        (whole[..100_000].to_vec(), "resumed"),
        (vec![7; 100_000], "wrong"),
        (vec![7; whole.len() + 5], "too long"),
    ] {
        let scratch = Scratch::new();
        let images = open(scratch.path());
        let part = scratch
            .path()
            .join("images/ingest")
            .join(format!("{}.part", &layer[7..]));
        fs::write(&part, &start).expect("write");
        let first = Mutex::new(None);
        let note = |progress: PullProgress| {
            if progress.blob == layer {
                first.lock().expect("lock").get_or_insert(progress.done_bytes);
            }
        };
        images
            .pull(&name, &Credentials::default(), &note)
            .await
            .expect(what);
        if what == "resumed" {
            assert!(first.lock().expect("lock").expect("progress") > 100_000 && size > 100_000);
        }
        assert!(ingest_is_empty(scratch.path()), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_read_as_users_know_them_and_leave_nothing() {
    let Some(registry) = Registry::open() else {
        return;
    };
    let manifest = registry.push("app:1", "text").await;
    let scratch = Scratch::new();
    let images = open(scratch.path());
    let host = &registry.host;
    let fails = async |name: String| pull(&images, &name).await.expect_err("refused").to_string();
    for name in [format!("{host}/app:2"), format!("{host}/none:1")] {
        assert_eq!(
            fails(name.clone()).await,
            format!(
                "failed to pull and unpack image \"{name}\": failed to resolve reference \"{name}\": {name}: not found"
            )
        );
    }
    let closed = closed_address();
    let text = fails(format!("{closed}/app:1")).await;
    assert!(
        text.contains("failed to do request") && text.contains("onnection refused"),
        "{text}"
    );
    assert!(fails("Bad".into()).await.contains("invalid reference format"));

    // An index of another platform only.
    let digest = node::images::Digest::of(&manifest).to_string();
    let entry = |os: &str, arch: &str| {
        serde_json::json!({"mediaType": MANIFEST, "digest": digest,
            "size": manifest.len(), "platform": {"os": os, "architecture": arch}})
    };
    let index = |entries: Vec<serde_json::Value>| {
        serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
            .to_string()
            .into_bytes()
    };
    registry
        .push_manifest("app:other", index(vec![entry("plan9", "mips")]), INDEX)
        .await;
    assert!(
        fails(format!("{host}/app:other"))
            .await
            .ends_with("no match for platform in manifest: not found")
    );
    assert_eq!(images.list().expect("list"), []);

    let arch = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    let many = index(vec![entry("windows", arch), entry("linux", arch)]);
    registry.push_manifest("app:many", many.clone(), INDEX).await;
    let image = pull(&images, &format!("{host}/app:many"))
        .await
        .expect("ours is chosen");
    assert_eq!(
        image.repo_digest,
        format!("{host}/app@{}", node::images::Digest::of(&many))
    );
    assert!(
        images.get(&image.repo_digest).expect("lookup").is_some(),
        "found by the index's digest"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_not_what_its_digest_says_is_refused() {
    let Some(registry) = Registry::open() else {
        return;
    };
    let scratch = Scratch::new();
    let images = open(scratch.path());
    let manifest = registry.push("broken:1", "other text").await;
    let file = registry.blob_file(&layer_of(&manifest).0);
    let mut bytes = fs::read(&file).expect("read");
    bytes[600] ^= 1;
    fs::write(&file, bytes).expect("write");
    let name = format!("{}/broken:1", registry.host);
    let text = pull(&images, &name).await.expect_err("refused").to_string();
    assert!(text.contains("blob sha256:") || text.contains("igest"), "{text}");
    assert!(images.get(&name).expect("lookup").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_registry_needs_its_secret() {
    let guard = Guard {
        passwords: true,
        ..Guard::default()
    };
    let Some(registry) = Registry::guarded(&guard) else {
        return;
    };
    registry.push("app:1", "text").await;
    let scratch = Scratch::new();
    let images = open(scratch.path());
    let name = format!("{}/app:1", registry.host);
    let credentials = |password: &str| {
        let json =
            serde_json::json!({"auths": {registry.host.clone(): {"username": "team", "password": password}}});
        Credentials::parse(json.to_string().as_bytes()).expect("parse")
    };
    for wrong in [Credentials::default(), credentials("guess")] {
        let error = images.pull(&name, &wrong, &nothing).await.expect_err("refused");
        assert!(matches!(error, Error::Pull(PullError::Denied { .. })), "{error}");
        assert!(error.to_string().contains("pull access denied"), "{error}");
    }
    // A wrong secret before the right one does not hinder.
    let mut both = credentials("guess");
    both.merge(credentials("secret"));
    images.pull(&name, &both, &nothing).await.expect("pull");
    // The image is there, but a pull without the secret is still refused (policy Always).
    pull(&images, &name).await.expect_err("refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrors_are_tried_before_the_registry() {
    let Some(registry) = Registry::open() else {
        return;
    };
    registry.push("library/app:1", "text").await;
    let scratch = Scratch::new();
    let closed = closed_address();
    let mirrored = HostConfig {
        mirrors: vec![closed, registry.host.clone()],
        ..HostConfig::default()
    };
    let config = RegistryConfig {
        hosts: [("docker.io".to_owned(), mirrored)].into(),
        ..RegistryConfig::default()
    };
    let images = Images::open(scratch.path(), config).expect("open");
    let image = pull(&images, "app:1").await.expect("pull");
    assert_eq!(image.name, "docker.io/library/app:1");
    assert!(image.repo_digest.starts_with("docker.io/library/app@sha256:"));
}
