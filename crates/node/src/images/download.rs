//! One blob from a registry: resumed where an earlier try ended, retried a few times, checked against its digest.

use super::error::{Context, Result};
use super::pull::{Failure, Part, PullProgress, Session, Tries, blocking};
use super::reference::Digest;
use super::registry::{Trouble, causes};
use super::spec::Descriptor;
use super::store::mismatch;
use http::StatusCode;
use reqwest::Response;
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
        let mut tries = Tries::default();
        while let Err(failure) = self.download(blob, &digest).await {
            tries.pause_or_give_up(failure).await?;
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
        let (mut answer, from_start) = self.open(blob, &path, done).await?;
        if from_start && done > 0 {
            file.set_len(0).at("truncate", &path).map_err(Failure::Final)?;
            (hash, done) = (sha2::Sha256::new(), 0);
        }
        loop {
            let chunk = match answer.chunk().await {
                Ok(None) => break,
                Ok(Some(chunk)) => chunk,
                Err(error) => {
                    let why = match error.is_timeout() {
                        true => format!(
                            "the registry went silent after {done} of {} bytes: i/o timeout",
                            blob.size
                        ),
                        false => causes(&error),
                    };
                    return Err(Failure::passing(
                        self.failed(format!("failed to copy {}: {why}", blob.digest)),
                    ));
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
            return Err(Failure::passing(self.failed(why)));
        }
        self.finish(&path, digest, hash).await
    }

    /// The blob's bytes from `done` on, or (true) from the start when the registry does not resume.
    async fn open(
        &self,
        blob: &Descriptor,
        path: &Path,
        done: u64,
    ) -> std::result::Result<(Response, bool), Failure> {
        match self.remote.blob(&blob.digest, done).await {
            Ok(answer) => {
                let from_start = answer.status() != StatusCode::PARTIAL_CONTENT;
                Ok((answer, from_start))
            }
            // It may be the resumption that is refused: the next try begins anew.
            Err(Trouble::Status {
                why, passing: false, ..
            }) if done > 0 => {
                drop_partial(path)?;
                Err(Failure::passing(self.failed(format!("failed to copy: {why}"))))
            }
            Err(trouble) => Err(self.failure(trouble, Part::Blob(&blob.digest))),
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
            return Err(Failure::passing(mismatch(digest, &actual)));
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
