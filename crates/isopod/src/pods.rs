//! The pods of a cluster whose server does not run: ended as a machine ends them when it is switched off.

use crate::place::Place;
use anyhow::{Context, Result};
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
