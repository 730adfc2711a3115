//! ClusterIPs: balancing, hairpin, refusal, affinity, UDP, node ports, changes under load, restart.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use net::Protocol::{Tcp, Udp};
use tokio::io::AsyncReadExt;

use crate::world::{PATIENCE, World, ask, first_line, get, service, v4};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 96, 7, 7);

fn names(answers: &[String]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.split(' ').next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_reaches_pods_the_node_and_a_service() {
    let world = World::new().await;
    let (mut a, mut b) = (world.pod("a").await, world.pod("b").await);
    assert_ne!(a.ip, b.ip);
    let endpoints = vec![a.serve_tcp(8080), b.serve_tcp(8080)];
    assert_eq!(a.get(v4(b.ip, 8080)).unwrap(), format!("b {}", a.ip), "pods see each other's own addresses");

    world.net().set_services(&[service(VIP, Tcp, 80, endpoints)]).await.unwrap();
    let counts = names(&a.get_many(v4(VIP, 80), 60));
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["a", "b"], "balanced, and a reaches itself (hairpin): {counts:?}");
    assert!(counts.values().all(|n| *n >= 12), "evenly: {counts:?}");

    let mut seen = BTreeSet::new();
    for _ in 0..30 {
        let mut stream = world.net().dial(v4(VIP, 80)).await.unwrap();
        let mut hello = [0; 1];
        stream.read_exact(&mut hello).await.unwrap();
        seen.insert(hello[0] as char);
    }
    assert_eq!(seen, BTreeSet::from(['a', 'b']), "the server's own sockets are balanced, too");
}
