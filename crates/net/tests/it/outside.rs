//! The edges of the cluster: published Services on the host's loopback, the way out, port-forward, and that
//! the host's own namespace stays as it was.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::process::Command;

use net::Protocol::{self, Tcp, Udp};
use net::{
    ClusterNet, Egress, Publication, PublishError, PublishOn, PublishPort, Publisher, dial_pod_loopback,
};
use tokio::io::AsyncReadExt;

use crate::world::{World, ask, first_line, get, service, v4};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 7, 7);
const ALIAS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A port that is free on 127.0.0.1 now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("free port")
        .port()
}

fn publication(on: PublishOn, ports: &[(Protocol, u16, u16)]) -> Publication {
    let port = |(protocol, port, target): &(Protocol, u16, u16)| PublishPort {
        protocol: *protocol,
        port: *port,
        target: v4(VIP, *target),
        otherwise: None,
    };
    Publication {
        service: "default/web".into(),
        on,
        prefer: None,
        ports: ports.iter().map(port).collect(),
    }
}

async fn blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(job).await.expect("client")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_published_service_balances_and_its_connections_outlive_changes() {
    let world = World::new().await;
    let (mut a, mut b) = (world.pod("a").await, world.pod("b").await);
    let (ea, eb) = (a.serve_tcp(8080), b.serve_tcp(8080));
    let udp = service(Ipv4Addr::new(10, 96, 7, 8), Udp, 53, vec![a.serve_udp(53)]);
    let services = |endpoints| [service(VIP, Tcp, 80, endpoints), udp.clone()];
    world.net().set_services(&services(vec![ea, eb])).await.unwrap();

    let publisher = Publisher::new(world.net().sockets().clone());
    let port = free_port();
    let mut lb = publication(PublishOn::AnyLoopback, &[(Tcp, port, 80), (Udp, port, 53)]);
    lb.ports[1].target = v4(Ipv4Addr::new(10, 96, 7, 8), 53);
    let published = publisher.set(std::slice::from_ref(&lb)).await;
    let address = published[0].address().unwrap();
    let to = v4(address, port);
    let seen: BTreeSet<String> =
        blocking(move || (0..40).map(|_| get(to).unwrap()[..1].to_owned()).collect()).await;
    assert_eq!(seen.len(), 2, "{seen:?}");

    let mut old = blocking(move || {
        let mut stream = TcpStream::connect(to).unwrap();
        first_line(&mut stream).unwrap();
        stream
    })
    .await;
    let answer = blocking(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(SocketAddr::V4(to)).unwrap();
        ask(&socket)
    });
    assert_eq!(answer.await.unwrap(), "a");

    world.net().set_services(&services(vec![])).await.unwrap();
    assert!(blocking(move || get(to)).await.is_err(), "no endpoint");
    assert_eq!(publisher.set(&[]).await, []);
    assert_eq!(
        blocking(move || get(to)).await.unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    let echo = blocking(move || {
        old.write_all(b"x").unwrap();
        let mut echo = [0; 1];
        old.read_exact(&mut echo).map(|()| echo)
    });
    assert_eq!(&echo.await.unwrap(), b"x");
    publisher.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_moves_a_load_balancer_and_fails_a_node_port() {
    let world = World::new().await;
    let publisher = Publisher::new(world.net().sockets().clone());
    let (one, two) = (free_port(), free_port());
    let taken = TcpListener::bind(("127.0.0.1", two)).unwrap();
    let ports = [(Tcp, one, 80), (Tcp, two, 81)];
    let both = [
        publication(PublishOn::AnyLoopback, &ports),
        publication(PublishOn::Localhost, &[(Tcp, two, 80)]),
    ];
    let published = publisher.set(&both).await;
    let address = published[0].address().unwrap();
    assert_ne!(
        address,
        Ipv4Addr::LOCALHOST,
        "both ports share the next address that has both"
    );
    let error = PublishError::NodePortTaken {
        port: two,
        protocol: Tcp,
    };
    assert_eq!(published[1].ports[0].bound, Err(error));
    assert!(
        TcpListener::bind(("127.0.0.1", one)).is_ok(),
        "what was bound on the way is free again"
    );

    drop(taken);
    let again = publisher.set(&both).await;
    assert_eq!(again[0].address(), Some(address), "a Service keeps its address");
    assert!(again[1].ports[0].bound.is_ok(), "the node port is tried again");

    let everywhere = TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let port = everywhere.local_addr().unwrap().port();
    let published = publisher
        .set(&[publication(PublishOn::AnyLoopback, &[(Tcp, port, 80)])])
        .await;
    let error = published[0].ports[0].bound.clone().unwrap_err();
    assert!(error.to_string().contains(&format!("{port}/tcp")), "{error}");
    publisher.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_reach_the_outside_through_the_relay() {
    let world = World::with(|c| c.egress.as_mut().unwrap().host_alias = Some(ALIAS)).await;
    let relay = Egress::start(world.net()).await.unwrap();
    assert!(relay.is_some());
    let host = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = host.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = host.accept().unwrap();
        stream.write_all(b"host speaking\n").unwrap();
    });
    let a = world.pod("a").await;
    assert_eq!(a.get(v4(ALIAS, port)).unwrap(), "host speaking");
    server.join().unwrap();
    assert!(a.get(v4(ALIAS, port)).is_err(), "nobody listens any more");

    let host = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = host.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let mut buffer = [0; 16];
        for answer in ["one", "two", "three"] {
            let (_, peer) = host.recv_from(&mut buffer).unwrap();
            host.send_to(answer.as_bytes(), peer).unwrap();
        }
    });
    let answers = a.inside(move || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect((ALIAS, port)).unwrap();
        [ask(&socket), ask(&socket), ask(&socket)].map(Result::unwrap)
    });
    assert_eq!(answers.join().unwrap(), ["one", "two", "three"]);
    server.join().unwrap();

    let metadata = v4(Ipv4Addr::new(169, 254, 169, 254), 80);
    assert!(a.get(metadata).is_err(), "link-local addresses are not relayed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_way_out_the_outside_is_unreachable() {
    let world = World::with(|c| c.egress = None).await;
    assert!(Egress::start(world.net()).await.unwrap().is_none());
    let a = world.pod("a").await;
    let error = a.get(v4(ALIAS, 80)).unwrap_err();
    assert!(
        matches!(
            error.kind(),
            ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable
        ),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn port_forward_reaches_the_loopback_of_a_pod() {
    let world = World::new().await;
    let pod = world.pod("a").await;
    let listener = pod
        .inside(|| TcpListener::bind("127.0.0.1:7777").unwrap())
        .join()
        .unwrap();
    let server = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"inside").unwrap());
    let mut text = String::new();
    dial_pod_loopback(&pod.netns, 7777)
        .await
        .unwrap()
        .read_to_string(&mut text)
        .await
        .unwrap();
    assert_eq!(text, "inside");
    server.join().unwrap();
    let refused = dial_pod_loopback(&pod.netns, 7778).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

/// Everything of the host that a network could change. Tools that are not installed say nothing.
fn host_state() -> Vec<(String, String)> {
    let run = |command: &str| {
        let out = Command::new("sh").args(["-c", command]).output().expect("sh");
        (
            command.to_owned(),
            String::from_utf8_lossy(&out.stdout).into_owned(),
        )
    };
    let mut state: Vec<_> = [
        "ip -o address",
        "ip -o link | sed 's/ qlen.*//'",
        "ip route show table all",
        "ip rule",
        "nft list ruleset 2>/dev/null",
        "iptables-save 2>/dev/null | grep -v '^#'",
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/*/rp_filter",
        "cat /proc/net/dev | wc -l; cat /proc/net/route; cat /proc/net/fib_trie",
        "ls /run/netns 2>/dev/null",
    ]
    .map(run)
    .into();
    state.push(("mounts".into(), mounts_like("isopod-net")));
    state
}

/// Mounts of ours; other tests running at the same time have theirs, so they are told apart by directory.
fn mounts_like(_what: &str) -> String {
    let all = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    all.lines()
        .filter(|line| line.contains("isopod-untouched"))
        .map(|l| format!("{l}\n"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_is_untouched() {
    let before = host_state();
    let dir = tempfile::Builder::new()
        .prefix("isopod-untouched")
        .tempdir()
        .unwrap();
    let data = dir.path().join("data");
    let net = ClusterNet::open(net::NetConfig::new("untouched", &data))
        .await
        .unwrap();
    let relay = Egress::start(&net).await.unwrap();
    let mut pod = crate::world::Pod::new(dir.path(), "a");
    pod.ip = net.attach("a", &pod.netns).await.unwrap();
    let endpoint = pod.serve_tcp(80);
    net.set_services(&[service(VIP, Tcp, 80, vec![endpoint])])
        .await
        .unwrap();
    let publisher = Publisher::new(net.sockets().clone());
    publisher
        .set(&[publication(PublishOn::AnyLoopback, &[(Tcp, free_port(), 80)])])
        .await;
    assert!(net.dial(SocketAddrV4::new(VIP, 80)).await.is_ok());

    let without_mounts = |state: Vec<(String, String)>| -> Vec<_> {
        state.into_iter().filter(|(what, _)| what != "mounts").collect()
    };
    assert_eq!(
        without_mounts(host_state()),
        without_mounts(before.clone()),
        "while the cluster runs"
    );
    publisher.close().await;
    drop((relay, net, pod));
    ClusterNet::remove(&data).unwrap();
    ClusterNet::remove(&data).unwrap();
    assert_eq!(host_state(), before, "after it was removed");
    assert!(!data.join("run").exists(), "no file is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_made_leftovers_are_removed_and_reused() {
    let dir = tempfile::Builder::new()
        .prefix("isopod-leftover")
        .tempdir()
        .unwrap();
    let data = dir.path().join("data");
    let run = data.join("run/net");
    // As after a reboot, or a crash between two steps: files without mounts.
    std::fs::create_dir_all(&run).unwrap();
    std::fs::write(run.join("netns"), "").unwrap();
    let net = ClusterNet::open(net::NetConfig::new("leftover", &data))
        .await
        .unwrap();
    drop(net);
    ClusterNet::remove(&data).unwrap();
    assert!(!run.exists());
    std::fs::create_dir_all(&run).unwrap();
    std::fs::write(run.join("next-address"), "7").unwrap();
    ClusterNet::remove(&data).unwrap();
    assert!(!run.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clusters_share_networks_but_nothing_else() {
    let (one, two) = (World::new().await, World::new().await);
    let (mut a, mut b) = (one.pod("a").await, two.pod("b").await);
    assert_eq!(a.ip, b.ip, "each cluster counts for itself");
    let (ea, eb) = (a.serve_tcp(80), b.serve_tcp(80));
    one.net()
        .set_services(&[service(VIP, Tcp, 80, vec![ea])])
        .await
        .unwrap();
    two.net()
        .set_services(&[service(VIP, Tcp, 80, vec![eb])])
        .await
        .unwrap();
    assert!(a.get(v4(VIP, 80)).unwrap().starts_with("a "));
    assert!(b.get(v4(VIP, 80)).unwrap().starts_with("b "));
}
