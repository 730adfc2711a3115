//! `isopod up`: makes the cluster's folder on the first call, starts the server in the background and waits for it.

use crate::kubeconfig;
use crate::pki::Pki;
use crate::place::{LAYOUT, Place, Settings};
use crate::server::Progress;
use crate::{cli, process};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, IsTerminal};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Tried first, then the ones after it, then any.
const FIRST_PORT: u16 = 6443;
const PORTS_TRIED: u16 = 20;

pub fn up(args: &cli::Up) -> Result<()> {
    let start = Instant::now();
    crate::need_root("up")?;
    let place = Place::create(&args.name, args.data_dir.as_deref())?;
    if let Some(running) = process::running(&place) {
        bail!(
            "cluster {} is up already (process {}, API on 127.0.0.1:{}); to restart it: isopod down --name {0} && isopod up --name {0}",
            args.name,
            running.pid,
            running.api_port
        );
    }
    let settings = settle(&place, args)?;
    let mut child = start_server(&place)?;
    let name = follow(&mut child, &place, args.wait)?;
    let pki = Pki::open(&place, &[])?;
    let config = kubeconfig::config(&args.name, settings.api_port, &pki);
    kubeconfig::add(&settings.kubeconfig, &args.name, &config)?;
    println!(
        "cluster {} is ready in {:.2} s (node {name})",
        args.name,
        start.elapsed().as_secs_f64()
    );
    println!(
        "context {} is current in {}",
        kubeconfig::context_name(&args.name),
        settings.kubeconfig.display()
    );
    Ok(())
}

/// The settings of the last `up`, with what this one says, written back.
fn settle(place: &Place, args: &cli::Up) -> Result<Settings> {
    let known = if place.exists() {
        Some(place.settings()?)
    } else {
        None
    };
    let kubeconfig = match (&args.kubeconfig, &known) {
        (Some(file), _) => std::path::absolute(file)?,
        (None, Some(known)) => known.kubeconfig.clone(),
        (None, None) => kubeconfig::default_path()?,
    };
    let settings = Settings {
        layout: LAYOUT,
        name: place.name.clone(),
        api_port: match (args.api_port, &known) {
            (Some(port), _) => port,
            (None, Some(known)) => known.api_port,
            (None, None) => free_port()?,
        },
        kubeconfig,
        simulated_nodes: args
            .simulated_nodes
            .or(known.as_ref().map(|k| k.simulated_nodes))
            .unwrap_or(0),
    };
    if known.as_ref() != Some(&settings) {
        place.write_settings(&settings)?;
    }
    Ok(settings)
}

/// A port that is free now, and that no other cluster has as its own.
fn free_port() -> Result<u16> {
    let taken: Vec<u16> = Place::all()?
        .iter()
        .filter_map(|p| p.settings().ok())
        .map(|s| s.api_port)
        .collect();
    let free = |port: &u16| {
        !taken.contains(port) && TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, *port)).is_ok()
    };
    if let Some(port) = (FIRST_PORT..FIRST_PORT + PORTS_TRIED).find(free) {
        return Ok(port);
    }
    let any =
        TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
    Ok(any.local_addr()?.port())
}

/// Starts the server in a session of its own, so that it outlives this terminal.
fn start_server(place: &Place) -> Result<Child> {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(place.log_file());
    let log = log.with_context(|| format!("cannot write {}", place.log_file().display()))?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(program);
    command
        .args(["server", "--name", &place.name])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    // The group is the server's own: Ctrl-C in this terminal is not for it.
    command
        .process_group(0)
        .current_dir("/")
        .spawn()
        .context("cannot start the server")
}

/// Shows how far the server is. Returns the node's name when a pod can run.
fn follow(child: &mut Child, place: &Place, wait: u64) -> Result<String> {
    let output = child.stdout.take().context("the server's output is not there")?;
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { return };
            if send.send(line).is_err() {
                return;
            }
        }
    });
    let until = Instant::now() + Duration::from_secs(wait);
    let fancy = std::io::stderr().is_terminal();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) => match serde_json::from_str(&line) {
                Ok(Progress::Api { port }) if !fancy => eprintln!("API answers on 127.0.0.1:{port}"),
                Ok(Progress::Api { .. }) => {}
                Ok(Progress::Node { name }) => return Ok(name),
                Ok(Progress::Failed { message }) => {
                    let ended = child.wait();
                    tracing::debug!(?ended, "the server ended");
                    bail!("{message}");
                }
                Err(_) => tracing::debug!(line, "the server said"),
            },
            Err(mpsc::RecvTimeoutError::Timeout) => bail!(
                "the cluster is not ready after {wait} s; it goes on starting, see {} and: isopod status --name {}",
                place.log_file().display(),
                place.name
            ),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = child.wait().context("the server cannot be waited for")?;
                bail!(
                    "the server ended while it started ({status}); the last lines of {}:\n{}",
                    place.log_file().display(),
                    last_lines(place.log_file())
                );
            }
        }
    }
}

fn last_lines(file: PathBuf) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
