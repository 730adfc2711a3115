//! Volumes that an image declares (`VOLUME` in a Dockerfile): each is a fresh folder of the container, which begins with
//! what the image has at that path. Source: containerd's CRI plugin, whose `ignore_image_defined_volumes` is off.

use super::beneath::{fold, open_in_root};
use super::copy::copy_folder;
use super::error::{Context, Error, Result};
use super::store::remove_any;
use super::{Image, VOLUMES};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// An image that declares more is refused.
const MAX_VOLUMES: usize = 1000;

/// One of them, for one container. It goes with the container's root file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinedVolume {
    /// Its folder, which is there once `fill_volumes` has made it.
    pub source: PathBuf,
    /// Absolute, without `..`.
    pub destination: PathBuf,
}

impl Image {
    /// The volumes that the image declares and the container does not mount something at itself (`mounted`).
    pub fn defined_volumes<'a>(
        &self,
        container_dir: &Path,
        mounted: impl Iterator<Item = &'a Path>,
    ) -> Result<Vec<DefinedVolume>> {
        if self.run.volumes.is_empty() {
            return Ok(Vec::new());
        }
        let refuse = |what: String| {
            Err(Error::BadImage {
                image: self.name.clone(),
                what,
            })
        };
        let wanted: BTreeSet<PathBuf> = self.run.volumes.iter().map(|path| clean(path.as_ref())).collect();
        if wanted.len() > MAX_VOLUMES {
            return refuse(format!(
                "declares {} volumes, the limit is {MAX_VOLUMES}",
                wanted.len()
            ));
        }
        // Over these the container would not start, or not see its own processes.
        let refused = |path: &&PathBuf| path.as_path() == Path::new("/") || path.starts_with("/proc");
        if let Some(path) = wanted.iter().find(refused) {
            return refuse(format!(
                "declares the volume {}, which cannot be mounted",
                path.display()
            ));
        }
        let mounted: BTreeSet<PathBuf> = mounted.map(clean).collect();
        let own = wanted.into_iter().filter(|path| !mounted.contains(path));
        let volumes = own.enumerate().map(|(number, destination)| DefinedVolume {
            source: container_dir.join(VOLUMES).join(number.to_string()),
            destination,
        });
        Ok(volumes.collect())
    }
}

fn clean(path: &Path) -> PathBuf {
    Path::new("/").join(fold(path))
}

/// Makes the folders of a container that has its root file system and has not run yet, those that are not there already.
pub fn fill_volumes(rootfs: &Path, volumes: &[DefinedVolume]) -> Result<()> {
    if volumes.is_empty() {
        return Ok(());
    }
    let root: OwnedFd = File::open(rootfs).at("open", rootfs)?.into();
    volumes.iter().try_for_each(|volume| fill(&root, volume))
}

fn fill(root: &OwnedFd, volume: &DefinedVolume) -> Result<()> {
    let (done, new) = (&volume.source, &volume.source.with_extension("new"));
    if done.exists() {
        return Ok(());
    }
    remove_any(new)?;
    fs::create_dir_all(new).at("create", new)?;
    fs::set_permissions(new, fs::Permissions::from_mode(0o755)).at("change mode of", new)?;
    let inside = fold(&volume.destination);
    match open_in_root(root.as_fd(), &inside, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
        Ok(from) => {
            let to: OwnedFd = File::open(new).at("open", new)?.into();
            copy_folder(&from, &to).at("fill the image's volume", &volume.destination)?;
        }
        Err(Errno::ENOENT) => {} // the image has nothing there
        Err(errno) => return Err(errno).at("fill the image's volume", &volume.destination),
    }
    fs::rename(new, done).at("rename to", done)
}
