//! Goldens and properties of the service rules.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::NetConfig;
use crate::services::ServicePort;
use crate::table::Table;

const NODE: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);

fn endpoint(last: u8, port: u16) -> Endpoint {
    Endpoint {
        ip: Ipv4Addr::new(10, 244, 1, last),
        port,
    }
}

fn example() -> Vec<Service> {
    let port = |name: &str, protocol, port, node_port, endpoints: &[Endpoint]| ServicePort {
        name: name.into(),
        protocol,
        port,
        node_port,
        endpoints: endpoints.to_vec(),
    };
    let service = |name: &str, ip: [u8; 4], affinity: Option<u64>, ports| Service {
        namespace: "default".into(),
        name: name.into(),
        cluster_ips: vec![ip.into()],
        affinity: affinity.map(Duration::from_secs),
        ports,
    };
    let web = [endpoint(4, 8080), endpoint(3, 8080), endpoint(4, 8080)];
    vec![
        service(
            "web",
            [10, 96, 0, 20],
            None,
            vec![port("http", Protocol::Tcp, 80, Some(30_080), &web)],
        ),
        service(
            "sticky",
            [10, 96, 0, 21],
            Some(10_800),
            vec![port("", Protocol::Tcp, 443, None, &[endpoint(5, 8443)])],
        ),
        service(
            "dns",
            [10, 96, 0, 22],
            None,
            vec![port("dns", Protocol::Udp, 53, None, &[endpoint(6, 53)])],
        ),
        service(
            "empty",
            [10, 96, 0, 23],
            None,
            vec![port("", Protocol::Tcp, 80, None, &[])],
        ),
    ]
}

#[test]
fn golden_table() {
    let table = Table::new(&NetConfig::new("golden", "/data"));
    insta::assert_snapshot!("table", table.to_text(&Ruleset::build(NODE, &example())));
}

#[test]
fn golden_table_without_egress_and_with_the_node_elsewhere() {
    let mut config = NetConfig::new("golden", "/data");
    config.egress = None;
    insta::assert_snapshot!("table-closed", Table::new(&config).to_text(&Ruleset::default()));
    config.egress = Some(crate::config::EgressConfig::default());
    config.node_ip = Ipv4Addr::new(172, 31, 0, 1);
    assert!(
        Table::new(&config)
            .to_text(&Ruleset::default())
            .contains("ip daddr != 172.31.0.1/32")
    );
}

#[test]
fn one_endpoint_less_changes_only_that_service() {
    let mut services = example();
    let old = Ruleset::build(NODE, &services);
    services[0].ports[0].endpoints = vec![endpoint(3, 8080)];
    let change = old.diff(&Ruleset::build(NODE, &services));
    insta::assert_debug_snapshot!("one-endpoint-less", change);
}

#[test]
fn changed_udp_keys_are_named_and_tcp_ones_are_not() {
    let mut services = example();
    let old = Ruleset::build(NODE, &services);
    assert!(old.changed_udp(&old).is_empty());
    for service in &mut services {
        service.ports[0].endpoints = vec![endpoint(9, 53)];
    }
    let key = ServiceKey {
        ip: Ipv4Addr::new(10, 96, 0, 22),
        protocol: Protocol::Udp,
        port: 53,
    };
    let new = Ruleset::build(NODE, &services);
    assert_eq!(
        old.changed_udp(&new),
        BTreeMap::from([(key, BTreeSet::from([endpoint(9, 53)]))])
    );
    let none = Ruleset::default();
    assert_eq!(old.changed_udp(&none), BTreeMap::from([(key, BTreeSet::new())]));
    assert_eq!(
        none.changed_udp(&old).len(),
        1,
        "a flow that met no endpoint must be forgotten, too"
    );
}

#[test]
fn chain_names_read_back() {
    for pick in [
        Pick {
            endpoints: 3,
            sticky_seconds: None,
        },
        Pick {
            endpoints: 1,
            sticky_seconds: Some(10_800),
        },
    ] {
        assert_eq!(Pick::from_chain(&pick.chain()), Some(pick));
    }
    for other in ["pick-", "pick-x", "prerouting", "pick-1-sticky-"] {
        assert_eq!(Pick::from_chain(other), None, "{other}");
    }
}

fn any_services() -> impl Strategy<Value = Vec<Service>> {
    let port = (
        1u16..5,
        any::<bool>(),
        prop::option::of(30_000u16..30_004),
        prop::collection::vec(1u8..6, 0..5),
    );
    let ports = prop::collection::vec(port, 0..3);
    let service = (1u8..6, ports, prop::option::of(1u64..3));
    prop::collection::vec(service, 0..6).prop_map(|services| {
        let build = |(index, (ip, ports, affinity)): (usize, (u8, Vec<_>, Option<u64>))| Service {
            namespace: "n".into(),
            name: format!("s{index}"),
            cluster_ips: vec![Ipv4Addr::new(10, 96, 0, ip)],
            affinity: affinity.map(Duration::from_secs),
            ports: ports
                .into_iter()
                .map(
                    |(port, tcp, node_port, endpoints): (u16, bool, _, Vec<u8>)| ServicePort {
                        name: String::new(),
                        protocol: if tcp { Protocol::Tcp } else { Protocol::Udp },
                        port,
                        node_port,
                        endpoints: endpoints.into_iter().map(|last| endpoint(last, 80)).collect(),
                    },
                )
                .collect(),
        };
        services.into_iter().enumerate().map(build).collect()
    })
}

proptest! {
    #[test]
    fn applying_diffs_equals_a_full_build(steps in prop::collection::vec(any_services(), 1..6)) {
        let mut rules = Ruleset::default();
        for services in &steps {
            let new = Ruleset::build(NODE, services);
            let change = rules.diff(&new);
            let (old_services, old_picks) = (rules.services.clone(), rules.picks());
            let chains: BTreeSet<_> = old_picks.into_iter().chain(change.add_chains.iter().copied()).collect();
            let [first, second] = change.in_two_steps();
            rules.apply(&first);
            prop_assert_eq!(&rules.services, &new.services);
            for (key, pick) in old_services.iter().chain(&new.services) {
                for index in 0..pick.endpoints {
                    prop_assert!(rules.backends.contains_key(&(*key, index)), "a packet on its way finds nothing");
                }
            }
            rules.apply(&second);
            prop_assert_eq!(&rules, &new);
            prop_assert!(rules.picks().is_subset(&chains), "an element goes to a chain that is not there");
            prop_assert!(rules.diff(&new).is_empty());
        }
    }

    #[test]
    fn order_does_not_matter_and_elements_are_complete(services in any_services()) {
        let rules = Ruleset::build(NODE, &services);
        let mut reversed = services.clone();
        reversed.reverse();
        prop_assert_eq!(&rules, &Ruleset::build(NODE, &reversed));
        for (key, pick) in &rules.services {
            for index in 0..pick.endpoints {
                prop_assert!(rules.backends.contains_key(&(*key, index)), "each number drawn finds an endpoint");
            }
            let backends = rules.backends.keys().filter(|(k, _)| k == key).count();
            prop_assert_eq!(backends, pick.endpoints as usize);
        }
    }
}
