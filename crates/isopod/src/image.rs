//! `isopod image`: the images of one cluster. They are on disk, so the server sees at once what is done here.

use crate::cli::{Json, Named};
use crate::place::Place;
use crate::print::{out, outln};
use crate::table;
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use node::images::auth::Credentials;
use node::images::{Build, ImageSummary, Images, PullProgress, Source};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  isopod image build visits:1 --binary target/release/visits
  isopod image load app.tar
  isopod image pull docker.io/library/alpine:3
  isopod image ls")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make an image of one static program or of a folder
    Build(Box<BuildArgs>),
    /// Load an archive made by docker save, buildah, skopeo or `image save`
    #[command(after_help = "Examples:
  isopod image load app.tar
  docker save app:1 | isopod image load -
  isopod image load rootfs.oci.tar --tag app:1")]
    Load {
        /// The archive; `-` is standard input
        file: PathBuf,
        /// The name of the image, where the archive has none or another
        #[arg(long, value_name = "REF")]
        tag: Option<String>,
        #[command(flatten)]
        cluster: Named,
    },
    /// Fetch an image from its registry, with the logins of ~/.docker/config.json
    #[command(after_help = "Examples:
  isopod image pull nginx:1.29
  isopod image pull ghcr.io/team/app@sha256:…")]
    Pull {
        #[arg(value_name = "REF")]
        image: String,
        /// Speak plain http to this registry, HOST:PORT (one on loopback is spoken to so anyway)
        #[arg(long, value_name = "REGISTRY")]
        insecure: Vec<String>,
        #[command(flatten)]
        cluster: Named,
    },
    /// List the images
    #[command(after_help = "Examples:\n  isopod image ls\n  isopod image ls -o json")]
    Ls {
        /// Print JSON instead of a table
        #[arg(short, long, value_enum, value_name = "FORMAT")]
        output: Option<Json>,
        #[command(flatten)]
        cluster: Named,
    },
    /// Remove images by name or ID; what containers use stays on disk until they end
    #[command(after_help = "Example:\n  isopod image rm visits:1 visits:2")]
    Rm {
        #[arg(value_name = "REF", required = true)]
        images: Vec<String>,
        #[command(flatten)]
        cluster: Named,
    },
    /// Write images as one OCI archive, which `docker load` reads too
    #[command(after_help = "Examples:
  isopod image save visits:1 -f visits.tar
  isopod image save visits:1 --name a | isopod image load - --name b")]
    Save {
        #[arg(value_name = "REF", required = true)]
        images: Vec<String>,
        /// Where to [default: standard output, unless that is a terminal]
        #[arg(short, long, value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        cluster: Named,
    },
    /// Give an image a further name
    #[command(after_help = "Example:\n  isopod image tag visits:1 registry.local/team/visits:1.0")]
    Tag {
        #[arg(value_name = "REF")]
        image: String,
        #[arg(value_name = "NEW-REF")]
        new_name: String,
        #[command(flatten)]
        cluster: Named,
    },
}

#[derive(clap::Args, Debug)]
#[command(group = clap::ArgGroup::new("source").required(true).args(["binary", "from_dir"]))]
#[command(after_help = "Examples:
  isopod image build visits:1 --binary target/release/visits
  isopod image build tool:2 --binary ./tool --port 8080 --env MODE=prod --link /bin/tail=/tool
  isopod image build debian:mine --from-dir ./rootfs --entrypoint /bin/sh --cmd -c --cmd 'sleep 1d' --user 1000:1000")]
struct BuildArgs {
    /// The image's name, with or without a tag
    #[arg(value_name = "REF")]
    image: String,
    /// A static program; it becomes /FILENAME and is what runs
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// A folder that is the root file system
    #[arg(long, value_name = "DIR")]
    from_dir: Option<PathBuf>,
    /// What runs, a word each time [default with --binary: the program]
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    entrypoint: Vec<String>,
    /// Default arguments, a word each time
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    cmd: Vec<String>,
    /// An environment variable
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// A port that it listens on, e.g. 8080 or 53/udp
    #[arg(long, value_name = "PORT")]
    port: Vec<String>,
    /// Who runs it: a name or number, also USER:GROUP
    #[arg(long)]
    user: Option<String>,
    /// Where it starts
    #[arg(long, value_name = "DIR")]
    workdir: Option<String>,
    /// A label
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// A symbolic link in the image, for a program of several names
    #[arg(long, value_name = "PATH=TARGET")]
    link: Vec<String>,
    #[command(flatten)]
    cluster: Named,
}

pub fn run(args: &Args) -> Result<()> {
    crate::need_root("image")?;
    match &args.command {
        Command::Build(order) => build(order),
        Command::Load { file, tag, cluster } => load(&open(cluster)?, file, tag.as_deref()),
        Command::Pull {
            image,
            insecure,
            cluster,
        } => pull(cluster, image, insecure),
        Command::Ls { output, cluster } => list(&open(cluster)?, output.is_some()),
        Command::Rm { images, cluster } => remove(&open(cluster)?, images),
        Command::Save {
            images,
            file,
            cluster,
        } => save(&open(cluster)?, images, file.as_deref()),
        Command::Tag {
            image,
            new_name,
            cluster,
        } => {
            open(cluster)?.tag(image, new_name)?;
            outln!("{image} is also {new_name}");
            Ok(())
        }
    }
}

fn open(cluster: &Named) -> Result<Images> {
    open_with(cluster, &[])
}

/// With the registries as the cluster's settings have them, and these spoken to over plain http.
fn open_with(cluster: &Named, insecure: &[String]) -> Result<Images> {
    let place = Place::of(&cluster.name)?;
    let mut config = place.settings()?.registry_config();
    for registry in insecure {
        let host = config.hosts.entry(registry.clone()).or_default();
        (host.insecure, host.ca) = (true, None);
    }
    Ok(Images::open(&place.dir, config)?)
}

/// Turns while something lasts, on a terminal; elsewhere silent.
fn spinner(message: String) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(message);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn byte_bar(total: Option<u64>, message: String) -> ProgressBar {
    let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let template = "{msg}  {bytes}/{total_bytes}  {wide_bar}  {bytes_per_sec}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.with_message(message)
}

fn build(args: &BuildArgs) -> Result<()> {
    let source = match (&args.binary, &args.from_dir) {
        (Some(file), _) => Source::Binary(file.clone()),
        (None, Some(folder)) => Source::Folder(folder.clone()),
        (None, None) => bail!("say what to build from: --binary FILE or --from-dir DIR"),
    };
    let mut order = Build::new(&args.image, source);
    order.entrypoint.clone_from(&args.entrypoint);
    order.cmd.clone_from(&args.cmd);
    order.env.clone_from(&args.env);
    order.ports.clone_from(&args.port);
    order.user.clone_from(&args.user);
    order.working_dir.clone_from(&args.workdir);
    order.labels.clone_from(&args.label);
    for link in &args.link {
        let pair = link.split_once('=');
        let (path, target) = pair.with_context(|| format!("--link {link:?} is not PATH=TARGET"))?;
        order.links.push((path.to_string(), target.to_string()));
    }
    let images = open(&args.cluster)?;
    let bar = spinner(format!("building {}", args.image));
    let built = images.build(&order);
    bar.finish_and_clear();
    let image = built?;
    outln!(
        "built {} ({}, {})",
        familiar(&image.name),
        short_id(&image.id.to_string()),
        table::bytes(image.size_bytes)
    );
    Ok(())
}

fn load(images: &Images, file: &Path, tag: Option<&str>) -> Result<()> {
    let loaded = if file == Path::new("-") {
        if std::io::stdin().is_terminal() {
            bail!(
                "standard input is a terminal; give a file, or send an archive: docker save IMAGE | isopod image load -"
            );
        }
        let bar = byte_bar(None, "standard input".into());
        images.load(bar.wrap_read(std::io::stdin().lock()), "standard input", tag)
    } else {
        let shown = file.display().to_string();
        let open = File::open(file).with_context(|| format!("cannot load images from {shown}"))?;
        let about = open.metadata();
        let about = about.with_context(|| format!("cannot read {shown}"))?;
        if about.is_dir() {
            bail!(
                "{shown} is a folder; give an archive, or make the folder an image's root file system: isopod image build REF --from-dir {shown}"
            );
        }
        let bar = byte_bar(Some(about.len()), shown.clone());
        images.load(bar.wrap_read(open), &shown, tag)
    };
    for image in loaded? {
        for name in &image.names {
            outln!("loaded {} ({})", familiar(name), short_id(&image.id.to_string()));
        }
    }
    Ok(())
}

fn pull(cluster: &Named, name: &str, insecure: &[String]) -> Result<()> {
    let images = open_with(cluster, insecure)?;
    if let Some(file) = &images.registry_config().docker_config {
        // A pod is pulled for without them; who calls for a pull is told.
        Credentials::read(file).map_err(|why| anyhow::anyhow!("{why}"))?;
    }
    let terminal = std::io::stderr().is_terminal();
    if !terminal {
        eprintln!("pulling {name}");
    }
    let bar = byte_bar(Some(0), format!("pulling {name}"));
    let blobs: Mutex<BTreeMap<String, (u64, u64)>> = Mutex::default();
    let progress = |step: PullProgress| {
        let mut blobs = blobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let complete = step.done_bytes >= step.total_bytes;
        if complete && !terminal && blobs.get(&step.blob).is_none_or(|(done, total)| done < total) {
            eprintln!(
                "{} {} complete",
                short_id(&step.blob),
                table::bytes(step.total_bytes)
            );
        }
        blobs.insert(step.blob, (step.done_bytes, step.total_bytes));
        bar.set_length(blobs.values().map(|(_, total)| total).sum());
        bar.set_position(blobs.values().map(|(done, _)| done).sum());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let nobody = Credentials::default();
    let pulled = runtime.block_on(async {
        tokio::select! {
            pulled = images.pull(name, &nobody, &progress) => pulled.map_err(Into::into),
            // ignored: a signal, or none that can be had: both end the wait
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted; nothing of {name} was stored")),
        }
    });
    bar.finish_and_clear();
    let image = pulled?;
    outln!("pulled {} ({})", familiar(&image.name), image.repo_digest);
    Ok(())
}

fn list(images: &Images, as_json: bool) -> Result<()> {
    let all = images.list()?;
    if as_json {
        let items: Vec<Value> = all.iter().map(summary).collect();
        outln!("{}", serde_json::to_string_pretty(&items)?);
        return Ok(());
    }
    let rows = all.iter().flat_map(|image| {
        let tags = image.names.iter().filter(|name| !name.contains('@'));
        let names: Vec<&String> = match tags.collect::<Vec<_>>() {
            tags if tags.is_empty() => image.names.iter().take(1).collect(),
            tags => tags,
        };
        names.into_iter().map(|name| {
            vec![
                familiar(name).to_string(),
                short_id(&image.id.to_string()).to_string(),
                table::bytes(image.size_bytes),
            ]
        })
    });
    out!("{}", table::text(&["IMAGE", "ID", "SIZE"], rows.collect()));
    Ok(())
}

fn summary(image: &ImageSummary) -> Value {
    json!({
        "names": image.names, "id": image.id.to_string(), "sizeBytes": image.size_bytes, "created": image.created,
    })
}

fn remove(images: &Images, names: &[String]) -> Result<()> {
    for name in names {
        let removed = images.remove(name)?;
        let freed = table::bytes(removed.freed_bytes);
        let names: Vec<&str> = removed.names.iter().map(|n| familiar(n)).collect();
        outln!("removed {} (freed {freed})", names.join(", "));
    }
    Ok(())
}

fn save(images: &Images, names: &[String], file: Option<&Path>) -> Result<()> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let Some(path) = file.filter(|f| *f != Path::new("-")) else {
        if std::io::stdout().is_terminal() {
            bail!("an archive is nothing for a terminal; name a file: --file FILE");
        }
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        images.save(&names, &mut out)?;
        return out.flush().context("cannot write the archive");
    };
    // All names are looked up before a file of the same name is touched.
    for name in &names {
        images.require(name)?;
    }
    let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
    let written = save_to(images, &names, &temporary).and_then(|()| {
        std::fs::rename(&temporary, path).with_context(|| format!("cannot write {}", path.display()))
    });
    if written.is_err()
        && let Err(error) = std::fs::remove_file(&temporary)
    {
        tracing::debug!(%error, "the half-made archive is not there to be removed");
    }
    written?;
    outln!("saved {} to {}", names.join(", "), path.display());
    Ok(())
}

fn save_to(images: &Images, names: &[&str], path: &Path) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut out = std::io::BufWriter::new(file);
    images.save(names, &mut out)?;
    out.flush()
        .with_context(|| format!("cannot write {}", path.display()))
}

/// As people write it: `visits:1` for `docker.io/library/visits:1`.
fn familiar(name: &str) -> &str {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

/// The twelve digits that docker shows.
fn short_id(digest: &str) -> &str {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    hex.get(..12).unwrap_or(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_for_people() {
        assert_eq!(familiar("docker.io/library/visits:1"), "visits:1");
        assert_eq!(familiar("docker.io/team/app:1"), "team/app:1");
        assert_eq!(familiar("ghcr.io/team/app:1"), "ghcr.io/team/app:1");
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
    }
}
