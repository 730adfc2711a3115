//! The pods of a cluster whose server does not run: what is left of them is ended and taken away.

use crate::place::Place;
use anyhow::{Context, Result};
use node::runtime::{Runtime, RuntimeConfig, ShimRuntime};
use std::time::Duration;

/// Shims that do not answer are killed, as they would be a moment later anyway.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// What becomes of the pods.
#[derive(Clone, Copy)]
pub enum Fate {
    /// They run again at the next `up`: logs stay, and what has ended since this time (in nanoseconds) ended for `down`.
    RunAgain { since_ns: i64 },
    /// The cluster is removed.
    Gone,
}

/// Ends all containers and takes sandboxes and cgroups away. Volumes and images stay.
pub fn end_all(place: &Place, fate: Fate) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let config = RuntimeConfig {
            answer_limit: ANSWER_LIMIT,
            ..RuntimeConfig::new(&place.dir, &place.name)
        };
        let pods = ShimRuntime::open(config)
            .await
            .context("cannot look for pods that still run")?;
        let all = pods.list().await.context("cannot list the pods that still run")?;
        let ends = all.iter().map(async |pod| match fate {
            Fate::RunAgain { since_ns } => pods.switch_off(&pod.uid, since_ns).await,
            Fate::Gone => pods.remove_pod(&pod.uid).await,
        });
        futures::future::try_join_all(ends)
            .await
            .context("cannot end all pods")?;
        pods.remove_cgroups()
            .await
            .context("cannot take the cluster's cgroups away")
    })
}
