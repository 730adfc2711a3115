//! Where a cluster lives on disk: one folder holds all of it, and nothing of it is anywhere else.

use crate::kubeconfig;
use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use node::images::{HostConfig, RegistryConfig};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// All clusters are found here: a folder each, or a link to the folder that `--data-dir` named.
const HOME: &str = "/var/lib/isopod";
/// Version of the folder's layout. A folder of another version is refused, never changed.
pub const LAYOUT: u32 = 1;

/// What a cluster's folder may hold before its settings are written.
const OWN: [&str; 3] = ["cluster.", "pki", "server."];

/// Says in the folder of all clusters that `up` made it, so that it goes with the last of them.
const HOME_MARK: &str = ".made-by-isopod";

/// What was there before `create`.
pub struct Made {
    /// The folder's mode, if it was there.
    pub folder: Option<Permissions>,
}

/// The folder of one cluster.
#[derive(Clone, Debug)]
pub struct Place {
    pub name: String,
    pub dir: PathBuf,
}

/// What `up` was told, kept for the next `up`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Settings {
    pub layout: u32,
    pub name: String,
    /// Port of the API on 127.0.0.1.
    pub api_port: u16,
    pub kubeconfig: PathBuf,
    #[serde(default)]
    pub simulated_nodes: u32,
    /// What is special about registries, by their names in images.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub registries: BTreeMap<String, HostConfig>,
    /// Whose ID tokens are believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<apiserver::oidc::Settings>,
}

impl Settings {
    /// How images are pulled: as `up` was told, with the user's own docker logins.
    pub fn registry_config(&self) -> RegistryConfig {
        RegistryConfig {
            hosts: self.registries.clone(),
            docker_config: docker_config(),
            ..RegistryConfig::default()
        }
    }
}

/// Where docker keeps the user's logins.
fn docker_config() -> Option<PathBuf> {
    let folder = std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".docker")));
    folder.map(|folder| folder.join("config.json"))
}

/// The folder of all clusters; `ISOPOD_HOME` moves it (tests do).
pub fn home() -> PathBuf {
    std::env::var_os("ISOPOD_HOME").map_or_else(|| HOME.into(), PathBuf::from)
}

/// The folder that a cluster was given with `--data-dir`, where that is not there any more.
pub fn lost_folder(name: &str) -> Option<PathBuf> {
    let link = home().join(name);
    let target = std::fs::read_link(&link).ok()?;
    std::fs::metadata(&link).is_err().then_some(target)
}

impl Place {
    /// The cluster's folder, whether it is there or not.
    pub fn of(name: &str) -> Result<Self> {
        let errors = meta::name::check_dns1123_label(name);
        if let Some(error) = errors.first() {
            bail!("{name:?} cannot be a cluster's name: {error}");
        }
        let link = home().join(name);
        let dir = std::fs::canonicalize(&link).unwrap_or(link);
        Ok(Self {
            name: name.to_string(),
            dir,
        })
    }

    /// Makes the folder, at `data_dir` where that is given.
    pub fn create(name: &str, data_dir: Option<&Path>) -> Result<(Self, Made)> {
        let known = Self::of(name)?;
        let link = home().join(name);
        let dir = match data_dir {
            Some(dir) => std::path::absolute(dir)?,
            None => known.dir.clone(),
        };
        let folder = std::fs::metadata(&dir).ok().filter(std::fs::Metadata::is_dir);
        if folder.is_some() {
            known.check_folder(&dir)?;
        }
        if let Some(gone) = lost_folder(name) {
            let there = Self {
                name: name.to_string(),
                dir: dir.clone(),
            };
            if data_dir.is_none() || !there.exists() {
                bail!(
                    "the data folder {} of cluster {name} is not there; bring it back (is its disk mounted?), or, if it was moved: isopod up --name {name} --data-dir DIR, or, to forget the cluster: isopod rm --name {name}",
                    gone.display()
                );
            }
            std::fs::remove_file(&link).with_context(|| format!("cannot replace {}", link.display()))?;
        }
        let new_link = std::fs::symlink_metadata(&link).is_err() && dir != link;
        if !new_link && known.exists() && std::fs::canonicalize(&dir).ok().as_ref() != Some(&known.dir) {
            bail!(
                "cluster {name} is in {}, not in {}; leave --data-dir out, or remove it first: isopod rm --name {name}",
                known.dir.display(),
                dir.display()
            );
        }
        make_home()?;
        make_private(&dir).with_context(|| format!("cannot make the data folder {}", dir.display()))?;
        if new_link {
            let dir = std::fs::canonicalize(&dir)?;
            std::os::unix::fs::symlink(&dir, &link)
                .with_context(|| format!("cannot link {} to {}", link.display(), dir.display()))?;
        }
        let folder = folder.map(|f| f.permissions());
        Ok((Self::of(name)?, Made { folder }))
    }

    /// A folder that holds other things is no cluster's: `rm` would remove them.
    fn check_folder(&self, dir: &Path) -> Result<()> {
        let shown = dir.display();
        let there = Self {
            name: self.name.clone(),
            dir: dir.to_path_buf(),
        };
        if there.exists() {
            let settings = there.settings()?;
            if settings.name != self.name {
                bail!(
                    "{shown} holds cluster {}; name another folder: --data-dir DIR, or use it: isopod up --name {0} --data-dir {shown}",
                    settings.name
                );
            }
            return Ok(());
        }
        let entries = std::fs::read_dir(dir).with_context(|| format!("cannot read {shown}"))?;
        // What a first start left that was cut off in the middle is ours.
        let foreign = entries.flatten().find(|e| {
            let name = e.file_name();
            !OWN.iter().any(|own| name.to_string_lossy().starts_with(own))
        });
        match foreign {
            Some(entry) => bail!(
                "{shown} holds other things ({}), and isopod rm would remove them; name a new or empty folder: --data-dir DIR",
                entry.file_name().to_string_lossy()
            ),
            None => Ok(()),
        }
    }

    /// Keeps other `up`, `down` and `rm` of this cluster out until it is dropped.
    pub fn lock(&self) -> Result<Flock<File>> {
        let folder = File::open(&self.dir).with_context(|| format!("cannot open {}", self.dir.display()))?;
        match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(lock),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => bail!(
                "another isopod up, down or rm is at work on cluster {}; wait for it, then say it again",
                self.name
            ),
            Err((_, error)) => Err(error).with_context(|| format!("cannot lock {}", self.dir.display())),
        }
    }

    /// All clusters there are.
    pub fn all() -> Result<Vec<Self>> {
        let entries = match std::fs::read_dir(home()) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e).with_context(|| format!("cannot read {}", home().display())),
        };
        let mut places = Vec::new();
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let Ok(place) = Self::of(&name) else { continue };
            if place.settings_file().exists() {
                places.push(place);
            }
        }
        places.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(places)
    }

    pub fn exists(&self) -> bool {
        self.settings_file().exists()
    }

    pub fn settings_file(&self) -> PathBuf {
        self.dir.join("cluster.json")
    }

    /// Says that the cluster has been up: its store and its keys are there, or are lost.
    pub fn mark(&self) -> PathBuf {
        self.dir.join("cluster.was-up")
    }

    pub fn has_been_up(&self) -> bool {
        self.mark().exists()
    }

    pub fn log_file(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    pub fn pid_file(&self) -> PathBuf {
        self.dir.join("server.json")
    }

    pub fn pki(&self) -> PathBuf {
        self.dir.join("pki")
    }

    pub fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    /// Folders of claims.
    pub fn volumes(&self) -> PathBuf {
        self.dir.join("volumes")
    }

    /// The link under the folder of all clusters, if the data is elsewhere.
    pub fn link(&self) -> Option<PathBuf> {
        let link = home().join(&self.name);
        std::fs::symlink_metadata(&link)
            .is_ok_and(|m| m.is_symlink())
            .then_some(link)
    }

    pub fn settings(&self) -> Result<Settings> {
        let file = self.settings_file();
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => bail!(
                "there is no cluster {0}; make it with: isopod up --name {0}",
                self.name
            ),
            Err(e) => return Err(e).with_context(|| format!("cannot read {}", file.display())),
        };
        let settings: Settings =
            serde_json::from_str(&text).map_err(|error| self.damaged_settings(&error))?;
        if settings.layout != LAYOUT {
            bail!(
                "{} has layout {}, this isopod knows layout {LAYOUT}; use the isopod that made it, or remove the cluster: isopod rm --name {}",
                self.dir.display(),
                settings.layout,
                self.name
            );
        }
        Ok(settings)
    }

    /// The file holds little, and nothing that cannot be said again.
    fn damaged_settings(&self, error: &serde_json::Error) -> anyhow::Error {
        let settings = Settings {
            layout: LAYOUT,
            name: self.name.clone(),
            api_port: 6443,
            kubeconfig: kubeconfig::default_path().unwrap_or_else(|_| "/root/.kube/config".into()),
            simulated_nodes: 0,
            registries: BTreeMap::new(),
            oidc: None,
        };
        let anew = serde_json::to_string(&settings).unwrap_or_default();
        anyhow::anyhow!(
            "{} is damaged ({error}); nothing else of the cluster is touched. Put the file back from a copy, or write it anew, \
             with the port and kubeconfig that it had: {anew}",
            self.settings_file().display()
        )
    }

    pub fn write_settings(&self, settings: &Settings) -> Result<()> {
        write_atomic(
            &self.settings_file(),
            &serde_json::to_vec_pretty(settings)?,
            0o644,
        )
    }
}

fn make_home() -> Result<()> {
    let home = home();
    if home.is_dir() {
        return Ok(());
    }
    let made = std::fs::create_dir_all(&home).and_then(|()| File::create(home.join(HOME_MARK)).map(drop));
    made.with_context(|| format!("cannot make {}", home.display()))
}

/// Removes the folder of all clusters if `up` made it and no cluster is left in it.
pub fn remove_home() -> Result<()> {
    let (home, mark) = (home(), home().join(HOME_MARK));
    let remove = || -> std::io::Result<()> {
        let mut entries = std::fs::read_dir(&home)?;
        if !mark.exists() || entries.any(|entry| entry.map_or(true, |e| e.path() != mark)) {
            return Ok(());
        }
        std::fs::remove_file(&mark)?;
        std::fs::remove_dir(&home)
    };
    match remove() {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", home.display()))
        }
        _ => Ok(()),
    }
}

/// Makes a folder that only its owner gets into, and closes one that is there. Secrets, claims and whatever programs
/// containers left, with whatever rights, lie below it.
fn make_private(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    std::fs::set_permissions(dir, Permissions::from_mode(0o700))
}

/// Replaces a file as a whole, or not at all.
pub fn write_atomic(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
    let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&temporary)?;
        if let Ok(before) = std::fs::metadata(path) {
            // A user's own file stays the user's when root writes it.
            std::os::unix::fs::fchown(&file, Some(before.uid()), Some(before.gid()))?;
        }
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    let written = write();
    if written.is_err() {
        // ignored: where nothing could be written there may be nothing to remove
        std::fs::remove_file(&temporary).ok();
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}
