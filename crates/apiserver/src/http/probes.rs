//! What anyone may ask: is it alive, is it ready, which version. Also the metrics, for those who may read them.

use super::body::Body;
use super::negotiate::Form;
use super::{Server, respond};
use crate::options::Query;
use http::{Response, StatusCode};
use serde_json::json;

/// The checks that each probe names with `?verbose`; all hold whenever this code runs.
const CHECKS: [&str; 4] = ["ping", "log", "store", "informer-sync"];

pub fn answer(server: &Server, path: &str, query: &str) -> Option<Response<Body>> {
    let path = path.trim_end_matches('/');
    match path {
        "/version" => Some(version(server)),
        "/healthz" | "/livez" | "/readyz" => Some(health(server, &path[1..], query)),
        _ => {
            let (root, check) = path.strip_prefix('/')?.split_once('/')?;
            let known = matches!(root, "healthz" | "livez" | "readyz") && CHECKS.contains(&check);
            known.then(|| respond::text(StatusCode::OK, "ok"))
        }
    }
}

fn health(server: &Server, probe: &str, query: &str) -> Response<Body> {
    let closing = probe == "readyz" && server.closing.is_cancelled();
    if !Query::parse(query).flag("verbose") && !closing {
        return respond::text(StatusCode::OK, "ok");
    }
    let mut lines: Vec<String> = CHECKS.iter().map(|c| format!("[+]{c} ok")).collect();
    let code = if closing {
        lines.push("[-]shutdown failed: process is shutting down".into());
        lines.push(format!("{probe} check failed\n"));
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        lines.push(format!("{probe} check passed\n"));
        StatusCode::OK
    };
    respond::text(code, lines.join("\n"))
}

fn version(server: &Server) -> Response<Body> {
    let version = json!({
        "major": "1", "minor": "36", "gitVersion": server.config.git_version,
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc",
        "platform": format!("linux/{}", if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }),
        "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
    });
    respond::encoded(
        StatusCode::OK,
        &version,
        Form {
            pretty: true,
            ..Form::JSON
        },
    )
}
