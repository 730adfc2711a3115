//! Where a cluster lives on disk: one folder holds all of it, and nothing of it is anywhere else.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// All clusters are found here: a folder each, or a link to the folder that `--data-dir` named.
const HOME: &str = "/var/lib/isopod";
/// Version of the folder's layout. A folder of another version is refused, never changed.
pub const LAYOUT: u32 = 1;

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
}

/// The folder of all clusters; `ISOPOD_HOME` moves it (tests do).
pub fn home() -> PathBuf {
    std::env::var_os("ISOPOD_HOME").map_or_else(|| HOME.into(), PathBuf::from)
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
    pub fn create(name: &str, data_dir: Option<&Path>) -> Result<Self> {
        let known = Self::of(name)?;
        let link = home().join(name);
        std::fs::create_dir_all(home()).with_context(|| format!("cannot make {}", home().display()))?;
        match data_dir {
            None => std::fs::create_dir_all(&known.dir)
                .with_context(|| format!("cannot make the data folder {}", known.dir.display()))?,
            Some(dir) => {
                std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
                let dir = std::fs::canonicalize(dir)?;
                if link.exists() && known.dir != dir {
                    bail!(
                        "cluster {name} is in {}, not in {}; leave --data-dir out, or remove it first: isopod rm --name {name}",
                        known.dir.display(),
                        dir.display()
                    );
                }
                if !link.exists() && dir != link {
                    std::os::unix::fs::symlink(&dir, &link)
                        .with_context(|| format!("cannot link {} to {}", link.display(), dir.display()))?;
                }
            }
        }
        Self::of(name)
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
        let text = std::fs::read_to_string(&file).with_context(|| {
            format!(
                "there is no cluster {}; make it with: isopod up --name {}",
                self.name, self.name
            )
        })?;
        let settings: Settings =
            serde_json::from_str(&text).with_context(|| format!("{} is damaged", file.display()))?;
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

    pub fn write_settings(&self, settings: &Settings) -> Result<()> {
        write_atomic(
            &self.settings_file(),
            &serde_json::to_vec_pretty(settings)?,
            0o644,
        )
    }
}

/// Replaces a file as a whole, or not at all.
pub fn write_atomic(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
