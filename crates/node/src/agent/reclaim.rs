//! Volumes of our own provisioner whose claim is gone: the folder goes, then the PersistentVolume.

use super::shell::Shell;
use super::sources;
use crate::machine::PodEvent;
use futures::StreamExt;
use k8s_openapi::api::core::v1::PersistentVolume;
use kinds::persistentvolume::PERSISTENTVOLUMES;
use meta::{Call, ChangeKind, Object};
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub async fn run(shell: Arc<Shell>, stop: CancellationToken) {
    loop {
        let snapshot = shell.client.snapshot();
        let mut changes = shell.client.changes(snapshot.revision());
        for volume in snapshot.list(PERSISTENTVOLUMES, "") {
            reclaim(&shell, volume).await;
        }
        loop {
            let change = tokio::select! {
                () = stop.cancelled() => return,
                change = changes.next() => change,
            };
            match change {
                Some(Ok(change)) if change.res == PERSISTENTVOLUMES && change.kind != ChangeKind::Deleted => {
                    reclaim(&shell, &change.object).await;
                }
                Some(Ok(_)) => {}
                Some(Err(_)) => break,
                None => return,
            }
        }
    }
}

async fn reclaim(shell: &Shell, object: &Object) {
    let Ok(volume) = serde_json::from_slice::<PersistentVolume>(object.json()) else {
        return;
    };
    let released = volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Released");
    let policy = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    if !released || policy != Some("Delete") || !sources::is_ours(&volume) {
        return;
    }
    let Some(path) = sources::folder(&volume) else {
        return;
    };
    if let Err(why) = remove(shell, &path).await {
        let event = PodEvent {
            warning: true,
            reason: "VolumeFailedDelete",
            message: why,
            field_path: None,
        };
        return shell.recorder.volume(object, event);
    }
    if object.meta().is_deleting() {
        return;
    }
    let call = Call::delete(PERSISTENTVOLUMES, "", object.name()).if_uid(object.uid());
    match shell.client.call(call).await {
        Ok(_) => {}
        Err(status) if matches!(status.code, 404 | 409) => {}
        Err(status) => {
            tracing::error!(volume = object.name(), %status, "a reclaimed volume could not be deleted")
        }
    }
}

async fn remove(shell: &Shell, path: &Path) -> Result<(), String> {
    // Only what the provisioner would have made: a folder of its own below an absolute path.
    if !path.is_absolute() || path.components().count() < 4 {
        return Err(format!("{} is not a folder of the provisioner", path.display()));
    }
    let folder = path.to_owned();
    let work = move || match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    shell
        .blocking(work)
        .await?
        .map_err(|e| format!("cannot remove {}: {e}", path.display()))
}
