//! Which revision a LIST reads, and where its page starts (`limit`, `continue`, `resourceVersion`, `…Match`).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use meta::{Errors, Options, Path, Status};

/// The revision that a read asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Newest,
    AtLeast(u64),
    Exactly(u64),
}

const EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter.";

/// Checks the options that choose a revision; all errors at once.
pub fn wanted(options: &Options) -> Result<Wanted, Status> {
    let rv = parse_revision(&options.resource_version)?;
    if !options.continue_token.is_empty() {
        if !matches!(options.resource_version.as_str(), "" | "0") {
            let text = "specifying resource version is not allowed when using continue";
            return Err(Status::bad_request(text));
        }
        return Ok(Wanted::Exactly(parse_token(&options.continue_token)?.0));
    }
    check_match(options)?;
    Ok(match (options.resource_version_match.as_str(), rv) {
        ("Exact", Some(rv)) => Wanted::Exactly(rv),
        (_, None | Some(0)) => Wanted::Newest,
        ("", Some(rv)) if options.limit > 0 => Wanted::Exactly(rv),
        (_, Some(rv)) => Wanted::AtLeast(rv),
    })
}

fn check_match(options: &Options) -> Result<(), Status> {
    let mut errors = Errors::new();
    let field = Path::new("resourceVersionMatch");
    match options.resource_version_match.as_str() {
        "" => {}
        "Exact" | "NotOlderThan" if options.resource_version.is_empty() => {
            let detail = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            errors.forbidden(&field, detail);
        }
        "Exact" if options.resource_version == "0" => {
            let detail = "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"";
            errors.forbidden(&field, detail);
        }
        "Exact" | "NotOlderThan" => {}
        other => errors.not_supported(&field, other, &["Exact", "NotOlderThan", ""]),
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Status::invalid("meta.k8s.io", "ListOptions", "", &errors))
    }
}

pub fn parse_revision(text: &str) -> Result<Option<u64>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse() {
        Ok(revision) => Ok(Some(revision)),
        Err(_) => Err(Status::bad_request(format!(
            "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))),
    }
}

/// The key after which the page starts; empty for the first page.
pub fn start(options: &Options) -> Result<String, Status> {
    if options.continue_token.is_empty() {
        return Ok(String::new());
    }
    Ok(parse_token(&options.continue_token)?.1)
}

/// What `metadata.continue` says: revision and last key.
pub fn token(revision: u64, last: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{revision}:{last}"))
}

fn parse_token(token: &str) -> Result<(u64, String), Status> {
    let invalid = || Status::bad_request(format!("continue key is not valid: {token:?}"));
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
    let text = String::from_utf8(bytes).map_err(|_| invalid())?;
    let (revision, key) = text.split_once(':').ok_or_else(invalid)?;
    Ok((revision.parse().map_err(|_| invalid())?, key.to_string()))
}

/// 410 for a page or an exact list whose revision is gone.
pub fn expired(options: &Options) -> Status {
    if options.continue_token.is_empty() {
        Status::expired("The resourceVersion for the provided list is too old.")
    } else {
        Status::expired(EXPIRED)
    }
}
