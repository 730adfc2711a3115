//! The small files that a pod gets besides its volumes, as text: /etc/hosts, and the termination message. Pure.
//! Source: kubelet's managed hosts file; "Customizing the termination message".

use k8s_openapi::api::core::v1::Pod;

const MAX_HOSTNAME_BYTES: usize = 63;
/// Of one container's message.
const MAX_MESSAGE_BYTES: usize = 4096;
const MAX_FALLBACK_BYTES: usize = 2048;
const MAX_FALLBACK_LINES: usize = 80;

/// The pod's host name, and its domain when it has a `subdomain`. On the host's network it is the node's; one that is put
/// in its place (`hostnameOverride`) stands as it is.
pub fn hostname(pod: &Pod, cluster_domain: &str) -> (String, Option<String>) {
    let spec = pod.spec.as_ref();
    if let Some(spec) = spec.filter(|spec| spec.host_network == Some(true)) {
        return (spec.node_name.clone().unwrap_or_default(), None);
    }
    let shortened = |name: String| {
        let short: String = name.chars().take(MAX_HOSTNAME_BYTES).collect();
        short.trim_end_matches(['-', '.']).to_owned()
    };
    if let Some(name) = spec.and_then(|spec| spec.hostname_override.clone()) {
        return (shortened(name), None);
    }
    let given = spec
        .and_then(|spec| spec.hostname.clone())
        .filter(|name| !name.is_empty());
    let name = given.unwrap_or_else(|| pod.metadata.name.clone().unwrap_or_default());
    let short = shortened(name);
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let domain = spec
        .and_then(|spec| spec.subdomain.as_deref())
        .filter(|subdomain| !subdomain.is_empty())
        .map(|subdomain| format!("{subdomain}.{namespace}.svc.{cluster_domain}"));
    (short, domain)
}

/// What `hostname` says in the pod's containers.
pub fn kernel_hostname(pod: &Pod, cluster_domain: &str) -> String {
    let with_domain = pod.spec.as_ref().and_then(|spec| spec.set_hostname_as_fqdn) == Some(true);
    match hostname(pod, cluster_domain) {
        (hostname, Some(domain)) if with_domain => format!("{hostname}.{domain}"),
        (hostname, _) => hostname,
    }
}

/// The contents of /etc/hosts. `host_file` is the host's own, for pods in the host's network; it knows the machine's
/// name, which may not be the node's.
pub fn hosts(pod: &Pod, cluster_domain: &str, pod_ips: &[String], host_file: Option<&str>) -> String {
    let mut text = match host_file {
        Some(host_file) => {
            let node = named(pod, cluster_domain, pod_ips);
            format!("# Kubernetes-managed hosts file (host network).\n{host_file}\n{node}")
        }
        None => own_hosts(pod, cluster_domain, pod_ips),
    };
    let aliases = pod
        .spec
        .iter()
        .flat_map(|spec| spec.host_aliases.iter().flatten());
    let lines: Vec<String> = aliases
        .map(|alias| {
            format!(
                "{}\t{}\n",
                alias.ip,
                alias.hostnames.as_deref().unwrap_or_default().join("\t")
            )
        })
        .collect();
    if !lines.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        text.extend(lines);
    }
    text
}

fn own_hosts(pod: &Pod, cluster_domain: &str, pod_ips: &[String]) -> String {
    let mut text = "# Kubernetes-managed hosts file.\n\
                    127.0.0.1\tlocalhost\n\
                    ::1\tlocalhost ip6-localhost ip6-loopback\n\
                    fe00::0\tip6-localnet\n\
                    fe00::0\tip6-mcastprefix\n\
                    fe00::1\tip6-allnodes\n\
                    fe00::2\tip6-allrouters\n"
        .to_owned();
    text.push_str(&named(pod, cluster_domain, pod_ips));
    text
}

/// The pod's own lines.
fn named(pod: &Pod, cluster_domain: &str, pod_ips: &[String]) -> String {
    let (name, domain) = hostname(pod, cluster_domain);
    let line = |ip: &String| match &domain {
        Some(domain) => format!("{ip}\t{name}.{domain}\t{name}\n"),
        None => format!("{ip}\t{name}\n"),
    };
    pod_ips.iter().map(line).collect()
}

/// The message of a container that ended: the end of its termination file, or of its log when the file is empty, it
/// failed, and its policy is `FallbackToLogsOnError`.
pub fn termination_message(file: &[u8], policy: Option<&str>, failed: bool, log: &str) -> String {
    if !file.is_empty() || policy != Some("FallbackToLogsOnError") || !failed {
        return end(&String::from_utf8_lossy(file), MAX_MESSAGE_BYTES).to_owned();
    }
    let bounded = end(log, MAX_FALLBACK_BYTES);
    let lines: Vec<&str> = bounded.split_inclusive('\n').collect();
    lines[lines.len().saturating_sub(MAX_FALLBACK_LINES)..].concat()
}

/// At most so many bytes from the end, at a character's start.
fn end(text: &str, most: usize) -> &str {
    let mut from = text.len().saturating_sub(most);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "web-0", "namespace": "ns"}, "spec": spec}))
            .expect("a pod")
    }

    #[test]
    fn hosts_names_the_pod_and_its_aliases() {
        let pod = pod(json!({"containers": [], "subdomain": "web", "hostAliases": [
            {"ip": "1.2.3.4", "hostnames": ["a", "b.c"]}, {"ip": "5.6.7.8", "hostnames": ["d"]}]}));
        let text = hosts(&pod, "cluster.local", &["10.0.0.9".into()], None);
        assert!(
            text.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\t"),
            "{text}"
        );
        assert!(
            text.ends_with(
                "10.0.0.9\tweb-0.web.ns.svc.cluster.local\tweb-0\n\n# Entries added by HostAliases.\n\
                 1.2.3.4\ta\tb.c\n5.6.7.8\td\n"
            ),
            "{text}"
        );
        let mut on_host = pod;
        let spec = on_host.spec.as_mut().expect("a spec");
        (spec.host_network, spec.node_name) = (Some(true), Some("n".into()));
        let host = hosts(
            &on_host,
            "cluster.local",
            &["10.0.0.1".into()],
            Some("127.0.0.1 me\n"),
        );
        let first =
            "# Kubernetes-managed hosts file (host network).\n127.0.0.1 me\n\n10.0.0.1\tn\n\n# Entries";
        assert!(host.starts_with(first), "{host}");
    }

    #[test]
    fn hostname_is_short_and_valid() {
        let mut long = pod(json!({"containers": []}));
        long.metadata.name = Some(format!("{}-rest", "x".repeat(62)));
        assert_eq!(hostname(&long, "cluster.local"), ("x".repeat(62), None));
        let on_host = pod(
            json!({"containers": [], "hostname": "db", "subdomain": "web", "hostNetwork": true,
            "nodeName": "n", "setHostnameAsFQDN": true}),
        );
        assert_eq!(
            hostname(&on_host, "cluster.local"),
            ("n".into(), None),
            "the node's"
        );
        let other = pod(
            json!({"containers": [], "hostname": "db", "subdomain": "web", "hostnameOverride": "a.example"}),
        );
        assert_eq!(kernel_hostname(&other, "cluster.local"), "a.example");
        let text = hosts(&other, "cluster.local", &["10.0.0.1".into()], None);
        assert!(text.ends_with("10.0.0.1\ta.example\n"), "{text}");
        let full = pod(json!({"containers": [], "subdomain": "web", "setHostnameAsFQDN": true}));
        assert_eq!(
            kernel_hostname(&full, "cluster.local"),
            "web-0.web.ns.svc.cluster.local"
        );
        let own = pod(json!({"containers": [], "hostname": "db"}));
        assert_eq!(
            hosts(&own, "cluster.local", &["10.0.0.1".into()], None)
                .lines()
                .last(),
            Some("10.0.0.1\tdb")
        );
    }

    #[test]
    fn messages_are_bounded_from_their_end() {
        let fallback = Some("FallbackToLogsOnError");
        assert_eq!(termination_message(b"done", None, true, "log"), "done");
        assert_eq!(termination_message(b"", None, true, "log"), "");
        assert_eq!(termination_message(b"", fallback, false, "log"), "");
        assert_eq!(termination_message(b"", fallback, true, "a\nb"), "a\nb");
        let lines: String = (0..200).map(|n| format!("{n}\n")).collect();
        let tail = termination_message(b"", fallback, true, &lines);
        assert_eq!((tail.lines().count(), tail.lines().last()), (80, Some("199")));
        let long = "é".repeat(3000);
        let cut = termination_message(long.as_bytes(), None, true, "");
        assert!(cut.len() <= 4096 && cut.len() > 4090 && long.ends_with(&cut));
        assert_eq!(termination_message(b"\xff", None, true, ""), "\u{fffd}");
    }
}
