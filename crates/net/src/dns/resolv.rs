//! A pod's resolv.conf, by its dnsPolicy and dnsConfig: pure.
//! Source: core/v1 PodSpec `dnsPolicy` and `dnsConfig`, and resolv.conf(5).

use std::net::{IpAddr, Ipv4Addr};

/// Nameservers that a C library reads at most.
const NAMESERVERS_MAX: usize = 3;
/// Search domains in a pod at most, as the API allows.
const SEARCHES_MAX: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsPolicy {
    /// The cluster's DNS, which forwards what is not the cluster's. Also for `ClusterFirstWithHostNet`.
    ClusterFirst,
    /// What the host uses.
    Default,
    /// Only what dnsConfig says.
    None,
}

/// A pod's `dnsConfig`; also what a host's resolv.conf says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodDnsConfig {
    pub nameservers: Vec<String>,
    pub searches: Vec<String>,
    /// Name and value, e.g. `("ndots", Some("2"))`.
    pub options: Vec<(String, Option<String>)>,
}

/// Reads a resolv.conf. Unknown lines are left out.
pub fn parse_resolv_conf(text: &str) -> PodDnsConfig {
    let mut config = PodDnsConfig::default();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => config.nameservers.extend(words.next().map(str::to_owned)),
            // The last of several wins, as in C libraries.
            Some("search" | "domain") => config.searches = words.map(str::to_owned).collect(),
            Some("options") => config
                .options
                .extend(words.map(|word| match word.split_once(':') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (word.to_owned(), None),
                })),
            _ => {}
        }
    }
    config
}

/// The file's content for a pod in `namespace`. `host` is the text of the host's resolv.conf. A host resolver on
/// loopback is out of a pod's reach, so the cluster's DNS (which forwards to it) stands in.
pub fn resolv_conf(
    policy: DnsPolicy,
    namespace: &str,
    dns_ip: Ipv4Addr,
    domain: &str,
    pod: &PodDnsConfig,
    host: &str,
) -> String {
    let host = parse_resolv_conf(host);
    let mut result = match policy {
        DnsPolicy::ClusterFirst => PodDnsConfig {
            nameservers: vec![dns_ip.to_string()],
            searches: [
                format!("{namespace}.svc.{domain}"),
                format!("svc.{domain}"),
                domain.to_owned(),
            ]
            .into_iter()
            .chain(host.searches)
            .collect(),
            options: vec![("ndots".into(), Some("5".into()))],
        },
        DnsPolicy::Default => {
            let reachable = |server: String| match server.parse::<IpAddr>() {
                Ok(ip) if !ip.is_loopback() => server,
                _ => dns_ip.to_string(),
            };
            PodDnsConfig {
                nameservers: host.nameservers.into_iter().map(reachable).collect(),
                ..host
            }
        }
        DnsPolicy::None => PodDnsConfig::default(),
    };
    result.nameservers.extend(pod.nameservers.iter().cloned());
    result.searches.extend(pod.searches.iter().cloned());
    for (name, value) in &pod.options {
        match result.options.iter_mut().find(|(known, _)| known == name) {
            Some(option) => option.1.clone_from(value),
            None => result.options.push((name.clone(), value.clone())),
        }
    }
    print(result)
}

fn print(config: PodDnsConfig) -> String {
    let mut text = String::new();
    let searches = distinct(config.searches, SEARCHES_MAX);
    if !searches.is_empty() {
        text.push_str(&format!("search {}\n", searches.join(" ")));
    }
    for server in distinct(config.nameservers, NAMESERVERS_MAX) {
        text.push_str(&format!("nameserver {server}\n"));
    }
    let option = |(name, value): (String, Option<String>)| match value {
        Some(value) => format!("{name}:{value}"),
        None => name,
    };
    let options: Vec<String> = config.options.into_iter().map(option).collect();
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    text
}

fn distinct(words: Vec<String>, max: usize) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for word in words {
        if seen.len() < max && !seen.contains(&word) {
            seen.push(word);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    const DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
    const HOST: &str =
        "# host\nnameserver 127.0.0.53\nnameserver 203.0.113.1\nsearch lan ; home\noptions edns0 ndots:1\n";

    fn text(policy: DnsPolicy, pod: &PodDnsConfig) -> String {
        resolv_conf(policy, "shop", DNS, "cluster.local", pod, HOST)
    }

    #[test]
    fn policies() {
        let none = PodDnsConfig::default();
        assert_eq!(
            text(DnsPolicy::ClusterFirst, &none),
            "search shop.svc.cluster.local svc.cluster.local cluster.local lan\nnameserver 10.96.0.10\noptions ndots:5\n"
        );
        assert_eq!(
            text(DnsPolicy::Default, &none),
            "search lan\nnameserver 10.96.0.10\nnameserver 203.0.113.1\noptions edns0 ndots:1\n"
        );
        assert_eq!(text(DnsPolicy::None, &none), "");
    }

    #[test]
    fn dns_config_adds_and_overrides() {
        let pod = PodDnsConfig {
            nameservers: ["192.0.2.1", "192.0.2.2", "10.96.0.10", "192.0.2.3"]
                .map(String::from)
                .into(),
            searches: vec!["svc.cluster.local".into(), "my.dns".into()],
            options: vec![("ndots".into(), Some("2".into())), ("edns0".into(), None)],
        };
        assert_eq!(
            text(DnsPolicy::ClusterFirst, &pod),
            "search shop.svc.cluster.local svc.cluster.local cluster.local lan my.dns\n\
             nameserver 10.96.0.10\nnameserver 192.0.2.1\nnameserver 192.0.2.2\noptions ndots:2 edns0\n"
        );
        assert_eq!(
            text(DnsPolicy::None, &pod),
            "search svc.cluster.local my.dns\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 10.96.0.10\noptions ndots:2 edns0\n"
        );
    }
}
