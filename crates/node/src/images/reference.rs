//! Image names as Docker and Kubernetes users write them, and their one canonical form.
//! Source: the `distribution/reference` grammar; kubelet applies the tag `latest` and lets a digest win over a tag.

use super::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

const DEFAULT_REGISTRY: &str = "docker.io";
const MAX_NAME_BYTES: usize = 255;
const MAX_TAG_BYTES: usize = 128;

/// A sha256 digest; holds the 64 lower-case hex digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(String);

impl Digest {
    /// Accepts `sha256:<64 hex>` only: it is the one algorithm that registries use.
    pub fn parse(text: &str) -> Option<Digest> {
        let hex = text.strip_prefix("sha256:")?;
        let valid = hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        valid.then(|| Digest(hex.to_owned()))
    }

    pub fn of(bytes: &[u8]) -> Digest {
        use sha2::Digest as _;
        Digest::from_hash(&sha2::Sha256::digest(bytes))
    }

    pub(crate) fn from_hash(hash: &[u8]) -> Digest {
        Digest(hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    pub fn hex(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A parsed name. `Display` prints the canonical form: `docker.io/library/visits:1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// `docker.io`, `localhost:5000`, ...
    pub registry: String,
    /// `library/visits`
    pub repository: String,
    pub version: Version,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    Tag(String),
    Digest(Digest),
}

impl Reference {
    /// Registry and repository without tag or digest, as in repo digests: `docker.io/library/visits`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// True for `:latest` and for no tag at all: the default pull policy is then `Always`.
    pub fn is_latest(&self) -> bool {
        matches!(&self.version, Version::Tag(tag) if tag == "latest")
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Version::Tag(tag) => write!(f, "{}/{}:{tag}", self.registry, self.repository),
            Version::Digest(digest) => write!(f, "{}/{}@{digest}", self.registry, self.repository),
        }
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Reference> {
        parse(text).map_err(|why| Error::InvalidName {
            name: text.to_owned(),
            why,
        })
    }
}

fn parse(text: &str) -> std::result::Result<Reference, String> {
    if text.is_empty() {
        return Err("the name is empty".to_owned());
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => {
            let parsed = Digest::parse(digest)
                .ok_or_else(|| format!("digest {digest:?} is not sha256: and 64 hex digits"))?;
            (rest, Some(parsed))
        }
        None => (text, None),
    };
    // A colon after the last slash starts a tag; one before it is a registry's port.
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    let (registry, repository) = split_registry(name);
    check_registry(&registry)?;
    let repository = match registry == DEFAULT_REGISTRY && !repository.contains('/') {
        true => format!("library/{repository}"),
        false => repository,
    };
    check_repository(&repository)?;
    if registry.len() + 1 + repository.len() > MAX_NAME_BYTES {
        return Err(format!(
            "repository name must not be more than {MAX_NAME_BYTES} characters"
        ));
    }
    let version = match digest {
        Some(digest) => Version::Digest(digest),
        None => Version::Tag(tag.unwrap_or("latest").to_owned()),
    };
    Ok(Reference {
        registry,
        repository,
        version,
    })
}

/// The first component is a registry when it has a dot or a port, or is `localhost`.
fn split_registry(name: &str) -> (String, String) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.chars().any(char::is_uppercase) =>
        {
            let registry = match first {
                "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY,
                other => other,
            };
            (registry.to_owned(), rest.to_owned())
        }
        _ => (DEFAULT_REGISTRY.to_owned(), name.to_owned()),
    }
}

fn check_registry(registry: &str) -> std::result::Result<(), String> {
    let bad = || {
        Err(format!(
            "registry {registry:?} is not a host name with an optional port"
        ))
    };
    let (host, port) = match registry.strip_prefix('[') {
        Some(v6) => match v6.split_once(']') {
            Some((host, port)) if host.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') => {
                ("v6", port.strip_prefix(':'))
            }
            _ => return bad(),
        },
        None => match registry.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (registry, None),
        },
    };
    let label_ok = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !host.split('.').all(label_ok) || port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return bad();
    }
    Ok(())
}

fn check_repository(repository: &str) -> std::result::Result<(), String> {
    if repository.chars().any(|c| c.is_ascii_uppercase()) {
        return Err(format!("repository name ({repository}) must be lowercase"));
    }
    match repository.split('/').all(component_ok) {
        true => Ok(()),
        false => Err(format!(
            "repository name {repository:?} may have lower-case letters, digits and the separators . _ __ - between them"
        )),
    }
}

/// `[a-z0-9]+` groups joined by one of `.`, `_`, `__` or any number of `-`.
fn component_ok(component: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends_ok = bytes.first().is_some_and(|b| alnum(*b)) && bytes.last().is_some_and(|b| alnum(*b));
    ends_ok
        && component
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|separator| {
                matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
            })
}

fn check_tag(tag: &str) -> std::result::Result<(), String> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let ok = tag.len() <= MAX_TAG_BYTES
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-');
    match ok {
        true => Ok(()),
        false => Err(format!(
            "tag {tag:?} must be 1 to {MAX_TAG_BYTES} letters, digits, _ . - and not begin with . or -"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        match text.parse::<Reference>() {
            Ok(reference) => reference.to_string(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn names_become_canonical() {
        let hex = "a".repeat(64);
        for (given, want) in [
            ("visits", "docker.io/library/visits:latest"),
            ("visits:1", "docker.io/library/visits:1"),
            ("docker.io/visits:1", "docker.io/library/visits:1"),
            ("docker.io/library/visits:1", "docker.io/library/visits:1"),
            ("index.docker.io/library/visits:1", "docker.io/library/visits:1"),
            ("team/visits", "docker.io/team/visits:latest"),
            ("localhost/x", "localhost/x:latest"),
            ("localhost:5000/x:2", "localhost:5000/x:2"),
            ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest"),
            ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
            ("ghcr.io/a__b/c-d--e.f:V1.0-x_y", "ghcr.io/a__b/c-d--e.f:V1.0-x_y"),
            ("[::1]:5000/x:1", "[::1]:5000/x:1"),
        ] {
            assert_eq!(canonical(given), want, "{given}");
            assert_eq!(canonical(want), want, "canonical form is a fixed point");
        }
        let both = canonical(&format!("visits:1@sha256:{hex}"));
        assert_eq!(both, format!("docker.io/library/visits@sha256:{hex}"));
    }

    #[test]
    fn bad_names_say_why() {
        for bad in [
            "",
            ":1",
            "/x",
            "x/",
            "x//y",
            "Visits:1",
            "visits:",
            "visits:-1",
            "a..b",
            "a_-b",
            "-a",
            "x@sha256:12",
            "x@md5:00",
            "x y",
            "localhost:99999/x",
            "ho st.io/x",
            "https://docker.io/x",
            "x:1:2",
            "../x",
            "é",
        ] {
            let text = canonical(bad);
            assert!(text.contains("invalid reference format"), "{bad:?} gave {text}");
        }
        assert_eq!(
            canonical("Visits:1"),
            "error: couldn't parse image name \"Visits:1\": invalid reference format: repository name (library/Visits) must be lowercase"
        );
    }
}
