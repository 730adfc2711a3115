//! The parts of OCI's (and Docker's) image documents that a node reads and writes.
//! Source: OCI image-spec 1.1 (descriptor, manifest, index, config); what is not named here stays in the blob untouched.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// The full name of an image in an index, as containerd writes it.
pub(crate) const NAME_ANNOTATION: &str = "io.containerd.image.name";
/// The tag (or, from some tools, the name) of an image in an index.
pub(crate) const REF_ANNOTATION: &str = "org.opencontainers.image.ref.name";
/// What a registry calls the image: `name@sha256:…`, the index's digest for images of many platforms.
pub(crate) const REPO_DIGEST_ANNOTATION: &str = "isopod.repo-digest";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Platform {
    pub architecture: String,
    pub os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    #[serde(default = "two")]
    pub schema_version: u32,
    #[serde(default = "index_type")]
    pub media_type: String,
    pub manifests: Vec<Descriptor>,
}

fn two() -> u32 {
    2
}

fn index_type() -> String {
    OCI_INDEX.to_owned()
}

impl Default for Index {
    fn default() -> Self {
        Index {
            schema_version: 2,
            media_type: OCI_INDEX.to_owned(),
            manifests: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub schema_version: u32,
    #[serde(default = "manifest_type")]
    pub media_type: String,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

fn manifest_type() -> String {
    OCI_MANIFEST.to_owned()
}

/// An image's config document.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ConfigFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub config: Option<Config>,
    pub rootfs: RootFs,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct RootFs {
    #[serde(rename = "type", default)]
    pub kind: String,
    #[serde(default)]
    pub diff_ids: Vec<String>,
}

/// How an image wants to be run. Docker writes `null` where OCI leaves out, hence all the options.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Config {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<BTreeMap<String, serde_json::Value>>,
}

/// This machine's architecture in Go's (and so OCI's) words.
pub(crate) fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// The manifest in an index that this machine runs: linux and its own architecture, by preference that of every such
/// machine (amd64/v3 does not run on all); an entry that names no platform is taken when it is the only one.
/// Attestations carry the platform `unknown`.
pub(crate) fn select_platform(manifests: &[Descriptor]) -> Option<&Descriptor> {
    let rank = |entry: &Descriptor| {
        let platform = entry.platform.as_ref()?;
        let ours = platform.os == "linux" && platform.architecture == host_architecture();
        let for_all = matches!(platform.variant.as_deref(), None | Some("" | "v1" | "v8"));
        ours.then_some(!for_all)
    };
    let ranked = manifests.iter().filter_map(|entry| Some((rank(entry)?, entry)));
    ranked
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, entry)| entry)
        .or(match manifests {
            [only] if only.platform.is_none() => Some(only),
            _ => None,
        })
}
