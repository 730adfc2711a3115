//! `isopod ls` and `isopod status`: what there is, from outside (processes, disk) and from the API where it answers.

use crate::cli;
use crate::k::client::Client;
use crate::kubeconfig::{self, Access};
use crate::place::Place;
use crate::print::{out, outln};
use crate::{process, table};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// As `systemctl status`: not running, and not there.
const DOWN: u8 = 3;
const MISSING: u8 = 4;
/// A server that answers at all does so far sooner.
const API_LIMIT: Duration = Duration::from_secs(3);

/// What is known of one cluster.
struct Seen {
    place: Place,
    /// Why its settings cannot be read.
    damaged: Option<String>,
    api_port: Option<u16>,
    kubeconfig: Option<String>,
    server: Option<Server>,
    api: Option<ApiFacts>,
}

struct Server {
    pid: i32,
    version: String,
    memory_bytes: u64,
}

/// What the API says.
struct ApiFacts {
    nodes: usize,
    nodes_ready: usize,
    pods: BTreeMap<String, usize>,
}

impl Seen {
    fn state(&self) -> &'static str {
        match (&self.damaged, &self.server, &self.api) {
            (Some(_), _, _) => "Damaged",
            (None, None, _) => "Down",
            (None, Some(_), None) => "NoAnswer",
            (None, Some(_), Some(api)) if api.nodes_ready == 0 => "NotReady",
            (None, Some(_), Some(_)) => "Up",
        }
    }

    fn pods(&self) -> Option<usize> {
        self.api.as_ref().map(|api| api.pods.values().sum())
    }

    fn address(&self) -> Option<String> {
        self.api_port.map(|port| format!("https://127.0.0.1:{port}"))
    }
}

async fn look(place: Place) -> Seen {
    let (settings, damaged) = match place.settings() {
        Ok(settings) => (Some(settings), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    let server = process::running(&place);
    let api = match &server {
        Some(_) => match tokio::time::timeout(API_LIMIT, ask(&place)).await {
            Ok(Ok(facts)) => Some(facts),
            Ok(Err(error)) => {
                tracing::debug!(%error, cluster = place.name, "the API does not answer");
                None
            }
            Err(_) => None,
        },
        None => None,
    };
    Seen {
        damaged,
        api_port: settings.as_ref().map(|s| s.api_port),
        kubeconfig: settings.map(|s| s.kubeconfig.display().to_string()),
        server: server.map(|running| Server {
            memory_bytes: memory_bytes(running.pid),
            pid: running.pid,
            version: running.version,
        }),
        api,
        place,
    }
}

async fn ask(place: &Place) -> Result<ApiFacts> {
    let client = Client::new(&Access::of_place(place)?)?;
    let nodes = client.get("/api/v1/nodes").await?;
    let pods = client.get("/api/v1/pods").await?;
    let empty = Vec::new();
    let nodes = nodes["items"].as_array().unwrap_or(&empty);
    let mut phases = BTreeMap::new();
    for pod in pods["items"].as_array().unwrap_or(&empty) {
        let phase = pod["status"]["phase"].as_str().unwrap_or("Unknown");
        *phases.entry(phase.to_string()).or_insert(0) += 1;
    }
    Ok(ApiFacts {
        nodes: nodes.len(),
        nodes_ready: nodes.iter().filter(|node| is_ready(node)).count(),
        pods: phases,
    })
}

fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

/// What the process holds for itself: its share of shared pages, where the kernel says it (root), or all it touches.
fn memory_bytes(pid: i32) -> u64 {
    let kib = |file: &str, key: &str| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        let line = text.lines().find(|line| line.starts_with(key))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    kib("smaps_rollup", "Pss:")
        .or_else(|| kib("status", "VmRSS:"))
        .unwrap_or(0)
        * 1024
}

/// The shims of the cluster: `… shim --dir <folder below the data folder> …`.
fn shims(dir: &Path) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let is_ours = |pid: &i32| {
        let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else {
            return false;
        };
        let mut words = line.split(|b| *b == 0).map(String::from_utf8_lossy).skip(1);
        words.next().is_some_and(|word| word == "shim")
            && words.next().is_some_and(|word| word == "--dir")
            && words
                .next()
                .is_some_and(|folder| Path::new(folder.as_ref()).starts_with(dir))
    };
    let pids = entries
        .flatten()
        .filter_map(|e| e.file_name().to_string_lossy().parse().ok());
    pids.filter(is_ours).collect()
}

/// Bytes on disk below a folder, on its own file system (a container's mounts are not its own).
fn disk_bytes(dir: &Path) -> u64 {
    let Ok(top) = std::fs::symlink_metadata(dir) else {
        return 0;
    };
    let (mut sum, mut folders) = (0, vec![dir.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let Ok(data) = entry.metadata() else { continue };
            if data.dev() != top.dev() {
                continue;
            }
            sum += data.blocks() * 512;
            if data.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    sum
}

fn block_on<T>(work: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(work))
}

pub fn ls(args: &cli::Ls) -> Result<()> {
    let mut places = Place::all()?;
    if let Some(name) = &args.name {
        places.retain(|place| place.name == *name);
        if places.is_empty() {
            bail!("there is no cluster {name}; those there are: isopod ls");
        }
    }
    let all = block_on(futures::future::join_all(places.into_iter().map(look)))?;
    if args.output.is_some() {
        let items: Vec<Value> = all.iter().map(line_json).collect();
        outln!("{}", serde_json::to_string_pretty(&items)?);
        return Ok(());
    }
    if all.is_empty() {
        eprintln!("there are no clusters; make one with: isopod up");
        return Ok(());
    }
    let count = |n: Option<usize>| n.map_or("-".to_string(), |n| n.to_string());
    let rows = all.iter().map(|seen| {
        vec![
            seen.place.name.clone(),
            seen.state().to_string(),
            seen.address().unwrap_or_else(|| "-".into()),
            count(seen.api.as_ref().map(|api| api.nodes)),
            count(seen.pods()),
            seen.place.dir.display().to_string(),
        ]
    });
    out!(
        "{}",
        table::text(
            &["NAME", "STATUS", "API", "NODES", "PODS", "DATA"],
            rows.collect()
        )
    );
    Ok(())
}

fn line_json(seen: &Seen) -> Value {
    json!({
        "name": seen.place.name, "status": seen.state(), "api": seen.address(),
        "nodes": seen.api.as_ref().map(|api| api.nodes), "pods": seen.pods(), "dataDir": seen.place.dir,
    })
}

pub fn status(args: &cli::Status) -> Result<ExitCode> {
    let name = &args.cluster.name;
    let place = Place::of(name)?;
    if !place.exists() {
        if args.output.is_some() {
            outln!(
                "{}",
                serde_json::to_string_pretty(&json!({"name": name, "status": "Missing"}))?
            );
        }
        eprintln!("isopod: there is no cluster {name}; those there are: isopod ls");
        return Ok(ExitCode::from(MISSING));
    }
    let shims = shims(&place.dir);
    let shim_bytes: u64 = shims.iter().map(|pid| memory_bytes(*pid)).sum();
    let data_bytes = disk_bytes(&place.dir);
    let seen = block_on(look(place))?;
    if args.output.is_some() {
        let mut value = line_json(&seen);
        value["server"] = seen.server.as_ref().map_or(
            Value::Null,
            |s| json!({"pid": s.pid, "version": s.version, "memoryBytes": s.memory_bytes}),
        );
        value["shims"] = json!({"count": shims.len(), "memoryBytes": shim_bytes});
        value["nodesReady"] = json!(seen.api.as_ref().map(|api| api.nodes_ready));
        value["podsByPhase"] = json!(seen.api.as_ref().map(|api| &api.pods));
        value["dataBytes"] = json!(data_bytes);
        value["kubeconfig"] = json!(seen.kubeconfig);
        value["context"] = json!(kubeconfig::context_name(name));
        value["damage"] = json!(seen.damaged);
        outln!("{}", serde_json::to_string_pretty(&value)?);
    } else {
        print_status(&seen, shims.len(), shim_bytes, data_bytes);
    }
    Ok(match seen.state() {
        "Up" => ExitCode::SUCCESS,
        _ => ExitCode::from(DOWN),
    })
}

fn print_status(seen: &Seen, shims: usize, shim_bytes: u64, data_bytes: u64) {
    let line = |label: &str, text: String| outln!("{label:<12}{text}");
    line("Cluster:", seen.place.name.clone());
    line("Status:", seen.state().to_string());
    if let Some(damage) = &seen.damaged {
        line("Damage:", damage.clone());
    }
    if let Some(server) = &seen.server {
        let memory = table::bytes(server.memory_bytes);
        line(
            "Server:",
            format!(
                "process {}, version {}, memory {memory}",
                server.pid, server.version
            ),
        );
    }
    if let Some(address) = seen.address() {
        line("API:", address);
    }
    if let Some(api) = &seen.api {
        line("Nodes:", format!("{} of {} ready", api.nodes_ready, api.nodes));
        let phases: Vec<String> = api.pods.iter().map(|(phase, n)| format!("{n} {phase}")).collect();
        let text = if phases.is_empty() {
            "none".to_string()
        } else {
            phases.join(", ")
        };
        line("Pods:", text);
    }
    if shims > 0 {
        line("Shims:", format!("{shims}, memory {}", table::bytes(shim_bytes)));
    }
    line(
        "Data:",
        format!("{} in {}", table::bytes(data_bytes), seen.place.dir.display()),
    );
    if let Some(file) = &seen.kubeconfig {
        line(
            "Context:",
            format!("{} in {file}", kubeconfig::context_name(&seen.place.name)),
        );
    }
    // Damage says itself what to do.
    if seen.server.is_none() && seen.damaged.is_none() {
        outln!("\nBring it up with: isopod up --name {}", seen.place.name);
    }
}
