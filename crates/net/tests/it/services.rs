//! ClusterIPs: balancing, hairpin, refusal, affinity, UDP, node ports, changes under load, restart.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use net::Protocol::{Tcp, Udp};
use tokio::io::AsyncReadExt;

use crate::world::{PATIENCE, World, ask, first_line, get, service, v4};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 7, 7);

fn names(answers: &[String]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts
            .entry(answer.split(' ').next().unwrap_or_default().to_owned())
            .or_default() += 1;
    }
    counts
}

fn udp_client(to: SocketAddrV4) -> UdpSocket {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("bind");
    socket.connect(SocketAddr::V4(to)).expect("connect");
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_reaches_pods_the_node_and_a_service() {
    let world = World::new().await;
    let (mut a, mut b) = (world.pod("a").await, world.pod("b").await);
    assert_ne!(a.ip, b.ip);
    let endpoints = vec![a.serve_tcp(8080), b.serve_tcp(8080)];
    assert_eq!(
        a.get(v4(b.ip, 8080)).unwrap(),
        format!("b {}", a.ip),
        "pods see each other's own addresses"
    );

    world
        .net()
        .set_services(&[service(VIP, Tcp, 80, endpoints)])
        .await
        .unwrap();
    let counts = names(&a.get_many(v4(VIP, 80), 60));
    assert_eq!(
        counts.keys().collect::<Vec<_>>(),
        ["a", "b"],
        "balanced, and a reaches itself (hairpin): {counts:?}"
    );
    assert!(counts.values().all(|n| *n >= 12), "evenly: {counts:?}");

    let mut seen = BTreeSet::new();
    for _ in 0..30 {
        let mut stream = world.net().dial(v4(VIP, 80)).await.unwrap();
        let mut hello = [0; 1];
        stream.read_exact(&mut hello).await.unwrap();
        seen.insert(hello[0] as char);
    }
    assert_eq!(
        seen,
        BTreeSet::from(['a', 'b']),
        "the server's own sockets are balanced, too"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_without_endpoints_refuses_at_once() {
    let world = World::new().await;
    let mut a = world.pod("a").await;
    world
        .net()
        .set_services(&[service(VIP, Tcp, 80, vec![])])
        .await
        .unwrap();
    let start = Instant::now();
    assert_eq!(
        a.get(v4(VIP, 80)).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    assert_eq!(
        world.net().dial(v4(VIP, 80)).await.unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    let udp = a.inside(|| ask(&udp_client(v4(VIP, 53)))).join().unwrap();
    assert_eq!(udp.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(start.elapsed() < PATIENCE, "refused, not timed out");

    let endpoints = vec![a.serve_tcp(8080)];
    world
        .net()
        .set_services(&[service(VIP, Tcp, 80, endpoints)])
        .await
        .unwrap();
    assert!(a.get(v4(VIP, 80)).is_ok());
    assert_eq!(
        a.get(v4(VIP, 81)).unwrap_err().kind(),
        ErrorKind::ConnectionRefused,
        "a port it does not have"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn affinity_keeps_a_client_on_its_endpoint_while_that_is_there() {
    let world = World::new().await;
    let mut pods = Vec::new();
    for name in ["a", "b", "c", "d"] {
        pods.push(world.pod(name).await);
    }
    let endpoints: Vec<_> = pods.iter_mut().map(|p| p.serve_tcp(8080)).collect();
    let client = world.pod("client").await;
    let mut sticky = service(VIP, Tcp, 80, endpoints.clone());
    sticky.affinity = Some(Duration::from_secs(60));
    world
        .net()
        .set_services(std::slice::from_ref(&sticky))
        .await
        .unwrap();

    let first = names(&client.get_many(v4(VIP, 80), 20));
    assert_eq!(first.len(), 1, "one endpoint only: {first:?}");
    let chosen = first.keys().next().unwrap().clone();

    // Another endpoint leaves: the choice stays. The chosen one leaves: a new choice, and it stays, too.
    let other = pods.iter().find(|p| p.name != chosen).unwrap().ip;
    sticky.ports[0].endpoints.retain(|e| e.ip != other);
    world
        .net()
        .set_services(std::slice::from_ref(&sticky))
        .await
        .unwrap();
    assert_eq!(
        names(&client.get_many(v4(VIP, 80), 10))
            .keys()
            .collect::<Vec<_>>(),
        [&chosen]
    );
    let gone = pods.iter().find(|p| p.name == chosen).unwrap().ip;
    sticky.ports[0].endpoints.retain(|e| e.ip != gone);
    world
        .net()
        .set_services(std::slice::from_ref(&sticky))
        .await
        .unwrap();
    let second = names(&client.get_many(v4(VIP, 80), 10));
    assert_eq!(second.len(), 1, "one endpoint again: {second:?}");
    assert!(!second.contains_key(&chosen));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn affinity_ends_after_its_timeout() {
    let world = World::new().await;
    let (mut a, mut b) = (world.pod("a").await, world.pod("b").await);
    let mut sticky = service(VIP, Tcp, 80, vec![a.serve_tcp(8080), b.serve_tcp(8080)]);
    sticky.affinity = Some(Duration::from_secs(1));
    world
        .net()
        .set_services(std::slice::from_ref(&sticky))
        .await
        .unwrap();
    let client = world.pod("client").await;
    // Each pause is longer than the timeout, so each visit chooses anew: 1 in 2^8 runs would see one pod only.
    let mut seen = BTreeSet::new();
    for _ in 0..9 {
        seen.extend(names(&[client.get(v4(VIP, 80)).unwrap()]).into_keys());
        if seen.len() == 2 {
            return;
        }
        // pause: the timeout is the kernel's own, and only time ends it
        tokio::time::sleep(Duration::from_millis(1300)).await;
    }
    panic!("always {seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_udp_client_leaves_an_endpoint_that_is_gone() {
    let world = World::new().await;
    let (mut a, mut b) = (world.pod("a").await, world.pod("b").await);
    let (ea, eb) = (a.serve_udp(5353), b.serve_udp(5353));
    let client = world.pod("client").await;
    world
        .net()
        .set_services(&[service(VIP, Udp, 53, vec![ea])])
        .await
        .unwrap();
    let socket = client.inside(|| udp_client(v4(VIP, 53))).join().unwrap();
    assert_eq!(ask(&socket).unwrap(), "a");
    world
        .net()
        .set_services(&[service(VIP, Udp, 53, vec![eb])])
        .await
        .unwrap();
    assert_eq!(
        ask(&socket).unwrap(),
        "b",
        "the same socket, so the same flow for conntrack"
    );
    let own = world
        .net()
        .udp_connect(v4(VIP, 53))
        .await
        .unwrap()
        .into_std()
        .unwrap();
    own.set_nonblocking(false).unwrap();
    assert_eq!(ask(&own).unwrap(), "b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_survive_changes_and_new_ones_never_fail() {
    let world = World::new().await;
    let (mut a, mut b) = (world.pod("a").await, world.pod("b").await);
    let (ea, eb) = (a.serve_tcp(8080), b.serve_tcp(8080));
    let client = world.pod("client").await;
    let both = [service(VIP, Tcp, 80, vec![ea, eb])];
    let one = [service(VIP, Tcp, 80, vec![eb])];
    world.net().set_services(&both).await.unwrap();

    let mut old = client
        .inside(|| TcpStream::connect(v4(VIP, 80)).unwrap())
        .join()
        .unwrap();
    first_line(&mut old).unwrap();
    let load = client.inside(|| (0..600).filter(|_| get(v4(VIP, 80)).is_err()).count());
    while !load.is_finished() {
        world.net().set_services(&one).await.unwrap();
        world.net().set_services(&both).await.unwrap();
    }
    assert_eq!(load.join().unwrap(), 0, "failed connections");
    world.net().set_services(&[]).await.unwrap();
    old.write_all(b"still here\n").unwrap();
    let mut echo = [0; 11];
    old.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"still here\n");
    assert!(client.get(v4(VIP, 80)).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_ports_answer_at_the_node_address() {
    let world = World::new().await;
    let mut a = world.pod("a").await;
    let mut svc = service(VIP, Tcp, 80, vec![a.serve_tcp(8080)]);
    svc.ports[0].node_port = Some(30_080);
    world.net().set_services(&[svc]).await.unwrap();
    let node = v4(world.net().config().node_ip, 30_080);
    assert!(a.get(node).unwrap().starts_with("a "));
    assert!(world.net().dial(node).await.is_ok());
    assert_eq!(
        a.get(v4(*node.ip(), 30_081)).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_server_finds_pods_rules_and_affinity_again() {
    let mut world = World::new().await;
    let (mut a, mut b) = (world.pod("a").await, world.pod("b").await);
    let client = world.pod("client").await;
    let mut sticky = service(VIP, Tcp, 80, vec![a.serve_tcp(8080), b.serve_tcp(8080)]);
    sticky.affinity = Some(Duration::from_secs(60));
    let services = [
        sticky,
        service(Ipv4Addr::new(10, 96, 0, 9), Udp, 53, vec![b.serve_udp(53)]),
    ];
    world.net().set_services(&services).await.unwrap();
    let text = world.net().rules_text().await;
    let chosen = names(&client.get_many(v4(VIP, 80), 3));
    let gone = world.pod("gone").await;
    world.net().detach("gone").await.unwrap();
    let pods = world.net().pods().await;
    let mut open = client
        .inside(|| TcpStream::connect(v4(VIP, 80)).unwrap())
        .join()
        .unwrap();
    first_line(&mut open).unwrap();

    world.restart().await;
    assert_eq!(world.net().rules_text().await, text, "read back from the kernel");
    assert_eq!(world.net().pods().await, pods);
    assert_eq!(
        world.net().attach("a", &a.netns).await.unwrap(),
        a.ip,
        "the same pod, the same address"
    );
    assert_ne!(
        world.pod("new").await.ip,
        gone.ip,
        "an address rests before it is used again"
    );
    world.net().set_services(&services).await.unwrap();
    let again = names(&client.get_many(v4(VIP, 80), 10));
    assert!(again.keys().eq(chosen.keys()), "{chosen:?}, then {again:?}");
    open.write_all(b"x").unwrap();
    open.read_exact(&mut [0; 1]).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_udp_client_finds_an_endpoint_that_came_later() {
    let world = World::new().await;
    let mut a = world.pod("a").await;
    let mut svc = service(VIP, Udp, 53, vec![]);
    svc.ports[0].node_port = Some(30_053);
    world
        .net()
        .set_services(std::slice::from_ref(&svc))
        .await
        .unwrap();
    let client = world.pod("client").await;
    let node = v4(world.net().config().node_ip, 30_053);
    let socket = client.inside(move || udp_client(node)).join().unwrap();
    assert!(ask(&socket).is_err());
    svc.ports[0].endpoints = vec![a.serve_udp(5353)];
    world.net().set_services(&[svc]).await.unwrap();
    assert_eq!(ask(&socket).unwrap(), "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attach_replaces_a_sandbox_and_detach_is_idempotent() {
    let world = World::new().await;
    let first = world.pod("a").await;
    let second = crate::world::Pod::new(world.dir.path(), "a-new-sandbox");
    let ip = world.net().attach("a", &second.netns).await.unwrap();
    assert_eq!(ip, first.ip, "same pod, same address, new namespace");
    let b = world.pod("b").await;
    let mut second = second;
    second.ip = ip;
    second.serve_tcp(80);
    assert!(b.get(v4(ip, 80)).is_ok());
    world.net().detach("a").await.unwrap();
    world.net().detach("a").await.unwrap();
    assert!(
        world
            .net()
            .attach("x", std::path::Path::new("/nonexistent"))
            .await
            .is_err()
    );
    assert_eq!(world.net().pods().await.len(), 1, "nothing half-made is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chains_that_nobody_uses_do_not_pile_up() {
    let world = World::new().await;
    for count in 1..=100 {
        let ip = |last| net::Endpoint {
            ip: Ipv4Addr::new(10, 244, 9, last),
            port: 80,
        };
        let endpoints = (1..=count).map(ip).collect();
        world
            .net()
            .set_services(&[service(VIP, Tcp, 80, endpoints)])
            .await
            .unwrap();
    }
    let fd = std::os::fd::AsFd::as_fd(world.net().namespace());
    let nft = nlink::Connection::<nlink::Nftables>::new_in(fd).unwrap();
    let chains = nft
        .list_chains_in("isopod", nlink::netlink::nftables::Family::Ip)
        .await
        .unwrap();
    assert!(chains.len() < 80, "{} chains", chains.len());
}
