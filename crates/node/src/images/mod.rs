//! Images: own content store, unpacked layers, root file systems of containers; build, load, save, pull.
//! All calls but `pull` block (disk); use `spawn_blocking` in async code. Several processes may use one data folder.

pub mod archive;
pub mod auth;
mod beneath;
pub mod build;
mod challenge;
mod copy;
mod defined_volumes;
mod download;
mod elf;
mod error;
mod hosts;
mod layer;
mod mount_points;
mod overlay;
mod policy;
pub mod pull;
pub mod reference;
mod registry;
mod rootfs;
pub mod run;
mod spec;
mod store;
mod token;
mod trust;
pub mod user;
mod watch;

pub use archive::Loaded;
pub use build::{Build, Source};
pub use defined_volumes::{DefinedVolume, fill_volumes};
pub use error::{Error, Result};
pub use hosts::{HostConfig, RegistryConfig};
pub use layer::Limits;
pub use mount_points::MountPoints;
pub use policy::{PullDecision, PullPolicy, pull_decision};
pub use pull::{PullError, PullProgress};
pub use reference::{Digest, Reference, Version};
pub use run::RunConfig;
pub use trust::client_config as trust_with;
pub use user::ProcessUser;
pub use watch::IndexWatch;

pub(crate) use beneath::{fd_path, normalize, open_in_root};
pub(crate) use overlay::{is_mounted, unmount};
pub(crate) use store::remove_any;

use error::Context;
use spec::{ConfigFile, Descriptor, Manifest, NAME_ANNOTATION, REF_ANNOTATION, REPO_DIGEST_ANNOTATION};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::Store;

/// Where a container's folder has the volumes that its image declares.
const VOLUMES: &str = "volumes";

/// An image that is in the store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Image {
    /// Canonical name under which it was found: `docker.io/library/visits:1`.
    pub name: String,
    /// Digest of the manifest.
    pub digest: Digest,
    /// Digest of the config: the image's ID in Docker's and Kubernetes' words.
    pub id: Digest,
    /// `name@sha256:…` as its registry knows it; `status.containerStatuses[].imageID` shows it.
    pub repo_digest: String,
    /// Bytes of its blobs, as stored.
    pub size_bytes: u64,
    pub created: Option<String>,
    pub run: Arc<RunConfig>,
    layers: Arc<Vec<Layer>>,
}

#[derive(Clone, Debug)]
struct Layer {
    blob: Digest,
    diff_id: Digest,
    /// Names this layer together with all below it.
    chain: Digest,
}

/// A line of `image ls` and of `node.status.images`.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageSummary {
    /// `name:tag` and `name@digest`, canonical.
    pub names: Vec<String>,
    pub id: Digest,
    pub size_bytes: u64,
    pub created: Option<String>,
}

/// What `remove` did.
#[derive(Clone, Debug, PartialEq)]
pub struct Removed {
    pub names: Vec<String>,
    /// Bytes given back now; what containers still use goes when the last of them is removed.
    pub freed_bytes: u64,
}

/// The image store of one data folder. Cheap to clone.
#[derive(Clone)]
pub struct Images {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    /// `<data>/layers`
    layers: PathBuf,
    /// `<data>/images/leases`: which container stands on which layers.
    leases: PathBuf,
    limits: Limits,
    unpacking: std::sync::Mutex<std::collections::HashMap<Digest, Arc<std::sync::Mutex<()>>>>,
    /// Set when garbage could not be collected because somebody was writing.
    garbage: AtomicBool,
    registry: pull::Registry,
}

impl Images {
    /// Opens or creates the store under `data`, removes what a crash left half done.
    pub fn open(data: &Path, registry: RegistryConfig) -> Result<Images> {
        Images::open_with_limits(data, registry, Limits::default())
    }

    /// How registries are reached.
    pub fn registry_config(&self) -> &RegistryConfig {
        self.inner.registry.config()
    }

    pub fn open_with_limits(data: &Path, registry: RegistryConfig, limits: Limits) -> Result<Images> {
        let (root, layers) = (data.join("images"), data.join("layers"));
        let leases = root.join("leases");
        for dir in [&leases, &layers] {
            std::fs::create_dir_all(dir).at("create", dir)?;
        }
        let images = Images {
            inner: Arc::new(Inner {
                store: Store::open(&root)?,
                layers,
                leases,
                limits,
                unpacking: std::sync::Mutex::default(),
                garbage: AtomicBool::new(false),
                registry: pull::Registry::new(registry),
            }),
        };
        images.discard_unsynced_layers()?;
        // A damaged image must not keep the node from starting: nothing is collected until it is removed.
        if let Err(error) = images.collect() {
            tracing::warn!(%error, "no garbage of images is collected; remove the damaged image with 'isopod image rm'");
        }
        Ok(images)
    }

    /// Tells of every image that comes or goes from now on. Needs tokio.
    pub fn watch(&self) -> Result<IndexWatch> {
        self.inner.store.watch()
    }

    /// The image of that name, or `None`. Also takes an image ID (`sha256:…`). Fails on a name that is none.
    pub fn get(&self, name: &str) -> Result<Option<Image>> {
        let index = self.inner.store.index()?;
        let found = match Digest::parse(name) {
            Some(digest) => self.find_by_id(&index.manifests, &digest)?,
            None => find(&index.manifests, &name.parse()?).cloned(),
        };
        found.map(|descriptor| self.read_image(&descriptor)).transpose()
    }

    /// As `get`, but absence is an error that tells the user what to do.
    pub fn require(&self, name: &str) -> Result<Image> {
        self.get(name)?.ok_or_else(|| Error::NotPresent {
            name: name.to_owned(),
        })
    }

    /// All images, one line for each ID, sorted by name. A damaged one is left out, with a warning in the log.
    pub fn list(&self) -> Result<Vec<ImageSummary>> {
        let mut lines: BTreeMap<Digest, ImageSummary> = BTreeMap::new();
        for descriptor in &self.inner.store.index()?.manifests {
            let image = match self.read_image(descriptor) {
                Ok(image) => image,
                Err(error) => {
                    tracing::warn!(%error, image = entry_name(descriptor), "the image is damaged");
                    continue;
                }
            };
            let line = lines.entry(image.digest.clone()).or_insert_with(|| ImageSummary {
                names: Vec::new(),
                id: image.id.clone(),
                size_bytes: image.size_bytes,
                created: image.created.clone(),
            });
            for name in [image.repo_digest, image.name] {
                if !line.names.contains(&name) {
                    line.names.push(name);
                }
            }
        }
        let mut lines: Vec<_> = lines.into_values().collect();
        for line in &mut lines {
            // Tags before digests: the first name is what people read.
            line.names.sort_by_key(|name| (name.contains('@'), name.clone()));
        }
        lines.sort_by(|a, b| a.names.cmp(&b.names));
        Ok(lines)
    }

    /// Gives an image a further name.
    pub fn tag(&self, name: &str, new_name: &str) -> Result<()> {
        let _using = self.inner.store.using()?;
        let image = self.require(name)?;
        let new_name: Reference = new_name.parse()?;
        self.name_manifest(&new_name, &image.digest, None)
    }

    /// Takes the name away (all names for an ID), and with the last name the content that no container uses.
    pub fn remove(&self, name: &str) -> Result<Removed> {
        let manifests = self.inner.store.index()?.manifests;
        let id = Digest::parse(name);
        let found = match &id {
            Some(id) => self.find_by_id(&manifests, id)?,
            None => find(&manifests, &name.parse()?).cloned(),
        };
        let found = found.ok_or_else(|| Error::NotPresent {
            name: name.to_owned(),
        })?;
        let goes = |entry: &Descriptor| match id {
            Some(_) => entry.digest == found.digest,
            None => entry_name(entry) == entry_name(&found),
        };
        let names = self.inner.store.change_index(|manifests| {
            let names: Vec<String> = manifests.iter().filter(|e| goes(e)).map(entry_name).collect();
            manifests.retain(|entry| !goes(entry));
            names
        })?;
        Ok(Removed {
            names,
            freed_bytes: self.collect()?,
        })
    }

    /// Removes blobs and layers that no name and no container needs. Does nothing while content is being added.
    pub fn collect(&self) -> Result<u64> {
        let Some(alone) = self.inner.store.try_exclusive()? else {
            self.inner.garbage.store(true, Ordering::Relaxed);
            return Ok(0);
        };
        self.inner.garbage.store(false, Ordering::Relaxed);
        let mut manifests: HashSet<Digest> = self.leased_manifests()?;
        for entry in &self.inner.store.index()?.manifests {
            manifests.extend(Digest::parse(&entry.digest));
        }
        let (mut blobs, mut chains) = (HashSet::new(), HashSet::new());
        for digest in manifests {
            if !self.inner.store.has(&digest) {
                continue; // a container of an image whose blobs are gone; its layers are kept below
            }
            let image = self.read_manifest(&digest, String::new(), None)?;
            blobs.insert(image.id.clone());
            blobs.extend(image.layers.iter().map(|layer| layer.blob.clone()));
            chains.extend(image.layers.iter().map(|layer| layer.chain.clone()));
            blobs.insert(digest);
        }
        chains.extend(self.leased_chains()?);
        self.sweep_layers(&chains)?;
        self.inner.store.sweep(&blobs, &alone)
    }

    /// After work that itself went well; so a failure is told to the log only.
    fn collect_if_pending(&self) {
        if self.inner.garbage.load(Ordering::Relaxed)
            && let Err(error) = self.collect()
        {
            tracing::warn!(%error, "no garbage of images is collected now");
        }
    }

    /// Points `name` to a manifest whose blobs are all there; the last step of every way in.
    fn name_manifest(&self, name: &Reference, digest: &Digest, repo_digest: Option<&str>) -> Result<()> {
        let path = self.inner.store.blob_path(digest);
        let size = path.metadata().at("stat", &path)?.len();
        let full = name.to_string();
        let mut annotations = BTreeMap::from([(NAME_ANNOTATION.to_owned(), full.clone())]);
        if let Version::Tag(tag) = &name.version {
            annotations.insert(REF_ANNOTATION.to_owned(), tag.clone());
        }
        if let Some(repo_digest) = repo_digest {
            annotations.insert(REPO_DIGEST_ANNOTATION.to_owned(), repo_digest.to_owned());
        }
        let entry = Descriptor {
            media_type: spec::OCI_MANIFEST.to_owned(),
            digest: digest.to_string(),
            size,
            annotations,
            platform: None,
        };
        let replaced = self.inner.store.change_index(|manifests| {
            let other = |old: &Descriptor| entry_name(old) == full && old.digest != entry.digest;
            let replaced = manifests.iter().any(other);
            manifests.retain(|entry| entry_name(entry) != full);
            manifests.push(entry);
            replaced
        })?;
        if replaced {
            self.inner.garbage.store(true, Ordering::Relaxed); // collected when nobody is adding
        }
        Ok(())
    }

    fn find_by_id(&self, manifests: &[Descriptor], id: &Digest) -> Result<Option<Descriptor>> {
        for entry in manifests {
            // A damaged image has no readable ID any more; it is still found by its manifest's digest.
            let same = |image: Image| image.id == *id;
            if entry.digest == id.to_string() || self.read_image(entry).is_ok_and(same) {
                return Ok(Some(entry.clone()));
            }
        }
        Ok(None)
    }

    fn read_image(&self, entry: &Descriptor) -> Result<Image> {
        let name = entry_name(entry);
        let digest = Digest::parse(&entry.digest).ok_or_else(|| Error::BadImage {
            image: name.clone(),
            what: format!("the store's index has the unusable digest {:?}", entry.digest),
        })?;
        self.read_manifest(
            &digest,
            name,
            entry.annotations.get(REPO_DIGEST_ANNOTATION).cloned(),
        )
    }

    fn read_manifest(&self, digest: &Digest, name: String, repo_digest: Option<String>) -> Result<Image> {
        let bad = |what: String| Error::BadImage {
            image: if name.is_empty() {
                digest.to_string()
            } else {
                name.clone()
            },
            what,
        };
        let manifest: Manifest = serde_json::from_slice(&self.inner.store.read_document(digest)?)
            .map_err(|e| bad(format!("its manifest cannot be understood: {e}")))?;
        let id = Digest::parse(&manifest.config.digest)
            .ok_or_else(|| bad("its config has no sha256 digest".into()))?;
        let config: ConfigFile = serde_json::from_slice(&self.inner.store.read_document(&id)?)
            .map_err(|e| bad(format!("its config cannot be understood: {e}")))?;
        let layers = layers(&manifest, &config).map_err(&bad)?;
        let size_bytes = manifest.config.size + manifest.layers.iter().map(|layer| layer.size).sum::<u64>();
        let own_digest = || match name.parse::<Reference>() {
            Ok(reference) => format!("{}@{digest}", reference.name()),
            Err(_) => digest.to_string(), // read for garbage collection: it has no name
        };
        Ok(Image {
            repo_digest: repo_digest.unwrap_or_else(own_digest),
            digest: digest.clone(),
            id,
            size_bytes,
            created: config.created,
            run: Arc::new(RunConfig::from_spec(config.config.unwrap_or_default())),
            layers: Arc::new(layers),
            name,
        })
    }
}

/// The layers with their chain IDs. Source: OCI image-spec, "Layer ChainID".
fn layers(manifest: &Manifest, config: &ConfigFile) -> std::result::Result<Vec<Layer>, String> {
    if manifest.layers.len() != config.rootfs.diff_ids.len() {
        let (blobs, ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        return Err(format!(
            "its manifest has {blobs} layers but its config {ids}; is it a container image?"
        ));
    }
    let mut layers: Vec<Layer> = Vec::new();
    for (descriptor, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
        let parse =
            |text: &str| Digest::parse(text).ok_or_else(|| format!("it has the unusable digest {text:?}"));
        let (blob, diff_id) = (parse(&descriptor.digest)?, parse(diff_id)?);
        let chain = match layers.last() {
            None => diff_id.clone(),
            Some(below) => Digest::of(format!("{} {diff_id}", below.chain).as_bytes()),
        };
        layers.push(Layer { blob, diff_id, chain });
    }
    Ok(layers)
}

fn entry_name(entry: &Descriptor) -> String {
    entry
        .annotations
        .get(NAME_ANNOTATION)
        .cloned()
        .unwrap_or_default()
}

/// By name; a digest also finds images pulled by tag whose manifest or repo digest it is.
fn find<'a>(manifests: &'a [Descriptor], wanted: &Reference) -> Option<&'a Descriptor> {
    let full = wanted.to_string();
    let by_name = manifests.iter().find(|entry| entry_name(entry) == full);
    by_name.or_else(|| {
        let Version::Digest(digest) = &wanted.version else {
            return None;
        };
        let same_repository = |entry: &Descriptor| {
            entry_name(entry)
                .parse::<Reference>()
                .is_ok_and(|reference| reference.name() == wanted.name())
        };
        manifests.iter().find(|entry| {
            same_repository(entry)
                && (entry.digest == digest.to_string()
                    || entry.annotations.get(REPO_DIGEST_ANNOTATION) == Some(&full))
        })
    })
}
