//! Registry credentials in the two forms that users have: `~/.docker/config.json` and `imagePullSecrets`
//! (`kubernetes.io/dockerconfigjson`, and the old `kubernetes.io/dockercfg`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Credentials by registry.
#[derive(Clone, Default)]
pub struct Credentials {
    entries: Vec<(String, Login)>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let registries: Vec<&str> = self
            .entries
            .iter()
            .map(|(registry, _)| registry.as_str())
            .collect();
        write!(f, "Credentials for {registries:?}") // never the secrets
    }
}

#[derive(Clone, PartialEq)]
pub enum Login {
    Basic {
        username: String,
        password: String,
    },
    /// A token that the registry itself takes (`registrytoken`).
    Bearer(String),
    /// A token that the registry's token server changes into one for the registry (`identitytoken`).
    Identity(String),
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Auth {
    auth: String,
    username: String,
    password: String,
    registrytoken: String,
    identitytoken: String,
}

impl Credentials {
    /// From a docker config (`{"auths": {…}}`) or the old form (`{"registry": {…}}`). The error says what is wrong
    /// without showing any of the content.
    pub fn parse(json: &[u8]) -> Result<Credentials, String> {
        let value: serde_json::Value = serde_json::from_slice(json)
            .map_err(|e| format!("is not JSON (line {}, column {})", e.line(), e.column()))?;
        let auths = match value.get("auths") {
            Some(_) => serde_json::from_value::<DockerConfig>(value).map(|config| config.auths),
            None => serde_json::from_value(value),
        };
        let auths = auths.map_err(|_| "has no usable \"auths\"".to_owned())?;
        let mut entries = Vec::new();
        for (registry, auth) in auths {
            if let Some(login) = auth.login().map_err(|why| format!("has for {registry} {why}"))? {
                entries.push((registry_key(&registry), login));
            }
        }
        Ok(Credentials { entries })
    }

    /// From a docker config file, which need not exist. The error names the file.
    pub fn read(file: &Path) -> Result<Credentials, String> {
        let shown = file.display();
        match std::fs::read(file) {
            Ok(bytes) => Credentials::parse(&bytes).map_err(|why| format!("{shown} {why}")),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Credentials::default()),
            Err(e) => Err(format!("cannot read {shown}: {e}")),
        }
    }

    /// One set of credentials after the other: the first that fits is used first.
    pub fn merge(&mut self, others: Credentials) {
        self.entries.extend(others.entries);
    }

    /// Those to be tried for an image, the most specific first. Keys may name a path (`ghcr.io/team`) and have `*` in
    /// a part of the host's name (`*.registry.example`), as with kubelet.
    pub fn lookup(&self, registry: &str, repository: &str) -> Vec<&Login> {
        let fits = |key: &str| {
            let (host, path) = key.split_once('/').unwrap_or((key, ""));
            let rest = repository.strip_prefix(path);
            host_fits(host, registry)
                && rest.is_some_and(|rest| path.is_empty() || rest.is_empty() || rest.starts_with('/'))
        };
        let mut fitting: Vec<_> = self.entries.iter().filter(|(key, _)| fits(key)).collect();
        fitting.sort_by_key(|(key, _)| std::cmp::Reverse(key.len()));
        fitting.into_iter().map(|(_, login)| login).collect()
    }
}

/// `*` stands for any letters within one part of the name; a port must be the same.
fn host_fits(pattern: &str, host: &str) -> bool {
    let split = |text: &str| {
        let (name, port) = text.split_once(':').unwrap_or((text, ""));
        (name.to_owned(), port.to_owned())
    };
    let ((pattern, pattern_port), (name, port)) = (split(pattern), split(host));
    let (patterns, parts): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), name.split('.').collect());
    pattern_port == port
        && patterns.len() == parts.len()
        && patterns
            .iter()
            .zip(&parts)
            .all(|(pattern, part)| part_fits(pattern, part))
}

fn part_fits(pattern: &str, part: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == part;
    };
    let Some(mut left) = part.strip_prefix(first) else {
        return false;
    };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        match left.find(piece) {
            Some(at) => left = &left[at + piece.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

impl Auth {
    fn login(self) -> Result<Option<Login>, &'static str> {
        if !self.registrytoken.is_empty() {
            return Ok(Some(Login::Bearer(self.registrytoken)));
        }
        if !self.identitytoken.is_empty() {
            return Ok(Some(Login::Identity(self.identitytoken)));
        }
        if !self.username.is_empty() {
            return Ok(Some(Login::Basic {
                username: self.username,
                password: self.password,
            }));
        }
        if self.auth.is_empty() {
            return Ok(None);
        }
        let decoded = STANDARD
            .decode(self.auth.trim())
            .map_err(|_| "an \"auth\" that is not base64")?;
        let text = String::from_utf8(decoded).map_err(|_| "an \"auth\" that is not text")?;
        let (username, password) = text
            .split_once(':')
            .ok_or("an \"auth\" that is not user:password")?;
        Ok(Some(Login::Basic {
            username: username.to_owned(),
            password: password.trim_end_matches('\0').to_owned(),
        }))
    }
}

/// `https://index.docker.io/v1/` and the like to what references say: `docker.io`.
fn registry_key(key: &str) -> String {
    let bare = key
        .strip_prefix("https://")
        .or(key.strip_prefix("http://"))
        .unwrap_or(key);
    let bare = bare.trim_end_matches('/');
    let bare = bare
        .strip_suffix("/v1")
        .or(bare.strip_suffix("/v2"))
        .unwrap_or(bare);
    match bare {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(json: &str, registry: &str, repository: &str) -> String {
        let credentials = Credentials::parse(json.as_bytes()).expect("parse");
        let names = credentials
            .lookup(registry, repository)
            .into_iter()
            .map(|login| match login {
                Login::Basic { username, password } => format!("{username}:{password}"),
                Login::Bearer(token) => format!("token {token}"),
                Login::Identity(token) => format!("identity {token}"),
            });
        names.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn docker_configs_are_understood() {
        let json = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "dTpwOnc="},
            "localhost:5000": {"username": "a", "password": "b"},
            "acr.example": {"auth": "MDAwMDo=", "identitytoken": "i"}, "*.k*s.example": {"auth": "eDp5"},
            "ghcr.io": {"auth": "eDp5"}, "ghcr.io/team": {"registrytoken": "t"}, "empty.io": {}
        }, "credsStore": "x"}"#;
        assert_eq!(users(json, "docker.io", "library/visits"), "u:p:w");
        assert_eq!(users(json, "localhost:5000", "x"), "a:b");
        assert_eq!(users(json, "ghcr.io", "team/x"), "token t x:y");
        assert_eq!(users(json, "ghcr.io", "teams/x"), "x:y");
        assert_eq!(users(json, "empty.io", "x"), "");
        assert_eq!(users(json, "acr.example", "x"), "identity i");
        assert_eq!(users(json, "a.k8s.example", "x"), "x:y");
        for other in [
            "k8s.example",
            "a.b.k8s.example",
            "a.k8.example",
            "a.k8s.example:5000",
        ] {
            assert_eq!(users(json, other, "x"), "", "{other}");
        }
        assert_eq!(users(r#"{"old.io": {"auth": "eDp5"}}"#, "old.io", "x"), "x:y");
    }

    #[test]
    fn errors_name_the_place_and_never_the_secret() {
        for json in [
            "{",
            "[]",
            r#"{"auths": 3}"#,
            r#"{"auths": {"r.io": {"auth": "%secret%"}}}"#,
        ] {
            let error = Credentials::parse(json.as_bytes()).expect_err("refused");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
