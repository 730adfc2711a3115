//! Probes and lifecycle hooks of a running container: exec, httpGet, tcpSocket, grpc and sleep.

use super::perform::Job;
use crate::probe::{Get, MAX_ANSWER_BYTES, get, health};
use crate::runtime::{ContainerId, ExecSpec};
use futures::future::{BoxFuture, FutureExt};
use k8s_openapi::api::core::v1::{
    Container, ExecAction, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;

const PROBE_AGENT: &str = "kube-probe/1.36";
const HOOK_AGENT: &str = "kube-lifecycle/1.36";
/// A postStart hook has no limit of its own; this one is only there so that nothing hangs for ever.
/// As Go's client follows.
const REDIRECTS_MAX: usize = 10;
const POST_START_LIMIT: Duration = Duration::from_secs(3600);

/// One try of a probe, within its timeout.
pub async fn probe(job: &Job, id: &ContainerId, container: &Container, probe: &Probe) -> Result<(), String> {
    let seconds = u64::try_from(probe.timeout_seconds.unwrap_or(1))
        .unwrap_or(1)
        .max(1);
    let limit = Duration::from_secs(seconds);
    let tried = async {
        if let Some(action) = &probe.exec {
            return exec(job, id, action).await.and_then(|(code, output)| match code {
                0 => Ok(()),
                _ => Err(output),
            });
        }
        if let Some(action) = &probe.http_get {
            return http(job, container, action, PROBE_AGENT).await;
        }
        if let Some(action) = &probe.tcp_socket {
            return tcp(job, container, action).await;
        }
        if let Some(action) = &probe.grpc {
            let (stream, at) = dial(job, None, port_number(action.port)?).await?;
            let service = action.service.as_deref().unwrap_or_default();
            return health(stream, &at, service).await;
        }
        Ok(())
    };
    match timeout(job, limit, tried.boxed()).await {
        Some(result) => result,
        None if probe.exec.is_some() => {
            let command = probe
                .exec
                .as_ref()
                .and_then(|exec| exec.command.clone())
                .unwrap_or_default();
            Err(format!(
                "command timed out: {command:?} timed out after {seconds}s"
            ))
        }
        None => Err(match &probe.http_get {
            Some(action) => format!(
                "Get \"{}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
                ask(job, container, action, PROBE_AGENT)?.url()
            ),
            None => "i/o timeout".to_owned(),
        }),
    }
}

/// `None`: it took too long.
async fn timeout<T>(job: &Job, limit: Duration, work: BoxFuture<'_, T>) -> Option<T> {
    let until = job.shell.env.now().plus(limit);
    tokio::select! {
        result = work => Some(result),
        () = job.shell.env.sleep_until(until) => None,
    }
}

/// What went wrong is for the node's log alone: an event is read by many, and a handler's answer may hold secrets.
fn failed(hook: &str, id: &ContainerId, why: &str) -> String {
    tracing::warn!(container = %id, why, "{hook} failed");
    format!("{hook} failed")
}

/// An error is the words of the event.
pub async fn post_start(job: &Job, id: &ContainerId) -> Result<(), String> {
    let Some(container) = job.pod.container_spec(&id.name) else {
        return Ok(());
    };
    let handler = container
        .lifecycle
        .as_ref()
        .and_then(|lifecycle| lifecycle.post_start.clone());
    let Some(handler) = handler else { return Ok(()) };
    match timeout(job, POST_START_LIMIT, run(job, id, container, &handler).boxed()).await {
        Some(result) => result.map_err(|why| failed("PostStartHook", id, &why)),
        None => Err(failed("PostStartHook", id, "it did not end within an hour")),
    }
}

/// Within what the grace period leaves; one that takes longer has not failed. An error is the words of the event.
pub async fn pre_stop(job: &Job, id: &ContainerId, left: Duration) -> Result<(), String> {
    let Some(container) = job.pod.container_spec(&id.name) else {
        return Ok(());
    };
    let handler = container
        .lifecycle
        .as_ref()
        .and_then(|lifecycle| lifecycle.pre_stop.clone());
    let Some(handler) = handler else { return Ok(()) };
    match timeout(job, left, run(job, id, container, &handler).boxed()).await {
        Some(result) => result.map_err(|why| failed("PreStopHook", id, &why)),
        None => {
            tracing::info!(container = %id, "the PreStopHook was not completed in the grace period");
            Ok(())
        }
    }
}

async fn run(
    job: &Job,
    id: &ContainerId,
    container: &Container,
    handler: &LifecycleHandler,
) -> Result<(), String> {
    if let Some(action) = &handler.exec {
        return match exec(job, id, action).await? {
            (0, _) => Ok(()),
            (code, output) => {
                let command = action.command.clone().unwrap_or_default().join(" ");
                Err(format!("command '{command}' exited with {code}: {output}"))
            }
        };
    }
    if let Some(action) = &handler.http_get {
        return http(job, container, action, HOOK_AGENT).await;
    }
    if let Some(action) = &handler.tcp_socket {
        return tcp(job, container, action).await;
    }
    if let Some(sleep) = &handler.sleep {
        job.shell
            .env
            .sleep_until(job.shell.env.now().plus_seconds(sleep.seconds))
            .await;
    }
    Ok(())
}

/// Exit code, and what it wrote (bounded).
async fn exec(job: &Job, id: &ContainerId, action: &ExecAction) -> Result<(i32, String), String> {
    let spec = ExecSpec {
        args: action.command.clone().unwrap_or_default(),
        stdout: true,
        stderr: true,
        ..ExecSpec::default()
    };
    let session = job
        .shell
        .runtime
        .exec(id, &spec)
        .await
        .map_err(|e| e.to_string())?;
    let (stdout, stderr) = (session.stdout, session.stderr);
    let (out, err, exit) = tokio::join!(drain(stdout), drain(stderr), session.exit.wait());
    let code = exit.map_err(|e| e.to_string())?.code;
    Ok((code, String::from_utf8_lossy(&[out, err].concat()).into_owned()))
}

/// Reads to the end and keeps the beginning.
async fn drain(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let Some(mut stream) = stream else {
        return Vec::new();
    };
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let room = MAX_ANSWER_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..count.min(room)]);
    }
    kept
}

async fn http(
    job: &Job,
    container: &Container,
    action: &HTTPGetAction,
    agent: &'static str,
) -> Result<(), String> {
    let mut ask = ask(job, container, action, agent)?;
    let host = action.host.as_deref().filter(|host| !host.is_empty());
    for _ in 0..REDIRECTS_MAX {
        let failed = |why: String| format!("Get \"{}\": {why}", ask.url());
        let (stream, _) = dial(job, host, ask.port).await.map_err(failed)?;
        let answer = get(stream, &ask).await.map_err(failed)?;
        match (ask.redirected(&answer), answer.code) {
            (Some(next), _) => ask = next,
            (None, 200..400) => return Ok(()),
            (None, code) => return Err(format!("HTTP probe failed with statuscode: {code}")),
        }
    }
    Err(format!(
        "Get \"{}\": stopped after {REDIRECTS_MAX} redirects",
        ask.url()
    ))
}

fn ask(job: &Job, container: &Container, action: &HTTPGetAction, agent: &'static str) -> Result<Get, String> {
    let host = match action.host.as_deref() {
        Some(host) if !host.is_empty() => host.to_owned(),
        _ => pod_ip(job)?.to_string(),
    };
    let headers = action.http_headers.iter().flatten();
    Ok(Get {
        https: action.scheme.as_deref() == Some("HTTPS"),
        host,
        port: port(container, &action.port)?,
        path: action.path.clone().unwrap_or_else(|| "/".to_owned()),
        headers: headers
            .map(|header| (header.name.clone(), header.value.clone()))
            .collect(),
        agent,
    })
}

async fn tcp(job: &Job, container: &Container, action: &TCPSocketAction) -> Result<(), String> {
    let host = action.host.as_deref().filter(|host| !host.is_empty());
    dial(job, host, port(container, &action.port)?).await.map(drop)
}

fn pod_ip(job: &Job) -> Result<IpAddr, String> {
    let facts = job.shell.facts(&job.pod, &job.ips);
    let ip = facts.pod_ips.first().ok_or("the pod has no address yet")?;
    ip.parse().map_err(|e| format!("{ip:?}: {e}"))
}

/// Connects, and says to what.
async fn dial(job: &Job, host: Option<&str>, port: u16) -> Result<(TcpStream, String), String> {
    let ip = match host {
        Some(host) => host
            .parse()
            .map_err(|_| format!("lookup {host}: probes to other hosts need an IP address"))?,
        None => pod_ip(job)?,
    };
    let to = SocketAddr::new(ip, port);
    let stream = job.shell.network.dial(to).await.map_err(|error| {
        let why = match error.raw_os_error() {
            Some(libc::ECONNREFUSED) => "connection refused".to_owned(),
            Some(libc::EHOSTUNREACH) => "no route to host".to_owned(),
            _ => error.to_string(),
        };
        format!("dial tcp {to}: connect: {why}")
    })?;
    Ok((stream, to.to_string()))
}

fn port(container: &Container, port: &IntOrString) -> Result<u16, String> {
    match port {
        IntOrString::Int(number) => port_number(*number),
        IntOrString::String(name) => {
            let mut named = container
                .ports
                .iter()
                .flatten()
                .filter(|port| port.name.as_deref() == Some(name));
            match (named.next(), name.parse()) {
                (Some(port), _) => port_number(port.container_port),
                (None, Ok(number)) => port_number(number),
                (None, Err(_)) => Err(format!("couldn't find port: {name}")),
            }
        }
    }
}

fn port_number(number: i32) -> Result<u16, String> {
    u16::try_from(number).map_err(|_| format!("invalid port number: {number}"))
}
