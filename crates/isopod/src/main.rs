//! The isopod program: command line, config, certificates, wiring. No logic of Kubernetes.
#![allow(clippy::print_stdout)] // A command line prints.

mod cli;
mod down;
mod kubeconfig;
mod pki;
mod place;
mod pods;
mod process;
mod server;
mod up;

use anyhow::{Result, bail};
use clap::Parser;
use place::Place;
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
    start_log();
    match run(&cli::Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("isopod: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &cli::Command) -> Result<()> {
    match command {
        cli::Command::Up(args) => up::up(args),
        cli::Command::Down(args) => down::down(args),
        cli::Command::Rm(args) => down::rm(args),
        cli::Command::Server(args) => server::run(&Place::of(&args.name)?),
    }
}

/// `ISOPOD_LOG` says what is logged, e.g. `debug` or `info,control=trace`.
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("ISOPOD_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}

fn need_root(command: &str) -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    bail!("isopod {command} makes namespaces and mounts, which takes root; try: sudo isopod {command}");
}
