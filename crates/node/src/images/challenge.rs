//! `WWW-Authenticate` as registries send it: which ways of authorization they offer. Pure.
//! Source: RFC 9110 section 11.6.1; the distribution project's token authentication specification.

use std::collections::BTreeMap;

/// Challenges of one answer that are looked at; registries send one or two.
const MAX_CHALLENGES: usize = 16;

/// One way in that a registry offers.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Challenge {
    Basic,
    Bearer {
        /// URL of the token server.
        realm: String,
        service: Option<String>,
        scopes: Vec<String>,
        /// Why the token that was sent was not taken: `invalid_token`, `insufficient_scope`.
        error: Option<String>,
    },
}

/// The best of all challenges: Bearer before Basic, as containerd does. What is neither is passed over.
pub(super) fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut found: Vec<Challenge> = headers.flat_map(parse).collect();
    let bearer = found.iter().position(|c| matches!(c, Challenge::Bearer { .. }));
    match bearer {
        Some(at) => Some(found.swap_remove(at)),
        None => found.pop(),
    }
}

fn parse(header: &str) -> Vec<Challenge> {
    let mut rest = header;
    let mut all: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    while all.len() <= MAX_CHALLENGES {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            break;
        }
        // A word before `=` is a parameter of the scheme before it; any other begins a new challenge.
        match after.trim_start_matches([' ', '\t']).strip_prefix('=') {
            Some(after) => {
                let (value, after) = value(after.trim_start_matches([' ', '\t']));
                if let Some((_, parameters)) = all.last_mut() {
                    parameters.insert(word.to_ascii_lowercase(), value);
                }
                rest = after;
            }
            None => {
                all.push((word.to_ascii_lowercase(), BTreeMap::new()));
                rest = after;
            }
        }
    }
    all.into_iter()
        .filter_map(|(scheme, mut parameters)| match scheme.as_str() {
            "basic" => Some(Challenge::Basic),
            "bearer" => Some(Challenge::Bearer {
                realm: parameters.remove("realm")?,
                service: parameters.remove("service"),
                scopes: parameters
                    .remove("scope")
                    .iter()
                    .flat_map(|scopes| scopes.split_whitespace())
                    .map(str::to_owned)
                    .collect(),
                error: parameters.remove("error"),
            }),
            _ => None,
        })
        .collect()
}

/// A token or a quoted string, and what comes after it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(headers: &[&str]) -> String {
        match choose(headers.iter().copied()) {
            None => "none".to_owned(),
            Some(Challenge::Basic) => "basic".to_owned(),
            Some(Challenge::Bearer {
                realm,
                service,
                scopes,
                error,
            }) => format!(
                "{realm} {} {scopes:?} {}",
                service.unwrap_or_default(),
                error.unwrap_or_default()
            ),
        }
    }

    #[test]
    fn challenges_of_known_registries() {
        for (headers, want) in [
            (
                &[
                    r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/x:pull""#,
                ][..],
                r#"https://auth.docker.io/token registry.docker.io ["repository:library/x:pull"] "#,
            ),
            (
                &[
                    r#"bearer realm="https://ghcr.io/token", service="ghcr.io", scope="repository:a/b:pull,push repository:c:pull", error="invalid_token""#,
                ],
                r#"https://ghcr.io/token ghcr.io ["repository:a/b:pull,push", "repository:c:pull"] invalid_token"#,
            ),
            (&[r#"Basic realm="x, y""#], "basic"),
            (
                &[r#"Basic realm="r", Bearer realm="https://t/",service=s"#],
                "https://t/ s [] ",
            ),
            (&["Negotiate", "BASIC"], "basic"),
            (&[r#"Bearer realm = "https://t/\"q\"""#], r#"https://t/"q"  [] "#),
            (&[r#"Bearer service="s""#], "none"),
            (&[r#"Bearer realm="open"#], "open  [] "),
            (&["", "=", ",,", "é=\"é\\", "Digest qop=\"auth\", a=b"], "none"),
        ] {
            assert_eq!(chosen(headers), want, "{headers:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_read_to_its_end(text in ".{0,200}") {
            choose([text.as_str()].into_iter());
        }
    }
}
