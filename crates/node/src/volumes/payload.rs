//! What files a configMap, secret, downwardAPI or projected volume has, and what objects a pod refers to. Pure.
//! Source: kubelet's volume plugins of these kinds; texts are theirs.

use super::downward::{self, Facts};
use super::{Sources, lookup};
use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, ServiceAccountTokenProjection, Volume,
    VolumeProjection,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

const DEFAULT_MODE: i32 = 0o644;
const DEFAULT_TOKEN_SECONDS: i64 = 3600;

/// A file of a volume.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct File {
    pub bytes: Vec<u8>,
    pub mode: u32,
    pub uid: Option<u32>,
}

pub(super) type Files = BTreeMap<PathBuf, File>;

/// A service account token as a projected volume asks for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenRequest {
    /// `None`: the API server's own audience.
    pub audience: Option<String>,
    pub expiration_seconds: i64,
}

/// Everything outside of the pod that it refers to, by volumes and environment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Needed {
    pub config_maps: BTreeSet<String>,
    pub secrets: BTreeSet<String>,
    pub claims: BTreeSet<String>,
    pub tokens: BTreeSet<TokenRequest>,
}

/// What the caller has to fetch for `Sources`.
pub fn needed(pod: &Pod) -> Needed {
    let mut needed = Needed::default();
    let Some(spec) = &pod.spec else {
        return needed;
    };
    for volume in spec.volumes.iter().flatten() {
        needed
            .config_maps
            .extend(volume.config_map.as_ref().map(|source| source.name.clone()));
        needed.secrets.extend(
            volume
                .secret
                .as_ref()
                .and_then(|source| source.secret_name.clone()),
        );
        needed.claims.extend(claim_name(pod, volume));
        for source in volume
            .projected
            .iter()
            .flat_map(|projected| projected.sources.iter().flatten())
        {
            needed
                .config_maps
                .extend(source.config_map.as_ref().map(|source| source.name.clone()));
            needed
                .secrets
                .extend(source.secret.as_ref().map(|source| source.name.clone()));
            needed
                .tokens
                .extend(source.service_account_token.as_ref().map(token_request));
        }
    }
    for container in spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
    {
        for from in container.env_from.iter().flatten() {
            needed
                .config_maps
                .extend(from.config_map_ref.as_ref().map(|source| source.name.clone()));
            needed
                .secrets
                .extend(from.secret_ref.as_ref().map(|source| source.name.clone()));
        }
        for from in container
            .env
            .iter()
            .flatten()
            .filter_map(|variable| variable.value_from.as_ref())
        {
            needed
                .config_maps
                .extend(from.config_map_key_ref.as_ref().map(|source| source.name.clone()));
            needed
                .secrets
                .extend(from.secret_key_ref.as_ref().map(|source| source.name.clone()));
        }
    }
    needed
}

/// The claim of a volume: named, or that of a generic ephemeral volume.
pub(super) fn claim_name(pod: &Pod, volume: &Volume) -> Option<String> {
    if let Some(claim) = &volume.persistent_volume_claim {
        return Some(claim.claim_name.clone());
    }
    volume.ephemeral.as_ref()?;
    Some(format!(
        "{}-{}",
        pod.metadata.name.as_deref().unwrap_or(""),
        volume.name
    ))
}

/// The folder name of the volume's kind, if it is one whose files come from the API.
pub(super) fn kind(volume: &Volume) -> Option<&'static str> {
    match () {
        () if volume.config_map.is_some() => Some("configmap"),
        () if volume.secret.is_some() => Some("secret"),
        () if volume.downward_api.is_some() => Some("downward-api"),
        () if volume.projected.is_some() => Some("projected"),
        () => None,
    }
}

pub(super) fn files(pod: &Pod, volume: &Volume, sources: &Sources, facts: &Facts) -> Result<Files, String> {
    let mut files = Files::new();
    if let Some(source) = &volume.config_map {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        add_config_map(
            &mut files,
            sources,
            &source.name,
            source.items.as_deref(),
            mode,
            source.optional,
        )?;
    } else if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or("");
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        add_secret(
            &mut files,
            sources,
            name,
            source.items.as_deref(),
            mode,
            source.optional,
        )?;
    } else if let Some(source) = &volume.downward_api {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        add_downward(
            &mut files,
            pod,
            facts,
            source.items.as_deref().unwrap_or_default(),
            mode,
        )?;
    } else if let Some(source) = &volume.projected {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        for part in source.sources.iter().flatten() {
            add_projection(&mut files, pod, part, mode, sources, facts)?;
        }
    }
    Ok(files)
}

fn add_projection(
    files: &mut Files,
    pod: &Pod,
    part: &VolumeProjection,
    mode: i32,
    sources: &Sources,
    facts: &Facts,
) -> Result<(), String> {
    if let Some(source) = &part.config_map {
        add_config_map(
            files,
            sources,
            &source.name,
            source.items.as_deref(),
            mode,
            source.optional,
        )?;
    }
    if let Some(source) = &part.secret {
        add_secret(
            files,
            sources,
            &source.name,
            source.items.as_deref(),
            mode,
            source.optional,
        )?;
    }
    if let Some(source) = &part.downward_api {
        add_downward(
            files,
            pod,
            facts,
            source.items.as_deref().unwrap_or_default(),
            mode,
        )?;
    }
    if let Some(source) = &part.service_account_token {
        let token = sources
            .tokens
            .get(&token_request(source))
            .ok_or("failed to fetch token: none was issued")?;
        let (uid, mode) = token_owner(pod, mode);
        let file = File {
            bytes: token.clone().into_bytes(),
            mode,
            uid,
        };
        files.insert(safe(&source.path)?, file);
    }
    if part.cluster_trust_bundle.is_some() {
        return Err(
            "clusterTrustBundle projections are not supported; put the certificates into a configMap".into(),
        );
    }
    if part.pod_certificate.is_some() {
        return Err("podCertificate projections are not supported; put the certificate into a secret".into());
    }
    Ok(())
}

fn token_request(source: &ServiceAccountTokenProjection) -> TokenRequest {
    TokenRequest {
        audience: source.audience.clone().filter(|audience| !audience.is_empty()),
        expiration_seconds: source.expiration_seconds.unwrap_or(DEFAULT_TOKEN_SECONDS),
    }
}

/// A token is 0600 when it can be: for the group of fsGroup, or when all containers run as one stated user.
fn token_owner(pod: &Pod, mode: i32) -> (Option<u32>, u32) {
    let Some(spec) = &pod.spec else {
        return (None, bits(mode));
    };
    let of_pod = spec
        .security_context
        .as_ref()
        .and_then(|context| context.run_as_user);
    let containers = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    let users: BTreeSet<Option<i64>> = containers
        .map(|c| {
            c.security_context
                .as_ref()
                .and_then(|context| context.run_as_user)
                .or(of_pod)
        })
        .collect();
    let only = match users.iter().next() {
        Some(Some(uid)) if users.len() == 1 => u32::try_from(*uid).ok(),
        _ => None,
    };
    match only.is_some() || super::fs_group(pod).is_some() {
        true => (only, 0o600),
        false => (None, bits(mode)),
    }
}

fn add_config_map(
    files: &mut Files,
    sources: &Sources,
    name: &str,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: Option<bool>,
) -> Result<(), String> {
    let empty = ConfigMap::default();
    let map = match sources.config_maps.get(name) {
        Some(map) => map,
        None if optional == Some(true) => &empty,
        None => return Err(format!("configmap \"{name}\" not found")),
    };
    let get = |key: &str| {
        let text = map
            .data
            .as_ref()
            .and_then(|data| data.get(key))
            .map(|text| text.as_bytes());
        text.or_else(|| lookup(map.binary_data.as_ref(), key))
    };
    let keys = map
        .data
        .iter()
        .flat_map(|data| data.keys())
        .chain(map.binary_data.iter().flat_map(|data| data.keys()));
    add_keys(
        files,
        keys,
        get,
        items,
        mode,
        optional,
        "configmap references non-existent config key",
    )
}

fn add_secret(
    files: &mut Files,
    sources: &Sources,
    name: &str,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: Option<bool>,
) -> Result<(), String> {
    let empty = Secret::default();
    let secret = match sources.secrets.get(name) {
        Some(secret) => secret,
        None if optional == Some(true) => &empty,
        None => return Err(format!("secret \"{name}\" not found")),
    };
    let keys = secret.data.iter().flat_map(|data| data.keys());
    let get = |key: &str| lookup(secret.data.as_ref(), key);
    add_keys(
        files,
        keys,
        get,
        items,
        mode,
        optional,
        "references non-existent secret key",
    )
}

/// All keys as files, or the listed ones only.
fn add_keys<'a>(
    files: &mut Files,
    keys: impl Iterator<Item = &'a String>,
    get: impl Fn(&str) -> Option<&'a [u8]>,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: Option<bool>,
    missing: &str,
) -> Result<(), String> {
    let mut add = |path: &str, bytes: &[u8], mode: i32| -> Result<(), String> {
        let file = File {
            bytes: bytes.to_vec(),
            mode: bits(mode),
            uid: None,
        };
        files.insert(safe(path)?, file);
        Ok(())
    };
    match items.filter(|items| !items.is_empty()) {
        None => {
            for key in keys {
                add(key, get(key).unwrap_or_default(), mode)?;
            }
        }
        Some(items) => {
            for item in items {
                match get(&item.key) {
                    Some(bytes) => add(&item.path, bytes, item.mode.unwrap_or(mode))?,
                    None if optional == Some(true) => {}
                    None => return Err(format!("{missing}: {}", item.key)),
                }
            }
        }
    }
    Ok(())
}

fn add_downward(
    files: &mut Files,
    pod: &Pod,
    facts: &Facts,
    items: &[DownwardAPIVolumeFile],
    mode: i32,
) -> Result<(), String> {
    for item in items {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => downward::field(pod, facts, &field.field_path)?,
            (None, Some(resource)) => downward::resource(pod, None, facts, resource)?,
            (None, None) => {
                return Err(format!(
                    "item {:?} has neither fieldRef nor resourceFieldRef",
                    item.path
                ));
            }
        };
        let file = File {
            bytes: text.into_bytes(),
            mode: bits(item.mode.unwrap_or(mode)),
            uid: None,
        };
        files.insert(safe(&item.path)?, file);
    }
    Ok(())
}

fn bits(mode: i32) -> u32 {
    u32::try_from(mode).unwrap_or(0) & 0o777
}

/// The API server validates paths already; a file outside of its volume must not depend on that alone.
fn safe(path: &str) -> Result<PathBuf, String> {
    let given = Path::new(path);
    let fine = given
        .components()
        .all(|component| matches!(component, Component::Normal(_)));
    match fine && !path.is_empty() && !path.starts_with("..") {
        true => Ok(given.to_path_buf()),
        false => Err(format!(
            "invalid path {path:?}: must be relative and not contain '..'"
        )),
    }
}
