//! The isopod program: command line, config, certificates, wiring. No logic of Kubernetes.

mod cli;
mod down;
mod image;
mod k;
mod kubeconfig;
mod pki;
mod place;
mod pods;
mod print;
mod process;
mod server;
mod status;
mod table;
mod up;

use anyhow::{Result, bail};
use clap::{CommandFactory, Parser};
use place::Place;
use print::{out, outln};
use std::process::ExitCode;

fn main() -> ExitCode {
    // A pod's shim is this program too; it must stay small and single-threaded, so nothing happens before it.
    let args: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
    if args.first().is_some_and(|word| word == "shim") {
        return node::shim::main(&args[1..]);
    }
    // The server tells its log what it does; a command tells its user only what is wrong.
    let is_server = args.first().is_some_and(|word| word == "server");
    start_log(if is_server { "info" } else { "warn" });
    // Folders that a cluster makes are read by its pods' users, whatever the shell keeps private.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    match run(&cli::Cli::parse().command) {
        Ok(_) if print::has_failed() => ExitCode::FAILURE,
        Ok(code) => code,
        Err(error) => {
            eprintln!("isopod: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &cli::Command) -> Result<ExitCode> {
    match command {
        cli::Command::Up(args) => up::up(args)?,
        cli::Command::Down(args) => down::down(args)?,
        cli::Command::Rm(args) => down::rm(args)?,
        cli::Command::Ls(args) => status::ls(args)?,
        cli::Command::Status(args) => return status::status(args),
        cli::Command::Image(args) => image::run(args)?,
        cli::Command::K(args) => return Ok(k::run(args)),
        cli::Command::Kubeconfig(args) => print_kubeconfig(&args.name)?,
        cli::Command::Version => outln!(
            "isopod {}\nKubernetes {}",
            env!("CARGO_PKG_VERSION"),
            apiserver::http::Config::default().git_version
        ),
        cli::Command::Completions { shell } => {
            let mut command = cli::Cli::command();
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut command, "isopod", &mut script);
            out!("{}", String::from_utf8(script)?);
        }
        cli::Command::Server(args) => server::run(&Place::of(&args.name)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print_kubeconfig(name: &str) -> Result<()> {
    let place = Place::of(name)?;
    let settings = place.settings()?;
    let (ca, admin) = pki::Pki::read_admin(&place)?;
    let config = kubeconfig::config(name, settings.api_port, &ca, &admin);
    out!("{}", kubeconfig::to_yaml(&config)?);
    Ok(())
}

/// `ISOPOD_LOG` says what is logged, e.g. `debug` or `info,control=trace`.
fn start_log(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("ISOPOD_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        // A line that finds no room on the disk is lost. To complain of it on standard error, which is the same file,
        // would panic, and with it the thread that had something to say.
        .log_internal_errors(false)
        .init();
}

fn need_root(command: &str) -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    bail!(
        "isopod {command} takes root, for the cluster's namespaces, mounts and data are root's; try: sudo isopod {command}"
    );
}
