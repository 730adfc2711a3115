//! How registries are reached: what the user said about each, and from that the places where an image is asked for.

use super::reference::Reference;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Without a byte for this long, a registry counts as gone.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// How registries are reached.
#[derive(Clone, Debug)]
pub struct RegistryConfig {
    /// By registry, as image names say it: `docker.io`, `registry.example:5000`; also by the host of a mirror.
    pub hosts: BTreeMap<String, HostConfig>,
    /// The node's own logins (`~/.docker/config.json`), tried after a pod's. Read at each pull; it need not exist.
    pub docker_config: Option<PathBuf>,
    /// The longest silence of a registry.
    pub read_timeout: Duration,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        RegistryConfig {
            hosts: BTreeMap::new(),
            docker_config: None,
            read_timeout: READ_TIMEOUT,
        }
    }
}

/// What is special about one registry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct HostConfig {
    /// A PEM file with certificates (authorities, or the registry's own) that are trusted as well as the system's.
    pub ca: Option<PathBuf>,
    /// Spoken to over plain http.
    pub insecure: bool,
    /// `[http://|https://]HOST[:PORT]` of mirrors, tried in order before the registry itself.
    pub mirrors: Vec<String>,
}

/// One place to ask: a registry or a mirror of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Endpoint {
    /// `host[:port]` as in URLs.
    pub host: String,
    pub scheme: Scheme,
    /// The registry that it is a mirror of, which it is told.
    pub mirror_of: Option<String>,
    pub ca: Option<PathBuf>,
    /// The name that credentials and settings have for it.
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
    /// Nothing was said about a registry on loopback: http, and https when the answer says so.
    Either,
}

impl RegistryConfig {
    /// Where the image is asked for, in order; the last one is its registry.
    pub(super) fn endpoints(&self, reference: &Reference) -> Vec<Endpoint> {
        let registry = &reference.registry;
        let mirrors = self.hosts.get(registry).map_or(&[][..], |host| &host.mirrors);
        let mirrors = mirrors.iter().map(|mirror| {
            let (scheme, host) = split_scheme(mirror);
            Endpoint {
                mirror_of: Some(registry.clone()),
                ..self.endpoint(host, scheme)
            }
        });
        mirrors.chain([self.endpoint(registry, None)]).collect()
    }

    fn endpoint(&self, name: &str, said: Option<Scheme>) -> Endpoint {
        let known = self.hosts.get(name);
        let ca = known.and_then(|host| host.ca.clone());
        let scheme = match known {
            _ if said.is_some() => said.unwrap_or(Scheme::Https),
            Some(host) if host.insecure => Scheme::Http,
            _ if ca.is_none() && is_loopback(name) => Scheme::Either,
            _ => Scheme::Https,
        };
        let host = match name {
            "docker.io" => "registry-1.docker.io",
            other => other,
        };
        Endpoint {
            host: host.to_owned(),
            scheme,
            mirror_of: None,
            ca,
            name: name.to_owned(),
        }
    }
}

impl HostConfig {
    /// What of this cannot be, said before the first pull.
    pub fn check(&self, host: &str) -> Result<(), String> {
        let named = |host: &str| {
            let name = format!("{host}/x").parse::<Reference>();
            name.is_ok_and(|name| name.registry == host)
        };
        if !named(host) {
            return Err(format!(
                "registries: {host:?} is not a registry as in image names, HOST or HOST:PORT; Docker Hub is docker.io"
            ));
        }
        for mirror in &self.mirrors {
            if !named(split_scheme(mirror).1) {
                return Err(format!(
                    "registries: {host}: mirror {mirror:?} is not [http://|https://]HOST[:PORT]"
                ));
            }
        }
        match &self.ca {
            Some(_) if self.insecure => Err(format!(
                "registries: {host}: \"insecure\" means plain http, which has no use for a \"ca\"; say one of them"
            )),
            Some(file) => super::trust::certificates(file)
                .map(drop)
                .map_err(|why| format!("registries: {host}: ca: {why}")),
            None => Ok(()),
        }
    }
}

fn split_scheme(mirror: &str) -> (Option<Scheme>, &str) {
    let (scheme, rest) = match mirror.split_once("://") {
        Some(("http", rest)) => (Some(Scheme::Http), rest),
        Some(("https", rest)) => (Some(Scheme::Https), rest),
        _ => (None, mirror),
    };
    (scheme, rest.strip_suffix('/').unwrap_or(rest))
}

/// `localhost`, 127.0.0.0/8 and ::1, with or without a port.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    bare == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_plain() {
        for (host, want) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("[::1]:5000", true),
            ("registry.example:5000", false),
            ("128.0.0.1", false),
            ("localhost.evil.example", false),
        ] {
            assert_eq!(is_loopback(host), want, "{host}");
        }
    }

    fn asked(config: &RegistryConfig, image: &str) -> Vec<String> {
        let reference: Reference = image.parse().expect("a name");
        let endpoints = config.endpoints(&reference).into_iter();
        endpoints
            .map(|e| {
                format!(
                    "{:?} {} for {}",
                    e.scheme,
                    e.host,
                    e.mirror_of.as_deref().unwrap_or("itself")
                )
            })
            .collect()
    }

    #[test]
    fn registries_are_asked_where_they_are() {
        let host = |mirrors: &[&str], insecure| HostConfig {
            mirrors: mirrors.iter().map(|m| (*m).to_owned()).collect(),
            insecure,
            ca: None,
        };
        let config = RegistryConfig {
            hosts: BTreeMap::from([
                (
                    "docker.io".to_owned(),
                    host(&["http://mirror.example/", "cache.example:5000"], false),
                ),
                ("plain.example".to_owned(), host(&[], true)),
                (
                    "127.0.0.1:5001".to_owned(),
                    HostConfig {
                        ca: Some("ca.pem".into()),
                        ..HostConfig::default()
                    },
                ),
            ]),
            ..RegistryConfig::default()
        };
        assert_eq!(
            asked(&config, "visits"),
            [
                "Http mirror.example for docker.io",
                "Https cache.example:5000 for docker.io",
                "Https registry-1.docker.io for itself"
            ]
        );
        for (image, want) in [
            ("index.docker.io/x", "Http mirror.example for docker.io"),
            ("ghcr.io/x", "Https ghcr.io for itself"),
            ("plain.example/x", "Http plain.example for itself"),
            ("127.0.0.1:5000/x", "Either 127.0.0.1:5000 for itself"),
            ("127.0.0.1:5001/x", "Https 127.0.0.1:5001 for itself"),
        ] {
            assert_eq!(asked(&config, image).first().map(String::as_str), Some(want));
        }
    }

    #[test]
    fn what_cannot_be_is_said() {
        let mirrored = |mirror: &str| HostConfig {
            mirrors: vec![mirror.to_owned()],
            ..HostConfig::default()
        };
        assert_eq!(mirrored("https://m.example:5000").check("docker.io"), Ok(()));
        for (host, config, want) in [
            (
                "https://docker.io",
                HostConfig::default(),
                "is not a registry as in image names",
            ),
            (
                "registry-1.docker.io",
                HostConfig::default(),
                "Docker Hub is docker.io",
            ),
            (
                "docker.io",
                mirrored("ftp://m.example"),
                "mirror \"ftp://m.example\"",
            ),
            (
                "docker.io",
                mirrored("https://m.example/v2/proxy"),
                "is not [http://|https://]HOST[:PORT]",
            ),
            (
                "r.example",
                HostConfig {
                    ca: Some("/none.pem".into()),
                    ..HostConfig::default()
                },
                "ca: cannot read /none.pem",
            ),
        ] {
            let why = config.check(host).expect_err(host);
            assert!(why.contains(want), "{why}");
        }
    }
}
