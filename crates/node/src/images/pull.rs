//! Pulls images from registries: mirrors, credentials, resumed and retried downloads, progress.
//! Errors read as containerd's do, since they end in `ErrImagePull` events that people know.

use super::auth::{Credentials, Login};
use super::error::{Context, Error, Result};
use super::hosts::{Endpoint, RegistryConfig};
use super::reference::{Digest, Reference, Version};
use super::registry::{Remote, Trouble, body_up_to, causes};
use super::spec::{DOCKER_INDEX, DOCKER_MANIFEST, Index, Manifest, OCI_INDEX, OCI_MANIFEST, select_platform};
use super::store::{MAX_DOCUMENT_BYTES, mismatch};
use super::{Image, Images};
use futures::{StreamExt, TryStreamExt};
use reqwest::Method;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Layers of one image that are fetched at once (containerd's default).
const LAYERS_AT_ONCE: usize = 3;
/// Downloads at once, over all images.
const DOWNLOADS_AT_ONCE: usize = 6;
/// Tries of one download; each goes on where the last ended. Then the pod's own back-off takes over.
const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest wait that a registry may ask for; what is longer is left to the pod's own back-off.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(10);
/// Of a whole manifest: it is small, and a registry must not trickle it for ever.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(120);
const ACCEPT: [&str; 4] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX];
const DIGEST_HEADER: &str = "docker-content-digest";

/// Why a pull failed. The text is what follows `Failed to pull image "…": ` in events.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    #[error(
        "failed to pull and unpack image \"{image}\": failed to resolve reference \"{image}\": {image}: not found"
    )]
    NotFound { image: String },
    /// These credentials (or none) are not enough.
    #[error("failed to pull and unpack image \"{image}\": failed to resolve reference \"{image}\": {why}")]
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
    pub fn config(&self) -> &RegistryConfig {
        &self.config
    }

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
    /// Where it is fetched from: the registry or a mirror.
    pub(super) remote: Remote,
    /// The canonical name, for messages.
    name: String,
    pub(super) progress: &'a (dyn Fn(PullProgress) + Send + Sync),
}

impl Images {
    /// Fetches the image by its pod's credentials, then the node's; without any, as anybody. What is in the store is
    /// not fetched again: pulling what is there costs one request. Layers are unpacked by `rootfs` or `unpack`.
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
        let config = self.inner.registry.config.clone();
        let mut all = credentials.clone();
        all.merge(blocking(move || Ok(node_credentials(&config))).await?);
        let mut last = None;
        for endpoint in self.inner.registry.config.endpoints(&reference) {
            for login in logins(&all, &endpoint, &reference) {
                let session = self
                    .session(&reference, endpoint.clone(), login, progress)
                    .await?;
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

    async fn session<'a>(
        &'a self,
        reference: &Reference,
        endpoint: Endpoint,
        login: Option<Login>,
        progress: &'a (dyn Fn(PullProgress) + Send + Sync),
    ) -> Result<Session<'a>> {
        let (name, repository) = (reference.to_string(), reference.repository.clone());
        let read_timeout = self.inner.registry.config.read_timeout;
        let remote = blocking(move || {
            Remote::new(endpoint, &repository, login, read_timeout)
                .map_err(|why| Error::Pull(PullError::Failed { image: name, why }))
        });
        Ok(Session {
            images: self,
            remote: remote.await?,
            name: reference.to_string(),
            progress,
        })
    }
}

impl Session<'_> {
    async fn run(&self, reference: &Reference) -> Result<Image> {
        if let Some(image) = self.unchanged(reference).await? {
            return Ok(image);
        }
        let version = match &reference.version {
            Version::Tag(tag) => tag.clone(),
            Version::Digest(digest) => digest.to_string(),
        };
        let (mut bytes, resolved) = self.document(&version).await?;
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
            let (manifest, actual) = self.document(&ours.digest).await?;
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

    /// What is here under this tag, if the registry has the same. Docker Hub's limits count manifests that are fetched,
    /// not questions for their digest.
    async fn unchanged(&self, reference: &Reference) -> Result<Option<Image>> {
        let (images, name) = (self.images.clone(), reference.to_string());
        let Version::Tag(tag) = &reference.version else {
            return Ok(None);
        };
        // One that is damaged here is fetched anew.
        let Ok(Some(image)) = blocking(move || images.get(&name)).await else {
            return Ok(None);
        };
        // Whatever is wrong with the answer, the whole question follows and says it.
        let Ok(answer) = self.remote.manifest(Method::HEAD, tag, &ACCEPT).await else {
            return Ok(None);
        };
        let digest = answer.headers().get(DIGEST_HEADER).and_then(|d| d.to_str().ok());
        let same = digest.is_some_and(|digest| image.repo_digest == format!("{}@{digest}", reference.name()));
        Ok(same.then_some(image))
    }

    async fn document(&self, version: &str) -> Result<(Vec<u8>, Digest)> {
        let mut tries = Tries::default();
        loop {
            let answer = tokio::time::timeout(DOCUMENT_TIMEOUT, self.try_document(version)).await;
            let error = match answer {
                Ok(Ok(bytes)) => return Ok(bytes),
                Ok(Err(failure)) => failure,
                Err(_) => {
                    let why = format!(
                        "its manifest did not come within {} s",
                        DOCUMENT_TIMEOUT.as_secs()
                    );
                    return Err(self.failed(why));
                }
            };
            tries.pause_or_give_up(error).await?;
        }
    }

    async fn try_document(&self, version: &str) -> std::result::Result<(Vec<u8>, Digest), Failure> {
        let answer = self.remote.manifest(Method::GET, version, &ACCEPT).await;
        let mut answer = answer.map_err(|trouble| self.failure(trouble, Part::Manifest))?;
        let said = answer.headers().get(DIGEST_HEADER).and_then(|d| d.to_str().ok());
        let said = said.and_then(Digest::parse);
        let (bytes, end) = body_up_to(&mut answer, MAX_DOCUMENT_BYTES as usize).await;
        if let Err(error) = end {
            let why = format!("its manifest was cut short: {}", causes(&error));
            return Err(Failure::passing(self.failed(why)));
        }
        if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
            let why = format!("its manifest is larger than {MAX_DOCUMENT_BYTES} bytes");
            return Err(Failure::Final(self.failed(why)));
        }
        let actual = Digest::of(&bytes);
        match said {
            Some(said) if said != actual => Err(Failure::passing(mismatch(&said, &actual))),
            _ => Ok((bytes, actual)),
        }
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

    pub(super) fn failure(&self, trouble: Trouble, part: Part<'_>) -> Failure {
        let (passing, wait) = (trouble.is_passing(), trouble.retry_after());
        let error = Error::Pull(self.pull_error(trouble, part));
        match passing {
            true => Failure::Passing { error, wait },
            false => Failure::Final(error),
        }
    }

    fn pull_error(&self, trouble: Trouble, part: Part<'_>) -> PullError {
        let image = self.name.clone();
        match (trouble, part) {
            (Trouble::NotFound(_), Part::Manifest) => PullError::NotFound { image },
            (Trouble::NotFound(_), Part::Blob(digest)) => PullError::Failed {
                image,
                why: format!(
                    "failed to copy: the registry does not have {digest}, which its manifest names: not found"
                ),
            },
            (Trouble::Denied(why), _) => PullError::Denied { image, why },
            (Trouble::Token(trouble), _) => {
                let why = format!(
                    "failed to authorize: failed to fetch {} token: {}",
                    self.remote.token_kind(),
                    trouble.why()
                );
                match *trouble {
                    Trouble::Denied(_) => PullError::Denied { image, why },
                    _ => PullError::Failed {
                        image: image.clone(),
                        why: resolving(&image, why),
                    },
                }
            }
            (Trouble::Request { why, .. }, Part::Manifest) => PullError::Unreachable { image, why },
            (Trouble::Request { why, .. }, Part::Blob(_)) => PullError::Failed {
                image,
                why: format!("failed to copy: failed to do request: {why}"),
            },
            (Trouble::Status { why, .. }, Part::Manifest) => PullError::Failed {
                image: image.clone(),
                why: resolving(&image, why),
            },
            (Trouble::Status { why, .. }, Part::Blob(_)) => PullError::Failed {
                image,
                why: format!("failed to copy: {why}"),
            },
        }
    }
}

fn resolving(image: &str, why: String) -> String {
    format!("failed to resolve reference \"{image}\": {why}")
}

/// What was asked for, for the message.
#[derive(Clone, Copy)]
pub(super) enum Part<'a> {
    Manifest,
    Blob(&'a str),
}

/// Why one try failed.
pub(super) enum Failure {
    /// Worth another try: the network, the registry's own troubles, content damaged on the way.
    Passing {
        error: Error,
        /// What the registry asks for.
        wait: Option<Duration>,
    },
    Final(Error),
}

impl Failure {
    pub fn passing(error: Error) -> Failure {
        Failure::Passing { error, wait: None }
    }
}

/// A few tries, with pauses that grow or that the registry asks for.
#[derive(Default)]
pub(super) struct Tries(u32);

impl Tries {
    pub async fn pause_or_give_up(&mut self, failure: Failure) -> Result<()> {
        let (error, wait) = match failure {
            Failure::Passing { error, wait } => (error, wait),
            Failure::Final(error) => return Err(error),
        };
        self.0 += 1;
        if self.0 >= TRIES || wait.is_some_and(|wait| wait > MAX_RETRY_AFTER) {
            return Err(error);
        }
        let pause = wait.unwrap_or(FIRST_PAUSE * 4u32.pow(self.0 - 1));
        tokio::time::sleep(pause).await; // pause: a bounded back-off
        Ok(())
    }
}

/// Those for the endpoint itself: a mirror gets no credentials of the registry that it mirrors. Where there are some,
/// nobody asks without, as with kubelet: the message is then about them.
fn logins(all: &Credentials, endpoint: &Endpoint, reference: &Reference) -> Vec<Option<Login>> {
    let found = all.lookup(&endpoint.name, &reference.repository);
    match found.is_empty() {
        true => vec![None],
        false => found.into_iter().map(|login| Some(login.clone())).collect(),
    }
}

/// The node's own; a file that cannot be used is a warning, since most images need no credentials.
fn node_credentials(config: &RegistryConfig) -> Credentials {
    let Some(file) = &config.docker_config else {
        return Credentials::default();
    };
    Credentials::read(file).unwrap_or_else(|why| {
        tracing::warn!(why, "the node's registry logins cannot be used");
        Credentials::default()
    })
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(std::io::Error::other)
        .at("run", Path::new("disk work"))?
}
