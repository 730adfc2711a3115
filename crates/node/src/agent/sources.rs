//! Fetches what a pod's volumes and environment refer to: ConfigMaps, Secrets, claims, service account tokens, Services.

use super::shell::{Shell, Tokens};
use crate::machine::PodView;
use crate::volumes::{Sources, TokenRequest, check_host_path, needed};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Secret, Service};
use kinds::configmap::CONFIGMAPS;
use kinds::persistentvolume::PERSISTENTVOLUMES;
use kinds::persistentvolumeclaim::{PERSISTENTVOLUMECLAIMS, PROVISIONED_BY};
use kinds::secret::SECRETS;
use kinds::service::SERVICES;
use kinds::serviceaccount::SERVICEACCOUNTS;
use kinds::storageclass::PROVISIONER;
use meta::{Call, Reply, Snapshot, Timestamp};
use serde_json::{Value, json};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

/// All of it, and when the first token must be renewed. Claims' folders are made here on first use.
pub async fn gather(shell: &Shell, pod: &PodView) -> Result<(Sources, Option<Timestamp>), String> {
    let snapshot = shell.client.snapshot();
    let mut sources = known(&snapshot, pod);
    let needed = needed(&pod.pod);
    let mut folders = Vec::new();
    for claim in needed.claims {
        if let Some(volume) = claim_volume(shell, &snapshot, &pod.namespace, &claim)? {
            if matches!(volume.keeper, Keeper::HostPath(_)) {
                sources.host_claims.insert(claim.clone());
            }
            sources.claims.insert(claim, volume.path.clone());
            folders.push(volume);
        }
    }
    if !folders.is_empty() {
        let work = move || folders.iter().try_for_each(Folder::prepare);
        shell.blocking(work).await??;
    }
    let mut refresh_at: Option<Timestamp> = None;
    for request in needed.tokens {
        let (token, refresh) = current_token(shell, pod, &request).await?;
        refresh_at = Some(refresh_at.map_or(refresh, |at| at.min(refresh)));
        sources.tokens.insert(request, token);
    }
    Ok((sources, refresh_at))
}

/// What is there already, without claims' folders and tokens: enough for an environment.
pub fn known(snapshot: &Snapshot, pod: &PodView) -> Sources {
    let needed = needed(&pod.pod);
    let mut sources = Sources::default();
    for name in needed.config_maps {
        if let Some(map) = snapshot.get(CONFIGMAPS, &pod.namespace, &name)
            && let Ok(map) = map.typed::<ConfigMap>()
        {
            sources.config_maps.insert(name, (*map).clone());
        }
    }
    for name in needed.secrets {
        if let Some(secret) = snapshot.get(SECRETS, &pod.namespace, &name)
            && let Ok(secret) = secret.typed::<Secret>()
        {
            sources.secrets.insert(name, (*secret).clone());
        }
    }
    sources
}

/// Where the claims that the pod's volumes name lie, for mounts.
pub fn claims(
    shell: &Shell,
    snapshot: &Snapshot,
    pod: &PodView,
    sources: &mut Sources,
) -> Result<(), String> {
    for claim in needed(&pod.pod).claims {
        if let Some(volume) = claim_volume(shell, snapshot, &pod.namespace, &claim)? {
            sources.claims.insert(claim, volume.path);
        }
    }
    Ok(())
}

/// The folder of a volume, and who sees to it that it is there.
struct Folder {
    path: PathBuf,
    keeper: Keeper,
}

enum Keeper {
    Provisioner,
    /// `hostPath.type` says what is to be there, or made.
    HostPath(Option<String>),
    /// Whoever made the volume.
    Admin,
}

impl Folder {
    fn prepare(&self) -> Result<(), String> {
        match &self.keeper {
            Keeper::Provisioner => {
                make_folder(&self.path).map_err(|e| format!("cannot make the folder of a claim: {e}"))
            }
            Keeper::HostPath(kind) => check_host_path(&self.path, kind.as_deref()),
            Keeper::Admin => Ok(()),
        }
    }
}

/// The folder of a claim's volume. `None`: not bound yet. The claim's own `volumeName` says enough: its status follows
/// one write later, and a pod need not wait for that.
fn claim_volume(
    shell: &Shell,
    snapshot: &Snapshot,
    namespace: &str,
    claim: &str,
) -> Result<Option<Folder>, String> {
    let Some(object) = snapshot.get(PERSISTENTVOLUMECLAIMS, namespace, claim) else {
        return Err(format!("persistentvolumeclaim \"{claim}\" not found"));
    };
    let claim_object: PersistentVolumeClaim = serde_json::from_slice(object.json())
        .map_err(|e| format!("persistentvolumeclaim \"{claim}\": {e}"))?;
    let volume = claim_object
        .spec
        .and_then(|spec| spec.volume_name)
        .unwrap_or_default();
    let Some(object) = snapshot.get(PERSISTENTVOLUMES, "", &volume) else {
        return Ok(None);
    };
    let volume: PersistentVolume =
        serde_json::from_slice(object.json()).map_err(|e| format!("persistentvolume \"{volume}\": {e}"))?;
    let path = folder(shell, &volume).ok_or_else(|| {
        format!("persistentvolume of claim \"{claim}\" is neither a hostPath nor a local volume; isopod has no other kinds")
    })?;
    let host_path = volume.spec.as_ref().and_then(|spec| spec.host_path.as_ref());
    let keeper = match host_path {
        _ if is_ours(&volume) => Keeper::Provisioner,
        Some(source) => Keeper::HostPath(source.type_.clone()),
        None => Keeper::Admin,
    };
    Ok(Some(Folder { path, keeper }))
}

/// Where the volume lies. The provisioner's lie where the data folder is now: it may have been moved since.
pub fn folder(shell: &Shell, volume: &PersistentVolume) -> Option<PathBuf> {
    let spec = volume.spec.as_ref()?;
    let host = spec.host_path.as_ref().map(|source| source.path.as_str());
    let local = spec.local.as_ref().map(|source| source.path.as_str());
    let said = PathBuf::from(host.or(local)?);
    let moved = said.file_name().map(|name| shell.volumes_folder().join(name));
    let moved = moved.filter(|moved| is_ours(volume) && moved.is_dir());
    Some(moved.unwrap_or(said))
}

/// Made by this cluster's own provisioner.
pub fn is_ours(volume: &PersistentVolume) -> bool {
    let annotations = volume.metadata.annotations.as_ref();
    annotations
        .and_then(|all| all.get(PROVISIONED_BY))
        .map(String::as_str)
        == Some(PROVISIONER)
}

/// Writable by all (which user a container has is its own affair); one that is there is never touched.
fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(path);
    std::fs::create_dir_all(parent)?;
    match std::fs::DirBuilder::new().mode(0o777).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777))?;
    std::fs::File::open(parent)?.sync_all()
}

/// The token that the pod has already, as long as it is good: a new one would swap the files of its volume each time.
async fn current_token(
    shell: &Shell,
    pod: &PodView,
    request: &TokenRequest,
) -> Result<(String, Timestamp), String> {
    let tokens = shell.pods().get(&pod.uid).map(|handle| handle.tokens.clone());
    let known = |tokens: &Arc<Tokens>| {
        tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(request)
            .cloned()
    };
    if let Some(good) = tokens.as_ref().and_then(known)
        && good.1 > shell.env.now()
    {
        return Ok(good);
    }
    let new = token(shell, pod, request).await?;
    if let Some(tokens) = tokens {
        let mut tokens = tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.insert(request.clone(), new.clone());
    }
    Ok(new)
}

/// A token bound to the pod, and when it should be renewed: after four fifths of its life.
async fn token(shell: &Shell, pod: &PodView, request: &TokenRequest) -> Result<(String, Timestamp), String> {
    let spec = pod.pod.spec.as_ref();
    let account = spec
        .and_then(|spec| spec.service_account_name.clone())
        .unwrap_or_else(|| "default".to_owned());
    let audiences: Vec<&String> = request.audience.iter().collect();
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {
            "audiences": audiences, "expirationSeconds": request.expiration_seconds,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid},
        },
    });
    let mut call = Call::create(SERVICEACCOUNTS, &pod.namespace, body).subresource("token");
    call.name = account;
    let failed = |why: String| format!("failed to fetch token: {why}");
    let reply = shell
        .client
        .call(call)
        .await
        .map_err(|status| failed(status.to_string()))?;
    let value = match reply {
        Reply::Value { value, .. } => value,
        Reply::Object { object, .. } => object.value(),
        _ => Value::Null,
    };
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
    let token = text("/status/token").ok_or_else(|| failed("the API gave none".to_owned()))?;
    let now = shell.env.now();
    let expires = text("/status/expirationTimestamp").and_then(Timestamp::parse);
    let life = expires.map_or(request.expiration_seconds, |at| {
        i64::try_from(at.since(now).as_secs()).unwrap_or(0)
    });
    Ok((token.to_owned(), now.plus_seconds((life * 4 / 5).max(60))))
}

/// Services whose variables the pod gets.
pub fn services(snapshot: &Snapshot, pod: &PodView) -> Vec<Service> {
    let links = pod
        .pod
        .spec
        .as_ref()
        .and_then(|spec| spec.enable_service_links)
        .unwrap_or(true);
    let own = snapshot.list(SERVICES, &pod.namespace).filter(|_| links);
    let api = snapshot.get(SERVICES, "default", "kubernetes").into_iter();
    own.chain(api)
        .filter_map(|object| serde_json::from_slice(object.json()).ok())
        .collect()
}
