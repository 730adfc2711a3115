//! visits: a small HTTP service with state. GET / writes a line to a file on its volume and answers who it is and how
//! many lines that file has. One thread a connection, static, no runtime: it starts in a millisecond and ends on SIGTERM.

mod app;
mod config;
mod http;
mod server;
mod tail;
mod visits;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::app::App;
use crate::config::Config;
use crate::server::Server;

/// How long requests in flight may take after SIGTERM. Well under Kubernetes' default grace period of 30 s.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let mut args = std::env::args();
    let called = args.next().unwrap_or_default();
    let name = Path::new(&called)
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("visits");
    let result = match name {
        "tail" => tail::run(args, &mut std::io::stdout()),
        _ => run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{name}: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    // First of all the handler: the kernel drops signals without one when the process is PID 1, as it is in a container.
    let mut signals =
        Signals::new([SIGTERM, SIGINT]).map_err(|e| format!("cannot listen for signals: {e}"))?;
    let config = Config::from_env(|name| std::env::var(name).ok())?;
    let port = config.port;
    if let Some(dir) = &config.tools_dir
        && let Err(e) = tail::link(dir, &std::env::var("PATH").unwrap_or_default())
    {
        eprintln!("there will be no `tail` in {}: {e}", dir.display()); // a convenience: no reason not to start
    }
    let app = App::new(config)?;
    eprintln!("{} starts with {}", app.pod(), app.describe());
    let server = Server::start(port, Arc::new(app))?;
    eprintln!("listening on {}", server.address());

    let Some(signal) = signals.forever().next() else {
        return Err("the signal stream ended".to_owned());
    };
    let name = if signal == SIGTERM { "SIGTERM" } else { "SIGINT" };
    match server.stop(DRAIN_LIMIT) {
        0 => eprintln!("{name}: all requests are finished, bye"),
        cut => eprintln!("{name}: {cut} connections did not finish within {DRAIN_LIMIT:?} and are cut"),
    }
    Ok(())
}
