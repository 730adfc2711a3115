//! Query strings and delete bodies as options, checked in upstream's words.

use meta::client::FieldValidation;
use meta::{Errors, Options, Path, Propagation, Status};
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// A decoded query: names and values in order.
#[derive(Debug, Default, Clone)]
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(raw: &str) -> Self {
        let decode = |text: &str| {
            let spaced = text.replace('+', " ");
            percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
        };
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(name), decode(value))
        };
        Self(raw.split('&').filter(|p| !p.is_empty()).map(pair).collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// Upstream's reading of booleans in queries: there without a value is true.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|v| !matches!(v, "false" | "0" | "False" | "FALSE" | "f" | "F"))
    }

    pub fn number(&self, name: &str) -> Result<Option<i64>, Status> {
        match self.get(name) {
            None | Some("") => Ok(None),
            Some(text) => match text.parse() {
                Ok(n) => Ok(Some(n)),
                Err(_) => Err(Status::bad_request(format!(
                    "strconv.ParseInt: parsing {text:?}: invalid syntax: the query parameter {name} is not a whole number"
                ))),
            },
        }
    }
}

/// The options of any verb; which of them matter is the verb's. `kind` is what errors call them: `CreateOptions`, …
pub fn of_query(query: &Query, kind: &str) -> Result<Options, Status> {
    let mut errors = Errors::new();
    let mut options = Options {
        field_manager: query.text("fieldManager").to_string(),
        force: query.flag("force"),
        label_selector: query.text("labelSelector").to_string(),
        field_selector: query.text("fieldSelector").to_string(),
        continue_token: query.text("continue").to_string(),
        resource_version: query.text("resourceVersion").to_string(),
        resource_version_match: query.text("resourceVersionMatch").to_string(),
        ..Options::default()
    };
    options.dry_run = dry_run(query.all("dryRun"), &mut errors);
    match query.text("fieldValidation") {
        "" | "Warn" => {}
        "Ignore" => options.field_validation = FieldValidation::Ignore,
        "Strict" => options.field_validation = FieldValidation::Strict,
        other => {
            let field = Path::new("fieldValidation");
            errors.not_supported(&field, other, &["", "Ignore", "Strict", "Warn"]);
        }
    }
    options.propagation = propagation(query.text("propagationPolicy"), &mut errors);
    // Wherever it stands: a word where a number belongs is a mistake.
    query.number("timeoutSeconds")?;
    if query.get("sendInitialEvents").is_some() && !query.flag("watch") {
        errors.forbidden(
            &Path::new("sendInitialEvents"),
            "sendInitialEvents is forbidden for list",
        );
    }
    if options.propagation.is_some() && query.get("orphanDependents").is_some() {
        let detail = "orphanDependents and deletionPropagation cannot be both set";
        errors.invalid(
            &Path::new("propagationPolicy"),
            query.text("propagationPolicy"),
            detail,
        );
    }
    if let Some(orphan) = query.get("orphanDependents") {
        options.propagation = Some(if orphan == "true" {
            Propagation::Orphan
        } else {
            Propagation::Background
        });
    }
    options.grace_seconds = grace(query.number("gracePeriodSeconds")?);
    options.limit = query.number("limit")?.unwrap_or(0).max(0) as usize;
    finish(options, &errors, "meta.k8s.io", kind)
}

fn finish(options: Options, errors: &Errors, group: &str, kind: &str) -> Result<Options, Status> {
    if errors.is_empty() {
        Ok(options)
    } else {
        Err(Status::invalid(group, kind, "", errors))
    }
}

fn dry_run<'a>(values: impl Iterator<Item = &'a str>, errors: &mut Errors) -> bool {
    let mut on = false;
    for value in values {
        match value {
            "All" => on = true,
            "" => {}
            other => errors.not_supported(&Path::new("dryRun"), other, &["All"]),
        }
    }
    on
}

fn propagation(text: &str, errors: &mut Errors) -> Option<Propagation> {
    match text {
        "" => None,
        "Background" => Some(Propagation::Background),
        "Foreground" => Some(Propagation::Foreground),
        "Orphan" => Some(Propagation::Orphan),
        other => {
            let field = Path::new("propagationPolicy");
            errors.not_supported(&field, other, &["Background", "Foreground", "Orphan"]);
            None
        }
    }
}

/// A negative grace period means one second, as upstream reads it.
fn grace(seconds: Option<i64>) -> Option<i64> {
    seconds.map(|seconds| if seconds < 0 { 1 } else { seconds })
}

/// `DeleteOptions` in a body, on top of those in the query. `null` changes nothing.
pub fn of_delete_body(body: &Value, mut options: Options) -> Result<Options, Status> {
    if body.is_null() {
        return Ok(options);
    }
    let wrong = |field: &str, wanted: &str| {
        Status::bad_request(format!(
            "DeleteOptions cannot be handled: json: cannot unmarshal into Go struct field DeleteOptions.{field} of type {wanted}"
        ))
    };
    let map = body.as_object().ok_or_else(|| wrong("", "DeleteOptions"))?;
    let present = |field: &str| map.get(field).filter(|v| !v.is_null());
    if let Some(kind) = present("kind")
        && kind != "DeleteOptions"
    {
        return Err(Status::bad_request(format!(
            "no kind {kind} is known as the options of a delete"
        )));
    }
    let mut errors = Errors::new();
    if let Some(seconds) = present("gracePeriodSeconds") {
        let seconds = seconds.as_i64();
        options.grace_seconds = grace(Some(seconds.ok_or_else(|| wrong("gracePeriodSeconds", "int64"))?));
    }
    if let Some(policy) = present("propagationPolicy") {
        let policy = policy
            .as_str()
            .ok_or_else(|| wrong("propagationPolicy", "string"))?;
        options.propagation = propagation(policy, &mut errors);
    }
    if let Some(orphan) = present("orphanDependents") {
        let orphan = orphan
            .as_bool()
            .ok_or_else(|| wrong("orphanDependents", "bool"))?;
        if present("propagationPolicy").is_some() {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            errors.invalid(
                &Path::new("propagationPolicy"),
                body["propagationPolicy"].clone(),
                detail,
            );
        }
        options.propagation = Some(if orphan {
            Propagation::Orphan
        } else {
            Propagation::Background
        });
    }
    if let Some(list) = present("dryRun") {
        let list = list.as_array().ok_or_else(|| wrong("dryRun", "[]string"))?;
        options.dry_run |= dry_run(list.iter().map(|v| v.as_str().unwrap_or("null")), &mut errors);
    }
    preconditions(present("preconditions"), &mut options)?;
    finish(options, &errors, "meta.k8s.io", "DeleteOptions")
}

fn preconditions(given: Option<&Value>, options: &mut Options) -> Result<(), Status> {
    let Some(given) = given else { return Ok(()) };
    // Read past, it would delete what the caller wanted to be spared.
    if !given.is_object() {
        return Err(Status::bad_request("preconditions is not an object"));
    }
    let text = |field: &str| match given.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Status::bad_request(format!(
            "preconditions.{field} is not a string"
        ))),
    };
    if let Some(uid) = text("uid")? {
        options.uid = Some(uid);
    }
    if let Some(revision) = text("resourceVersion")? {
        options.revision = crate::core::page::parse_revision(&revision)?;
    }
    Ok(())
}
