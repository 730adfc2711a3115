//! A layer below an image's own that has the folders and empty files which a container's mounts need. Copies of a pod
//! share it, where each container would otherwise make them in its own upper folder, one slow overlay write each.

use super::error::{Context, Result};
use super::reference::Digest;
use super::store::remove_any;
use super::{Images, rootfs};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

/// More mounts than this are left to the runtime.
const MAX_POINTS: usize = 1000;
/// Mounted in every container; what lies below them is not on the root file system.
const KERNEL: [&str; 3] = ["proc", "dev", "sys"];

/// What is mounted where in a container: relative paths, and whether a file is mounted on them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountPoints(BTreeMap<PathBuf, bool>);

impl MountPoints {
    /// Mounts as pairs of what is mounted and the absolute path where. Others than plain absolute paths are left out:
    /// the runtime makes those, or refuses them.
    pub fn new<'a>(mounts: impl Iterator<Item = (&'a Path, &'a Path)>) -> Self {
        let mut points: BTreeMap<PathBuf, bool> = KERNEL.iter().map(|name| (name.into(), false)).collect();
        for (source, destination) in mounts.take(MAX_POINTS) {
            let Ok(inside) = destination.strip_prefix("/") else {
                continue;
            };
            let plain = inside
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
            let kernel = KERNEL.iter().any(|name| inside.starts_with(name));
            if plain && !kernel && inside.components().next().is_some() {
                points.insert(
                    inside.to_owned(),
                    fs::metadata(source).is_ok_and(|meta| !meta.is_dir()),
                );
            }
        }
        Self(points)
    }

    fn digest(&self) -> Digest {
        Digest::of(format!("mount points {:?}", self.0).as_bytes())
    }

    fn make(&self, root: &Path) -> Result<()> {
        for (point, is_file) in &self.0 {
            let path = root.join(point);
            let folder = if *is_file {
                path.parent().unwrap_or(root)
            } else {
                &path
            };
            let made = DirBuilder::new().recursive(true).mode(0o755).create(folder);
            match made.and_then(|()| {
                if *is_file {
                    File::create(&path).map(drop)
                } else {
                    Ok(())
                }
            }) {
                // A mount below a file, or a file where others have a folder: the runtime says what is wrong.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::NotADirectory | ErrorKind::AlreadyExists | ErrorKind::IsADirectory
                    ) => {}
                made => made.at("create", &path)?,
            }
        }
        Ok(())
    }
}

impl Images {
    /// Makes the layer if it is not there yet, and says what it is called in leases.
    pub(super) fn mount_points_layer(&self, points: &MountPoints) -> Result<Digest> {
        let name = points.digest();
        let dir = self.layer_dir(&name);
        if !dir.join("complete").exists() {
            let temporary = self.temporary_layer()?;
            let root = temporary.join("fs");
            let made = fs::create_dir(&root)
                .at("create", &root)
                .and_then(|()| points.make(&root))
                .and_then(|()| rootfs::complete(&temporary, &dir));
            remove_any(&temporary)?;
            made?;
        }
        Ok(name)
    }
}
