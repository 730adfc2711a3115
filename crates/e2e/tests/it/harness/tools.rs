//! Where the tools are. One that is missing skips the test that needs it, and says so; where tools are required
//! (`ISOPOD_E2E_REQUIRE_TOOLS`), it fails the test.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a test may need beyond the binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    Kubectl,
    Helm3,
    Helm4,
    Curl,
    Busybox,
    Registry,
    Ip,
    Nft,
    /// util-linux's `script`: a terminal for a command.
    Script,
}

/// `wait --for=jsonpath` without a value is from there on.
const KUBECTL_MINOR: u32 = 31;

/// Asked once: each call of a test would start it for this.
static KUBECTL_ON_PATH: LazyLock<Option<PathBuf>> = LazyLock::new(kubectl);

static SKIPPED: AtomicUsize = AtomicUsize::new(0);

/// The folder of the profile that the tests were built in: <target>/debug.
fn profile_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("the test's own path");
    exe.parent()
        .and_then(|p| p.parent())
        .expect("<target>/<profile>/deps/it")
        .to_path_buf()
}

fn target_dir() -> PathBuf {
    profile_dir().parent().expect("<target>").to_path_buf()
}

/// The repository's root.
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("crates/e2e").to_path_buf()
}

/// The program under test: `ISOPOD_BIN`, or the one beside the tests.
pub fn isopod() -> PathBuf {
    built(
        "ISOPOD_BIN",
        profile_dir().join("isopod"),
        "cargo build -p isopod",
    )
}

/// The example app: `VISITS_BIN`, or the one that `make visits` builds.
pub fn visits() -> PathBuf {
    built("VISITS_BIN", target_dir().join("release/visits"), "make visits")
}

fn built(variable: &str, default: PathBuf, how: &str) -> PathBuf {
    let path = std::env::var_os(variable).map_or(default, PathBuf::from);
    assert!(
        path.is_file(),
        "{} is not there: build it with `{how}`, or say where it is with {variable}",
        path.display()
    );
    path
}

fn on_path(name: &str) -> Option<PathBuf> {
    all_on_path(name).next()
}

fn all_on_path(name: &str) -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([
            target_dir().join("tools"),
            "/usr/sbin".into(),
            "/sbin".into(),
            "/usr/local/bin".into(),
        ])
        .map(|folder| folder.join(name))
        .filter(|file| file.is_file())
        .collect::<Vec<_>>()
        .into_iter()
}

/// The first that is new enough; Debian 12's own is version 1.20.
fn kubectl() -> Option<PathBuf> {
    all_on_path("kubectl").find(|kubectl| {
        let output = Command::new(kubectl)
            .args(["version", "--client", "-o", "json"])
            .output();
        output.is_ok_and(|o| minor_version(&o.stdout).is_some_and(|minor| minor >= KUBECTL_MINOR))
    })
}

fn minor_version(json: &[u8]) -> Option<u32> {
    let version: serde_json::Value = serde_json::from_slice(json).ok()?;
    let minor = version["clientVersion"]["minor"].as_str()?;
    // A vendor's has a `+` behind it.
    minor.trim_end_matches('+').parse().ok()
}

fn helm(major: &str) -> Option<PathBuf> {
    let starts = format!("v{major}.");
    ["helm", "helm3", "helm4"]
        .into_iter()
        .filter_map(on_path)
        .find(|helm| {
            let output = Command::new(helm).args(["version", "--short"]).output();
            output.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).trim().starts_with(&starts))
        })
}

impl Tool {
    pub fn find(self) -> Option<PathBuf> {
        match self {
            // A kubectl of one's own choice for all tests.
            Self::Kubectl => std::env::var_os("KUBECTL")
                .map(PathBuf::from)
                .or_else(|| KUBECTL_ON_PATH.clone()),
            Self::Helm3 => helm("3"),
            Self::Helm4 => helm("4"),
            Self::Curl => on_path("curl"),
            Self::Busybox => on_path("busybox"),
            Self::Registry => on_path("docker-registry"),
            Self::Ip => on_path("ip"),
            Self::Nft => on_path("nft"),
            Self::Script => on_path("script"),
        }
    }

    pub fn path(self) -> PathBuf {
        self.find()
            .unwrap_or_else(|| panic!("{self:?} is not there; scripts/setup test brings it"))
    }
}

/// Whether a test with these needs can run. If not, it is counted and reported as skipped, or fails.
pub fn can_run(test: &str, tools: &[Tool]) -> bool {
    let reason = if !nix::unistd::geteuid().is_root() {
        "it needs root".to_owned()
    } else if let Some(missing) = tools.iter().find(|tool| tool.find().is_none()) {
        match missing {
            Tool::Kubectl => {
                format!(
                    "there is no kubectl of version 1.{KUBECTL_MINOR} or newer (scripts/setup test brings it)"
                )
            }
            _ => format!("{missing:?} is not there (scripts/setup test brings it)"),
        }
    } else {
        return true;
    };
    let required = std::env::var_os("ISOPOD_E2E_REQUIRE_TOOLS").is_some_and(|v| !v.is_empty() && v != "0");
    assert!(!required, "{test} would be skipped: {reason}; here it must not");
    let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    // Not by eprintln!, which the test runner keeps to itself when a test passes.
    writeln!(std::io::stderr(), "SKIPPED {test}: {reason} ({count} so far)").expect("stderr");
    false
}
