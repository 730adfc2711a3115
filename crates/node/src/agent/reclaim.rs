//! Volumes of our own provisioner whose claim is gone: the folder goes, then the PersistentVolume.

use super::shell::Shell;
use super::sources;
use crate::machine::PodEvent;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::PersistentVolume;
use kinds::persistentvolume::PERSISTENTVOLUMES;
use meta::{Call, ChangeKind, Object, Timestamp};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Until volumes are tried again that could not be removed or deleted (a full disk, say): first, and at most.
const PAUSE_SECONDS: (i64, i64) = (5, 300);

pub async fn run(shell: Arc<Shell>, stop: CancellationToken) {
    loop {
        let snapshot = shell.client.snapshot();
        let mut changes = shell.client.changes(snapshot.revision());
        let mut tries = Tries::default();
        for volume in snapshot.list(PERSISTENTVOLUMES, "") {
            tries.reclaim(&shell, volume).await;
        }
        loop {
            let pause = match tries.next {
                Some(at) => shell.env.sleep_until(at),
                None => futures::future::pending().boxed(),
            };
            let change = tokio::select! {
                () = stop.cancelled() => return,
                () = pause => {
                    tries.again(&shell).await;
                    continue;
                }
                change = changes.next() => change,
            };
            match change {
                Some(Ok(change)) if change.res == PERSISTENTVOLUMES && change.kind != ChangeKind::Deleted => {
                    tries.reclaim(&shell, &change.object).await;
                }
                Some(Ok(_)) => {}
                Some(Err(_)) => break,
                None => return,
            }
        }
    }
}

/// Volumes that are to be tried again, by name; no more than there are.
#[derive(Default)]
struct Tries {
    failed: BTreeSet<String>,
    next: Option<Timestamp>,
    /// The last pause; 0 when nothing failed since.
    pause_seconds: i64,
}

impl Tries {
    async fn reclaim(&mut self, shell: &Shell, volume: &Object) {
        if !reclaim(shell, volume).await {
            self.failed.insert(volume.name().to_owned());
            if self.next.is_none() {
                let (first, most) = PAUSE_SECONDS;
                self.pause_seconds = (self.pause_seconds * 2).clamp(first, most);
                self.next = Some(shell.env.now().plus_seconds(self.pause_seconds));
            }
        }
    }

    async fn again(&mut self, shell: &Shell) {
        self.next = None;
        let snapshot = shell.client.snapshot();
        for name in std::mem::take(&mut self.failed) {
            if let Some(volume) = snapshot.get(PERSISTENTVOLUMES, "", &name) {
                self.reclaim(shell, volume).await;
            }
        }
        if self.failed.is_empty() {
            self.pause_seconds = 0;
        }
    }
}

/// False when it should be tried again.
async fn reclaim(shell: &Shell, object: &Object) -> bool {
    let Ok(volume) = serde_json::from_slice::<PersistentVolume>(object.json()) else {
        return true;
    };
    let released = volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Released");
    let policy = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    if !released || policy != Some("Delete") || !sources::is_ours(&volume) {
        return true;
    }
    let Some(path) = sources::folder(shell, &volume) else {
        return true;
    };
    let failed = |message: String| {
        let event = PodEvent {
            warning: true,
            reason: "VolumeFailedDelete",
            message,
            field_path: None,
        };
        shell.recorder.volume(object, event);
    };
    // Only what the provisioner would have made: a folder of the volume's own name below another.
    let own = path.file_name().is_some_and(|name| name == object.name());
    let below = path.parent().is_some_and(|parent| parent.parent().is_some());
    if !(path.is_absolute() && own && below) {
        failed(format!("{} is not a folder of the provisioner", path.display()));
        return true;
    }
    if let Err(why) = remove(shell, &path).await {
        failed(why);
        return false;
    }
    if object.meta().is_deleting() {
        return true;
    }
    let call = Call::delete(PERSISTENTVOLUMES, "", object.name()).if_uid(object.uid());
    match shell.client.call(call).await {
        Ok(_) => true,
        Err(status) if matches!(status.code, 404 | 409) => true,
        Err(status) => {
            tracing::error!(volume = object.name(), %status, "a reclaimed volume could not be deleted");
            false
        }
    }
}

async fn remove(shell: &Shell, path: &Path) -> Result<(), String> {
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
