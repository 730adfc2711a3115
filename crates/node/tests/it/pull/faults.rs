//! Registries that misbehave, or behave as the big ones do: tokens that end, blobs elsewhere, limits, silence, damage.

use super::registry::{INDEX, MANIFEST, Registry, build};
use super::stub::{Answer, Asked, Stub, answer, with_header};
use super::{nothing, pull};
use crate::images::Scratch;
use node::images::auth::Credentials;
use node::images::{Digest, Error, Images, MountPoints, RegistryConfig};
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a registry has of one image.
#[derive(Clone)]
struct Content {
    manifest: Vec<u8>,
    blobs: Arc<HashMap<String, Vec<u8>>>,
}

impl Content {
    fn of(text: &str) -> Content {
        let (manifest, blobs) = build(text);
        let named = |blob: Vec<u8>| (Digest::of(&blob).to_string(), blob);
        Content {
            manifest,
            blobs: Arc::new(blobs.into_iter().map(named).collect()),
        }
    }

    fn answer(&self, asked: &Asked) -> Answer {
        let (_, what) = asked.path.rsplit_once('/').expect("a path");
        match asked.path.contains("/manifests/") {
            true => with_header(answer(200, self.manifest.clone()), "content-type", MANIFEST),
            false => answer(200, self.blobs[what].clone()),
        }
    }
}

/// An answer that is no help.
type Bad = Box<dyn Fn() -> Answer + Send + Sync>;
/// What the message says, how often it is asked, for what, and what comes.
type Case = (&'static str, usize, fn(&Asked) -> bool, Bad);

fn is_blob(asked: &Asked) -> bool {
    asked.path.contains("/blobs/")
}

async fn pull_from(stub: &Stub) -> Result<node::images::Image, Error> {
    let scratch = Scratch::new();
    let config = RegistryConfig {
        read_timeout: Duration::from_millis(300),
        ..RegistryConfig::default()
    };
    let images = Images::open(scratch.path(), config).expect("open");
    let name = format!("{}/team/app:1", stub.host);
    images.pull(&name, &Credentials::default(), &nothing).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_is_asked_anew() {
    let content = Content::of("text");
    let given = Arc::new(Mutex::new(0));
    let counter = given.clone();
    let tokens = Stub::start(None, move |_, _| {
        let mut given = counter.lock().expect("lock");
        *given += 1;
        Some(answer(
            200,
            json!({"token": "", "access_token": format!("opaque-{given}")}).to_string(),
        ))
    })
    .await;
    let realm = format!(
        "Bearer realm=\"http://{}/t\",service=\"s\",error=\"invalid_token\"",
        tokens.host
    );
    // The first token ends with the manifest.
    let registry = Stub::start(None, move |asked, _| {
        Some(match asked.authorization() {
            Some("Bearer opaque-1") if !is_blob(asked) => content.answer(asked),
            Some("Bearer opaque-2") => content.answer(asked),
            _ => with_header(answer(401, ""), "www-authenticate", &realm),
        })
    })
    .await;
    pull_from(&registry).await.expect("pull");
    assert_eq!(
        *given.lock().expect("lock"),
        2,
        "one for the manifest, one for all blobs"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_elsewhere_come_without_the_authorization() {
    let content = Content::of("text");
    let there = content.clone();
    let cdn = Stub::start(None, move |asked, _| Some(there.answer(asked))).await;
    let elsewhere = cdn.host.clone();
    let registry = Stub::start(None, move |asked, _| match asked.authorization() {
        None => Some(with_header(
            answer(401, ""),
            "www-authenticate",
            "Basic realm=\"r\"",
        )),
        Some(_) if is_blob(asked) => {
            let (_, digest) = asked.path.rsplit_once('/').expect("a digest");
            let to = format!("http://{elsewhere}/blobs/{digest}");
            Some(with_header(answer(307, ""), "location", &to))
        }
        Some(_) => Some(content.answer(asked)),
    })
    .await;
    let scratch = Scratch::new();
    let images = crate::images::open(scratch.path());
    let login = json!({"auths": {registry.host.clone(): {"username": "team", "password": "secret"}}});
    let login = Credentials::parse(login.to_string().as_bytes()).expect("parse");
    let name = format!("{}/team/app:1", registry.host);
    images.pull(&name, &login, &nothing).await.expect("pull");
    let asked = cdn.asked();
    assert_eq!(asked.len(), 2, "layer and config");
    assert!(
        asked.iter().all(|asked| asked.authorization().is_none()),
        "{asked:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn passing_troubles_are_tried_again_as_the_registry_asks() {
    let content = Content::of("text");
    let registry = Stub::start(None, move |asked, before| {
        Some(match (is_blob(asked), before) {
            (false, 0) => answer(503, "<html>later</html>"),
            (true, 0) => with_header(answer(429, ""), "retry-after", "1"),
            _ => content.answer(asked),
        })
    })
    .await;
    let begun = Instant::now();
    pull_from(&registry).await.expect("pull");
    assert!(
        begun.elapsed() >= Duration::from_secs(1),
        "the registry asked for a second"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lasting_troubles_end_with_the_registrys_words() {
    const LIMIT: &str =
        r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
    let limited = || with_header(answer(429, LIMIT), "retry-after", "3600");
    let cases: [Case; 4] = [
        (
            "429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit.",
            1,
            |_| true,
            Box::new(limited),
        ),
        (
            "502 Bad Gateway",
            3,
            |_| true,
            Box::new(|| answer(502, "<html>proxy</html>")),
        ),
        (
            "/blobs/sha256:",
            3,
            is_blob,
            Box::new(|| answer(500, "{\"errors\":[{\"code\":\"UNKNOWN\"}]}")),
        ),
        (
            "403 Forbidden",
            1,
            |_| true,
            Box::new(|| answer(403, "{\"errors\":[]}")),
        ),
    ];
    for (want, tries, of, bad) in cases {
        let content = Content::of("text");
        let registry = Stub::start(None, move |asked, _| match of(asked) {
            true => Some(bad()),
            false => Some(content.answer(asked)),
        })
        .await;
        let text = pull_from(&registry).await.expect_err(want).to_string();
        assert!(
            text.contains("unexpected status from GET request to http://"),
            "{text}"
        );
        assert!(text.contains(want), "{text}");
        let asked = registry.asked();
        let most = asked.iter().filter(|asked| of(asked)).map(|asked| &asked.path);
        let most = most.fold(HashMap::<_, usize>::new(), |mut counts, path| {
            *counts.entry(path).or_default() += 1;
            counts
        });
        assert_eq!(most.values().max(), Some(&tries), "{want}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_registry_is_given_up() {
    let content = Content::of("text");
    let registry = Stub::start(None, move |asked, _| match is_blob(asked) {
        true => None,
        false => Some(content.answer(asked)),
    })
    .await;
    let text = pull_from(&registry).await.expect_err("silence").to_string();
    assert!(
        text.contains("failed to copy: failed to do request: Get \"http://") && text.contains("i/o timeout"),
        "{text}"
    );
    let silent = Stub::start(None, |_, _| None).await;
    let text = pull_from(&silent).await.expect_err("silence").to_string();
    assert!(text.ends_with("the registry went silent: i/o timeout"), "{text}");
    assert_eq!(silent.asked().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_what_was_asked_for_is_refused() {
    let (content, other) = (Content::of("text"), Content::of("other"));
    let wanted = Digest::of(&content.manifest).to_string();
    let replaced = other.clone();
    let registry = Stub::start(None, move |asked, _| Some(replaced.answer(asked))).await;
    let scratch = Scratch::new();
    let images = crate::images::open(scratch.path());
    let name = format!("{}/app@{wanted}", registry.host);
    let text = pull(&images, &name)
        .await
        .expect_err("another manifest")
        .to_string();
    assert!(
        text.contains(&wanted) && text.contains("was damaged on the way"),
        "{text}"
    );

    // Layers are damaged on the way, each time.
    let blobs = content.blobs.iter().map(|(digest, blob)| {
        let mut blob = blob.clone();
        blob.iter_mut().for_each(|byte| *byte ^= 1);
        (digest.clone(), blob)
    });
    let damaged = Content {
        manifest: content.manifest.clone(),
        blobs: Arc::new(blobs.collect()),
    };
    let registry = Stub::start(None, move |asked, _| Some(damaged.answer(asked))).await;
    let text = pull_from(&registry).await.expect_err("damaged").to_string();
    assert!(text.contains("was damaged on the way"), "{text}");

    // A token server that is none, or answers nonsense.
    for (realm, want) in [
        ("ftp://t.example/token".to_owned(), "is no http(s) URL"),
        (
            format!("http://{}/app/manifests/1", registry.host),
            "has no token",
        ),
    ] {
        let challenge = format!("Bearer realm=\"{realm}\"");
        let registry = Stub::start(None, move |_, _| {
            Some(with_header(answer(401, ""), "www-authenticate", &challenge))
        })
        .await;
        let text = pull_from(&registry).await.expect_err(want).to_string();
        assert!(
            text.contains("failed to authorize: failed to fetch anonymous token: ") && text.contains(want),
            "{text}"
        );
    }
}

/// A registry (or what stands before it) that refuses to resume gives the blob from its start.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_resumption_begins_anew() {
    let content = Content::of(&"text".repeat(1000));
    let manifest: serde_json::Value = serde_json::from_slice(&content.manifest).expect("JSON");
    let layer = manifest["layers"][0]["digest"]
        .as_str()
        .expect("a digest")
        .to_owned();
    let registry = Stub::start(None, move |asked, _| match asked.headers.contains_key("range") {
        true => Some(answer(416, "")),
        false => Some(content.answer(asked)),
    })
    .await;
    let scratch = Scratch::new();
    let images = crate::images::open(scratch.path());
    let part = scratch
        .path()
        .join("images/ingest")
        .join(format!("{}.part", &layer[7..]));
    std::fs::write(part, "abc").expect("write");
    pull(&images, &format!("{}/app:1", registry.host))
        .await
        .expect("pull");
}

/// The image `app:ours`, its layer in zstd; returns its manifest.
async fn push_with_zstd(registry: &Registry) -> Vec<u8> {
    let (manifest, blobs) = build("text");
    let mut manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    for blob in blobs {
        registry.push_blob("app", blob).await;
    }
    let layer = manifest["layers"][0]["digest"]
        .as_str()
        .expect("a digest")
        .to_owned();
    let stored = std::fs::read(registry.blob_file(&layer)).expect("the layer");
    let tar = match stored.starts_with(&[0x1f, 0x8b]) {
        true => {
            let mut tar = Vec::new();
            let mut gzip = flate2::read::GzDecoder::new(&stored[..]);
            std::io::Read::read_to_end(&mut gzip, &mut tar).expect("gzip");
            tar
        }
        false => stored,
    };
    let zstd = zstd::encode_all(&tar[..], 3).expect("zstd");
    let size = zstd.len();
    let digest = registry.push_blob("app", zstd).await;
    manifest["layers"][0] =
        json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+zstd", "digest": digest, "size": size});
    let manifest = manifest.to_string().into_bytes();
    registry
        .push_manifest("app:ours", manifest.clone(), MANIFEST)
        .await;
    manifest
}

/// As buildx makes them: several platforms, each with an attestation, layers in zstd.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_many_platforms_with_attestations_and_zstd() {
    let Some(registry) = Registry::open() else {
        return;
    };
    let manifest = push_with_zstd(&registry).await;
    let arch = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    let (digest, size) = (Digest::of(&manifest).to_string(), manifest.len());
    let missing = Digest::of(b"not pushed").to_string();
    let entry = |digest: &str, platform: serde_json::Value| json!({"mediaType": MANIFEST, "digest": digest, "size": size, "platform": platform});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        entry(&missing, json!({"os": "unknown", "architecture": "unknown"})),
        entry(&missing, json!({"os": "linux", "architecture": "s390x"})),
        entry(&missing, json!({"os": "linux", "architecture": arch, "variant": "v3"})),
        entry(&digest, json!({"os": "linux", "architecture": arch})),
        entry(&missing, json!({"os": "unknown", "architecture": "unknown"})),
    ]});
    let index = index.to_string().into_bytes();
    // The registry wants all that an index names; this one is served as Docker Hub would.
    let (ours, host) = (manifest.clone(), registry.host.clone());
    let whole = index.clone();
    let stub = Stub::start(None, move |asked, _| {
        Some(match asked.path.rsplit_once('/').expect("a path").1 {
            "1" => with_header(answer(200, whole.clone()), "content-type", INDEX),
            _ if is_blob(asked) => with_header(
                answer(307, ""),
                "location",
                &format!("http://{host}{}", asked.path),
            ),
            wanted => {
                assert_eq!(wanted, Digest::of(&ours).to_string());
                with_header(answer(200, ours.clone()), "content-type", MANIFEST)
            }
        })
    })
    .await;
    let scratch = Scratch::new();
    let images = crate::images::open(scratch.path());
    let image = pull(&images, &format!("{}/app:1", stub.host))
        .await
        .expect("pull");
    assert_eq!(
        image.repo_digest,
        format!("{}/app@{}", stub.host, Digest::of(&index))
    );
    let root = images
        .rootfs(&image, &scratch.path().join("c"), &MountPoints::default())
        .expect("mount");
    assert_eq!(std::fs::read_to_string(root.join("file")).expect("read"), "text");
}

/// A tag that is here already costs one question for its digest, which Docker Hub does not count as a pull.
#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_tag_is_not_fetched_again() {
    let content = Content::of("text");
    let newer = Content::of("newer");
    let current = Arc::new(Mutex::new(content.clone()));
    let shown = current.clone();
    let registry = Stub::start(None, move |asked, _| {
        let content = shown.lock().expect("lock").clone();
        let digest = Digest::of(&content.manifest).to_string();
        match is_blob(asked) {
            true => Some(content.answer(asked)),
            false => Some(with_header(
                content.answer(asked),
                "docker-content-digest",
                &digest,
            )),
        }
    })
    .await;
    let scratch = Scratch::new();
    let images = crate::images::open(scratch.path());
    let name = format!("{}/app:1", registry.host);
    let first = pull(&images, &name).await.expect("pull");
    let before = registry.asked().len();
    assert_eq!(pull(&images, &name).await.expect("again").id, first.id);
    let methods: Vec<String> = registry.asked()[before..]
        .iter()
        .map(|asked| asked.method.clone())
        .collect();
    assert_eq!(methods, ["HEAD"]);
    *current.lock().expect("lock") = newer;
    assert_ne!(pull(&images, &name).await.expect("a newer one").id, first.id);
}
