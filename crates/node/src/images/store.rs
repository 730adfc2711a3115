//! The content store: an OCI image layout on disk. A blob appears by rename after fsync, the index by rename, so a
//! crash at any moment leaves a usable store; what a crash left half done is in `ingest/` and goes when next opened.

use super::error::{Context, Error, Result};
use super::reference::Digest;
use super::spec::{Descriptor, Index};
use super::watch::IndexWatch;
use nix::fcntl::{Flock, FlockArg};
use sha2::Digest as _;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Manifests, indexes and configs above this are refused, as registries do (4 MiB).
pub(crate) const MAX_DOCUMENT_BYTES: u64 = 4 << 20;
/// Partial downloads are kept for resuming for this long.
const KEEP_PARTIAL_SECONDS: u64 = 24 * 3600;

#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
}

/// Names all images; replaced as a whole by every change.
const INDEX: &str = "index.json";
/// Names of temporary files, unique in this process; the process id makes them unique on the machine.
static UNIQUE: AtomicU64 = AtomicU64::new(0);

/// While held, no blob is collected as garbage: blobs are written first and named in the index last.
pub(crate) struct Using {
    _lock: Flock<File>,
}

impl Store {
    pub fn open(root: &Path) -> Result<Store> {
        let blobs = root.join("blobs/sha256");
        fs::create_dir_all(&blobs).at("create", &blobs)?;
        let ingest = root.join("ingest");
        fs::create_dir_all(&ingest).at("create", &ingest)?;
        let store = Store {
            root: root.to_path_buf(),
        };
        // For other tools only; nothing here reads it, so it needs no care on a crash.
        let layout = root.join("oci-layout");
        if !layout.exists() {
            fs::write(&layout, br#"{"imageLayoutVersion":"1.0.0"}"#).at("write", &layout)?;
        }
        if let Some(_alone) = store.try_exclusive()? {
            store.clean_ingest(&ingest)?;
        }
        Ok(store)
    }

    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Where a download is kept until it is whole; the name is the digest, so that a later pull resumes it.
    pub fn partial_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("ingest").join(format!("{}.part", digest.hex()))
    }

    pub fn has(&self, digest: &Digest) -> bool {
        self.blob_path(digest).exists()
    }

    /// A manifest or config, checked against its digest.
    pub fn read_document(&self, digest: &Digest) -> Result<Vec<u8>> {
        let path = self.blob_path(digest);
        let file = File::open(&path).at("open blob", &path)?;
        let mut bytes = Vec::new();
        let count = file
            .take(MAX_DOCUMENT_BYTES + 1)
            .read_to_end(&mut bytes)
            .at("read blob", &path)?;
        if count as u64 > MAX_DOCUMENT_BYTES {
            return Err(Error::BadImage {
                image: digest.to_string(),
                what: format!("document is larger than the limit of {MAX_DOCUMENT_BYTES} bytes"),
            });
        }
        let actual = Digest::of(&bytes);
        match actual == *digest {
            true => Ok(bytes),
            false => Err(mismatch(digest, &actual)),
        }
    }

    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let mut ingest = self.ingest()?;
        ingest.write_all(bytes).at("write", &ingest.path.clone())?;
        Ok(ingest.commit(None)?.0)
    }

    /// A new blob, written as a stream; gone when dropped before `commit`.
    pub fn ingest(&self) -> Result<Ingest<'_>> {
        let path = self.temporary("tmp");
        let file = File::create(&path).at("create", &path)?;
        Ok(Ingest {
            store: self,
            path,
            file,
            hash: sha2::Sha256::new(),
            size: 0,
            done: false,
        })
    }

    /// Moves a complete, already verified file in as a blob.
    pub fn adopt(&self, path: &Path, digest: &Digest) -> Result<()> {
        let file = File::open(path).at("open", path)?;
        file.sync_all().at("sync", path)?;
        let target = self.blob_path(digest);
        fs::rename(path, &target).at("rename to", &target)?;
        self.sync_dir(&self.root.join("blobs/sha256"))
    }

    /// Tells of every change of the index from now on.
    pub fn watch(&self) -> Result<IndexWatch> {
        IndexWatch::new(&self.root, INDEX).at("watch", &self.root)
    }

    /// The index as it is on disk now: another process (`isopod image build`) may have changed it.
    pub fn index(&self) -> Result<Index> {
        let path = self.root.join(INDEX);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Index::default()),
            Err(error) => return Err(error).at("read", &path),
        };
        serde_json::from_slice(&bytes).map_err(|e| Error::BadImage {
            image: path.display().to_string(),
            what: format!(
                "the index of the image store is damaged ({e}); remove the file to start with no images"
            ),
        })
    }

    /// Reads, changes and replaces the index; one writer at a time over all processes.
    pub fn change_index<T>(&self, change: impl FnOnce(&mut Vec<Descriptor>) -> T) -> Result<T> {
        let _writer = self.lock("index.lock", FlockArg::LockExclusive)?;
        let mut index = self.index()?;
        let before = index.manifests.clone();
        let outcome = change(&mut index.manifests);
        if index.manifests != before {
            let bytes = serde_json::to_vec(&index)
                .map_err(std::io::Error::other)
                .at("encode", &self.root)?;
            self.replace(&self.root.join(INDEX), &bytes)?;
        }
        Ok(outcome)
    }

    /// To be held from before the first blob is looked at until the index names it.
    pub fn using(&self) -> Result<Using> {
        let lock = self.lock("gc.lock", FlockArg::LockShared)?;
        Ok(Using { _lock: lock })
    }

    /// `None` when somebody is using blobs: garbage then waits for the next removal or start.
    pub fn try_exclusive(&self) -> Result<Option<Using>> {
        let path = self.root.join("gc.lock");
        let file = File::create(&path).at("create", &path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(Using { _lock: lock })),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno).at("lock", &path),
        }
    }

    /// Removes every blob that is not in `keep`; returns the bytes freed. Needs `try_exclusive`.
    pub fn sweep(&self, keep: &std::collections::HashSet<Digest>, _alone: &Using) -> Result<u64> {
        let dir = self.root.join("blobs/sha256");
        let mut freed = 0;
        for entry in fs::read_dir(&dir).at("list", &dir)? {
            let entry = entry.at("list", &dir)?;
            let name = entry.file_name();
            let kept = name
                .to_str()
                .and_then(|hex| Digest::parse(&format!("sha256:{hex}")))
                .is_some_and(|digest| keep.contains(&digest));
            if !kept {
                freed += entry.metadata().at("stat", &entry.path())?.len();
                fs::remove_file(entry.path()).at("remove", &entry.path())?;
            }
        }
        Ok(freed)
    }

    fn lock(&self, name: &str, how: FlockArg) -> Result<Flock<File>> {
        let path = self.root.join(name);
        let file = File::create(&path).at("create", &path)?;
        Flock::lock(file, how)
            .map_err(|(_, errno)| errno)
            .at("lock", &path)
    }

    fn clean_ingest(&self, ingest: &Path) -> Result<()> {
        for entry in fs::read_dir(ingest).at("list", ingest)? {
            let entry = entry.at("list", ingest)?;
            let path = entry.path();
            let age = entry
                .metadata()
                .and_then(|meta| meta.modified())
                .at("stat", &path)?
                .elapsed();
            let resumable = path.extension().is_some_and(|extension| extension == "part")
                && age.is_ok_and(|age| age.as_secs() < KEEP_PARTIAL_SECONDS);
            if !resumable {
                remove_any(&path)?;
            }
        }
        Ok(())
    }

    fn temporary(&self, extension: &str) -> PathBuf {
        let number = UNIQUE.fetch_add(1, Ordering::Relaxed);
        self.root
            .join("ingest")
            .join(format!("{}-{number}.{extension}", std::process::id()))
    }

    /// Only under the index's lock: the temporary name is fixed, so that a crash leaves at most one.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let temporary = path.with_extension("new");
        let mut file = File::create(&temporary).at("create", &temporary)?;
        file.write_all(bytes).at("write", &temporary)?;
        file.sync_all().at("sync", &temporary)?;
        fs::rename(&temporary, path).at("rename to", path)?;
        self.sync_dir(&self.root)
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        File::open(dir).and_then(|dir| dir.sync_all()).at("sync", dir)
    }

    /// A folder for the contents of an archive that is being read; gone when dropped.
    pub fn staging(&self) -> Result<Staging> {
        let path = self.temporary("staging");
        fs::create_dir(&path).at("create", &path)?;
        Ok(Staging { path })
    }
}

pub(crate) struct Staging {
    pub path: PathBuf,
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "staging folder stays until the next start");
        }
    }
}

/// A blob on its way in: hashes what is written.
pub(crate) struct Ingest<'a> {
    store: &'a Store,
    path: PathBuf,
    file: File,
    hash: sha2::Sha256,
    size: u64,
    done: bool,
}

impl Ingest<'_> {
    /// Makes the blob durable under its digest; refuses when it is not `expected`. Returns digest and size in bytes.
    pub fn commit(mut self, expected: Option<&Digest>) -> Result<(Digest, u64)> {
        let digest = Digest::from_hash(&self.hash.clone().finalize());
        if let Some(expected) = expected.filter(|expected| **expected != digest) {
            return Err(mismatch(expected, &digest));
        }
        if self.store.has(&digest) {
            return Ok((digest, self.size)); // the same content is there: the copy goes by drop
        }
        self.store.adopt(&self.path, &digest)?;
        self.done = true;
        Ok((digest, self.size))
    }
}

impl Write for Ingest<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Ingest<'_> {
    fn drop(&mut self) {
        if !self.done
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "half a blob stays until the next start");
        }
    }
}

pub(crate) fn mismatch(expected: &Digest, actual: &Digest) -> Error {
    Error::DigestMismatch {
        expected: expected.hex().to_owned(),
        actual: actual.hex().to_owned(),
    }
}

/// Removes a file or a folder; not being there is fine.
pub(crate) fn remove_any(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at("remove", path),
        _ => Ok(()),
    }
}
