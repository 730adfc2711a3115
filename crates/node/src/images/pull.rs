//! Pulls images from registries: credentials, mirrors, plain http on loopback, resumed and retried downloads, progress.
//! Errors read as containerd's do, since they end in `ErrImagePull` events that people know.

use super::auth::{Credentials, Login};
use super::error::{Context, Error, Result};
use super::reference::{Digest, Reference, Version};
use super::spec::{DOCKER_INDEX, DOCKER_MANIFEST, Index, Manifest, OCI_INDEX, OCI_MANIFEST, select_platform};
use super::store::{MAX_DOCUMENT_BYTES, mismatch};
use super::{Image, Images};
use futures::{StreamExt, TryStreamExt};
use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Layers of one image that are fetched at once (containerd's default).
const LAYERS_AT_ONCE: usize = 3;
/// Downloads at once, over all images.
const DOWNLOADS_AT_ONCE: usize = 6;
/// Tries of one download; each goes on where the last ended. Then the pod's own back-off takes over.
pub(super) const TRIES: u32 = 3;
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(200);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Without a byte for this long, a download counts as broken.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// How registries are reached.
#[derive(Clone, Debug, Default)]
pub struct RegistryConfig {
    /// Registries (`host:port`) spoken to over plain http; those on loopback are anyway.
    pub insecure: Vec<String>,
    /// For a registry: `host:port` of mirrors, tried in order before the registry itself.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// The node's own credentials (`~/.docker/config.json`), tried after a pod's.
    pub credentials: Credentials,
}

/// Why a pull failed. The text is what follows `Failed to pull image "…": ` in events.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    #[error(
        "failed to pull and unpack image \"{image}\": failed to resolve reference \"{image}\": {image}: not found"
    )]
    NotFound { image: String },
    #[error(
        "failed to pull and unpack image \"{image}\": failed to resolve reference \"{image}\": pull access denied, repository does not exist or may require authorization: {why}"
    )]
    Denied { image: String, why: String },
    #[error(
        "failed to pull and unpack image \"{image}\": failed to resolve reference \"{image}\": failed to do request: {why}"
    )]
    Unreachable { image: String, why: String },
    #[error("failed to pull and unpack image \"{image}\": no match for platform in manifest: not found")]
    NoPlatform { image: String },
    #[error("failed to pull and unpack image \"{image}\": {why}")]
    Failed { image: String, why: String },
}

/// One step of a download; layers come side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct PullProgress {
    /// Digest of the layer or config.
    pub blob: String,
    pub done_bytes: u64,
    pub total_bytes: u64,
}

/// Locks by name, so that the same image or layer is fetched once at a time; bounded by what is in use.
#[derive(Default)]
pub(super) struct KeyedLocks(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl KeyedLocks {
    pub(super) async fn lock(&self, key: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            locks.entry(key.to_owned()).or_default().clone()
        };
        lock.lock_owned().await
    }
}

pub(super) struct Registry {
    config: RegistryConfig,
    names: KeyedLocks,
    pub(super) blobs: KeyedLocks,
    pub(super) downloads: Semaphore,
}

impl Registry {
    pub fn new(config: RegistryConfig) -> Registry {
        Registry {
            config,
            names: KeyedLocks::default(),
            blobs: KeyedLocks::default(),
            downloads: Semaphore::new(DOWNLOADS_AT_ONCE),
        }
    }
}

/// What one pull needs at every step.
pub(super) struct Session<'a> {
    pub(super) images: &'a Images,
    pub(super) client: Client,
    /// Where it is fetched from: the registry or a mirror.
    pub(super) remote: oci_client::Reference,
    pub(super) auth: RegistryAuth,
    /// The canonical name, for messages.
    name: String,
    pub(super) progress: &'a (dyn Fn(PullProgress) + Send + Sync),
}

impl Images {
    /// Fetches the image by its pod's credentials, then the node's, then none. What is in the store is not fetched
    /// again: pulling what is there costs one request. Layers are unpacked by `rootfs` or `unpack`.
    pub async fn pull(
        &self,
        name: &str,
        credentials: &Credentials,
        progress: &(dyn Fn(PullProgress) + Send + Sync),
    ) -> Result<Image> {
        let reference: Reference = name.parse()?;
        let _one = self.inner.registry.names.lock(&reference.to_string()).await;
        let store = self.clone();
        let _using = blocking(move || store.inner.store.using()).await?;
        let config = &self.inner.registry.config;
        let mut endpoints = config
            .mirrors
            .get(&reference.registry)
            .cloned()
            .unwrap_or_default();
        endpoints.push(reference.registry.clone());
        let mut last = None;
        for endpoint in &endpoints {
            for auth in logins(credentials, &config.credentials, &reference) {
                let session = self.session(&reference, endpoint, auth, progress)?;
                match session.run(&reference).await {
                    Ok(image) => return Ok(image),
                    // Other credentials may be let in, and another endpoint may have it.
                    Err(error @ Error::Pull(PullError::Denied { .. })) => last = Some(error),
                    Err(error) => {
                        last = Some(error);
                        break;
                    }
                }
            }
        }
        // At least the registry itself was tried, without credentials if there are none.
        Err(last.unwrap_or(Error::Pull(PullError::NotFound {
            image: reference.to_string(),
        })))
    }

    fn session<'a>(
        &'a self,
        reference: &Reference,
        endpoint: &str,
        auth: RegistryAuth,
        progress: &'a (dyn Fn(PullProgress) + Send + Sync),
    ) -> Result<Session<'a>> {
        install_crypto();
        let host = if endpoint == "docker.io" {
            "registry-1.docker.io"
        } else {
            endpoint
        };
        let plain = is_loopback(host) || self.inner.registry.config.insecure.iter().any(|h| h == host);
        let config = ClientConfig {
            protocol: if plain {
                ClientProtocol::Http
            } else {
                ClientProtocol::Https
            },
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            user_agent: "isopod",
            ..ClientConfig::default()
        };
        let failed = |why: String| PullError::Failed {
            image: reference.to_string(),
            why,
        };
        let client = Client::try_from(config)
            .map_err(|e| failed(format!("cannot set up the registry client: {}", with_causes(&e))))?;
        let (host, repository) = (host.to_owned(), reference.repository.clone());
        let remote = match &reference.version {
            Version::Tag(tag) => oci_client::Reference::with_tag(host, repository, tag.clone()),
            Version::Digest(digest) => {
                oci_client::Reference::with_digest(host, repository, digest.to_string())
            }
        };
        Ok(Session {
            images: self,
            client,
            remote,
            auth,
            name: reference.to_string(),
            progress,
        })
    }
}

impl Session<'_> {
    async fn run(&self, reference: &Reference) -> Result<Image> {
        let (mut bytes, resolved) = self.document(&self.remote.clone()).await?;
        if let Version::Digest(wanted) = &reference.version
            && *wanted != resolved
        {
            return Err(mismatch(wanted, &resolved));
        }
        let media_type = self.media_type(&bytes)?;
        if media_type == OCI_INDEX || media_type == DOCKER_INDEX {
            let index: Index = self.understand(&bytes)?;
            let ours = select_platform(&index.manifests).ok_or_else(|| PullError::NoPlatform {
                image: self.name.clone(),
            })?;
            let wanted = self.digest(&ours.digest)?;
            let (manifest, actual) = self
                .document(&self.remote.clone_with_digest(ours.digest.clone()))
                .await?;
            if wanted != actual {
                return Err(mismatch(&wanted, &actual));
            }
            bytes = manifest;
        }
        let manifest: Manifest = self.understand(&bytes)?;
        // Collected, so that no closure lives across the await: the future must be `Send` for any lifetime.
        let blobs: Vec<_> = manifest
            .layers
            .iter()
            .chain([&manifest.config])
            .map(|blob| self.blob(blob))
            .collect();
        futures::stream::iter(blobs)
            .buffer_unordered(LAYERS_AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        let (images, reference) = (self.images.clone(), reference.clone());
        blocking(move || {
            let digest = images.inner.store.put(&bytes)?;
            let repo_digest = format!("{}@{resolved}", reference.name());
            // Checked before it gets a name, so that a manifest of something else than an image leaves none.
            images.read_manifest(&digest, reference.to_string(), None)?;
            images.name_manifest(&reference, &digest, Some(&repo_digest))?;
            images.require(&reference.to_string())
        })
        .await
    }

    async fn document(&self, remote: &oci_client::Reference) -> Result<(Vec<u8>, Digest)> {
        let accept = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX];
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            match self.client.pull_manifest_raw(remote, &self.auth, &accept).await {
                Ok((bytes, _)) if bytes.len() as u64 > MAX_DOCUMENT_BYTES => {
                    return Err(
                        self.failed(format!("its manifest is larger than {MAX_DOCUMENT_BYTES} bytes"))
                    );
                }
                Ok((bytes, _)) => return Ok((bytes.to_vec(), Digest::of(&bytes))),
                Err(error) if attempt < TRIES && is_passing(&error) => {
                    tokio::time::sleep(pause).await; // pause: a bounded back-off
                    pause *= 4;
                }
                Err(error) => return Err(Error::Pull(self.map_error(&error))),
            }
        }
        Err(self.failed("gave up".to_owned())) // not reached: the last attempt returns
    }

    /// Docker's documents may leave out the media type; then the shape says it.
    fn media_type(&self, bytes: &[u8]) -> Result<String> {
        let value: serde_json::Value = self.understand(bytes)?;
        let media_type = value.get("mediaType").and_then(|m| m.as_str());
        match (
            media_type,
            value.get("schemaVersion").and_then(serde_json::Value::as_u64),
        ) {
            (_, Some(1)) => {
                Err(self
                    .failed("it is in Docker's schema 1, which is no longer supported; push it again".into()))
            }
            (Some(media_type), _) => Ok(media_type.to_owned()),
            (None, _) if value.get("manifests").is_some() => Ok(OCI_INDEX.to_owned()),
            (None, _) => Ok(OCI_MANIFEST.to_owned()),
        }
    }

    pub(super) fn digest(&self, text: &str) -> Result<Digest> {
        Digest::parse(text)
            .ok_or_else(|| self.failed(format!("it uses the digest {text:?}; only sha256 is understood")))
    }

    fn understand<T: serde::de::DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        serde_json::from_slice(bytes)
            .map_err(|e| self.failed(format!("its manifest cannot be understood: {e}")))
    }

    pub(super) fn failed(&self, why: String) -> Error {
        Error::Pull(PullError::Failed {
            image: self.name.clone(),
            why,
        })
    }

    pub(super) fn map_error(&self, error: &OciDistributionError) -> PullError {
        let image = self.name.clone();
        let denied = |why: &str| PullError::Denied {
            image: image.clone(),
            why: why.to_owned(),
        };
        let first_code =
            |envelope: &oci_client::errors::OciEnvelope| match envelope.errors.first().map(|e| &e.code) {
                Some(OciErrorCode::Unauthorized | OciErrorCode::Denied) => 401,
                Some(
                    OciErrorCode::ManifestUnknown
                    | OciErrorCode::NameUnknown
                    | OciErrorCode::NotFound
                    | OciErrorCode::BlobUnknown,
                ) => 404,
                _ => 400,
            };
        let code = match error {
            OciDistributionError::ImageManifestNotFoundError(_) => 404,
            OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_) => 401,
            OciDistributionError::RegistryError { envelope, .. } => first_code(envelope),
            OciDistributionError::ServerError { code, .. } => *code,
            OciDistributionError::RequestError(_) => {
                return PullError::Unreachable {
                    image,
                    why: with_causes(error),
                };
            }
            _ => 0,
        };
        match code {
            404 => PullError::NotFound { image },
            401 | 403 => denied("authorization failed"),
            _ => PullError::Failed {
                image,
                why: with_causes(error),
            },
        }
    }
}

fn logins(pod: &Credentials, node: &Credentials, reference: &Reference) -> Vec<RegistryAuth> {
    let (registry, repository) = (&reference.registry, &reference.repository);
    let found = pod
        .lookup(registry, repository)
        .into_iter()
        .chain(node.lookup(registry, repository));
    let mut logins: Vec<RegistryAuth> = found
        .map(|login| match login {
            Login::Basic { username, password } => RegistryAuth::Basic(username.clone(), password.clone()),
            Login::Bearer(token) => RegistryAuth::Bearer(token.clone()),
        })
        .collect();
    logins.push(RegistryAuth::Anonymous);
    logins
}

pub(super) fn is_passing(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::RequestError(error) => !error.is_connect() && !error.is_builder(),
        OciDistributionError::ServerError { code, .. } => *code >= 500 || *code == 429,
        OciDistributionError::IoError(_) => true,
        _ => false,
    }
}

/// `localhost`, 127.0.0.0/8 and ::1, with or without a port.
fn is_loopback(host: &str) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    bare == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// The whole chain on one line: the outermost error alone says "error sending request" and no more.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let line = inner.to_string();
        if !text.ends_with(&line) {
            text = format!("{text}: {line}");
        }
        cause = inner.source();
    }
    text
}

/// The TLS library panics without a provider; whoever installed one first is fine.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if rustls::crypto::ring::default_provider()
            .install_default()
            .is_err()
        {
            tracing::debug!("a TLS provider is installed already");
        }
    });
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(std::io::Error::other)
        .at("run", Path::new("disk work"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_plain() {
        for (host, want) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("[::1]:5000", true),
            ("registry.example:5000", false),
            ("128.0.0.1", false),
            ("localhost.evil.example", false),
        ] {
            assert_eq!(is_loopback(host), want, "{host}");
        }
    }
}
