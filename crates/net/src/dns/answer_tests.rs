//! Goldens and properties of DNS answers: question in, text out.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::config::NetConfig;
use crate::dns::table::{DnsEndpoint, DnsKind, DnsPort, DnsService, DnsZone};
use crate::services::Protocol;

fn port(name: &str, protocol: Protocol, port: u16) -> DnsPort {
    DnsPort {
        name: name.into(),
        protocol,
        port,
    }
}

fn endpoint(last: u8, hostname: Option<&str>) -> DnsEndpoint {
    DnsEndpoint {
        ip: Ipv4Addr::new(10, 244, 0, last),
        hostname: hostname.map(Into::into),
        ports: vec![port("http", Protocol::Tcp, 8080)],
    }
}

fn table() -> DnsTable {
    let service = |name: &str, kind, ports, endpoints| DnsService {
        namespace: "shop".into(),
        name: name.into(),
        kind,
        ports,
        endpoints,
    };
    let services = [
        service(
            "web",
            DnsKind::ClusterIp(vec![Ipv4Addr::new(10, 96, 0, 20)]),
            vec![port("http", Protocol::Tcp, 80), port("", Protocol::Udp, 53)],
            vec![endpoint(9, None)],
        ),
        service(
            "db",
            DnsKind::Headless,
            vec![],
            vec![
                endpoint(4, Some("db-0")),
                endpoint(5, Some("db-1")),
                endpoint(6, None),
            ],
        ),
        service("none", DnsKind::Headless, vec![], vec![]),
        service(
            "inner",
            DnsKind::ExternalName("web.shop.svc.cluster.local".into()),
            vec![],
            vec![],
        ),
        service(
            "outer",
            DnsKind::ExternalName("example.org".into()),
            vec![],
            vec![],
        ),
        service(
            "loop",
            DnsKind::ExternalName("loop.shop.svc.cluster.local".into()),
            vec![],
            vec![],
        ),
    ];
    let mut config = NetConfig::new("t", "/data");
    config.egress.as_mut().unwrap().host_alias = Some(Ipv4Addr::new(192, 0, 2, 1));
    DnsTable::build(DnsZone::new("cluster.local", &config), &services)
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.metadata.recursion_desired = true;
    message
}

fn text_of(reply: Reply) -> String {
    let message = match reply {
        Reply::Ignore => return "ignored\n".into(),
        Reply::Forward => return "forwarded\n".into(),
        Reply::Chase { partial, query } => {
            let begun = text_of(Reply::Message(partial));
            return format!("{begun}  then asks {} {}\n", query.name, query.query_type);
        }
        Reply::Message(message) => message,
    };
    let message = Message::from_vec(&message.to_vec().unwrap()).unwrap();
    let mut text = format!(
        "{:?} aa={}\n",
        message.metadata.response_code, message.metadata.authoritative
    );
    for (section, records) in [
        ("answer", &message.answers),
        ("authority", &message.authorities),
        ("additional", &message.additionals),
    ] {
        for record in records {
            writeln!(text, "  {section}: {record}").unwrap();
        }
    }
    text
}

#[test]
fn golden_answers() {
    let table = table();
    let mut text = String::new();
    use RecordType::{A, AAAA, ANY, PTR, SRV, TXT};
    for (name, kind) in [
        ("web.shop.svc.cluster.local.", A),
        ("WEB.Shop.svc.cluster.LOCAL.", A),
        ("web.shop.svc.cluster.local.", AAAA),
        ("_http._tcp.web.shop.svc.cluster.local.", SRV),
        ("web.shop.svc.cluster.local.", SRV),
        ("10-244-0-9.web.shop.svc.cluster.local.", A),
        ("db.shop.svc.cluster.local.", A),
        ("db-1.db.shop.svc.cluster.local.", A),
        ("db-2.db.shop.svc.cluster.local.", A),
        ("_http._tcp.db.shop.svc.cluster.local.", SRV),
        ("10-244-0-6.db.shop.svc.cluster.local.", A),
        ("none.shop.svc.cluster.local.", A),
        ("inner.shop.svc.cluster.local.", A),
        ("outer.shop.svc.cluster.local.", A),
        ("loop.shop.svc.cluster.local.", A),
        ("10-244-3-7.shop.pod.cluster.local.", A),
        ("10-9-3-7.shop.pod.cluster.local.", A),
        ("20.0.96.10.in-addr.arpa.", PTR),
        ("4.0.244.10.in-addr.arpa.", PTR),
        ("99.0.244.10.in-addr.arpa.", PTR),
        ("1.113.0.203.in-addr.arpa.", PTR),
        ("shop.svc.cluster.local.", A),
        ("cluster.local.", A),
        ("dns-version.cluster.local.", TXT),
        ("nowhere.shop.svc.cluster.local.", A),
        ("web.shop.svc.cluster.local.shop.svc.cluster.local.", A),
        ("host.isopod.internal.", A),
        ("example.org.", A),
        ("notcluster.local.", A),
        ("web.shop.svc.cluster.local.", ANY),
    ] {
        write!(
            text,
            "{name} {kind}\n{}",
            text_of(answer(&table, &question(name, kind), 0))
        )
        .unwrap();
    }
    insta::assert_snapshot!("answers", text);
}

#[test]
fn headless_addresses_take_turns() {
    let table = table();
    let first = |turn| match answer(
        &table,
        &question("db.shop.svc.cluster.local.", RecordType::A),
        turn,
    ) {
        Reply::Message(message) => message.answers[0].data.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        [first(0), first(1), first(2), first(3)].map(|ip| ip.as_bytes()[9] - b'0'),
        [4, 5, 6, 4]
    );
}

#[test]
fn odd_requests() {
    let table = table();
    let code = |message: &Message| match answer(&table, message, 0) {
        Reply::Message(message) => message.metadata.response_code,
        other => panic!("{other:?}"),
    };
    let good = question("web.shop.svc.cluster.local.", RecordType::A);
    let mut none = good.clone();
    none.queries.clear();
    assert_eq!(code(&none), ResponseCode::FormErr);
    let mut update = good.clone();
    update.metadata.op_code = OpCode::Update;
    assert_eq!(code(&update), ResponseCode::NotImp);
    let mut chaos = good.clone();
    chaos.queries[0].query_class = DNSClass::CH;
    assert_eq!(code(&chaos), ResponseCode::Refused);
    let mut newer = good.clone();
    let mut edns = Edns::new();
    edns.set_version(1);
    newer.edns = Some(edns);
    assert_eq!(code(&newer), ResponseCode::BADVERS);
    let mut response = good;
    response.metadata.message_type = MessageType::Response;
    assert!(matches!(answer(&table, &response, 0), Reply::Ignore));
}

#[test]
fn long_answers_are_cut_to_what_the_client_takes() {
    let endpoints = (2..=201).map(|last| endpoint(last, None)).collect();
    let kind = DnsKind::Headless;
    let big = DnsService {
        namespace: "n".into(),
        name: "big".into(),
        kind,
        ports: vec![],
        endpoints,
    };
    let table = DnsTable::build(
        DnsZone::new("cluster.local", &NetConfig::new("t", "/data")),
        &[big],
    );
    let mut request = question("big.n.svc.cluster.local.", RecordType::A);
    for (payload, least) in [(None, 20), (Some(1232), 60), (Some(65_000), 120)] {
        request.edns = payload.map(|size| {
            let mut edns = Edns::new();
            edns.set_max_payload(size);
            edns
        });
        let Reply::Message(message) = answer(&table, &request, 0) else {
            panic!("an answer")
        };
        let bytes = encode(*message, udp_limit(&request)).unwrap();
        assert!(bytes.len() <= udp_limit(&request));
        let read = Message::from_vec(&bytes).unwrap();
        assert!(read.metadata.truncation);
        assert!(
            read.answers.len() >= least,
            "{} answers for {payload:?}",
            read.answers.len()
        );
    }
    let Reply::Message(message) = answer(&table, &request, 0) else {
        panic!("an answer")
    };
    let whole = Message::from_vec(&encode(*message, 65_535).unwrap()).unwrap();
    assert_eq!(
        (whole.answers.len(), whole.metadata.truncation),
        (200, false),
        "over TCP"
    );
}

proptest! {
    #[test]
    fn any_question_gets_an_answer(labels in prop::collection::vec("[a-z0-9]{1,6}(-[a-z0-9_]{1,5})?", 1..6), cluster in any::<bool>(), kind in 0u16..300) {
        let mut name = labels.join(".");
        if cluster { name.push_str(".svc.cluster.local"); }
        let request = question(&format!("{name}."), RecordType::from(kind));
        let table = table();
        match answer(&table, &request, 3) {
            Reply::Message(message) => {
                prop_assert_eq!(message.metadata.id, 7);
                prop_assert!(Message::from_vec(&encode(*message, 512).unwrap()).is_ok());
            }
            Reply::Forward => prop_assert!(!cluster),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
