//! Pods on the host's network: they share the cluster's own namespace, and are reached and reach others as pods do.

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use net::Protocol::{Tcp, Udp};
use net::{DnsServer, DnsTable, Egress, Upstreams, dns::DnsZone};

use crate::world::{World, ask, service, v4};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 7, 7);
const OWN: Ipv4Addr = Ipv4Addr::new(10, 96, 7, 8);
const NODE: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
const ALIAS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

fn ask_at(to: (Ipv4Addr, u16)) -> std::io::Result<String> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(to)?;
    ask(&socket)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_reach_pods_and_services_and_are_reached() {
    let mut world = World::new().await;
    let (mut pod, mut on_host) = (world.pod("a").await, world.on_host("h"));
    let mut to_pod = service(VIP, Tcp, 80, vec![pod.serve_tcp(8080)]);
    to_pod.ports[0].node_port = Some(30_080);
    let mut to_host = service(OWN, Tcp, 80, vec![on_host.serve_tcp(8081)]);
    to_host.ports[0].node_port = Some(30_081);
    let mut datagrams = service(VIP, Udp, 81, vec![pod.serve_udp(8080)]);
    let mut own_datagrams = service(OWN, Udp, 81, vec![on_host.serve_udp(8081)]);
    datagrams.name = "udp".into();
    own_datagrams.name = "own-udp".into();
    let services = [to_pod, to_host, datagrams, own_datagrams];
    world.net().set_services(&services).await.unwrap();
    // A server that starts anew finds all of it.
    world.restart().await;
    world.net().set_services(&services).await.unwrap();

    for to in [
        v4(pod.ip, 8080),
        v4(VIP, 80),
        v4(NODE, 30_080),
        v4(Ipv4Addr::LOCALHOST, 30_080),
    ] {
        assert_eq!(on_host.get(to).unwrap(), format!("a {NODE}"), "{to}");
    }
    for to in [v4(NODE, 8081), v4(OWN, 80), v4(NODE, 30_081)] {
        assert_eq!(pod.get(to).unwrap(), format!("h {}", pod.ip), "{to}");
        assert_eq!(on_host.get(to).unwrap(), format!("h {NODE}"), "{to}");
    }
    let own = on_host.get(v4(Ipv4Addr::LOCALHOST, 30_081)).unwrap();
    assert_eq!(own, "h 127.0.0.1");
    for (to, who) in [((VIP, 81), "a"), ((OWN, 81), "h"), ((NODE, 8081), "h")] {
        assert_eq!(pod.inside(move || ask_at(to)).join().unwrap().unwrap(), who);
        assert_eq!(on_host.inside(move || ask_at(to)).join().unwrap().unwrap(), who);
    }
    let refused = on_host.get(v4(VIP, 99)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

/// Also when one of them serves names itself, at the same port of all addresses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_ask_the_clusters_dns() {
    let world = World::new().await;
    let mut server = world.on_host("s");
    server.serve_udp(53);
    server.serve_tcp(53);
    let zone = DnsZone::new("cluster.local", world.net().config());
    let table = DnsTable::build(zone, &[]);
    let dns = DnsServer::start(world.net(), table, Upstreams::Fixed(Vec::new()));
    let _dns = dns.await.unwrap();
    let address = SocketAddr::from((world.net().config().dns_ip, 53));
    let (on_host, pod) = (world.on_host("h"), world.pod("a").await);
    for other in [&on_host, &pod] {
        let asked = other.inside(move || (ask_at((NODE, 53)).unwrap(), named(address)));
        assert_eq!(asked.join().unwrap(), ("s".to_owned(), true));
    }
}

/// Whether this DNS knows the cluster.
fn named(address: SocketAddr) -> bool {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // `dns-version.cluster.local`, TXT.
    let question = b"\x07\x07\x01\0\0\x01\0\0\0\0\0\0\x0bdns-version\x07cluster\x05local\0\0\x10\0\x01";
    socket.send_to(question, address).unwrap();
    let mut answer = [0; 512];
    let (length, from) = socket.recv_from(&mut answer).unwrap();
    assert_eq!(from, address);
    answer[..length].ends_with(b"1.1.0")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_reach_the_outside_through_the_relay() {
    let mut world = World::with(|c| c.egress.as_mut().unwrap().host_alias = Some(ALIAS)).await;
    // As after a restart of the server: nothing is there twice.
    world.restart().await;
    let relay = Egress::start(world.net()).await.unwrap();
    assert!(relay.is_some());
    let on_host = world.on_host("h");
    let host = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = host.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = host.accept().unwrap();
        stream.write_all(b"host speaking\n").unwrap();
    });
    assert_eq!(on_host.get(v4(ALIAS, port)).unwrap(), "host speaking");
    server.join().unwrap();
    assert!(on_host.get(v4(ALIAS, port)).is_err(), "nobody listens any more");

    let host = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = host.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let mut buffer = [0; 16];
        for answer in ["one", "two", "three"] {
            let (_, peer) = host.recv_from(&mut buffer).unwrap();
            host.send_to(answer.as_bytes(), peer).unwrap();
        }
    });
    let answers = on_host.inside(move || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect((ALIAS, port)).unwrap();
        assert_eq!(socket.local_addr().unwrap().ip(), NODE);
        [ask(&socket), ask(&socket), ask(&socket)].map(Result::unwrap)
    });
    assert_eq!(answers.join().unwrap(), ["one", "two", "three"]);
    server.join().unwrap();

    let metadata = v4(Ipv4Addr::new(169, 254, 169, 254), 80);
    assert!(
        on_host.get(metadata).is_err(),
        "link-local addresses are not relayed"
    );
    assert!(
        on_host.get(v4(NODE, 15_001)).is_err(),
        "the relay itself leads nowhere"
    );
    let started = Instant::now();
    let nobody = on_host.get(v4(Ipv4Addr::new(10, 244, 99, 99), 80)).unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::HostUnreachable);
    // A Service may have an endpoint outside, where the relay is not in between.
    let outside = service(VIP, Tcp, 80, vec![net::Endpoint { ip: ALIAS, port: 80 }]);
    world.net().set_services(&[outside]).await.unwrap();
    assert!(on_host.get(v4(VIP, 80)).is_err());
    assert!(started.elapsed() < Duration::from_secs(4), "refused, not dropped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_way_out_they_have_none() {
    let world = World::with(|c| c.egress = None).await;
    let error = world.on_host("h").get(v4(ALIAS, 80)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
}

/// A pod that may change its own routes does not get to the node's loopback with that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loopback_that_they_share_is_out_of_a_pods_reach() {
    let world = World::new().await;
    let (pod, on_host) = (world.pod("a").await, world.on_host("h"));
    let listener = on_host.inside(|| TcpListener::bind("127.0.0.1:7777").unwrap());
    let _listener = listener.join().unwrap();
    let near = on_host.inside(|| TcpStream::connect("127.0.0.1:7777").is_ok());
    assert!(near.join().unwrap());
    let reached = pod.inside(|| {
        let run = |line: &str| {
            let status = Command::new("sh").args(["-c", line]).status().expect("sh");
            assert!(status.success(), "{line}");
        };
        run("echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet");
        run("ip address del 127.0.0.1/8 dev lo");
        run("ip route add 127.0.0.1/32 via 169.254.1.1 dev eth0 onlink");
        TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], 7777)), Duration::from_secs(1))
    });
    assert_eq!(reached.join().unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
}
