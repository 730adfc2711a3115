//! `isopod up`: makes the cluster's folder on the first call, starts the server in the background and waits for it.

use crate::kubeconfig;
use crate::pki::Pki;
use crate::place::{LAYOUT, Made, Place, Settings};
use crate::print::outln;
use crate::server::{Progress, note_running};
use crate::{cli, down, process};
use anyhow::{Context, Result, anyhow, bail};
use apiserver::oidc;
use indicatif::ProgressBar;
use node::images::HostConfig;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, IsTerminal};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::num::NonZeroU16;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Tried first, then the ones after it, then any.
const FIRST_PORT: u16 = 6443;
const PORTS_TRIED: u16 = 20;
const DEFAULT_WAIT_S: u64 = 60;

/// What one `up` was told, by options and by `--config`.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Orders {
    name: Option<String>,
    data_dir: Option<PathBuf>,
    kubeconfig: Option<PathBuf>,
    api_port: Option<NonZeroU16>,
    wait: Option<u64>,
    simulated_nodes: Option<u32>,
    registries: Option<BTreeMap<String, HostConfig>>,
    oidc: Option<oidc::Settings>,
}

impl Orders {
    fn of(args: &cli::Up) -> Result<Self> {
        let file = match &args.config {
            Some(path) => Self::read(path)?,
            None => Self::default(),
        };
        let port = args.api_port.and_then(NonZeroU16::new);
        Ok(Self {
            name: args.name.clone().or(file.name),
            data_dir: args.data_dir.clone().or(file.data_dir),
            kubeconfig: args.kubeconfig.clone().or(file.kubeconfig),
            api_port: port.or(file.api_port),
            wait: args.wait.or(file.wait),
            simulated_nodes: args.simulated_nodes.or(file.simulated_nodes),
            registries: file.registries.map(settled_registries).transpose()?,
            oidc: file.oidc.map(settled_issuer).transpose()?,
        })
    }

    fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read the settings {shown}"))?;
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        Self::parse(&text).map_err(|(line, why)| match line {
            Some(line) => anyhow!("{shown}, line {line}: {why}; see: isopod up --help"),
            None => anyhow!("{shown}: {why}; see: isopod up --help"),
        })
    }

    /// The error's line, and what is wrong there.
    fn parse(text: &str) -> std::result::Result<Self, (Option<u64>, String)> {
        if codec::from_yaml(text.as_bytes()).is_ok_and(|decoded| !decoded.value.is_object()) {
            return Err((
                None,
                "these are no settings; write a line `name: value` for each".into(),
            ));
        }
        serde_saphyr::from_str(text).map_err(|error| {
            let line = error.location().map(|at| at.line());
            // The parser draws the text below its first line.
            let text = error.without_snippet().to_string();
            (line, text.lines().next().unwrap_or_default().to_string())
        })
    }
}

/// Checked at once; its file is found from wherever the server runs.
fn settled_issuer(mut settings: oidc::Settings) -> Result<oidc::Settings> {
    if let Some(file) = &mut settings.ca_file {
        *file = std::path::absolute(&*file)?;
        std::fs::metadata(&*file)
            .with_context(|| format!("oidc: ca-file: cannot read {}", file.display()))?;
    }
    oidc::Oidc::new(settings.clone(), Vec::new())?;
    Ok(settings)
}

/// With files named from the root, since the server runs there, and checked: what cannot be is said now, not at a pull.
fn settled_registries(mut registries: BTreeMap<String, HostConfig>) -> Result<BTreeMap<String, HostConfig>> {
    for (name, host) in &mut registries {
        host.ca = host.ca.as_ref().map(std::path::absolute).transpose()?;
        host.check(name).map_err(|why| anyhow!("{why}"))?;
    }
    Ok(registries)
}

/// The server is not ready in time, but goes on.
#[derive(Debug, thiserror::Error)]
#[error(
    "the cluster is not ready after {wait} s; it goes on starting, see {log} and: isopod status --name {name}"
)]
struct Late {
    wait: u64,
    log: String,
    name: String,
}

pub fn up(args: &cli::Up) -> Result<()> {
    let start = Instant::now();
    crate::need_root("up")?;
    let orders = Orders::of(args)?;
    let name = orders.name.as_deref().unwrap_or("default");
    let (place, made) = Place::create(name, orders.data_dir.as_deref())?;
    let _lock = place.lock()?;
    process::wait_for_dying(&place)?;
    if let Some(running) = process::running(&place) {
        bail!(
            "cluster {name} is up already (process {}, API on 127.0.0.1:{}); to restart it: isopod down --name {name} && isopod up --name {name}",
            running.pid,
            running.api_port
        );
    }
    let known = place.exists().then(|| place.settings()).transpose()?;
    let done = bring_up(&place, &orders, known.as_ref(), start);
    if let Err(error) = &done
        && !error.is::<Late>()
        && let Err(left) = undo(&place, known.as_ref(), &made)
    {
        tracing::warn!("not everything of the failed start could be taken back: {left:#}");
    }
    done
}

fn bring_up(place: &Place, orders: &Orders, known: Option<&Settings>, start: Instant) -> Result<()> {
    let settings = settle(place, orders, known)?;
    kubeconfig::check(&settings.kubeconfig)?;
    if place.has_been_up() && !place.pki().exists() {
        eprintln!(
            "{} is not there: the cluster gets new keys, and what was made with the old ones (kubeconfigs, service account tokens) no longer works",
            place.pki().display()
        );
    }
    let mut child = start_server(place, settings.api_port)?;
    let node = follow(
        &mut child,
        place,
        &settings,
        orders.wait.unwrap_or(DEFAULT_WAIT_S),
    )?;
    outln!(
        "cluster {} is ready in {:.2} s (node {node})",
        place.name,
        start.elapsed().as_secs_f64()
    );
    outln!(
        "context {} is current in {}",
        kubeconfig::context_name(&place.name),
        settings.kubeconfig.display()
    );
    Ok(())
}

/// A first start that failed leaves nothing; a later one leaves what was there before.
fn undo(place: &Place, known: Option<&Settings>, made: &Made) -> Result<()> {
    if let Some(known) = known {
        return place.write_settings(known);
    }
    down::clear(place)?;
    if let Some(mode) = &made.folder {
        std::fs::create_dir_all(&place.dir)?;
        std::fs::set_permissions(&place.dir, mode.clone())?;
    }
    Ok(())
}

/// The settings of the last `up`, with what this one says, written back.
fn settle(place: &Place, orders: &Orders, known: Option<&Settings>) -> Result<Settings> {
    let kubeconfig = match (&orders.kubeconfig, known) {
        (Some(file), _) => std::path::absolute(file)?,
        (None, Some(known)) => known.kubeconfig.clone(),
        (None, None) => kubeconfig::default_path()?,
    };
    let settings = Settings {
        layout: LAYOUT,
        name: place.name.clone(),
        api_port: match (orders.api_port, known) {
            (Some(port), _) => port.get(),
            (None, Some(known)) => known.api_port,
            (None, None) => free_port()?,
        },
        kubeconfig,
        simulated_nodes: orders
            .simulated_nodes
            .or(known.map(|k| k.simulated_nodes))
            .unwrap_or(0),
        registries: match (&orders.registries, known) {
            (Some(registries), _) => registries.clone(),
            (None, Some(known)) => known.registries.clone(),
            (None, None) => BTreeMap::new(),
        },
        oidc: orders
            .oidc
            .clone()
            .or_else(|| known.and_then(|known| known.oidc.clone())),
    };
    if known != Some(&settings) {
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
fn start_server(place: &Place, api_port: u16) -> Result<Child> {
    rotate(&place.log_file())?;
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
    let mut child = command
        .process_group(0)
        .current_dir("/")
        .spawn()
        .context("cannot start the server")?;
    // One that has ended already says why on its output.
    let is_there = process::start_ticks(child.id() as i32).is_some();
    if is_there && let Err(error) = note_running(place, child.id(), api_port, false) {
        child
            .kill()
            .and_then(|()| child.wait())
            .context("cannot end the server")?;
        return Err(error);
    }
    Ok(child)
}

/// The log of the last start is kept, those before it go.
fn rotate(log: &Path) -> Result<()> {
    match std::fs::rename(log, log.with_extension("log.1")) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot rotate {}", log.display()))
        }
        _ => Ok(()),
    }
}

/// Shows how far the server is, and gives the user the context once the API answers. Returns the node's name when a
/// pod can run.
fn follow(child: &mut Child, place: &Place, settings: &Settings, wait: u64) -> Result<String> {
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
    let bar = ProgressBar::new_spinner().with_message("starting the API");
    bar.enable_steady_tick(Duration::from_millis(100));
    let fancy = std::io::stderr().is_terminal();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) => match serde_json::from_str(&line) {
                Ok(Progress::Api { port }) => {
                    if !fancy {
                        eprintln!("API answers on 127.0.0.1:{port}");
                    }
                    bar.set_message(format!("API answers on 127.0.0.1:{port}; waiting for the node"));
                    give_context(place, settings)?;
                }
                Ok(Progress::Node { name }) => {
                    bar.finish_and_clear();
                    return Ok(name);
                }
                Ok(Progress::Failed { message }) => {
                    let ended = child.wait();
                    tracing::debug!(?ended, "the server ended");
                    bail!("{message}");
                }
                Err(_) => tracing::debug!(line, "the server said"),
            },
            Err(mpsc::RecvTimeoutError::Timeout) => {
                // Its keys are the first that a server makes; without them there is nothing to give yet.
                if Pki::read_admin(place).is_ok() {
                    give_context(place, settings)?;
                }
                bail!(Late {
                    wait,
                    log: place.log_file().display().to_string(),
                    name: place.name.clone(),
                })
            }
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

fn give_context(place: &Place, settings: &Settings) -> Result<()> {
    let (ca, admin) = Pki::read_admin(place)?;
    let config = kubeconfig::config(&place.name, settings.api_port, &ca, &admin);
    kubeconfig::add(&settings.kubeconfig, &place.name, &config)
}

fn last_lines(file: PathBuf) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_strictly() {
        let text = "name: ci\ndata-dir: /srv/ci\napi-port: 7443\nwait: 30\nsimulated-nodes: 2\n";
        let orders = Orders::parse(text).expect("good settings");
        assert_eq!(orders.name.as_deref(), Some("ci"));
        assert_eq!(orders.api_port.map(NonZeroU16::get), Some(7443));
        let (line, why) = Orders::parse("name: ci\nport: 1\n").expect_err("no such setting");
        assert_eq!(line, Some(2), "{why}");
        assert!(why.contains("port"), "{why}");
        let (line, _) = Orders::parse("name: ci\n\napi-port: 70000\n").expect_err("no such port");
        for text in ["just words", "- name: ci", "7"] {
            let (_, why) = Orders::parse(text).expect_err("no settings");
            assert!(why.contains("these are no settings"), "{text}: {why}");
        }
        assert_eq!(line, Some(3));
    }

    #[test]
    fn registries_are_checked_at_once() {
        let text = "registries:\n  docker.io: {mirrors: [http://127.0.0.1:5000]}\n  r.example:5000: {insecure: true}\n";
        let orders = Orders::parse(text).expect("good settings");
        let registries = settled_registries(orders.registries.expect("registries")).expect("good registries");
        assert!(registries["r.example:5000"].insecure);
        assert_eq!(registries["docker.io"].mirrors, ["http://127.0.0.1:5000"]);
        let (line, why) =
            Orders::parse("registries:\n  r.example: {skip: 1}\n").expect_err("no such setting");
        assert_eq!(line, Some(2), "{why}");
        let orders =
            Orders::parse("registries: {r.example: {ca: none.pem}}").expect("a file that is not there");
        let error = settled_registries(orders.registries.expect("registries")).expect_err("no file");
        let file = std::path::absolute("none.pem").expect("a path");
        let want = format!("registries: r.example: ca: cannot read {}: ", file.display());
        assert!(error.to_string().starts_with(&want), "{error}");
    }
}
