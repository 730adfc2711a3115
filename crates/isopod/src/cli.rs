//! The command line: what there is to say and what it means.

use crate::{image, k};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Kubernetes in one small program: a complete cluster on this machine, for apps with state.
#[derive(Parser, Debug)]
#[command(
    name = "isopod",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Examples:
  isopod up                                              a cluster, in less than a second
  isopod image build visits:1 --binary ./visits          an image of one static program
  isopod k apply -f app.yaml && isopod k get pods -w     or kubectl, whose context is set
  isopod down; isopod up                                 the same pods, addresses and data
  isopod rm                                              nothing is left

Clusters are kept under /var/lib/isopod (ISOPOD_HOME names another folder).
ISOPOD_LOG says what the server logs, e.g. debug."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Bring a cluster up (makes it on the first call)
    Up(Up),
    /// Stop a cluster and its pods; everything it holds stays
    Down(Down),
    /// Remove a cluster and everything it holds
    #[command(after_help = "Examples:\n  isopod rm\n  isopod rm --name ci")]
    Rm(Named),
    /// List the clusters of this machine
    #[command(after_help = "Examples:\n  isopod ls\n  isopod ls -o json")]
    Ls(Ls),
    /// Show how a cluster is
    Status(Status),
    /// Build, load, pull, list and remove images
    Image(image::Args),
    /// The everyday subset of kubectl
    K(k::args::Args),
    /// Print a kubeconfig of one cluster
    #[command(after_help = "Examples:
  isopod kubeconfig > ci.kubeconfig
  KUBECONFIG=<(isopod kubeconfig --name ci) helm list")]
    Kubeconfig(Named),
    /// Print this program's version and that of the Kubernetes it speaks
    #[command(after_help = "Example:\n  isopod version")]
    Version,
    /// Print a script that completes isopod's command line
    #[command(after_help = "Examples:
  isopod completions bash > /etc/bash_completion.d/isopod
  isopod completions zsh > \"${fpath[1]}/_isopod\"
  isopod completions fish > ~/.config/fish/completions/isopod.fish")]
    Completions { shell: clap_complete::Shell },
    /// The server process of a cluster, in the foreground (`up` starts it in the background)
    #[command(after_help = "Example:\n  ISOPOD_LOG=debug isopod server --name ci")]
    Server(Named),
}

#[derive(Args, Debug, Clone)]
pub struct Named {
    /// Which cluster
    #[arg(long, default_value = "default")]
    pub name: String,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Pods end as on a machine that is switched off: preStop hooks, SIGTERM, and each pod's own grace
period, but all within the timeout; what still runs then is killed. Nothing changes in the API,
and `isopod up` runs the same pods again.

Examples:
  isopod down
  isopod down --name ci --timeout 5"
)]
pub struct Down {
    #[command(flatten)]
    pub cluster: Named,
    /// How long pods may take to end, all together; 0 kills them at once
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(..=3600))]
    pub timeout: u64,
}

#[derive(Args, Debug)]
pub struct Ls {
    /// Only the cluster of this name
    #[arg(long)]
    pub name: Option<String>,
    /// Print JSON instead of a table
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub output: Option<Json>,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes: 0 the cluster is up, 3 it is down (or not ready yet), 4 there is no such cluster.

Examples:
  isopod status
  isopod status --name ci -o json
  isopod status >/dev/null || isopod up"
)]
pub struct Status {
    #[command(flatten)]
    pub cluster: Named,
    /// Print JSON instead of lines
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub output: Option<Json>,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq)]
pub enum Json {
    Json,
}

#[derive(Args, Debug)]
#[command(
    after_help = "What is said here is kept for the next `up`. FILE of --config is YAML of the same names; an
option on the command line wins:
  name: ci
  data-dir: /srv/ci
  kubeconfig: ./kubeconfig
  api-port: 7443
  wait: 30
  simulated-nodes: 0
  registries:
    docker.io: {mirrors: [https://mirror.example, cache.example:5000]}
    registry.example:5000: {ca: ./registry-ca.pem}    # trusted as well as the system's authorities
    registry.lan:5000: {insecure: true}               # plain http
  oidc:                                               # whose ID tokens are believed
    issuer-url: https://id.example
    client-id: isopod
    username-claim: email                             # also: username-prefix, groups-prefix, required-claims,
    groups-claim: groups                              # signing-algs, ca-file

Examples:
  isopod up
  isopod up --name ci --kubeconfig ./kubeconfig --wait 30
  isopod up --config ci.yaml
  isopod up --name planning --simulated-nodes 100"
)]
pub struct Up {
    /// Which cluster [default: default]
    #[arg(long)]
    pub name: Option<String>,
    /// Where the cluster keeps everything (first `up` only) [default: /var/lib/isopod/NAME]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The kubeconfig that gets the cluster's context [default: $KUBECONFIG or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Port of the API on 127.0.0.1 [default: the first free one from 6443]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub api_port: Option<u16>,
    /// How long to wait for the node to be ready [default: 60]
    #[arg(long, value_name = "SECONDS")]
    pub wait: Option<u64>,
    /// Add nodes that only pretend to run pods
    #[arg(long, value_name = "N")]
    pub simulated_nodes: Option<u32>,
    /// Read these settings from a YAML file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}
