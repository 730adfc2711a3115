//! Unpacked layers and the overlay mounts of containers that stand on them. A lease says which container stands on
//! which layers, so that removing an image never pulls the ground from under a container.

use super::error::{Context, Error, Result};
use super::mount_points::MountPoints;
use super::reference::Digest;
use super::store::remove_any;
use super::{Image, Images, Layer, VOLUMES, layer, overlay};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

static UNIQUE: AtomicU64 = AtomicU64::new(0);

#[derive(Serialize, Deserialize)]
struct Lease {
    container: PathBuf,
    manifest: String,
    chains: Vec<String>,
}

/// Written when a layer is complete. Its files are not fsynced one by one: until the kernel has written them back, the
/// layer is trusted only within the same boot, and unpacked again from its (synced) blob after a power cut.
#[derive(Serialize, Deserialize)]
struct Complete {
    boot: String,
    synced: bool,
}

impl Images {
    /// Unpacks the image's layers that are not there yet.
    pub fn unpack(&self, image: &Image) -> Result<()> {
        let _using = self.inner.store.using()?;
        let (mut parents, mut new) = (Vec::new(), Vec::new());
        let mut outcome = Ok(());
        for layer in image.layers.iter() {
            let dir = self.layer_dir(&layer.chain);
            match self.unpack_layer(&dir, layer, &parents) {
                Ok(true) => new.push(dir.clone()),
                Ok(false) => {}
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
            parents.insert(0, dir.join("fs"));
        }
        if !new.is_empty() {
            let images = self.clone();
            std::thread::spawn(move || {
                if let Err(error) = images.sync_layers(&new) {
                    tracing::warn!(%error, "layers are not yet safe against a power cut; they would be unpacked again");
                }
            });
        }
        outcome
    }

    /// Waits until the disk has the layers, then says so in them; one at a time is enough for any number of images.
    fn sync_layers(&self, dirs: &[PathBuf]) -> Result<()> {
        let mut open = Vec::new();
        for dir in dirs {
            match File::open(dir) {
                Ok(file) => open.push((dir, file)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {} // removed meanwhile
                Err(error) => return Err(error).at("open", dir),
            }
        }
        if let Some((dir, file)) = open.first() {
            nix::unistd::syncfs(file).at("sync the disk of", dir)?;
        }
        let _using = self.inner.store.using()?; // from here on nothing is removed
        for (dir, file) in open {
            let synced = file.metadata().at("stat", dir)?.ino();
            // The same folder still, not one that was removed and unpacked anew.
            if fs::metadata(dir).is_ok_and(|now| now.ino() == synced) {
                write_complete(dir, true)?;
            }
        }
        Ok(())
    }

    /// The container's root file system, mounted on `<container_dir>/rootfs`; what the container writes goes to
    /// `<container_dir>/upper`. Idempotent. After a reboot it begins as the image has it: a container that starts again
    /// is a new one.
    pub fn rootfs(&self, image: &Image, container_dir: &Path, points: &MountPoints) -> Result<PathBuf> {
        let _using = self.inner.store.using()?;
        let target = container_dir.join("rootfs");
        if overlay::is_mounted(&target)? {
            return Ok(target);
        }
        self.unpack(image)?;
        let mut lowers: Vec<PathBuf> = image
            .layers
            .iter()
            .rev()
            .map(|layer| self.layer_dir(&layer.chain).join("fs"))
            .collect();
        if lowers.is_empty() {
            lowers.push(self.inner.layers.join("empty")); // an image of no layers is still a place to mount on
        }
        let own = self.mount_points_layer(points)?;
        lowers.push(self.layer_dir(&own).join("fs"));
        let (upper, work) = (container_dir.join("upper"), container_dir.join("work"));
        for left in [&upper, &work, &container_dir.join(VOLUMES)] {
            remove_any(left)?;
        }
        for dir in [&upper, &work, &target, &lowers[0]] {
            fs::create_dir_all(dir).at("create", dir)?;
        }
        copy_root_attributes(&lowers[0], &upper)?;
        self.write_lease(image, own, container_dir)?;
        overlay::mount(&lowers, &upper, &work, &target)?;
        Ok(target)
    }

    /// Unmounts and removes what `rootfs` made, and the volumes of the image. Idempotent.
    pub fn remove_rootfs(&self, container_dir: &Path) -> Result<()> {
        let target = container_dir.join("rootfs");
        overlay::unmount(&target)?;
        if overlay::is_mounted(&target)? {
            return Err(Error::BadImage {
                image: target.display().to_string(),
                what: "is still mounted, so it is not removed".to_owned(),
            });
        }
        for name in ["rootfs", "work", "upper", VOLUMES] {
            remove_any(&container_dir.join(name))?;
        }
        remove_any(&self.lease_path(container_dir))?;
        self.collect_if_pending();
        Ok(())
    }

    pub(super) fn layer_dir(&self, chain: &Digest) -> PathBuf {
        // Half the digest names it well enough, and keeps the kernel's one page of mount options for more layers.
        self.inner.layers.join(&chain.hex()[..32])
    }

    /// True when it was not there.
    fn unpack_layer(&self, dir: &Path, layer: &Layer, parents: &[PathBuf]) -> Result<bool> {
        if dir.join("complete").exists() {
            return Ok(false);
        }
        let lock = {
            let mut locks = self
                .inner
                .unpacking
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            locks.retain(|_, lock| Arc::strong_count(lock) > 1); // bounded by what is in use
            locks.entry(layer.chain.clone()).or_default().clone()
        };
        let _one = lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if dir.join("complete").exists() {
            return Ok(false);
        }
        let temporary = self.temporary_layer()?;
        let outcome = self.unpack_into(&temporary, dir, layer, parents);
        remove_any(&temporary)?;
        outcome
    }

    /// A new folder beside the layers, for one in the making.
    pub(super) fn temporary_layer(&self) -> Result<PathBuf> {
        let number = UNIQUE.fetch_add(1, Ordering::Relaxed);
        let name = format!("tmp-{}-{number}", std::process::id());
        let path = self.inner.layers.join(name);
        fs::create_dir(&path).at("create", &path)?;
        Ok(path)
    }

    fn unpack_into(&self, temporary: &Path, dir: &Path, layer: &Layer, parents: &[PathBuf]) -> Result<bool> {
        let blob = self.inner.store.blob_path(&layer.blob);
        layer::unpack(&blob, &layer.diff_id, temporary, parents, self.inner.limits)?;
        for scrap in ["work", "merged"] {
            remove_any(&temporary.join(scrap))?;
        }
        complete(temporary, dir)
    }

    /// After a reboot: layers of an earlier boot that were never synced may have holes.
    pub(super) fn discard_unsynced_layers(&self) -> Result<()> {
        let Some(_alone) = self.inner.store.try_exclusive()? else {
            return Ok(());
        };
        for dir in self.layer_dirs()? {
            let marker = dir.join("complete");
            let trusted = match fs::read(&marker) {
                Ok(bytes) => serde_json::from_slice::<Complete>(&bytes).is_ok_and(|complete| {
                    complete.synced || boot_id().is_ok_and(|boot| boot == complete.boot)
                }),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
                Err(error) => return Err(error).at("read", &marker),
            };
            if !trusted {
                remove_any(&dir)?;
            }
        }
        Ok(())
    }

    /// Removes the layers that are not in `keep`. Only called when nobody else uses the store.
    pub(super) fn sweep_layers(&self, keep: &HashSet<Digest>) -> Result<()> {
        let keep: HashSet<PathBuf> = keep.iter().map(|chain| self.layer_dir(chain)).collect();
        for dir in self.layer_dirs()? {
            if !keep.contains(&dir) {
                remove_any(&dir)?;
            }
        }
        Ok(())
    }

    fn layer_dirs(&self) -> Result<Vec<PathBuf>> {
        let layers = &self.inner.layers;
        let mut dirs = Vec::new();
        for entry in fs::read_dir(layers).at("list", layers)? {
            let entry = entry.at("list", layers)?;
            if entry.file_name() != "empty" {
                dirs.push(entry.path());
            }
        }
        Ok(dirs)
    }

    fn lease_path(&self, container_dir: &Path) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        let name = Digest::of(container_dir.as_os_str().as_bytes());
        self.inner.leases.join(format!("{}.json", &name.hex()[..32]))
    }

    fn write_lease(&self, image: &Image, own: Digest, container_dir: &Path) -> Result<()> {
        let chains = image.layers.iter().map(|layer| &layer.chain).chain([&own]);
        let lease = Lease {
            container: container_dir.to_path_buf(),
            manifest: image.digest.to_string(),
            chains: chains.map(Digest::to_string).collect(),
        };
        let path = self.lease_path(container_dir);
        let temporary = path.with_extension("new");
        let bytes = serde_json::to_vec(&lease)
            .map_err(std::io::Error::other)
            .at("encode", &path)?;
        fs::write(&temporary, bytes).at("write", &temporary)?;
        fs::rename(&temporary, &path).at("rename to", &path)
    }

    /// Leases of containers that are still there; the others are removed.
    fn leases(&self) -> Result<Vec<Lease>> {
        let dir = &self.inner.leases;
        let mut leases = Vec::new();
        for entry in fs::read_dir(dir).at("list", dir)? {
            let path = entry.at("list", dir)?.path();
            let bytes = fs::read(&path).at("read", &path)?;
            match serde_json::from_slice::<Lease>(&bytes) {
                Ok(lease) if lease.container.join("rootfs").exists() => leases.push(lease),
                // Half written before a power cut, or its container was removed by hand: no mount stands on it.
                _ => remove_any(&path)?,
            }
        }
        Ok(leases)
    }

    pub(super) fn leased_manifests(&self) -> Result<HashSet<Digest>> {
        Ok(self
            .leases()?
            .iter()
            .filter_map(|lease| Digest::parse(&lease.manifest))
            .collect())
    }

    pub(super) fn leased_chains(&self) -> Result<HashSet<Digest>> {
        let leases = self.leases()?;
        Ok(leases
            .iter()
            .flat_map(|lease| &lease.chains)
            .filter_map(|chain| Digest::parse(chain))
            .collect())
    }
}

/// The root folder's owner and mode come from the upper folder, so the image's must be copied to it.
fn copy_root_attributes(from: &Path, to: &Path) -> Result<()> {
    let meta = from.metadata().at("stat", from)?;
    std::os::unix::fs::chown(to, Some(meta.uid()), Some(meta.gid())).at("change owner of", to)?;
    fs::set_permissions(to, meta.permissions()).at("change mode of", to)
}

/// Gives a finished layer its name. False when another was faster with the same content.
pub(super) fn complete(temporary: &Path, dir: &Path) -> Result<bool> {
    write_complete(temporary, false)?;
    match fs::rename(temporary, dir) {
        Ok(()) => Ok(true),
        Err(_) if dir.join("complete").exists() => Ok(false),
        Err(error) => Err(error).at("rename to", dir),
    }
}

fn write_complete(dir: &Path, synced: bool) -> Result<()> {
    let path = dir.join("complete");
    let temporary = dir.join("complete.new");
    let complete = Complete {
        boot: boot_id()?,
        synced,
    };
    let bytes = serde_json::to_vec(&complete)
        .map_err(std::io::Error::other)
        .at("encode", &path)?;
    fs::write(&temporary, bytes).at("write", &temporary)?;
    if synced {
        File::open(&temporary)
            .and_then(|file| file.sync_all())
            .at("sync", &temporary)?;
    }
    fs::rename(&temporary, &path).at("rename to", &path)
}

fn boot_id() -> Result<String> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    Ok(fs::read_to_string(path).at("read", path)?.trim().to_owned())
}
