//! The DNS server over real sockets: both transports, forwarding, and questions that are none.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType, rdata::A};
use net::dns::{DnsEndpoint, DnsKind, DnsService, DnsZone};
use net::{DnsServer, DnsTable, Upstreams};

use crate::world::{Pod, World};

const DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.metadata.recursion_desired = true;
    message.to_vec().unwrap()
}

/// Asks from inside a pod over UDP.
fn ask(pod: &Pod, question: Vec<u8>) -> Option<Message> {
    let asked = pod.inside(move || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect((DNS, 53)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        socket.send(&question).unwrap();
        let mut buffer = [0; 65_535];
        socket
            .recv(&mut buffer)
            .ok()
            .map(|n| Message::from_vec(&buffer[..n]).unwrap())
    });
    asked.join().unwrap()
}

fn ask_tcp(pod: &Pod, question: Vec<u8>) -> Message {
    let asked = pod.inside(move || {
        let mut stream = TcpStream::connect((DNS, 53)).unwrap();
        stream
            .write_all(&u16::try_from(question.len()).unwrap().to_be_bytes())
            .unwrap();
        stream.write_all(&question).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut message = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut message).unwrap();
        Message::from_vec(&message).unwrap()
    });
    asked.join().unwrap()
}

fn addresses(message: &Message) -> Vec<String> {
    message
        .answers
        .iter()
        .map(|record| record.data.to_string())
        .collect()
}

/// Stands in for the host's resolver: example.org is 203.0.113.9.
async fn resolver() -> SocketAddr {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((n, peer)) = socket.recv_from(&mut buffer).await {
            let mut message = Message::from_vec(&buffer[..n]).unwrap();
            message.metadata.message_type = MessageType::Response;
            let name = message.queries[0].name.clone();
            message.add_answer(Record::from_rdata(
                name,
                60,
                RData::A(A(Ipv4Addr::new(203, 0, 113, 9))),
            ));
            socket.send_to(&message.to_vec().unwrap(), peer).await.unwrap();
        }
    });
    address
}

fn services(count: u8) -> Vec<DnsService> {
    let endpoints = (0..count)
        .map(|i| DnsEndpoint {
            ip: Ipv4Addr::new(10, 244, 7, i),
            hostname: Some(format!("db-{i}")),
            ports: vec![],
        })
        .collect();
    let service = |name: &str, kind, endpoints| DnsService {
        namespace: "shop".into(),
        name: name.into(),
        kind,
        ports: vec![],
        endpoints,
    };
    vec![
        service("db", DnsKind::Headless, endpoints),
        service("outer", DnsKind::ExternalName("example.org".into()), vec![]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_ask_and_get_answers() {
    let world = World::new().await;
    let zone = DnsZone::new("cluster.local", world.net().config());
    let table = |count| DnsTable::build(zone.clone(), &services(count));
    let upstreams = Upstreams::Fixed(vec![resolver().await]);
    let server = DnsServer::start(world.net(), table(2), upstreams).await.unwrap();
    let pod = world.pod("a").await;

    let one = ask(&pod, question("db-1.db.shop.svc.cluster.local.", RecordType::A)).unwrap();
    assert_eq!(addresses(&one), ["10.244.7.1"]);
    assert_eq!(
        ask(&pod, question("db.shop.svc.cluster.local.", RecordType::A))
            .unwrap()
            .answers
            .len(),
        2
    );
    let missing = ask(&pod, question("db-7.db.shop.svc.cluster.local.", RecordType::A)).unwrap();
    assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain);

    let outside = ask(&pod, question("example.org.", RecordType::A)).unwrap();
    assert_eq!(
        addresses(&outside),
        ["203.0.113.9"],
        "forwarded to the host's resolver"
    );
    let alias = ask(&pod, question("outer.shop.svc.cluster.local.", RecordType::A)).unwrap();
    assert_eq!(
        addresses(&alias),
        ["example.org.", "203.0.113.9"],
        "an ExternalName, followed"
    );

    server.set_table(table(200));
    let cut = ask(&pod, question("db.shop.svc.cluster.local.", RecordType::A)).unwrap();
    assert!(
        cut.metadata.truncation && cut.answers.len() > 10,
        "{} answers",
        cut.answers.len()
    );
    let whole = ask_tcp(&pod, question("db.shop.svc.cluster.local.", RecordType::A));
    assert_eq!((whole.metadata.truncation, whole.answers.len()), (false, 200));

    let garbage = ask(
        &pod,
        [&[0x12, 0x67, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &[0xff; 9]].concat(),
    )
    .unwrap();
    assert_eq!(
        (garbage.metadata.id, garbage.metadata.response_code),
        (0x1267, ResponseCode::FormErr)
    );
    // The server itself reaches it, too.
    let own = world
        .net()
        .udp_connect(std::net::SocketAddrV4::new(DNS, 53))
        .await
        .unwrap();
    own.send(&question("db-1.db.shop.svc.cluster.local.", RecordType::A))
        .await
        .unwrap();
    let mut buffer = [0; 512];
    assert!(own.recv(&mut buffer).await.unwrap() > 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_resolver_is_servfail_and_the_next_one_is_asked() {
    let world = World::new().await;
    let table = DnsTable::build(DnsZone::new("cluster.local", world.net().config()), &[]);
    let dead: SocketAddr = {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    };
    let server = DnsServer::start(world.net(), table.clone(), Upstreams::Fixed(vec![dead]))
        .await
        .unwrap();
    let pod = world.pod("a").await;
    let failed = ask(&pod, question("example.org.", RecordType::A)).unwrap();
    assert_eq!(failed.metadata.response_code, ResponseCode::ServFail);
    drop(server);

    let other = World::new().await;
    let upstreams = Upstreams::Fixed(vec![dead, resolver().await]);
    let _server = DnsServer::start(other.net(), table, upstreams).await.unwrap();
    let pod = other.pod("a").await;
    assert_eq!(
        addresses(&ask(&pod, question("example.org.", RecordType::A)).unwrap()),
        ["203.0.113.9"]
    );
}
