//! The command line: what there is to say and what it means.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Kubernetes in one small program: a complete cluster on this machine, for apps with state.
#[derive(Parser, Debug)]
#[command(name = "isopod", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Bring a cluster up (makes it on the first call)
    Up(Up),
    /// Stop a cluster and its pods; everything it holds stays
    Down(Named),
    /// Remove a cluster and everything it holds
    Rm(Named),
    /// The server process of a cluster, in the foreground (`up` starts it in the background)
    Server(Named),
}

#[derive(Args, Debug)]
pub struct Named {
    /// Which cluster
    #[arg(long, default_value = "default")]
    pub name: String,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  isopod up
  isopod up --name ci --kubeconfig ./kubeconfig --wait 30
  isopod up --name planning --simulated-nodes 100")]
pub struct Up {
    /// Which cluster
    #[arg(long, default_value = "default")]
    pub name: String,
    /// Where the cluster keeps everything (first `up` only) [default: /var/lib/isopod/NAME]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The kubeconfig that gets the cluster's context [default: $KUBECONFIG or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Port of the API on 127.0.0.1 [default: the first free one from 6443]
    #[arg(long, value_name = "PORT")]
    pub api_port: Option<u16>,
    /// How long to wait for the node to be ready
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub wait: u64,
    /// Add nodes that only pretend to run pods
    #[arg(long, value_name = "N")]
    pub simulated_nodes: Option<u32>,
}
