//! `isopod k`: the everyday subset of kubectl, over the same API and in the same words.

mod apply;
pub mod args;
pub mod client;
mod delete;
mod describe;
mod error;
mod exec;
mod forward;
mod get;
mod jsonpath;
mod logs;
mod manifests;
mod output;
mod resources;
mod revisions;
mod rollout;
mod wait;
mod watch;

use crate::kubeconfig::{self, Access};
use crate::place::Place;
use anyhow::{Result, bail};
use args::{Args, Command, Global};
use client::Client;
use resources::Discovery;
use std::process::ExitCode;

/// One command's view of the cluster.
pub struct Session {
    pub client: Client,
    pub namespace: String,
    /// `-n` was given, so objects of other namespaces are a mistake.
    pub namespace_given: bool,
    pub discovery: Discovery,
}

pub fn run(args: &Args) -> ExitCode {
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| {
            let done = runtime.block_on(dispatch(args));
            runtime.shutdown_background();
            done
        });
    match done {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error::shown(&error));
            ExitCode::FAILURE
        }
    }
}

/// Whoever read the output has seen enough (`| head`).
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

async fn dispatch(args: &Args) -> Result<ExitCode> {
    let session = open(&args.global).await?;
    match &args.command {
        Command::Get(get) => return get::get(&session, get).await,
        Command::Describe(order) => describe::describe(&session, order).await?,
        Command::Apply(order) => apply::apply(&session, order).await?,
        Command::Create(order) => apply::create(&session, order).await?,
        Command::Delete(order) => delete::delete(&session, order).await?,
        Command::Exec(order) => return exec::exec(&session, order).await,
        Command::Logs(order) => logs::logs(&session, order).await?,
        Command::Wait(order) => wait::wait(&session, order).await?,
        Command::Scale(order) => rollout::scale(&session, order).await?,
        Command::Rollout(order) => rollout::rollout(&session, order).await?,
        Command::PortForward(order) => forward::forward(&session, order).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn open(global: &Global) -> Result<Session> {
    let access = access(global)?;
    let namespace = global.namespace.clone().or(access.namespace.clone());
    let client = Client::new(&access)?;
    let discovery = Discovery::read(&client).await?;
    Ok(Session {
        client,
        namespace: namespace.unwrap_or_else(|| "default".to_string()),
        namespace_given: global.namespace.is_some(),
        discovery,
    })
}

/// The cluster's own certificate where it may be read, else the kubeconfig.
fn access(global: &Global) -> Result<Access> {
    if global.kubeconfig.is_some() || global.context.is_some() {
        let file = match &global.kubeconfig {
            Some(file) => file.clone(),
            None => kubeconfig::default_path()?,
        };
        return Access::of_file(&file, global.context.as_deref());
    }
    let place = Place::of(&global.name)?;
    if nix::unistd::geteuid().is_root() {
        return Access::of_place(&place);
    }
    let file = match place.settings() {
        Ok(settings) => settings.kubeconfig,
        Err(_) => kubeconfig::default_path()?,
    };
    match Access::of_file(&file, Some(&kubeconfig::context_name(&global.name))) {
        Ok(access) => Ok(access),
        Err(error) => bail!("{error:#}; or run it as root: sudo isopod k …"),
    }
}

/// Writes to standard output; a reader that has gone ends the command.
pub fn print(text: &str) -> Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
