//! What `isopod k` understands: kubectl's own words, as far as they go.

use clap::Subcommand;
use jiff::SignedDuration;
use std::path::PathBuf;

#[derive(clap::Args, Debug)]
#[command(
    after_help = "It speaks to the cluster of --name with the administrator's certificate (root), else through the
context isopod-NAME of the kubeconfig.

Examples:
  isopod k get pods,sts,svc,pvc
  isopod k apply -f app.yaml
  isopod k exec -it web-0 -- sh
  isopod k logs -f web-0
  isopod k wait --for=condition=Ready pod/web-0 --timeout 60s"
)]
pub struct Args {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(clap::Args, Debug)]
pub struct Global {
    /// Which cluster
    #[arg(long, global = true, default_value = "default")]
    pub name: String,
    /// Use this kubeconfig instead, with its current context
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Use this context of the kubeconfig
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// The namespace [default: the context's, or default]
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Show objects
    Get(Get),
    /// Show objects in detail, with their events
    #[command(after_help = "Examples:\n  isopod k describe pod web-0\n  isopod k describe sts/web")]
    Describe(Describe),
    /// Create or change objects as files say (server-side apply, field manager `isopod`)
    Apply(Apply),
    /// Create objects from files, or a namespace
    #[command(after_help = "Examples:\n  isopod k create namespace team\n  isopod k create -f job.yaml")]
    Create(Create),
    /// Delete objects
    Delete(Delete),
    /// Run a command in a container
    Exec(Exec),
    /// Print what a container wrote
    Logs(Logs),
    /// Wait until objects are as they should
    Wait(Wait),
    /// Set the number of replicas
    #[command(
        after_help = "Examples:\n  isopod k scale sts/web --replicas 5\n  isopod k scale deploy web --replicas 0"
    )]
    Scale(Scale),
    /// Follow, restart or undo a rollout
    Rollout(Rollout),
    /// Connect local ports to those of a pod
    #[command(
        after_help = "Examples:\n  isopod k port-forward web-0 8080\n  isopod k port-forward svc/web 9000:80"
    )]
    PortForward(PortForward),
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  isopod k get pods -A -o wide
  isopod k get po,sts,svc -l app=web
  isopod k get pod/web-0 sts/web
  isopod k get pods -w
  isopod k get pods -o jsonpath='{range .items[*]}{.metadata.name}{\"\\n\"}{end}'")]
pub struct Get {
    /// TYPE[,TYPE…] [NAME…] or TYPE/NAME…
    #[arg(required = true, value_name = "OBJECT")]
    pub targets: Vec<String>,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// wide, yaml, json, name, jsonpath=TEMPLATE or custom-columns=HEADER:PATH,…
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<String>,
    /// Only those with these labels, e.g. app=web,tier!=db
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Only those with these fields, e.g. status.phase=Running
    #[arg(long, value_name = "SELECTOR")]
    pub field_selector: Option<String>,
    /// Go on showing changes
    #[arg(short, long)]
    pub watch: bool,
    /// Leave the header line out
    #[arg(long)]
    pub no_headers: bool,
    /// Add a column with the labels
    #[arg(long)]
    pub show_labels: bool,
    /// Show the fields' managers too, in yaml and json
    #[arg(long)]
    pub show_managed_fields: bool,
    /// Succeed when there is no such object
    #[arg(long)]
    pub ignore_not_found: bool,
}

#[derive(clap::Args, Debug)]
pub struct Describe {
    /// TYPE [NAME…] or TYPE/NAME…
    #[arg(required = true, value_name = "OBJECT")]
    pub targets: Vec<String>,
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
}

#[derive(clap::Args, Debug)]
pub struct Files {
    /// A YAML or JSON file, a folder of them, or `-` for standard input
    #[arg(short, long = "filename", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Folders with their subfolders
    #[arg(short = 'R', long)]
    pub recursive: bool,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  isopod k apply -f app.yaml
  isopod k apply -f manifests/ -n team
  helm template web ./chart | isopod k apply -f -")]
pub struct Apply {
    #[command(flatten)]
    pub files: Files,
    /// Take fields over that others manage
    #[arg(long)]
    pub force_conflicts: bool,
    /// Let the server check, but store nothing (`server`)
    #[arg(long, value_name = "server|none", value_parser = ["server", "none"], default_value = "none")]
    pub dry_run: String,
    /// As always here; taken so that kubectl's command lines work
    #[arg(long, hide = true)]
    pub server_side: bool,
}

#[derive(clap::Args, Debug)]
pub struct Create {
    #[command(flatten)]
    pub files: Files,
    /// `namespace NAME`
    #[arg(value_name = "OBJECT", num_args = 0..=2)]
    pub target: Vec<String>,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  isopod k delete pod web-0
  isopod k delete -f app.yaml
  isopod k delete pvc --all
  isopod k delete sts web --cascade=orphan
  isopod k delete pod web-0 --grace-period=0 --force")]
pub struct Delete {
    /// TYPE[,TYPE…] [NAME…] or TYPE/NAME…
    #[arg(value_name = "OBJECT")]
    pub targets: Vec<String>,
    #[command(flatten)]
    pub files: Files,
    /// All of the type in the namespace
    #[arg(long)]
    pub all: bool,
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Seconds that a pod has to end by itself
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub grace_period: Option<i64>,
    /// With --grace-period=0: do not wait for the node
    #[arg(long)]
    pub force: bool,
    /// As --grace-period=1
    #[arg(long)]
    pub now: bool,
    /// Wait until the objects are gone
    #[arg(long, default_value = "true", num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    pub wait: bool,
    /// What happens to the objects that it owns
    #[arg(long, default_value = "background", value_parser = ["background", "foreground", "orphan"], require_equals = true)]
    pub cascade: String,
    /// How long to wait, e.g. 60s [default: no limit]
    #[arg(long)]
    pub timeout: Option<SignedDuration>,
    /// Succeed when there is no such object
    #[arg(long)]
    pub ignore_not_found: bool,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "The exit code is the command's.

Examples:
  isopod k exec web-0 -- tail -n 5 /data/visits.txt
  isopod k exec -it sts/web -c app -- sh
  tar c . | isopod k exec -i web-0 -- tar x -C /data")]
pub struct Exec {
    /// POD or TYPE/NAME
    #[arg(value_name = "OBJECT")]
    pub target: String,
    #[arg(short, long)]
    pub container: Option<String>,
    /// Pass standard input on
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// With a terminal
    #[arg(short = 't', long)]
    pub tty: bool,
    /// The command, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  isopod k logs web-0
  isopod k logs -f --tail 20 web-0 -c app
  isopod k logs --previous web-0
  isopod k logs sts/web --since 10m
  isopod k logs -l app=web --tail 5")]
pub struct Logs {
    /// POD or TYPE/NAME
    #[arg(value_name = "OBJECT", required_unless_present = "selector")]
    pub target: Option<String>,
    #[arg(short, long)]
    pub container: Option<String>,
    /// Go on with what comes
    #[arg(short, long)]
    pub follow: bool,
    /// Of the container before its last restart
    #[arg(short, long)]
    pub previous: bool,
    /// Only so many lines of the end
    #[arg(long, value_name = "LINES", allow_negative_numbers = true)]
    pub tail: Option<i64>,
    /// Only what is newer, e.g. 10m
    #[arg(long)]
    pub since: Option<SignedDuration>,
    /// With the time of each line
    #[arg(long)]
    pub timestamps: bool,
    /// Of all pods with these labels
    #[arg(short = 'l', long, conflicts_with = "target")]
    pub selector: Option<String>,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  isopod k wait --for=condition=Ready pod/web-0 --timeout 60s
  isopod k wait --for=delete pod/web-0
  isopod k wait --for=jsonpath='{.status.phase}'=Bound pvc --all
  isopod k wait --for=create configmap/settings")]
pub struct Wait {
    #[arg(value_name = "OBJECT", required = true)]
    pub targets: Vec<String>,
    /// condition=TYPE[=VALUE], delete, create, or jsonpath={PATH}=VALUE
    #[arg(long = "for", value_name = "WHAT")]
    pub what: String,
    /// How long to wait at most
    #[arg(long, default_value = "30s")]
    pub timeout: SignedDuration,
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    #[arg(long)]
    pub all: bool,
}

#[derive(clap::Args, Debug)]
pub struct Scale {
    #[arg(value_name = "OBJECT", required = true)]
    pub targets: Vec<String>,
    #[arg(long, value_name = "N")]
    pub replicas: u32,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  isopod k rollout status sts/web --timeout 60s
  isopod k rollout restart deploy/web
  isopod k rollout history sts/web
  isopod k rollout undo sts/web --to-revision 2")]
pub struct Rollout {
    #[command(subcommand)]
    pub command: RolloutCommand,
}

#[derive(Subcommand, Debug)]
pub enum RolloutCommand {
    /// Wait until all replicas are as the template says
    Status {
        #[arg(value_name = "OBJECT", required = true)]
        targets: Vec<String>,
        /// How long to wait, e.g. 60s [default: no limit]
        #[arg(long)]
        timeout: Option<SignedDuration>,
        /// Wait until it is done
        #[arg(short, long, default_value = "true", num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
        watch: bool,
    },
    /// Replace all pods, as the strategy says
    Restart {
        #[arg(value_name = "OBJECT", required = true)]
        targets: Vec<String>,
    },
    /// List the revisions
    History {
        #[arg(value_name = "OBJECT", required = true)]
        targets: Vec<String>,
    },
    /// Go back to an earlier revision
    Undo {
        #[arg(value_name = "OBJECT", required = true)]
        targets: Vec<String>,
        /// Which [default: the one before]
        #[arg(long, value_name = "REVISION")]
        to_revision: Option<i64>,
    },
}

#[derive(clap::Args, Debug)]
pub struct PortForward {
    /// POD or TYPE/NAME
    #[arg(value_name = "OBJECT")]
    pub target: String,
    /// [LOCAL:]REMOTE; `:REMOTE` takes a free local port
    #[arg(required = true, value_name = "PORT")]
    pub ports: Vec<String>,
}
