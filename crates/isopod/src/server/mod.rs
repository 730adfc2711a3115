//! The cluster's one process: store, API, controllers, scheduler, node agent, network and DNS, as tasks. It tells the
//! one who started it (`isopod up`) how far it is, a line of JSON a step on standard output.

mod bootstrap;
mod env;
mod hostports;
mod node;
mod oidc;
mod proxy;
mod sessions;
mod tokens;

use crate::pki::Pki;
use crate::place::{Place, Settings, write_atomic};
use anyhow::{Context, Result, bail};
use apiserver::core::Caller;
use apiserver::http::{Config, Server, Tls, tls};
use apiserver::{Api, Parts};
use control::shell::{Surroundings, run as run_controller};
use futures::FutureExt;
use hostports::HostPorts;
use meta::Env;
use net::table::{DNS_INNER_PORT, EGRESS_TCP_PORT, EGRESS_UDP_PORT};
use net::{ClusterNet, DnsServer, DnsTable, NetConfig, Publisher, Upstreams};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;
use store::{OpenError, Store};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Port of the API inside the cluster's namespace, as upstream's.
const INNER_PORT: u16 = 6443;
/// How long controllers may take to finish what they are at when the server ends.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// What the server says of itself while it starts.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Progress {
    /// The API answers.
    Api {
        port: u16,
    },
    /// A pod can run.
    Node {
        name: String,
    },
    Failed {
        message: String,
    },
}

/// What others find out about a running server.
#[derive(Debug, Serialize, Deserialize)]
pub struct Running {
    pub pid: i32,
    /// The process's start time from /proc, so that another process with the same number is not taken for it.
    pub started_ticks: u64,
    pub api_port: u16,
    pub version: String,
    /// It has been asked to end, and is about to.
    #[serde(default)]
    pub ending: bool,
}

fn say(progress: &Progress) {
    use std::io::Write;
    // Whoever started the server may have gone; then nobody reads this.
    let line = serde_json::to_string(progress).unwrap_or_default();
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        tracing::debug!("nobody listens to the progress");
    }
}

/// Runs the server until SIGTERM or SIGINT.
pub fn run(place: &Place) -> Result<()> {
    ::node::rlimits::raise_open_files().context("cannot raise the limit of open files")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .enable_all()
        .build()?;
    let result = runtime.block_on(serve(place));
    if let Err(error) = &result {
        say(&Progress::Failed {
            message: format!("{error:#}"),
        });
    }
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// A thread a core, but no more than a small cluster can use.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).min(8)
}

async fn serve(place: &Place) -> Result<()> {
    let settings = place.settings()?;
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let net_config = NetConfig::new(&place.name, &place.dir);
    let addresses = addresses(&net_config);
    let store = open_store(place)?;
    let pki = Pki::open(place, &[addresses.service, addresses.endpoint])?;
    let env: Arc<dyn Env> = Arc::new(env::RealEnv);
    let tokens = Arc::new(tokens::open(&pki.token_key)?);
    let oidc = issuer(&settings, &tokens)?;
    let api = api(&store, &env, tokens, oidc.clone());
    let listener = listen(&settings, &place.name).await?;
    let acceptor = tls(tls_parts(&pki)?)
        .with_context(|| format!("the certificates in {} do not fit", place.pki().display()))?;
    let server = Server::new(api.clone(), Config::default());
    let own = api.client(caller("system:apiserver", &["system:masters"]));
    if !place.has_been_up() {
        bootstrap::first(own.as_ref()).await?;
    }
    bootstrap::run(own.as_ref(), &pki.ca, &addresses).await?;
    note_up(place)?;
    tasks.spawn(server.clone().serve(listener, acceptor.clone()));
    note_running(place, std::process::id(), settings.api_port, false)?;
    say(&Progress::Api {
        port: settings.api_port,
    });
    node::forget_gone(place, &settings, own.as_ref()).await;
    start_controllers(&api, &env, &stop, &tasks);
    tasks.spawn(bootstrap::keep(own, addresses.clone(), stop.clone()));
    if let Some(oidc) = oidc {
        tasks.spawn(oidc::keep_keys(oidc, stop.clone()));
    }

    let net = Arc::new(ClusterNet::open(net_config).await?);
    let inner = net
        .listen(SocketAddrV4::new(addresses.endpoint, INNER_PORT))
        .await;
    let inner = inner.map_err(|e| taken_inside(e, &place.name, "listen for pods"))?;
    tasks.spawn(server.clone().serve(inner, acceptor));
    let _egress = net::Egress::start(&net)
        .await
        .map_err(|e| taken_inside(e, &place.name, "start the way out for pods"))?;
    start_proxy(place, &api, &env, &net, &stop, &tasks).await?;
    let agents = node::start(place, &settings, &api, &env, &net).await?;
    say(&Progress::Node {
        name: agents.name().to_string(),
    });

    wait_for_end(&agents).await?;
    tracing::info!("stopping");
    // Not needed to end well: who starts the next server waits for this one, instead of taking it for a running one.
    if let Err(error) = note_running(place, std::process::id(), settings.api_port, true) {
        tracing::warn!("cannot note that the server is ending: {error:#}");
    }
    stop.cancel();
    server.close().await;
    if tokio::time::timeout(STOP_LIMIT, agents.stop()).await.is_err() {
        tracing::warn!("the node's agent did not end within {STOP_LIMIT:?}");
    }
    tasks.close();
    if tokio::time::timeout(STOP_LIMIT, tasks.wait()).await.is_err() {
        tracing::warn!("some tasks did not end within {STOP_LIMIT:?}");
    }
    drop((api, server));
    store.close().await;
    std::fs::remove_file(place.pid_file()).or_else(ignore_missing)?;
    Ok(())
}

fn api(
    store: &Store,
    env: &Arc<dyn Env>,
    tokens: Arc<apiserver::Tokens>,
    oidc: Option<Arc<apiserver::oidc::Oidc>>,
) -> Api {
    Api::new(Parts {
        signer: Some(tokens.clone()),
        authenticator: Some(authenticators(tokens, oidc)),
        ..Parts::new(store.clone(), env.clone())
    })
}

/// Whose tokens are believed.
fn authenticators(
    tokens: Arc<apiserver::Tokens>,
    oidc: Option<Arc<apiserver::oidc::Oidc>>,
) -> Arc<dyn apiserver::Authenticator> {
    let bootstrap = apiserver::BootstrapTokens {
        audiences: apiserver::Signer::audiences(&*tokens),
    };
    let mut all: Vec<Arc<dyn apiserver::Authenticator>> = vec![tokens, Arc::new(bootstrap)];
    all.extend(oidc.map(|oidc| oidc as Arc<dyn apiserver::Authenticator>));
    Arc::new(apiserver::Authenticators(all))
}

/// The OpenID Connect issuer of the settings.
fn issuer(settings: &Settings, tokens: &apiserver::Tokens) -> Result<Option<Arc<apiserver::oidc::Oidc>>> {
    let made = settings.oidc.clone().map(|oidc| {
        let audiences = apiserver::Signer::audiences(tokens);
        apiserver::oidc::Oidc::new(oidc, audiences).map(Arc::new)
    });
    Ok(made.transpose()?)
}

fn open_store(place: &Place) -> Result<Store> {
    let options = store::Options {
        has_been: place.has_been_up(),
        ..store::Options::new(meta::env::uuid(&env::RealEnv))
    };
    Store::open(&place.store(), options).map_err(|error| {
        let lost = matches!(
            error,
            OpenError::Emptied { .. } | OpenError::Damaged { .. } | OpenError::Missing { .. }
        );
        let name = &place.name;
        let error = anyhow::Error::new(error);
        if !lost {
            return error.context(format!("cannot open the store of cluster {name}"));
        }
        // What pods stored is whole all the same, and would go with the cluster.
        anyhow::anyhow!(
            "cannot open the store of cluster {name}: {error:#}. What its claims hold is whole, in {}; isopod rm would remove \
             that too",
            place.volumes().display()
        )
    })
}

/// From here on the store holds the cluster's first objects, and `pki` what they were made with.
fn note_up(place: &Place) -> Result<()> {
    if place.has_been_up() {
        return Ok(());
    }
    write_atomic(&place.mark(), b"", 0o600)
}

fn ignore_missing(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}

/// SIGTERM and SIGINT: the server ends and pods live on, as they do when it is killed. SIGUSR1 comes from `isopod down`:
/// pods are ended first, by their own grace periods, for as long as `down` waits.
async fn wait_for_end(agents: &node::Agents) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut switch_off = signal(SignalKind::user_defined1())?;
    let pods_ended = async {
        switch_off.recv().await;
        tracing::info!("ending all pods");
        agents.switch_off().await;
    };
    tokio::select! {
        () = pods_ended => {}
        _ = terminate.recv() => {} // ignored: a signal carries nothing
        _ = interrupt.recv() => {} // ignored: a signal carries nothing
    }
    Ok(())
}

fn caller(name: &str, groups: &[&str]) -> Caller {
    let groups = groups
        .iter()
        .copied()
        .chain(["system:authenticated"])
        .map(str::to_string)
        .collect();
    Caller {
        name: name.to_string(),
        groups,
        ..Caller::default()
    }
}

fn addresses(config: &NetConfig) -> bootstrap::Addresses {
    bootstrap::Addresses {
        service: config.service_cidr.nth(1).unwrap_or(Ipv4Addr::LOCALHOST),
        endpoint: config.node_ip,
        endpoint_port: INNER_PORT,
        dns: config.dns_ip,
    }
}

async fn listen(settings: &Settings, name: &str) -> Result<TcpListener> {
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, settings.api_port);
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => bail!(
            "port {} on 127.0.0.1 is taken; choose another for the API: isopod up --name {name} --api-port PORT",
            settings.api_port
        ),
        Err(e) => Err(e).with_context(|| format!("cannot listen on {address}")),
    }
}

/// Pods on the host's network share the namespace, and may have taken what is the cluster's own while no server ran.
fn taken_inside(error: std::io::Error, name: &str, what: &str) -> anyhow::Error {
    let message = format!("cannot {what} inside the cluster's network");
    if error.kind() != std::io::ErrorKind::AddrInUse {
        return anyhow::Error::new(error).context(message);
    }
    anyhow::anyhow!(
        "{message}: a pod on the host's network has taken port {INNER_PORT}, {EGRESS_TCP_PORT}, {EGRESS_UDP_PORT} or \
         {DNS_INNER_PORT} of it, which are the cluster's own; end it with isopod down --name {name}, then isopod up --name {name}"
    )
}

fn tls_parts(pki: &Pki) -> Result<Tls> {
    let certificate =
        |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).context("a certificate is damaged");
    Ok(Tls {
        chain: vec![certificate(&pki.server.certificate)?, certificate(&pki.ca)?],
        key: PrivateKeyDer::from_pem_slice(pki.server.key.as_bytes())
            .context("pki/apiserver.key is damaged")?,
        client_ca: vec![certificate(&pki.ca)?],
    })
}

/// Notes which process is the cluster's server. Whoever starts it does so at once: before the server has come so far, it
/// has to be found as well.
pub fn note_running(place: &Place, pid: u32, api_port: u16, ending: bool) -> Result<()> {
    let pid = i32::try_from(pid).context("no process number")?;
    let started_ticks =
        crate::process::start_ticks(pid).with_context(|| format!("cannot read /proc/{pid}/stat"))?;
    let version = env!("CARGO_PKG_VERSION").to_string();
    let running = Running {
        pid,
        started_ticks,
        api_port,
        version,
        ending,
    };
    write_atomic(&place.pid_file(), &serde_json::to_vec(&running)?, 0o644)
}

fn start_controllers(api: &Api, env: &Arc<dyn Env>, stop: &CancellationToken, tasks: &TaskTracker) {
    for controller in kinds::controllers().into_iter().chain([sched::CONTROLLER]) {
        let name = format!("system:serviceaccount:kube-system:{}", controller.name);
        let groups = ["system:serviceaccounts", "system:serviceaccounts:kube-system"];
        let registry = api.clone();
        let around = Surroundings {
            client: api.client(caller(&name, &groups)),
            env: env.clone(),
            rows: Arc::new(move || (*registry.registry()).clone()),
        };
        tasks.spawn(run_controller(
            controller,
            around,
            stop.clone().cancelled_owned().boxed(),
        ));
    }
}

async fn start_proxy(
    place: &Place,
    api: &Api,
    env: &Arc<dyn Env>,
    net: &Arc<ClusterNet>,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<()> {
    let zone = net::dns::DnsZone::new("cluster.local", net.config());
    let table = DnsTable::build(zone.clone(), &[]);
    let dns = DnsServer::start(net, table, Upstreams::default()).await;
    let proxy = proxy::Proxy {
        client: api.client(caller("system:kube-proxy", &["system:masters"])),
        env: env.clone(),
        net: net.clone(),
        dns: dns.map_err(|e| taken_inside(e, &place.name, "start DNS"))?,
        publisher: Publisher::new(net.sockets().clone()),
        zone,
        // The node has the cluster's name.
        host_ports: HostPorts::new(&place.name, net.config().node_ip),
    };
    let stop = stop.clone();
    tasks.spawn(async move {
        tokio::select! {
            () = proxy.run() => {}
            () = stop.cancelled() => {}
        }
    });
    Ok(())
}
