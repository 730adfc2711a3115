//! The load generator of `bench/run`: one measurement a call, printed as one line of JSON.
#![allow(clippy::print_stdout)] // A command line prints.

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use e2e::client::{Protocol, Target};
use e2e::load::{self, Operation};
use e2e::rollout::{Rollout, Workload};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Calls to the API, as fast as they are answered
    Api {
        #[arg(long)]
        kubeconfig: PathBuf,
        #[arg(long, value_enum)]
        operation: Name,
        #[arg(long, default_value_t = 1)]
        clients: usize,
        #[arg(long, default_value_t = 3)]
        seconds: u64,
        #[arg(long)]
        http1: bool,
        /// Names of objects begin with it; new for each call
        #[arg(long)]
        tag: String,
    },
    /// Events to many watchers
    Watch {
        #[arg(long)]
        kubeconfig: PathBuf,
        #[arg(long, default_value_t = 50)]
        watchers: usize,
        #[arg(long, default_value_t = 32)]
        writers: usize,
        #[arg(long, default_value_t = 3)]
        seconds: u64,
        #[arg(long)]
        tag: String,
    },
    /// A workload from 0 to all ready, and back
    Rollout {
        #[arg(long)]
        kubeconfig: PathBuf,
        #[arg(long, default_value = "statefulsets")]
        plural: String,
        #[arg(long)]
        name: String,
        #[arg(long, default_value = "visits:1")]
        image: String,
        #[arg(long)]
        replicas: u64,
        #[arg(long, default_value = "OrderedReady")]
        policy: String,
        /// A node that gets none of the pods
        #[arg(long)]
        cordon: Option<String>,
        #[arg(long)]
        no_probe: bool,
        /// Leave it up
        #[arg(long)]
        keep: bool,
        /// Only take down what `--keep` left
        #[arg(long)]
        delete: bool,
    },
    /// GETs over kept connections
    Http {
        #[arg(long)]
        address: SocketAddr,
        #[arg(long, default_value = "/healthz")]
        path: String,
        #[arg(long, default_value_t = 8)]
        clients: usize,
        #[arg(long, default_value_t = 3)]
        seconds: u64,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    Create,
    Get,
    Update,
    Patch,
    List,
    Mixed,
    Churn,
}

impl From<Name> for Operation {
    fn from(name: Name) -> Self {
        match name {
            Name::Create => Self::Create,
            Name::Get => Self::Get,
            Name::Update => Self::Update,
            Name::Patch => Self::Patch,
            Name::List => Self::List,
            Name::Mixed => Self::Mixed,
            Name::Churn => Self::Churn,
        }
    }
}

fn main() -> Result<()> {
    // One thread: the machine's other cores are the server's.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    println!("{}", runtime.block_on(run(Cli::parse().command))?);
    Ok(())
}

// LONG: one story from top to bottom; its parts make no sense alone.
async fn run(command: Command) -> Result<Value> {
    match command {
        Command::Api {
            kubeconfig,
            operation,
            clients,
            seconds,
            http1,
            tag,
        } => {
            let target = Target::from_kubeconfig(&kubeconfig)?;
            load::prepare(&target).await?;
            let protocol = if http1 { Protocol::Http1 } else { Protocol::Http2 };
            let duration = Duration::from_secs(seconds);
            Ok(
                load::run(&target, operation.into(), clients, duration, &tag, protocol)
                    .await?
                    .json(),
            )
        }
        Command::Watch {
            kubeconfig,
            watchers,
            writers,
            seconds,
            tag,
        } => {
            let target = Target::from_kubeconfig(&kubeconfig)?;
            load::prepare(&target).await?;
            let duration = Duration::from_secs(seconds);
            Ok(load::watch(&target, watchers, writers, duration, &tag)
                .await?
                .json())
        }
        Command::Http {
            address,
            path,
            clients,
            seconds,
        } => Ok(load::http(address, &path, clients, Duration::from_secs(seconds))
            .await?
            .json()),
        Command::Rollout {
            kubeconfig,
            plural,
            name,
            image,
            replicas,
            policy,
            cordon,
            no_probe,
            keep,
            delete,
        } => {
            let target = Target::from_kubeconfig(&kubeconfig)?;
            let probe = !no_probe;
            if let Some(node) = cordon {
                load::cordon(&target, &node).await?;
            }
            let workload = Workload {
                plural,
                name,
                image,
                replicas,
                policy,
                probe,
            };
            rollout(&target, workload, keep, delete).await
        }
    }
}

async fn rollout(target: &Target, workload: Workload, keep: bool, delete: bool) -> Result<Value> {
    if delete {
        let down_ms = Rollout::existing(target, workload).await?.down(true).await?;
        return Ok(json!({"down_ms": down_ms}));
    }
    let mut rollout = Rollout::create(target, workload).await?;
    let up_ms = rollout.up().await?;
    if keep {
        return Ok(json!({"up_ms": up_ms}));
    }
    let down_ms = rollout.down(false).await?;
    rollout.remove().await?;
    Ok(json!({"up_ms": up_ms, "down_ms": down_ms}))
}
