//! Image archives: loads what `docker save`, `buildah push oci-archive:/docker-archive:` and `save` here write, as a
//! file or a stream, plain or compressed; saves OCI archives that Docker and containerd load too. A load is all or nothing.

use super::beneath::fold;
use super::build::descriptor;
use super::error::{Context, Error, Result};
use super::layer::decompress;
use super::spec::{
    ConfigFile, DOCKER_INDEX, Descriptor, Index, Manifest, NAME_ANNOTATION, OCI_INDEX, OCI_LAYER,
    OCI_LAYER_GZIP, OCI_LAYER_ZSTD, REF_ANNOTATION, select_platform,
};
use super::store::{MAX_DOCUMENT_BYTES, Staging};
use super::{Digest, Images, Reference, normalize};
use serde::Deserialize;
use sha2::Digest as _;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use tar::{EntryType, Header};

const MAX_ENTRIES: usize = 100_000;
/// All files of an archive together.
const MAX_ARCHIVE_BYTES: u64 = 256 << 30;
/// Indexes may name indexes; real ones do so once.
const MAX_INDEX_DEPTH: usize = 4;

const AGAIN: &str = "the file was cut short or damaged: make or copy it again ('docker save', 'buildah push … oci-archive:FILE' or 'isopod image save')";
const NOT_ONE: &str = "give a tar file made by 'docker save', 'buildah push … oci-archive:FILE' or 'isopod image save' (gzip and zstd are fine)";
const NAME_IT: &str = "give the image a name with --tag NAME";

/// An image that came out of an archive.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// Canonical names, all now in the store.
    pub names: Vec<String>,
    pub id: Digest,
}

/// A file of the archive, on disk in the staging folder.
struct Staged {
    path: PathBuf,
    digest: Digest,
    size: u64,
}

struct Archive {
    files: HashMap<PathBuf, Staged>,
    links: HashMap<PathBuf, PathBuf>,
    _staging: Staging,
    source_name: String,
}

/// An image found in an archive: its manifest's digest, and its names.
struct Found {
    manifest: Digest,
    names: Vec<Reference>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Images {
    /// Loads every image of an archive. `source_name` is what messages call it (a path, `standard input`);
    /// `tag` names an archive's image when the archive itself does not, or instead of what it says.
    pub fn load(&self, reader: impl Read, source_name: &str, tag: Option<&str>) -> Result<Vec<Loaded>> {
        let tag: Option<Reference> = tag.map(str::parse).transpose()?;
        let outcome = self.load_all(reader, source_name, tag);
        if outcome.is_err() {
            self.inner.garbage.store(true, Ordering::Relaxed); // what came in before the error
        }
        self.collect_if_pending();
        outcome
    }

    fn load_all(&self, reader: impl Read, source_name: &str, tag: Option<Reference>) -> Result<Vec<Loaded>> {
        let _using = self.inner.store.using()?;
        let archive = self.stage(reader, source_name)?;
        let mut found = match archive.get("index.json") {
            Some(_) => self.read_layout(&archive)?,
            None => self.read_docker(&archive)?,
        };
        match (&tag, found.as_mut_slice()) {
            (Some(tag), [only]) => only.names = vec![tag.clone()],
            (Some(_), many) => {
                return Err(archive.bad(
                    format!("it has {} images, so one name is not enough", many.len()),
                    NOT_ONE,
                ));
            }
            (None, many) if many.iter().any(|image| image.names.is_empty()) => {
                return Err(archive.bad("an image in it has no name".to_owned(), NAME_IT));
            }
            (None, _) => {}
        }
        let mut loaded = Vec::new();
        // All manifests are read before the first is named: a damaged image leaves nothing behind.
        for image in &found {
            let id = self
                .read_manifest(&image.manifest, image.manifest.to_string(), None)?
                .id;
            loaded.push(Loaded {
                names: image.names.iter().map(ToString::to_string).collect(),
                id,
            });
        }
        for image in &found {
            for name in &image.names {
                self.name_manifest(name, &image.manifest, None)?;
            }
        }
        Ok(loaded)
    }

    /// `load` of a file.
    pub fn load_file(&self, path: &Path, tag: Option<&str>) -> Result<Vec<Loaded>> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| Error::BadArchive {
            source_name: name.clone(),
            what: error.to_string(),
            hint: NOT_ONE,
        })?;
        self.load(file, &name, tag)
    }

    /// Copies all files of the archive to disk, hashed. What is not used goes with the staging folder.
    fn stage(&self, reader: impl Read, source_name: &str) -> Result<Archive> {
        let mut archive = Archive {
            files: HashMap::new(),
            links: HashMap::new(),
            _staging: self.inner.store.staging()?,
            source_name: source_name.to_owned(),
        };
        let mut reader = BufReader::with_capacity(1 << 16, reader);
        let is_empty = io::BufRead::fill_buf(&mut reader).map(|head| head.is_empty());
        if is_empty.map_err(|e| archive.bad(e.to_string(), AGAIN))? {
            return Err(archive.bad("it is empty".to_owned(), NOT_ONE));
        }
        let plain = decompress(reader).map_err(|e| archive.bad(e.to_string(), NOT_ONE))?;
        let mut tar = tar::Archive::new(plain);
        let entries = tar.entries().map_err(|e| archive.bad(e.to_string(), NOT_ONE))?;
        let mut left = MAX_ARCHIVE_BYTES;
        for (count, entry) in entries.enumerate() {
            let mut entry = entry.map_err(|e| archive.unreadable(count, &e))?;
            if count >= MAX_ENTRIES || entry.size() > left {
                return Err(archive.bad("it is larger than the limits for archives".to_owned(), NOT_ONE));
            }
            left -= entry.size();
            archive.take(&mut entry, count)?;
        }
        if archive.files.is_empty() {
            return Err(archive.bad("it has no files in it".to_owned(), NOT_ONE));
        }
        Ok(archive)
    }

    /// OCI image layout: index.json and blobs/sha256/…
    fn read_layout(&self, archive: &Archive) -> Result<Vec<Found>> {
        let index: Index = archive.document("index.json")?;
        let docker_names = docker_names(archive)?;
        let mut found: Vec<Found> = Vec::new();
        for entry in &index.manifests {
            let names = names_of(entry);
            let Some(manifest) = self.take_manifest(archive, entry, 0)? else {
                continue; // for other platforms
            };
            let mut names = names.map_err(|e| archive.bad(e.to_string(), NAME_IT))?;
            if names.is_empty() {
                names = docker_names.get(&manifest.1).cloned().unwrap_or_default();
            }
            match found.iter_mut().find(|image| image.manifest == manifest.0) {
                Some(image) => image.names.extend(names),
                None => found.push(Found {
                    manifest: manifest.0,
                    names,
                }),
            }
        }
        if found.is_empty() {
            return Err(archive.bad(
                "none of its images is for this machine (linux, same architecture)".into(),
                NOT_ONE,
            ));
        }
        Ok(found)
    }

    /// Takes the manifest with all its blobs into the store; returns manifest and config digest.
    fn take_manifest(
        &self,
        archive: &Archive,
        entry: &Descriptor,
        depth: usize,
    ) -> Result<Option<(Digest, Digest)>> {
        if depth > MAX_INDEX_DEPTH {
            return Err(archive.bad(
                format!("its indexes are nested deeper than {MAX_INDEX_DEPTH}"),
                NOT_ONE,
            ));
        }
        let path = blob_name(archive, &entry.digest)?;
        if entry.media_type == OCI_INDEX || entry.media_type == DOCKER_INDEX {
            let index: Index = archive.document(&path)?;
            return match select_platform(&index.manifests) {
                Some(ours) => self.take_manifest(archive, ours, depth + 1),
                None => Ok(None),
            };
        }
        if entry
            .platform
            .as_ref()
            .is_some_and(|platform| platform.os == "unknown")
        {
            return Ok(None); // an attestation
        }
        let manifest: Manifest = archive.document(&path)?;
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            self.take_blob(archive, &blob_name(archive, &blob.digest)?, &blob.digest)?;
        }
        let digest = self.take_blob(archive, &path, &entry.digest)?;
        let config = Digest::parse(&manifest.config.digest);
        Ok(config.map(|config| (digest, config)))
    }

    fn take_blob(&self, archive: &Archive, name: &str, digest: &str) -> Result<Digest> {
        let staged = archive.require(name)?;
        if staged.digest.to_string() != digest {
            let what = format!("{name} does not have the content that its name says");
            return Err(archive.bad(what, AGAIN));
        }
        if !self.inner.store.has(&staged.digest) {
            self.inner.store.adopt(&staged.path, &staged.digest)?;
        }
        Ok(staged.digest.clone())
    }

    /// `docker save` before Docker 25, and `docker-archive:` of other tools: manifest.json names configs and layers.
    fn read_docker(&self, archive: &Archive) -> Result<Vec<Found>> {
        if archive.get("manifest.json").is_none() {
            let what =
                "it is a tar file, but no image archive: neither index.json nor manifest.json is in it";
            return Err(archive.bad(what.to_owned(), NOT_ONE));
        }
        let entries: Vec<DockerEntry> = archive.document("manifest.json")?;
        let mut found = Vec::new();
        for entry in entries {
            let config: ConfigFile = archive.document(&entry.config)?;
            let mut layers = Vec::new();
            for name in &entry.layers {
                let staged = archive.require(name)?;
                let media_type = layer_type(&staged.path)?;
                let digest = staged.digest.clone();
                let diff_id = config.rootfs.diff_ids.get(layers.len()).map(String::as_str);
                if media_type == OCI_LAYER && diff_id != Some(digest.to_string().as_str()) {
                    return Err(archive.bad(
                        format!("{name} is not the layer that {} names", entry.config),
                        AGAIN,
                    ));
                }
                layers.push(descriptor(media_type, &digest, staged.size));
                self.take_blob(archive, name, &digest.to_string())?;
            }
            let names = entry.repo_tags.unwrap_or_default();
            let names: Result<Vec<Reference>> = names.iter().map(|name| name.parse()).collect();
            // The config goes in as it is: its digest is the image's ID in Docker too.
            let staged = archive.require(&entry.config)?;
            let digest = staged.digest.to_string();
            let size = staged.size;
            self.take_blob(archive, &entry.config, &digest)?;
            found.push(Found {
                manifest: self.store_manifest(&digest, size, layers)?,
                names: names?,
            });
        }
        Ok(found)
    }

    fn store_manifest(&self, config: &str, size: u64, layers: Vec<Descriptor>) -> Result<Digest> {
        let manifest = Manifest {
            schema_version: 2,
            media_type: super::spec::OCI_MANIFEST.to_owned(),
            config: Descriptor {
                media_type: super::spec::OCI_CONFIG.to_owned(),
                digest: config.to_owned(),
                size,
                ..Descriptor::default()
            },
            layers,
        };
        let bytes = serde_json::to_vec(&manifest).map_err(|e| Error::BadBuild { what: e.to_string() })?;
        self.inner.store.put(&bytes)
    }

    /// Writes an OCI archive of the named images, with Docker's manifest.json for `docker load` of any age.
    pub fn save(&self, names: &[&str], writer: impl Write) -> Result<()> {
        let _using = self.inner.store.using()?;
        let mut index = Index::default();
        let mut docker = Vec::new();
        let mut blobs = BTreeMap::new();
        for name in names {
            let image = self.require(name)?;
            let manifest_bytes = self.inner.store.read_document(&image.digest)?;
            let size = manifest_bytes.len() as u64;
            let mut entry = descriptor(super::spec::OCI_MANIFEST, &image.digest, size);
            entry
                .annotations
                .insert(NAME_ANNOTATION.to_owned(), image.name.clone());
            index.manifests.push(entry);
            let blob = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
            let layers: Vec<String> = image.layers.iter().map(|layer| blob(&layer.blob)).collect();
            docker.push(serde_json::json!({
                "Config": blob(&image.id), "RepoTags": [image.name], "Layers": layers,
            }));
            for digest in image
                .layers
                .iter()
                .map(|layer| &layer.blob)
                .chain([&image.id, &image.digest])
            {
                blobs.insert(blob(digest), self.inner.store.blob_path(digest));
            }
        }
        write_archive(writer, &index, &docker, &blobs).at("write", Path::new("the archive"))
    }
}

fn write_archive(
    writer: impl Write,
    index: &Index,
    docker: &[serde_json::Value],
    blobs: &BTreeMap<String, PathBuf>,
) -> io::Result<()> {
    let mut tar = tar::Builder::new(writer);
    let header = |size: u64| {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header
    };
    for (name, path) in blobs {
        let file = File::open(path)?;
        tar.append_data(&mut header(file.metadata()?.len()), name, file)?;
    }
    for (name, bytes) in [
        ("index.json", serde_json::to_vec(index)?),
        ("manifest.json", serde_json::to_vec(docker)?),
        ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
    ] {
        tar.append_data(&mut header(bytes.len() as u64), name, bytes.as_slice())?;
    }
    tar.into_inner()?.flush()
}

impl Archive {
    fn bad(&self, what: String, hint: &'static str) -> Error {
        Error::BadArchive {
            source_name: self.source_name.clone(),
            what,
            hint,
        }
    }

    /// The first entry decides what it looked like; a later failure means damage.
    fn unreadable(&self, count: usize, error: &io::Error) -> Error {
        let error = readable(&error.to_string());
        match count {
            0 => self.bad(format!("it is not a tar archive ({error})"), NOT_ONE),
            _ => self.bad(
                format!("it cannot be read after {count} entries ({error})"),
                AGAIN,
            ),
        }
    }

    fn take(&mut self, entry: &mut tar::Entry<'_, impl Read>, count: usize) -> Result<()> {
        let path = entry.path().map_err(|e| self.unreadable(count, &e))?.into_owned();
        let Some(path) = normalize(&path) else {
            return Err(self.bad(format!("it has the unsafe path {path:?}"), NOT_ONE));
        };
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {}
            EntryType::Symlink | EntryType::Link => {
                // Old `docker save` links equal layers to each other.
                if let Ok(Some(target)) = entry.link_name() {
                    let above = path.parent().unwrap_or(Path::new(""));
                    let target = match entry.header().entry_type() {
                        EntryType::Symlink => fold(&above.join(target)),
                        _ => target.into_owned(),
                    };
                    self.links.insert(path, target);
                }
                return Ok(());
            }
            _ => return Ok(()),
        }
        let target = self._staging.path.join(count.to_string());
        let mut file = File::create(&target).at("create", &target)?;
        let (digest, size) = copy_hashed(entry, &mut file, &target, |e| {
            self.bad(format!("it cannot be read in {} ({e})", path.display()), AGAIN)
        })?;
        if size != entry.size() {
            let what = format!(
                "it ends in the middle of {} ({size} of {} bytes)",
                path.display(),
                entry.size()
            );
            return Err(self.bad(what, AGAIN));
        }
        self.files.insert(
            path,
            Staged {
                path: target,
                digest,
                size,
            },
        );
        Ok(())
    }

    fn get(&self, name: &str) -> Option<&Staged> {
        let mut path = PathBuf::from(name);
        for _ in 0..8 {
            match self.files.get(&path) {
                Some(staged) => return Some(staged),
                None => path = self.links.get(&path)?.clone(),
            }
        }
        None
    }

    fn require(&self, name: &str) -> Result<&Staged> {
        self.get(name)
            .ok_or_else(|| self.bad(format!("{name} is missing in it"), AGAIN))
    }

    fn document<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T> {
        let staged = self.require(name)?;
        if staged.size > MAX_DOCUMENT_BYTES {
            return Err(self.bad(
                format!("{name} is larger than {MAX_DOCUMENT_BYTES} bytes"),
                NOT_ONE,
            ));
        }
        // A blob may have been moved into the store by an earlier image of the same archive.
        let bytes = fs::read(&staged.path)
            .or_else(|_| fs::read(self.moved(staged)))
            .at("read", &staged.path)?;
        serde_json::from_slice(&bytes)
            .map_err(|e| self.bad(format!("{name} cannot be understood ({e})"), NOT_ONE))
    }

    fn moved(&self, staged: &Staged) -> PathBuf {
        let ingest = self._staging.path.parent().unwrap_or(Path::new(""));
        ingest.join("../blobs/sha256").join(staged.digest.hex())
    }
}

fn copy_hashed(
    entry: &mut impl Read,
    file: &mut File,
    path: &Path,
    unreadable: impl Fn(io::Error) -> Error,
) -> Result<(Digest, u64)> {
    let mut hash = sha2::Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut size = 0;
    loop {
        let count = entry.read(&mut buffer).map_err(&unreadable)?;
        if count == 0 {
            return Ok((Digest::from_hash(&hash.finalize()), size));
        }
        hash.update(&buffer[..count]);
        file.write_all(&buffer[..count]).at("write", path)?;
        size += count as u64;
    }
}

fn blob_name(archive: &Archive, digest: &str) -> Result<String> {
    match Digest::parse(digest) {
        Some(digest) => Ok(format!("blobs/sha256/{}", digest.hex())),
        None => Err(archive.bad(
            format!("it uses the digest {digest:?}; only sha256 is understood"),
            NOT_ONE,
        )),
    }
}

/// The full name if there is one; else what tools write as ref name, when it is a name and not a bare tag.
fn names_of(entry: &Descriptor) -> Result<Vec<Reference>> {
    if let Some(name) = entry.annotations.get(NAME_ANNOTATION) {
        return Ok(vec![name.parse()?]);
    }
    match entry.annotations.get(REF_ANNOTATION) {
        Some(name) if name.contains([':', '/']) => Ok(vec![name.parse()?]),
        _ => Ok(Vec::new()),
    }
}

/// Names from manifest.json of archives that have both forms, by config digest.
fn docker_names(archive: &Archive) -> Result<HashMap<Digest, Vec<Reference>>> {
    let mut names = HashMap::new();
    if archive.get("manifest.json").is_some() {
        let entries: Vec<DockerEntry> = archive.document("manifest.json")?;
        for entry in entries {
            if let Some(config) = archive.get(&entry.config) {
                let tags: Result<Vec<Reference>> = entry
                    .repo_tags
                    .unwrap_or_default()
                    .iter()
                    .map(|name| name.parse())
                    .collect();
                names.insert(config.digest.clone(), tags?);
            }
        }
    }
    Ok(names)
}

fn layer_type(path: &Path) -> Result<&'static str> {
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(4).read_to_end(&mut head))
        .at("read", path)?;
    Ok(match head.as_slice() {
        [0x1f, 0x8b, ..] => OCI_LAYER_GZIP,
        [0x28, 0xb5, 0x2f, 0xfd] => OCI_LAYER_ZSTD,
        _ => OCI_LAYER,
    })
}

/// The text up to the first character that no terminal should get: the `tar` crate quotes the bytes that it could not read.
fn readable(text: &str) -> String {
    let odd = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
    let words = text.split(odd).next().unwrap_or_default();
    let words = words
        .rsplit_once(": ")
        .filter(|_| words.len() < text.len())
        .map_or(words, |(why, _)| why);
    words.trim().to_owned()
}
