//! Makes an image from one static binary or from a folder that is a root file system. The same input gives the same
//! digest: entries are sorted and nothing of the time or place of the build gets in. From one binary, times are 0; from
//! a folder, the files' own times, owners and modes are kept, since programs may look at them.

use super::elf::why_not_standalone;
use super::error::{Context, Error, Result};
use super::spec::{
    Config, ConfigFile, Descriptor, Manifest, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, RootFs, host_architecture,
};
use super::store::Store;
use super::{Image, Images, Reference};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};

/// Nesting of folders above this is taken for a loop or an attack.
const MAX_DEPTH: usize = 200;

/// What goes into the image.
#[derive(Clone, Debug)]
pub enum Source {
    /// One static program, put at `/<file name>`.
    Binary(PathBuf),
    /// A folder that is the root file system.
    Folder(PathBuf),
}

/// An order to build. `new` has the defaults; set the other fields as needed.
#[derive(Clone, Debug)]
pub struct Build {
    pub name: String,
    pub source: Source,
    /// Default for a binary: the binary itself.
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// `NAME=value`
    pub env: Vec<String>,
    /// `8080`, `8080/tcp`, `53/udp`
    pub ports: Vec<String>,
    /// `name`, `uid`, `user:group`
    pub user: Option<String>,
    pub working_dir: Option<String>,
    /// `key=value`
    pub labels: Vec<String>,
    pub stop_signal: Option<String>,
    /// Symbolic links in the image: (path, target), e.g. (`/bin/tail`, `/visits`) for a program of several names.
    pub links: Vec<(String, String)>,
}

impl Build {
    pub fn new(name: impl Into<String>, source: Source) -> Build {
        Build {
            name: name.into(),
            source,
            entrypoint: Vec::new(),
            cmd: Vec::new(),
            env: Vec::new(),
            ports: Vec::new(),
            user: None,
            working_dir: None,
            labels: Vec::new(),
            stop_signal: None,
            links: Vec::new(),
        }
    }
}

impl Images {
    /// Builds and stores an image. Nothing is stored when it fails.
    pub fn build(&self, order: &Build) -> Result<Image> {
        let name: Reference = order.name.parse()?;
        let config = config(order)?;
        let using = self.inner.store.using()?;
        let digest = write_image(&self.inner.store, order, config)?;
        self.name_manifest(&name, &digest, None)?;
        let image = self.require(&name.to_string())?;
        drop(using);
        self.collect_if_pending();
        Ok(image)
    }
}

fn write_image(store: &Store, order: &Build, mut config: Config) -> Result<super::Digest> {
    let mut blob = store.ingest()?;
    let mut layer = LayerWriter::new(&mut blob);
    let written = match &order.source {
        Source::Binary(path) => layer.binary(path, &mut config),
        Source::Folder(path) => layer.folder(path),
    };
    written?;
    for (path, target) in &order.links {
        layer.symlink(path, target)?;
    }
    layer.finish()?;
    let (diff_id, layer_size) = blob.commit(None)?;
    let document = ConfigFile {
        created: Some("1970-01-01T00:00:00Z".to_owned()),
        architecture: host_architecture().to_owned(),
        os: "linux".to_owned(),
        config: Some(config),
        rootfs: RootFs {
            kind: "layers".to_owned(),
            diff_ids: vec![diff_id.to_string()],
        },
    };
    let layer = descriptor(OCI_LAYER, &diff_id, layer_size);
    store_documents(store, &document, vec![layer])
}

/// Writes config and manifest for layers that are stored already; returns the manifest's digest.
fn store_documents(store: &Store, config: &ConfigFile, layers: Vec<Descriptor>) -> Result<super::Digest> {
    let encode = |error: serde_json::Error| Error::BadBuild {
        what: error.to_string(),
    };
    let bytes = serde_json::to_vec(config).map_err(encode)?;
    let digest = store.put(&bytes)?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: OCI_MANIFEST.to_owned(),
        config: descriptor(OCI_CONFIG, &digest, bytes.len() as u64),
        layers,
    };
    store.put(&serde_json::to_vec(&manifest).map_err(encode)?)
}

pub(super) fn descriptor(media_type: &str, digest: &super::Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: digest.to_string(),
        size,
        ..Descriptor::default()
    }
}

fn config(order: &Build) -> Result<Config> {
    let bad = |what: String| Err(Error::BadBuild { what });
    for variable in &order.env {
        if variable.split_once('=').is_none_or(|(name, _)| name.is_empty()) {
            return bad(format!("environment {variable:?} is not NAME=value"));
        }
    }
    let mut ports = BTreeMap::new();
    for port in &order.ports {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        let number_ok = number.parse::<u16>().is_ok_and(|number| number > 0);
        if !number_ok || !matches!(protocol, "tcp" | "udp" | "sctp") {
            return bad(format!(
                "port {port:?} is not a number from 1 to 65535, with /tcp or /udp if need be"
            ));
        }
        ports.insert(format!("{number}/{protocol}"), serde_json::json!({}));
    }
    let mut labels = BTreeMap::new();
    for label in &order.labels {
        match label.split_once('=') {
            Some((key, value)) if !key.is_empty() => labels.insert(key.to_owned(), value.to_owned()),
            _ => return bad(format!("label {label:?} is not key=value")),
        };
    }
    if let Some(dir) = order.working_dir.as_ref().filter(|dir| !dir.starts_with('/')) {
        return bad(format!("workdir {dir:?} is not an absolute path"));
    }
    let is_word =
        |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control());
    if let Some(user) = &order.user
        && (!user.split(':').all(is_word) || user.split(':').count() > 2)
    {
        return bad(format!("user {user:?} is not a name or number, or USER:GROUP"));
    }
    let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
    Ok(Config {
        user: order.user.clone(),
        exposed_ports: (!ports.is_empty()).then_some(ports),
        env: some(&order.env),
        entrypoint: some(&order.entrypoint),
        cmd: some(&order.cmd),
        working_dir: order.working_dir.clone(),
        labels: (!labels.is_empty()).then_some(labels),
        stop_signal: order.stop_signal.clone(),
        volumes: None,
    })
}

/// Owned by root, at time 0.
fn root_header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

struct LayerWriter<W: Write> {
    tar: tar::Builder<W>,
    /// The first path of a file with several names, by device and inode.
    linked: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> LayerWriter<W> {
    fn new(writer: W) -> Self {
        let mut tar = tar::Builder::new(writer);
        tar.sparse(false);
        LayerWriter {
            tar,
            linked: HashMap::new(),
        }
    }

    fn finish(mut self) -> Result<()> {
        self.tar.finish().at("write", Path::new("the layer"))
    }

    /// The program, and the little that most programs expect around them: users' names, /tmp.
    fn binary(&mut self, path: &Path, config: &mut Config) -> Result<()> {
        let bytes = fs::read(path).map_err(|error| Error::BadBuild {
            what: format!("cannot read {}: {error}", path.display()),
        })?;
        if let Some(why) = why_not_standalone(&bytes, host_architecture()) {
            return Err(Error::BadBuild {
                what: format!("{} would not run in an image of its own: {why}", path.display()),
            });
        }
        let name = path.file_name().ok_or_else(|| Error::BadBuild {
            what: format!("{} has no file name", path.display()),
        })?;
        if config.entrypoint.is_none() {
            config.entrypoint = Some(vec![format!("/{}", name.to_string_lossy())]);
        }
        self.plain("etc", EntryType::Directory, 0o755, b"")?;
        let passwd = b"root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n";
        self.plain(
            "etc/group",
            EntryType::Regular,
            0o644,
            b"root:x:0:\nnogroup:x:65534:\n",
        )?;
        self.plain("etc/passwd", EntryType::Regular, 0o644, passwd)?;
        self.plain("tmp", EntryType::Directory, 0o1777, b"")?;
        self.plain(name, EntryType::Regular, 0o755, &bytes)
    }

    fn plain(&mut self, path: impl AsRef<Path>, kind: EntryType, mode: u32, bytes: &[u8]) -> Result<()> {
        let mut header = root_header(kind, mode);
        header.set_size(bytes.len() as u64);
        let path = path.as_ref();
        self.tar
            .append_data(&mut header, path, bytes)
            .at("write layer entry", path)
    }

    fn symlink(&mut self, path: &str, target: &str) -> Result<()> {
        let clean = super::normalize(Path::new(path)).filter(|clean| clean.file_name().is_some());
        let clean = clean.ok_or_else(|| Error::BadBuild {
            what: format!("link {path:?} is not a path in the image"),
        })?;
        let mut header = root_header(EntryType::Symlink, 0o777);
        self.tar
            .append_link(&mut header, &clean, target)
            .at("write layer entry", &clean)
    }

    fn folder(&mut self, root: &Path) -> Result<()> {
        let meta = fs::metadata(root).map_err(|error| Error::BadBuild {
            what: format!("cannot read folder {}: {error}", root.display()),
        })?;
        if !meta.is_dir() {
            return Err(Error::BadBuild {
                what: format!("{} is not a folder; --binary takes one program", root.display()),
            });
        }
        self.walk(root, Path::new(""), 0)
    }

    fn walk(&mut self, root: &Path, below: &Path, depth: usize) -> Result<()> {
        let dir = root.join(below);
        if depth > MAX_DEPTH {
            return Err(Error::BadBuild {
                what: format!("{} is nested deeper than {MAX_DEPTH} folders", dir.display()),
            });
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(&dir).at("list", &dir)? {
            names.push(entry.at("list", &dir)?.file_name());
        }
        names.sort();
        for name in names {
            let path = below.join(&name);
            let source = root.join(&path);
            let meta = fs::symlink_metadata(&source).at("stat", &source)?;
            self.file(&source, &path, &meta)?;
            if meta.is_dir() {
                self.walk(root, &path, depth + 1)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, source: &Path, path: &Path, meta: &fs::Metadata) -> Result<()> {
        let kind = meta.file_type();
        if kind.is_socket() {
            return Ok(()); // has a meaning only while its program runs
        }
        let mut header = Header::new_gnu();
        header.set_mode(meta.mode() & 0o7777);
        header.set_uid(meta.uid().into());
        header.set_gid(meta.gid().into());
        header.set_mtime(u64::try_from(meta.mtime()).unwrap_or(0));
        header.set_size(0);
        if meta.nlink() > 1 && !kind.is_dir() {
            if let Some(first) = self.linked.get(&(meta.dev(), meta.ino())) {
                header.set_entry_type(EntryType::Link);
                return self
                    .tar
                    .append_link(&mut header, path, first)
                    .at("write layer entry", path);
            }
            self.linked.insert((meta.dev(), meta.ino()), path.to_path_buf());
        }
        self.xattrs(source, meta)?;
        if kind.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            let target = fs::read_link(source).at("read link", source)?;
            return self
                .tar
                .append_link(&mut header, path, target)
                .at("write layer entry", path);
        }
        if kind.is_file() {
            header.set_entry_type(EntryType::Regular);
            header.set_size(meta.len());
            let file = File::open(source).at("open", source)?;
            // Exactly the size in the header, even when the file grows meanwhile; shorter is an error.
            let mut exact = Exact {
                file,
                left: meta.len(),
            };
            return self
                .tar
                .append_data(&mut header, path, &mut exact)
                .at("read", source);
        }
        let device = |entry_type: EntryType, header: &mut Header| -> io::Result<()> {
            header.set_entry_type(entry_type);
            header.set_device_major(
                u32::try_from(nix::sys::stat::major(meta.rdev())).map_err(io::Error::other)?,
            )?;
            header.set_device_minor(
                u32::try_from(nix::sys::stat::minor(meta.rdev())).map_err(io::Error::other)?,
            )
        };
        match () {
            () if kind.is_dir() => header.set_entry_type(EntryType::Directory),
            () if kind.is_fifo() => header.set_entry_type(EntryType::Fifo),
            () if kind.is_char_device() => device(EntryType::Char, &mut header).at("describe", source)?,
            () => device(EntryType::Block, &mut header).at("describe", source)?,
        }
        self.tar
            .append_data(&mut header, path, io::empty())
            .at("write layer entry", path)
    }

    /// As PAX records before the entry; sorted, for the same digest each time.
    fn xattrs(&mut self, source: &Path, meta: &fs::Metadata) -> Result<()> {
        if meta.is_symlink() {
            return Ok(());
        }
        let mut records = BTreeMap::new();
        for name in xattr::list(source).at("list attributes of", source)? {
            let text = name.to_string_lossy().into_owned();
            // Security labels are this machine's, overlay marks are the kernel's.
            if text == "security.selinux" || text.starts_with("trusted.overlay.") {
                continue;
            }
            if let Some(value) = xattr::get(source, &name).at("read attribute of", source)? {
                records.insert(format!("SCHILY.xattr.{text}"), value);
            }
        }
        let records = records
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_slice()));
        self.tar
            .append_pax_extensions(records)
            .at("write attributes of", source)
    }
}

struct Exact {
    file: File,
    left: u64,
}

impl io::Read for Exact {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read(&mut buffer[..most])?;
        if count == 0 && most > 0 {
            return Err(io::Error::other(
                "the file became shorter while the image was built",
            ));
        }
        self.left -= count as u64;
        Ok(count)
    }
}
