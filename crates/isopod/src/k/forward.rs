//! `port-forward`: each local connection is a WebSocket of its own, with a channel for data and one for errors.

use super::Session;
use super::args::PortForward;
use super::logs::pod_of;
use super::print;
use super::resources::{query, text};
use anyhow::{Context, Result, bail};
use futures::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use kinds::pod::PODS;
use kinds::service::SERVICES;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

const PROTOCOL: &str = "v4.channel.k8s.io";
const PIECE_BYTES: usize = 16 * 1024;
/// The first message of a channel is its port.
const PREAMBLE_BYTES: usize = 3;

pub async fn forward(session: &Session, args: &PortForward) -> Result<()> {
    let (kind, name) = session.pod_or(&args.target)?;
    let object = session.read(&kind, &name).await?;
    let pod = pod_of(session, &args.target).await?;
    let pods = session.discovery.resolve(PODS.plural)?;
    let path = pods.object(&session.namespace, text(&pod, "/metadata/name"));
    let mut listeners = Vec::new();
    for port in &args.ports {
        let (local, remote) = ports(port)?;
        let target = if kind.is(SERVICES) {
            target_port(&object, &pod, remote)?
        } else {
            remote
        };
        let listener = TcpListener::bind(("127.0.0.1", local)).await;
        let listener = listener.with_context(|| format!("unable to listen on port {local} of 127.0.0.1"))?;
        print(&format!(
            "Forwarding from {} -> {target}\n",
            listener.local_addr()?
        ))?;
        listeners.push((
            listener,
            format!("{path}/portforward{}", query(&[("ports", target.to_string())])),
        ));
    }
    let all = listeners
        .iter()
        .map(|(listener, path)| serve(session, listener, path));
    tokio::select! {
        ended = futures::future::try_join_all(all) => ended.map(|_| ()),
        // ignored: a signal, or none that can be had: both end the wait
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// `8080`, `9000:80`, `:80`.
fn ports(text: &str) -> Result<(u16, u16)> {
    let (local, remote) = text.split_once(':').unwrap_or((text, text));
    let number = |t: &str| t.parse::<u16>().ok();
    let local = if local.is_empty() { Some(0) } else { number(local) };
    match (local, number(remote).filter(|p| *p > 0)) {
        (Some(local), Some(remote)) => Ok((local, remote)),
        _ => bail!("error converting port {text:?}; say REMOTE, LOCAL:REMOTE or :REMOTE"),
    }
}

/// The pod's port behind a Service's.
fn target_port(service: &Value, pod: &Value, port: u16) -> Result<u16> {
    let all = service["spec"]["ports"].as_array();
    let found = all.into_iter().flatten().find(|p| p["port"] == port);
    let target = &found.with_context(|| {
        format!(
            "Service {} does not have a service port {port}",
            text(service, "/metadata/name")
        )
    })?["targetPort"];
    if let Some(number) = target.as_u64().and_then(|n| u16::try_from(n).ok()) {
        return Ok(number);
    }
    let containers = pod["spec"]["containers"].as_array();
    let named = containers
        .into_iter()
        .flatten()
        .flat_map(|c| c["ports"].as_array().into_iter().flatten());
    let number = named
        .filter(|p| p["name"] == *target)
        .find_map(|p| p["containerPort"].as_u64());
    let number = number.and_then(|n| u16::try_from(n).ok());
    number.with_context(|| {
        format!(
            "Pod {} does not have a named port {target}",
            text(pod, "/metadata/name")
        )
    })
}

/// Connections one after the other are taken at once and served side by side.
async fn serve(session: &Session, listener: &TcpListener, path: &str) -> Result<()> {
    let mut open = futures::stream::FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (socket, _) = accepted.context("no more connections can be taken")?;
                print(&format!("Handling connection for {}\n", listener.local_addr()?.port()))?;
                open.push(connection(session, socket, path));
            }
            Some(ended) = open.next() => {
                if let Err(error) = ended {
                    eprintln!("error: {:#}", error);
                }
            }
        }
    }
}

async fn connection(session: &Session, socket: TcpStream, path: &str) -> Result<()> {
    let upgraded = session.client.upgrade(path, PROTOCOL).await?;
    let stream = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await;
    let (mut to_pod, mut from_pod) = stream.split();
    let (mut read, mut write) = socket.into_split();
    let up = async {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            // Channel 0 is the port's data.
            let n = read.read(&mut piece[1..]).await?;
            if n == 0 {
                // The protocol has no half-close; answers still come until the pod ends them.
                return Ok(());
            }
            to_pod.send(Message::binary(piece[..=n].to_vec())).await?;
        }
    };
    let down = async {
        let mut announced = [false; 2];
        while let Some(message) = from_pod.next().await {
            let Message::Binary(data) = message? else { continue };
            let Some(&channel) = data.first() else { continue };
            let at = usize::from(channel).min(1);
            if !announced[at] && data.len() == PREAMBLE_BYTES {
                announced[at] = true;
            } else if channel == 0 {
                write.write_all(&data[1..]).await?;
            } else {
                bail!("{}", String::from_utf8_lossy(&data[1..]));
            }
        }
        Ok(())
    };
    let up = async {
        let ended: Result<()> = up.await;
        ended?;
        std::future::pending::<Result<()>>().await
    };
    tokio::select! {
        ended = down => ended,
        failed = up => failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ports_and_where_they_lead() {
        assert_eq!(ports("80").expect("a port"), (80, 80));
        assert_eq!(ports("9000:80").expect("ports"), (9000, 80));
        assert_eq!(ports(":80").expect("a port"), (0, 80));
        for bad in ["", "x", "0", "1:", "70000", "1:2:3"] {
            assert!(ports(bad).is_err(), "{bad}");
        }
        let service = json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 8081}]}});
        let pod = json!({"spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]}});
        assert_eq!(target_port(&service, &pod, 80).expect("named"), 8080);
        assert_eq!(target_port(&service, &pod, 81).expect("a number"), 8081);
        assert!(target_port(&service, &pod, 82).is_err());
    }
}
