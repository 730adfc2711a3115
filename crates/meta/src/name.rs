//! The rules for names, label keys and values, with upstream's wording of what is wrong.
//! Each `check_*` returns the messages (empty when all is well), as `k8s.io/apimachinery/pkg/util/validation` does.

const LABEL_FMT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const LABEL_MSG: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
const SUBDOMAIN_MSG: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const UNDERSCORE_FMT: &str = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
const UNDERSCORE_MSG: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character";
const DNS1035_FMT: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const DNS1035_MSG: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
const QUALIFIED_FMT: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const QUALIFIED_MSG: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const LABEL_VALUE_FMT: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";
const LABEL_VALUE_MSG: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

pub const LABEL_MAX: usize = 63;
pub const SUBDOMAIN_MAX: usize = 253;

/// What a text must be, with examples and the pattern.
pub fn regex_error(msg: &str, fmt: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{msg} (regex used for validation is '{fmt}')");
    }
    let list = examples
        .iter()
        .map(|e| format!("'{e}'"))
        .collect::<Vec<_>>()
        .join(",  or "); // two spaces, as upstream prints it
    format!("{msg} (e.g. {list}, regex used for validation is '{fmt}')")
}

/// What is said of names; label keys and values count in bytes (`max_bytes_error`).
pub fn max_len_error(limit: usize) -> String {
    format!("must be no more than {limit} characters")
}

pub fn max_bytes_error(limit: usize) -> String {
    format!("must be no more than {limit} bytes")
}

fn lower_alnum(c: u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    let b = text.as_bytes();
    !b.is_empty()
        && lower_alnum(b[0])
        && lower_alnum(b[b.len() - 1])
        && b.iter().all(|&c| lower_alnum(c) || c == b'-')
}

fn is_qualified_part(text: &str) -> bool {
    let b = text.as_bytes();
    let inner = |&c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    !b.is_empty()
        && b[0].is_ascii_alphanumeric()
        && b[b.len() - 1].is_ascii_alphanumeric()
        && b.iter().all(inner)
}

/// Names of Services' ports, namespaces, containers.
pub fn check_dns1123_label(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > LABEL_MAX {
        errors.push(max_len_error(LABEL_MAX));
    }
    if !is_label(text) {
        if is_subdomain(text) {
            errors.push("must not contain dots".to_string());
        } else {
            errors.push(regex_error(LABEL_MSG, LABEL_FMT, &["my-name", "123-abc"]));
        }
    }
    errors
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

/// Names of most objects.
pub fn check_dns1123_subdomain(text: &str) -> Vec<String> {
    let mut errors = too_long_for_subdomain(text);
    if !is_subdomain(text) {
        let fmt = format!("{LABEL_FMT}(\\.{LABEL_FMT})*");
        errors.push(regex_error(SUBDOMAIN_MSG, &fmt, &["example.com"]));
    }
    errors
}

fn too_long_for_subdomain(text: &str) -> Vec<String> {
    let long = text.len() > SUBDOMAIN_MAX;
    long.then(|| max_len_error(SUBDOMAIN_MAX)).into_iter().collect()
}

/// Search domains, where underscores stand before services' names.
pub fn check_dns1123_subdomain_with_underscores(text: &str) -> Vec<String> {
    let mut errors = too_long_for_subdomain(text);
    let inner = |c: &u8| lower_alnum(*c) || matches!(c, b'-' | b'_');
    let edge = |c: Option<&u8>| c.is_some_and(|c| lower_alnum(*c));
    let part = |part: &str| {
        let b = part.strip_prefix('_').unwrap_or(part).as_bytes();
        edge(b.first()) && edge(b.last()) && b.iter().all(inner)
    };
    if !text.split('.').all(part) {
        let fmt = format!("{UNDERSCORE_FMT}(\\.{UNDERSCORE_FMT})*");
        errors.push(regex_error(UNDERSCORE_MSG, &fmt, &["example.com"]));
    }
    errors
}

/// Names of Services once, and still of what is made for them.
pub fn check_dns1035_label(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > LABEL_MAX {
        errors.push(max_len_error(LABEL_MAX));
    }
    if !is_label(text) || !text.as_bytes()[0].is_ascii_lowercase() {
        errors.push(regex_error(DNS1035_MSG, DNS1035_FMT, &["my-name", "abc-123"]));
    }
    errors
}

/// Label and annotation keys, finalizers, condition types: `prefix/name`.
pub fn check_qualified_name(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let examples = ["MyName", "my.name", "123-abc"];
    let name = match text.split_once('/') {
        None => text,
        Some((_, rest)) if rest.contains('/') => {
            let shape =
                "a valid label key ".to_string() + &regex_error(QUALIFIED_MSG, QUALIFIED_FMT, &examples);
            errors.push(shape + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')");
            return errors;
        }
        Some((prefix, name)) => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".to_string());
            } else {
                // Here alone its length is told in bytes.
                let in_bytes = |e: String| match e == max_len_error(SUBDOMAIN_MAX) {
                    true => max_bytes_error(SUBDOMAIN_MAX),
                    false => e,
                };
                let wrong = check_dns1123_subdomain(prefix).into_iter().map(in_bytes);
                errors.extend(wrong.map(|e| format!("prefix part {e}")));
            }
            name
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_string());
    } else if name.len() > LABEL_MAX {
        errors.push(format!("name part {}", max_bytes_error(LABEL_MAX)));
    }
    if !is_qualified_part(name) {
        errors.push(format!(
            "name part {}",
            regex_error(QUALIFIED_MSG, QUALIFIED_FMT, &examples)
        ));
    }
    errors
}

pub fn check_label_value(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > LABEL_MAX {
        errors.push(max_bytes_error(LABEL_MAX));
    }
    if !text.is_empty() && !is_qualified_part(text) {
        errors.push(regex_error(
            LABEL_VALUE_MSG,
            LABEL_VALUE_FMT,
            &["MyValue", "my_value", "12345"],
        ));
    }
    errors
}

/// A base of generated names may end in a dash: the suffix comes after it. Upstream takes the character before it, too.
pub fn mask_trailing_dash(text: &str) -> String {
    match text.strip_suffix('-') {
        Some(base) if !base.is_empty() => match base.get(..base.len() - 1) {
            Some(start) => format!("{start}a"),
            None => text.to_string(),
        },
        _ => text.to_string(),
    }
}

/// Names that are one segment of a path: RBAC objects and the like.
pub fn check_path_segment(text: &str) -> Vec<String> {
    if text == "." || text == ".." {
        return vec![format!("may not be '{text}'")];
    }
    ["/", "%"]
        .iter()
        .filter(|c| text.contains(**c))
        .map(|c| format!("may not contain '{c}'"))
        .collect()
}

/// Where a version stands in Kubernetes' order of versions: stable before beta before alpha, higher numbers first; the
/// greatest comes first.
pub fn version_rank(version: &str) -> (u8, u32, u32) {
    let Some(rest) = version.strip_prefix('v') else {
        return (0, 0, 0);
    };
    let (stability, major, minor) = match (rest.split_once("beta"), rest.split_once("alpha")) {
        (Some((major, minor)), _) => (2, major, minor),
        (None, Some((major, minor))) => (1, major, minor),
        (None, None) => (3, rest, "0"),
    };
    match (major.parse(), minor.parse()) {
        (Ok(major), Ok(minor)) => (stability, major, minor),
        _ => (0, 0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_kubernetes_order() {
        let mut versions = [
            "v1alpha1", "v2beta1", "foo", "v1", "v10", "v2", "v11beta2", "v1beta1",
        ];
        versions.sort_by_key(|v| std::cmp::Reverse(version_rank(v)));
        let wanted = [
            "v10", "v2", "v1", "v11beta2", "v2beta1", "v1beta1", "v1alpha1", "foo",
        ];
        assert_eq!(versions, wanted);
    }
}
