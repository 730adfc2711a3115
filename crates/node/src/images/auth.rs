//! Registry credentials in the two forms that users have: `~/.docker/config.json` and `imagePullSecrets`
//! (`kubernetes.io/dockerconfigjson`, and the old `kubernetes.io/dockercfg`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::BTreeMap;

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
    Basic { username: String, password: String },
    Bearer(String),
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

    /// One set of credentials after the other: the first that fits is used first.
    pub fn merge(&mut self, others: Credentials) {
        self.entries.extend(others.entries);
    }

    /// Those to be tried for an image, the most specific first. Keys may name a path (`ghcr.io/team`).
    pub fn lookup(&self, registry: &str, repository: &str) -> Vec<&Login> {
        let full = format!("{registry}/{repository}");
        let fits =
            |key: &str| full == key || full.strip_prefix(key).is_some_and(|rest| rest.starts_with('/'));
        let mut fitting: Vec<_> = self.entries.iter().filter(|(key, _)| fits(key)).collect();
        fitting.sort_by_key(|(key, _)| std::cmp::Reverse(key.len()));
        fitting.into_iter().map(|(_, login)| login).collect()
    }
}

impl Auth {
    fn login(self) -> Result<Option<Login>, &'static str> {
        if !self.registrytoken.is_empty() {
            return Ok(Some(Login::Bearer(self.registrytoken)));
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
            });
        names.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn docker_configs_are_understood() {
        let json = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "dTpwOnc="},
            "localhost:5000": {"username": "a", "password": "b"},
            "ghcr.io": {"auth": "eDp5"}, "ghcr.io/team": {"registrytoken": "t"}, "empty.io": {}
        }, "credsStore": "x"}"#;
        assert_eq!(users(json, "docker.io", "library/visits"), "u:p:w");
        assert_eq!(users(json, "localhost:5000", "x"), "a:b");
        assert_eq!(users(json, "ghcr.io", "team/x"), "token t x:y");
        assert_eq!(users(json, "ghcr.io", "teams/x"), "x:y");
        assert_eq!(users(json, "empty.io", "x"), "");
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
