//! Unpacks one layer, once. A layer is applied to the overlay of its parents, as containerd does: so links that lead
//! into a parent, hard links and deletions mean what they meant when the image was made; the upper folder of that
//! overlay is the unpacked layer. The overlay is detached at once, a crash leaves no mount.

use super::beneath::{
    fd_path, kind_at, make_dir_all, normalize, open_in_root, remove_at, set_mtime, set_owner_and_mode,
};
use super::error::{Context, Error, Result};
use super::overlay;
use super::reference::Digest;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, makedev, mkdirat, mknodat};
use nix::unistd::{linkat, symlinkat};
use sha2::Digest as _;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tar::EntryType;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const AUFS: &[u8] = b".wh..wh.";

/// Bounds against archives that grow without end ("zip bombs"); reaching one refuses the image.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Unpacked bytes of one layer.
    pub layer_bytes: u64,
    /// Files, folders and links of one layer.
    pub layer_entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            layer_bytes: 64 << 30,
            layer_entries: 2_000_000,
        }
    }
}

/// Opens plain, gzip or zstd content by its first bytes: media types are often wrong.
pub(crate) fn decompress<'a>(mut reader: impl io::BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let head = reader.fill_buf()?;
    Ok(match head {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::stream::read::Decoder::with_buffer(reader)?),
        _ => Box::new(reader),
    })
}

/// Hashes and bounds what flows through.
struct Counted<R> {
    inner: R,
    hash: sha2::Sha256,
    left: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::other("the layer unpacks to more bytes than the limit allows"))?;
        Ok(count)
    }
}

/// Unpacks the blob into the empty folder `target`, over `parents` (topmost first); checks the content against `diff_id`.
pub(crate) fn unpack(
    blob: &Path,
    diff_id: &Digest,
    target: &Path,
    parents: &[PathBuf],
    limits: Limits,
) -> Result<()> {
    let bad = |what: String| Error::BadImage {
        image: format!("layer {diff_id}"),
        what,
    };
    let mut file = File::open(blob).at("open layer", blob)?;
    file.rewind().at("read layer", blob)?;
    let plain = decompress(io::BufReader::with_capacity(1 << 16, file)).at("decompress", blob)?;
    let mut source = Counted {
        inner: plain,
        hash: sha2::Sha256::new(),
        left: limits.layer_bytes,
    };
    let root = view(target, parents)?;
    let outcome = Unpacker::new(&root, limits).run(&mut source);
    outcome.map_err(|problem| match problem {
        Problem::Content(what) => bad(what),
        Problem::Io(path, error) => bad(format!("cannot unpack {}: {error}", path.display())),
    })?;
    io::copy(&mut source, &mut io::sink()).map_err(|e| bad(format!("cannot read to its end: {e}")))?;
    let actual = Digest::from_hash(&source.hash.finalize());
    match actual == *diff_id {
        true => Ok(()),
        false => Err(bad(format!(
            "unpacks to the content of {actual}, so it is not the layer that the image names"
        ))),
    }
}

/// The folder to write in: the target itself, or the overlay of it and its parents.
fn view(target: &Path, parents: &[PathBuf]) -> Result<OwnedFd> {
    let upper = target.join("fs");
    fs::create_dir(&upper).at("create", &upper)?;
    if parents.is_empty() {
        return Ok(File::open(&upper).at("open", &upper)?.into());
    }
    let (work, merged) = (target.join("work"), target.join("merged"));
    for dir in [&work, &merged] {
        fs::create_dir(dir).at("create", dir)?;
    }
    overlay::mount(parents, &upper, &work, &merged)?;
    let root = File::open(&merged).at("open", &merged);
    overlay::unmount(&merged)?;
    Ok(root?.into())
}

enum Problem {
    Content(String),
    Io(PathBuf, io::Error),
}

struct Unpacker<'a> {
    root: &'a OwnedFd,
    limits: Limits,
    /// Paths of this layer: an opaque marker hides what is below, not what the layer itself brings.
    own: HashSet<PathBuf>,
    /// Times of folders are set last, since each new file changes them.
    dir_times: Vec<(PathBuf, u64)>,
    parent: Option<(PathBuf, OwnedFd)>,
}

impl<'a> Unpacker<'a> {
    fn new(root: &'a OwnedFd, limits: Limits) -> Self {
        Unpacker {
            root,
            limits,
            own: HashSet::new(),
            dir_times: Vec::new(),
            parent: None,
        }
    }

    fn run(mut self, source: &mut impl Read) -> std::result::Result<(), Problem> {
        let unreadable =
            |error: io::Error| Problem::Content(format!("is not a readable tar archive: {error}"));
        let mut archive = tar::Archive::new(source);
        let mut count = 0;
        for entry in archive.entries().map_err(unreadable)? {
            let mut entry = entry.map_err(unreadable)?;
            count += 1;
            if count > self.limits.layer_entries {
                let limit = self.limits.layer_entries;
                return Err(Problem::Content(format!(
                    "has more than the limit of {limit} entries"
                )));
            }
            let given = PathBuf::from(OsStr::from_bytes(&entry.path_bytes()));
            let Some(path) = normalize(&given) else {
                return Err(Problem::Content(format!("has the unsafe path {given:?}")));
            };
            self.entry(&mut entry, &path)
                .map_err(|error| Problem::Io(given, error))?;
        }
        for (path, seconds) in std::mem::take(&mut self.dir_times).into_iter().rev() {
            self.touch_dir(&path, seconds)
                .map_err(|error| Problem::Io(path, error))?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &mut tar::Entry<'_, impl Read>, path: &Path) -> io::Result<()> {
        let Some(name) = path.file_name() else {
            return self.root_entry(entry);
        };
        let above = path.parent().unwrap_or(Path::new("")).to_path_buf();
        match name.as_bytes() {
            OPAQUE => return self.hide_below(&above),
            marker if marker.starts_with(AUFS) => return Ok(()), // bookkeeping of aufs, means nothing here
            marker if marker.starts_with(WHITEOUT) => {
                return self.hide(&above, OsStr::from_bytes(&marker[WHITEOUT.len()..]));
            }
            _ => {}
        }
        let kind = entry.header().entry_type();
        let dir = self.open_parent(&above)?;
        self.make_room(&dir, name, kind)?;
        create(self.root, &dir, name, kind, entry)?;
        set_attributes(&dir, name, kind, entry)?;
        if kind == EntryType::Directory {
            self.dir_times.push((path.to_path_buf(), mtime(entry.header())?));
        }
        self.parent = Some((above, dir));
        self.own.insert(path.to_path_buf());
        Ok(())
    }

    /// The root's own owner and mode.
    fn root_entry(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> io::Result<()> {
        let dir = open_in_root(
            self.root.as_fd(),
            Path::new("."),
            OFlag::O_PATH | OFlag::O_DIRECTORY,
        )?;
        if entry.header().entry_type() == EntryType::Directory {
            set_attributes(&dir, OsStr::new("."), EntryType::Directory, entry)?;
        }
        Ok(())
    }

    /// Entries come folder by folder, so the last parent is kept open.
    fn open_parent(&mut self, above: &Path) -> io::Result<OwnedFd> {
        match self.parent.take() {
            Some((path, dir)) if path == above => Ok(dir),
            _ => Ok(make_dir_all(
                self.root.as_fd(),
                above,
                Mode::from_bits_truncate(0o755),
            )?),
        }
    }

    /// A later entry replaces what is there; only a folder over a folder keeps its contents.
    fn make_room(&mut self, dir: &OwnedFd, name: &OsStr, kind: EntryType) -> io::Result<()> {
        match kind_at(dir, name)? {
            None => Ok(()),
            Some(SFlag::S_IFDIR) if kind == EntryType::Directory => Ok(()),
            Some(_) => remove_at(dir, name),
        }
    }

    fn hide(&mut self, above: &Path, name: &OsStr) -> io::Result<()> {
        if name.is_empty() || name == "." || name == ".." {
            return Err(io::Error::other("the deletion names no file"));
        }
        let dir = self.open_parent(above)?;
        remove_at(&dir, name)?;
        self.parent = Some((above.to_path_buf(), dir));
        Ok(())
    }

    fn hide_below(&mut self, above: &Path) -> io::Result<()> {
        let dir = self.open_parent(above)?;
        for child in fs::read_dir(fd_path(&dir))? {
            let name = child?.file_name();
            if !self.own.contains(&above.join(&name)) {
                remove_at(&dir, &name)?;
            }
        }
        self.parent = Some((above.to_path_buf(), dir));
        Ok(())
    }

    fn touch_dir(&self, path: &Path, seconds: u64) -> io::Result<()> {
        let (Some(name), Some(above)) = (path.file_name(), path.parent()) else {
            return Ok(());
        };
        let dir = open_in_root(self.root.as_fd(), above, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        match kind_at(&dir, name)? {
            Some(SFlag::S_IFDIR) => Ok(set_mtime(&dir, name, seconds)?),
            _ => Ok(()), // a later entry of the same layer replaced or deleted it
        }
    }
}

fn create(
    root: &OwnedFd,
    dir: &OwnedFd,
    name: &OsStr,
    kind: EntryType,
    entry: &mut tar::Entry<'_, impl Read>,
) -> io::Result<()> {
    let private = Mode::from_bits_truncate(0o600); // the real mode comes when the content is there
    match kind {
        EntryType::Directory => {
            if kind_at(dir, name)?.is_none() {
                mkdirat(dir, name, Mode::from_bits_truncate(0o700))?;
            }
        }
        EntryType::Symlink => {
            let to = entry
                .link_name_bytes()
                .ok_or_else(|| io::Error::other("the link names no target"))?;
            symlinkat(OsStr::from_bytes(&to), dir, name)?;
        }
        EntryType::Link => {
            let to = entry
                .link_name_bytes()
                .ok_or_else(|| io::Error::other("the hard link names no target"))?;
            let to = normalize(Path::new(OsStr::from_bytes(&to)))
                .ok_or_else(|| io::Error::other("the hard link's target is unsafe: it has '..'"))?;
            let above = open_in_root(
                root.as_fd(),
                to.parent().unwrap_or(Path::new("")),
                OFlag::O_PATH | OFlag::O_DIRECTORY,
            )?;
            let file = to
                .file_name()
                .ok_or_else(|| io::Error::other("the hard link names no target"))?;
            linkat(&above, file, dir, name, AtFlags::empty())?;
        }
        EntryType::Fifo => mknodat(dir, name, SFlag::S_IFIFO, private, 0)?,
        EntryType::Char | EntryType::Block => {
            let major = entry.header().device_major()?.unwrap_or(0);
            let minor = entry.header().device_minor()?.unwrap_or(0);
            let flag = if kind == EntryType::Char {
                SFlag::S_IFCHR
            } else {
                SFlag::S_IFBLK
            };
            if kind == EntryType::Char && (major, minor) == (0, 0) {
                return Err(io::Error::other(
                    "a character device 0:0 is overlayfs's own deletion mark",
                ));
            }
            mknodat(dir, name, flag, private, makedev(major.into(), minor.into()))?;
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let flags =
                OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let mut file = File::from(openat(dir, name, flags, private)?);
            let copied = io::copy(entry, &mut file)?;
            if copied != entry.size() {
                return Err(io::Error::other("the archive ends in the middle of this file"));
            }
        }
        other => {
            return Err(io::Error::other(format!(
                "entries of type {other:?} are not understood"
            )));
        }
    }
    Ok(())
}

fn set_attributes(
    dir: &OwnedFd,
    name: &OsStr,
    kind: EntryType,
    entry: &mut tar::Entry<'_, impl Read>,
) -> io::Result<()> {
    if kind == EntryType::Link {
        return Ok(()); // shares everything with its target
    }
    let id =
        |value: u64| u32::try_from(value).map_err(|_| io::Error::other("owner or group is above 32 bits"));
    let old = entry.header().as_old();
    let blank = |field: &[u8]| field.iter().all(|byte| matches!(byte, 0 | b' ')); // some writers leave zeros out
    let uid = if blank(&old.uid) {
        0
    } else {
        id(entry.header().uid()?)?
    };
    let gid = if blank(&old.gid) {
        0
    } else {
        id(entry.header().gid()?)?
    };
    let mode = match kind {
        EntryType::Symlink => None,
        _ => Some(entry.header().mode()? & 0o7777),
    };
    set_owner_and_mode(dir, name, (uid, gid), mode)?;
    set_xattrs(dir, name, kind, entry)?;
    if kind != EntryType::Directory {
        set_mtime(dir, name, mtime(entry.header())?)?;
    }
    Ok(())
}

fn mtime(header: &tar::Header) -> io::Result<u64> {
    match header.as_old().mtime.iter().all(|byte| matches!(byte, 0 | b' ')) {
        true => Ok(0),
        false => header.mtime(),
    }
}

/// Extended attributes travel as `SCHILY.xattr.<name>` records; file capabilities are among them.
fn set_xattrs(
    dir: &OwnedFd,
    name: &OsStr,
    kind: EntryType,
    entry: &mut tar::Entry<'_, impl Read>,
) -> io::Result<()> {
    let Some(extensions) = entry.pax_extensions()? else {
        return Ok(());
    };
    for extension in extensions {
        let extension = extension?;
        let Some(key) = extension.key_bytes().strip_prefix(b"SCHILY.xattr.") else {
            continue;
        };
        if key.starts_with(b"trusted.overlay.") {
            return Err(io::Error::other(
                "attributes of overlayfs itself may not come with an image",
            ));
        }
        if kind == EntryType::Symlink {
            continue; // Linux has no user-visible attributes on links but security labels, which are the host's
        }
        let path = fd_path(dir).join(name);
        match xattr::set(&path, OsStr::from_bytes(key), extension.value_bytes()) {
            Err(error) if error.raw_os_error() == Some(nix::libc::EOPNOTSUPP) => {
                tracing::warn!(file = %name.display(), attribute = %OsStr::from_bytes(key).display(), "the disk does not keep this attribute");
            }
            outcome => outcome?,
        }
    }
    Ok(())
}
