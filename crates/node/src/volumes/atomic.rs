//! Writes a volume's files so that readers see either all old or all new ones: files lie in a folder named after the
//! time, the link `..data` points to it and is swapped by one rename. Source: kubelet's atomic writer.

use super::payload::{File, Files};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";
static UNIQUE: AtomicU64 = AtomicU64::new(0);

/// Makes the volume have exactly these files. Returns false, and touches nothing, when it has them already.
pub(super) fn write(dir: &Path, files: &Files, group: Option<u32>) -> io::Result<bool> {
    let current = current_version(dir)?;
    let present = current
        .as_ref()
        .map(|version| same(version, files, group))
        .transpose()?;
    if present != Some(true) {
        let version = write_version(dir, files, group)?;
        let new_link = dir.join(NEW_DATA);
        remove_link(&new_link)?;
        symlink(version.file_name().unwrap_or_default(), &new_link)?;
        fs::rename(&new_link, dir.join(DATA))?;
    }
    link_names(dir, files)?;
    remove_old_versions(dir)?;
    Ok(present != Some(true))
}

/// The folder that `..data` points to.
fn current_version(dir: &Path) -> io::Result<Option<PathBuf>> {
    match fs::read_link(dir.join(DATA)) {
        Ok(target) => Ok(Some(dir.join(target))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn same(version: &Path, files: &Files, group: Option<u32>) -> io::Result<bool> {
    if !version.is_dir() {
        return Ok(false);
    }
    let mut present = BTreeSet::new();
    collect(version, Path::new(""), &mut present)?;
    if present.len() != files.len() || !files.keys().all(|path| present.contains(path)) {
        return Ok(false);
    }
    for (path, file) in files {
        let full = version.join(path);
        let meta = fs::metadata(&full)?;
        let right = meta.len() == file.bytes.len() as u64
            && meta.mode() & 0o7777 == mode(file, group)
            && file.uid.is_none_or(|uid| uid == meta.uid())
            && group.is_none_or(|group| group == meta.gid());
        if !right || fs::read(&full)? != file.bytes {
            return Ok(false);
        }
    }
    Ok(true)
}

fn collect(root: &Path, below: &Path, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => collect(root, &path, found)?, // as deep as the item paths, which the API server bounds
            false => {
                found.insert(path);
            }
        }
    }
    Ok(())
}

/// With fsGroup, the group can read what it could not otherwise.
fn mode(file: &File, group: Option<u32>) -> u32 {
    if group.is_some() {
        file.mode | 0o440
    } else {
        file.mode
    }
}

fn write_version(dir: &Path, files: &Files, group: Option<u32>) -> io::Result<PathBuf> {
    let stamp = jiff::Zoned::now().strftime("%Y_%m_%d_%H_%M_%S").to_string();
    let number = UNIQUE.fetch_add(1, Ordering::Relaxed);
    let version = dir.join(format!("..{stamp}.{}{number}", std::process::id()));
    make_dir(&version, group)?;
    for (path, file) in files {
        let mut above = version.clone();
        for part in path.parent().into_iter().flat_map(Path::components) {
            above.push(part);
            if !above.is_dir() {
                make_dir(&above, group)?;
            }
        }
        let full = version.join(path);
        let mut out = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&full)?;
        out.write_all(&file.bytes)?;
        if file.uid.is_some() || group.is_some() {
            chown(&full, file.uid, group)?;
        }
        out.set_permissions(fs::Permissions::from_mode(mode(file, group)))?;
    }
    Ok(version)
}

fn make_dir(path: &Path, group: Option<u32>) -> io::Result<()> {
    fs::create_dir(path)?;
    match group {
        Some(group) => {
            chown(path, None, Some(group))?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o2755))
        }
        None => fs::set_permissions(path, fs::Permissions::from_mode(0o755)),
    }
}

/// What users see: `key -> ..data/key`, one link for the first part of each path.
fn link_names(dir: &Path, files: &Files) -> io::Result<()> {
    let wanted: BTreeSet<OsString> = files
        .keys()
        .filter_map(|path| Some(path.components().next()?.as_os_str().to_owned()))
        .collect();
    for name in &wanted {
        let (link, target) = (dir.join(name), Path::new(DATA).join(name));
        match fs::read_link(&link) {
            Ok(present) if present == target => {}
            _ => {
                remove_link(&link)?;
                symlink(target, link)?;
            }
        }
    }
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        if !name.to_string_lossy().starts_with("..") && !wanted.contains(&name) {
            remove_link(&dir.join(name))?;
        }
    }
    Ok(())
}

fn remove_link(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Earlier versions, and what a crash left half written.
fn remove_old_versions(dir: &Path) -> io::Result<()> {
    let current = current_version(dir)?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let is_version = entry.file_type()?.is_dir() && entry.file_name().to_string_lossy().starts_with("..");
        if is_version && Some(entry.path()) != current {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
