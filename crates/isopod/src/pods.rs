//! The pods of a cluster whose server does not run: ended as a machine ends them when it is switched off.

use crate::place::Place;
use anyhow::{Context, Result};
use nix::mount::{MntFlags, umount2};
use node::runtime::{Runtime, RuntimeConfig, ShimRuntime};

/// Ends and removes all containers, sandboxes and mounts. Volumes and images stay.
pub fn end_all(place: &Place) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let pods = ShimRuntime::open(RuntimeConfig::new(&place.dir, &place.name))
            .await
            .context("cannot look for pods that still run")?;
        let all = pods.list().await.context("cannot list the pods that still run")?;
        let ends = all.iter().map(|pod| pods.remove_pod(&pod.uid));
        futures::future::try_join_all(ends)
            .await
            .context("cannot end all pods")?;
        Ok(())
    })
}

/// Takes away every mount below the cluster's folder: root file systems, tmpfs volumes, namespaces. What is mounted
/// last goes first.
pub fn unmount_all(place: &Place) -> Result<()> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
    // The fifth field is the mount point, with spaces and the like written as \040.
    let points = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape);
    let mut below: Vec<std::path::PathBuf> = points
        .map(Into::into)
        .filter(|p: &std::path::PathBuf| p.starts_with(&place.dir))
        .collect();
    below.reverse();
    for point in below {
        match umount2(&point, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            // Gone with the one that it was mounted on.
            Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => {}
            Err(e) => return Err(e).with_context(|| format!("cannot unmount {}", point.display())),
        }
    }
    Ok(())
}

/// Undoes the octal escapes of /proc/self/mountinfo.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        match after
            .get(..3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok())
        {
            Some(byte) => {
                out.push(byte as char);
                rest = &after[3..];
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    #[test]
    fn mount_points_read_as_they_are() {
        assert_eq!(super::unescape(r"/a\040b\134c"), r"/a b\c");
        assert_eq!(super::unescape(r"/plain"), "/plain");
    }
}
