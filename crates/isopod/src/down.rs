//! `isopod down` and `isopod rm`: everything that runs is ended; `rm` then removes everything there is.

use crate::place::{Place, home, lost_folder, remove_home};
use crate::pods::Fate;
use crate::print::outln;
use crate::server::Running;
use crate::{cli, kubeconfig, process};
use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, umount2};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The server finishes what it is at, which takes far less.
const SERVER_LIMIT: Duration = Duration::from_secs(15);
/// Pods that take longer to end are worth a line.
const SILENCE: Duration = Duration::from_secs(1);

pub fn down(args: &cli::Down) -> Result<()> {
    crate::need_root("down")?;
    let place = Place::of(&args.cluster.name)?;
    place.settings()?;
    let _lock = place.lock()?;
    let since_ns = jiff::Timestamp::now().as_nanosecond() as i64;
    if let Some(running) = process::running(&place) {
        end_pods(&running, Duration::from_secs(args.timeout))?;
    }
    stop(&place, Fate::RunAgain { since_ns })?;
    outln!(
        "cluster {} is down; its data is in {}",
        place.name,
        place.dir.display()
    );
    Ok(())
}

/// Asks the server to end the pods as a machine does that is switched off, and itself after them. What still runs when
/// the time is over is killed with the rest.
fn end_pods(running: &Running, limit: Duration) -> Result<()> {
    let soon = SILENCE.min(limit);
    if limit.is_zero() || process::ask_to_switch_off(running, soon)? {
        return Ok(());
    }
    outln!("waiting for pods to end, at most {} s", limit.as_secs());
    if !process::wait(running, limit - soon)? {
        outln!("some pods did not end in time and are killed");
    }
    Ok(())
}

/// Ends the server, then what is left of the pods, then takes the network away.
fn stop(place: &Place, fate: Fate) -> Result<()> {
    if let Some(running) = process::running(place) {
        process::end(&running, SERVER_LIMIT)?;
    }
    process::wait_for_dying(place)?;
    crate::pods::end_all(place, fate)?;
    unmount_all(&place.dir)?;
    net::ClusterNet::remove(&place.dir).context("cannot remove the cluster's network")?;
    remove_file(&place.pid_file())
}

pub fn rm(args: &cli::Named) -> Result<()> {
    crate::need_root("rm")?;
    let place = Place::of(&args.name)?;
    let link = home().join(&args.name);
    if !place.dir.exists() && std::fs::symlink_metadata(&link).is_err() {
        bail!("there is no cluster {}; those there are: isopod ls", args.name);
    }
    if let Some(gone) = lost_folder(&args.name) {
        forget_context(kubeconfig::default_path(), &args.name);
        remove_file(&link)?;
        remove_home()?;
        outln!(
            "cluster {} is forgotten; its data folder {} was not there",
            args.name,
            gone.display()
        );
        return Ok(());
    }
    let _lock = place.dir.exists().then(|| place.lock()).transpose()?;
    clear(&place)?;
    outln!("cluster {} is removed", args.name);
    Ok(())
}

/// What a server that was killed while it made a container left mounted; the pods' own mounts are gone by now.
fn unmount_all(dir: &Path) -> Result<()> {
    let table = std::fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    // The last mounted goes first: it may stand on one before.
    for point in mount_points(&table, dir).iter().rev() {
        match umount2(point, MntFlags::MNT_DETACH) {
            // Gone since, or no mount of this namespace's.
            Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot unmount {}", point.display())),
        }
    }
    Ok(())
}

/// The container file systems below a folder, in the order in which they were mounted.
fn mount_points(table: &str, dir: &Path) -> Vec<PathBuf> {
    let unescaped = |text: &str| {
        let spaces = text
            .replace("\\040", " ")
            .replace("\\011", "\t")
            .replace("\\012", "\n");
        PathBuf::from(spaces.replace("\\134", "\\"))
    };
    let points = table
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(unescaped);
    points
        .filter(|point| point.starts_with(dir.join("pods")))
        .collect()
}

/// Removes everything there is of a cluster, from a half-made one too.
pub fn clear(place: &Place) -> Result<()> {
    // Settings that cannot be read do not keep a cluster from being removed.
    let file = place
        .settings()
        .map(|s| s.kubeconfig)
        .or_else(|_| kubeconfig::default_path())?;
    stop(place, Fate::Gone)?;
    forget_context(Ok(file), &place.name);
    remove_tree(&place.dir)?;
    if let Some(link) = place.link() {
        remove_file(&link)?;
    }
    // The folder of all clusters goes with the last of them, if it came with the first.
    remove_home()
}

fn forget_context(file: Result<PathBuf>, cluster: &str) {
    if let Err(error) = file.and_then(|file| kubeconfig::remove(&file, cluster)) {
        // Somebody broke the file since; the cluster goes all the same.
        tracing::warn!("the context stays in the kubeconfig: {error:#}");
    }
}

fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn remove_tree(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).with_context(|| {
            format!(
                "cannot remove {}; is something mounted in it? see /proc/mounts",
                path.display()
            )
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_clusters_own_mounts() {
        let table = "proc /proc proc rw 0 0\noverlay /d/my\\040c/pods/a/rootfs overlay rw 0 0\ntmpfs /d/my\\040c2/pods/b tmpfs rw 0 0\n";
        let found = mount_points(table, Path::new("/d/my c"));
        assert_eq!(found, [PathBuf::from("/d/my c/pods/a/rootfs")]);
    }
}
