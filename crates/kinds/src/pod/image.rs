//! Names of images, as far as their tag decides when they are pulled. Source: the reference grammar of the distribution
//! project (`[domain[:port]/]path[:tag][@digest]`).

/// Bytes of domain and path together.
const NAME_MAX: usize = 255;
const TAG_MAX: usize = 128;
/// Where images come from that name no registry.
const DEFAULT_DOMAIN: &str = "docker.io/";

/// What an image without a pull policy gets: what may move is pulled each time. A name that is none gets the other one.
pub(super) fn pull_policy(image: &str) -> &'static str {
    match tag(image) {
        Some("latest") => "Always",
        _ => "IfNotPresent",
    }
}

/// The tag of a name; `latest` when it has neither tag nor digest. `None` if it is no name.
fn tag(image: &str) -> Option<&str> {
    let is_id = image.len() == 64 && image.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if is_id {
        return None;
    }
    let (rest, digest) = match image.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (image, None),
    };
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return None;
    }
    let (domain, remote) = match rest.split_once('/') {
        Some((first, rest)) if is_domain_like(first) => (Some(first), rest),
        _ => (None, rest),
    };
    let (path, tag) = match remote.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (remote, None),
    };
    let bytes = domain.map_or(DEFAULT_DOMAIN.len(), |d| d.len() + 1) + path.len();
    let bytes = if domain.is_none() && !path.contains('/') {
        bytes + "library/".len()
    } else {
        bytes
    };
    let good = domain.is_none_or(is_domain)
        && path.split('/').all(is_component)
        && bytes <= NAME_MAX
        && tag.is_none_or(is_tag);
    match (good, tag, digest) {
        (false, _, _) => None,
        (true, None, None) => Some("latest"),
        (true, tag, _) => Some(tag.unwrap_or_default()),
    }
}

fn is_domain_like(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.contains(char::is_uppercase)
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => {
            let inside = !host.is_empty() && host.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
            if !inside {
                return false;
            }
            (
                "x",
                port.strip_prefix(':')
                    .or(if port.is_empty() { None } else { Some("") }),
            )
        }
        None => match domain.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (domain, None),
        },
    };
    let label = |part: &str| {
        let plain = part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        plain && !part.is_empty() && !part.starts_with('-') && !part.ends_with('-')
    };
    let digits = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    host.split('.').all(label) && port.is_none_or(digits)
}

/// Lower-case words between which there is `.`, `_`, `__` or any number of `-`.
fn is_component(part: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    if !ends.iter().all(|b| b.is_some_and(|b| is_word(*b))) {
        return false;
    }
    part.split(|c: char| c.is_ascii() && is_word(c as u8))
        .all(|between| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= TAG_MAX
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

/// `sha256:…`, at least 32 hexadecimal digits.
fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else {
        return false;
    };
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let length = match algorithm {
        "sha256" => hex.len() == 64,
        "sha384" => hex.len() == 96,
        "sha512" => hex.len() == 128,
        _ => hex.len() >= 32,
    };
    algorithm.split(['-', '_', '+', '.']).all(part) && length && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::pull_policy;

    #[test]
    fn what_may_move_is_pulled_each_time() {
        let digest = format!("a@sha256:{}", "0".repeat(64));
        let always = [
            "a",
            "a:latest",
            "x.y:5000/a/b",
            "localhost/a",
            "REG.io/a",
            "a__b--c",
        ];
        let (long, id) = ("a".repeat(248), "0".repeat(64));
        let once = [
            "a:1",
            &*digest,
            "A",
            "a b",
            "",
            "a:",
            "x.y:port/a",
            "a//b",
            "a-",
            &*long,
            &*id,
        ];
        for image in always {
            assert_eq!(pull_policy(image), "Always", "{image}");
        }
        for image in once {
            assert_eq!(pull_policy(image), "IfNotPresent", "{image}");
        }
    }
}
