//! One blob from a registry: resumed where an earlier try ended, retried a few times, checked against its digest.

use super::error::{Context, Error, Result};
use super::pull::{FIRST_PAUSE, PullProgress, Session, TRIES, blocking, is_passing, with_causes};
use super::reference::Digest;
use super::spec::Descriptor;
use super::store::mismatch;
use futures::StreamExt;
use oci_client::client::{BlobResponse, SizedStream};
use oci_client::errors::OciDistributionError;
use sha2::Digest as _;
use std::io::{Read, Write};
use std::path::Path;

impl Session<'_> {
    pub(super) async fn blob(&self, blob: &Descriptor) -> Result<()> {
        let digest = self.digest(&blob.digest)?;
        let _one = self.images.inner.registry.blobs.lock(digest.hex()).await;
        if self.images.inner.store.has(&digest) {
            self.report(blob, blob.size);
            return Ok(());
        }
        let closed = |_| self.failed("downloads are shut down".to_owned());
        let _slot = self
            .images
            .inner
            .registry
            .downloads
            .acquire()
            .await
            .map_err(closed)?;
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            match self.download(blob, &digest).await {
                Err(Failure::Passing(_)) if attempt < TRIES => {
                    tokio::time::sleep(pause).await; // pause: a bounded back-off
                    pause *= 4;
                }
                Err(Failure::Passing(error) | Failure::Final(error)) => return Err(error),
                Ok(()) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Fetches what is not in the partial file yet, then checks the whole.
    async fn download(&self, blob: &Descriptor, digest: &Digest) -> std::result::Result<(), Failure> {
        let path = self.images.inner.store.partial_path(digest);
        let partial = path.clone();
        let (mut hash, mut done, mut file) = blocking(move || open_partial(&partial))
            .await
            .map_err(Failure::Final)?;
        if done > 0 && done >= blob.size {
            // Whole but unverified, or wrong: verified below; a wrong one is removed there.
            return self.finish(&path, digest, hash).await;
        }
        let (mut stream, from_start) = self.open(blob, done).await?;
        if from_start && done > 0 {
            file.set_len(0).at("truncate", &path).map_err(Failure::Final)?;
            (hash, done) = (sha2::Sha256::new(), 0);
        }
        loop {
            let chunk = match stream.stream.next().await {
                None => break,
                Some(Ok(chunk)) => chunk,
                Some(Err(error)) => {
                    let why = format!("failed to copy {}: {}", blob.digest, with_causes(&error));
                    return Err(Failure::Passing(self.failed(why)));
                }
            };
            done += chunk.len() as u64;
            if done > blob.size {
                drop_partial(&path)?;
                let why = format!(
                    "{} is larger than the {} bytes that its manifest says",
                    blob.digest, blob.size
                );
                return Err(Failure::Final(self.failed(why)));
            }
            hash.update(&chunk);
            file.write_all(&chunk)
                .at("write", &path)
                .map_err(Failure::Final)?;
            self.report(blob, done);
        }
        if done < blob.size {
            let why = format!(
                "{} ended after {done} of {} bytes: unexpected EOF",
                blob.digest, blob.size
            );
            return Err(Failure::Passing(self.failed(why)));
        }
        self.finish(&path, digest, hash).await
    }

    /// The blob's bytes from `done` on, or (true) from the start when the registry does not resume.
    async fn open(&self, blob: &Descriptor, done: u64) -> std::result::Result<(SizedStream, bool), Failure> {
        let layer = oci_client::manifest::OciDescriptor {
            media_type: blob.media_type.clone(),
            digest: blob.digest.clone(),
            size: i64::try_from(blob.size).unwrap_or(i64::MAX),
            ..Default::default()
        };
        self.client
            .store_auth_if_needed(self.remote.resolve_registry(), &self.auth)
            .await;
        let offset = (done > 0).then_some(done);
        let answer = match offset {
            Some(offset) => {
                self.client
                    .pull_blob_stream_partial(&self.remote, &layer, offset, None)
                    .await
            }
            None => self
                .client
                .pull_blob_stream(&self.remote, &layer)
                .await
                .map(BlobResponse::Full),
        };
        match answer.map_err(|error| self.failure(&error))? {
            BlobResponse::Partial(stream) => Ok((stream, false)),
            BlobResponse::Full(stream) => Ok((stream, true)),
        }
    }

    async fn finish(
        &self,
        path: &Path,
        digest: &Digest,
        hash: sha2::Sha256,
    ) -> std::result::Result<(), Failure> {
        let actual = Digest::from_hash(&hash.finalize());
        if actual != *digest {
            drop_partial(path)?;
            return Err(Failure::Passing(mismatch(digest, &actual)));
        }
        let (images, path, digest) = (self.images.clone(), path.to_path_buf(), digest.clone());
        blocking(move || images.inner.store.adopt(&path, &digest))
            .await
            .map_err(Failure::Final)
    }

    fn report(&self, blob: &Descriptor, done_bytes: u64) {
        (self.progress)(PullProgress {
            blob: blob.digest.clone(),
            done_bytes,
            total_bytes: blob.size,
        });
    }

    fn failure(&self, error: &OciDistributionError) -> Failure {
        let mapped = Error::Pull(self.map_error(error));
        match is_passing(error) {
            true => Failure::Passing(mapped),
            false => Failure::Final(mapped),
        }
    }
}

enum Failure {
    /// Worth another try: the network, the registry's own troubles, content damaged on the way.
    Passing(Error),
    Final(Error),
}

fn drop_partial(path: &Path) -> std::result::Result<(), Failure> {
    super::remove_any(path).map_err(Failure::Final)
}

/// The partial file, with the hash and count of what is in it.
fn open_partial(path: &Path) -> Result<(sha2::Sha256, u64, std::fs::File)> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .read(true)
        .append(true)
        .create(true)
        .open(path)
        .at("open", path)?;
    let (mut hash, mut done) = (sha2::Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer).at("read", path)?;
        if count == 0 {
            return Ok((hash, done, file));
        }
        hash.update(&buffer[..count]);
        done += count as u64;
    }
}
