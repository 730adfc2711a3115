//! What is wrong with a priority level.

use super::{SHARES, initial};
use crate::check::in_range;
use crate::internal;
use crate::json::{at, get, has, int, number, put, some, string, take};
use crate::row::text;
use meta::{Errors, Path};
use serde_json::Value;

const TYPE: &str = "PriorityLevelConfigurationSpec";
const QUEUES_MAX: i64 = 10_000_000;
/// Bits of a request's hash, from which its hand of queues is dealt.
const HASH_BITS: i64 = 60;
/// What an older version keeps on objects of this one; it is none of theirs.
const ZERO_SHARES: &str = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares";

pub(super) fn level(object: &Value, errors: &mut Errors) {
    let (spec, path) = (get(object, "spec"), Path::new("spec"));
    let name = text(object, "/metadata/name");
    if has(at(object, "/metadata/annotations"), ZERO_SHARES) {
        let detail = format!("annotation '{ZERO_SHARES}' is forbidden");
        errors.forbidden(&Path::new("metadata").child("annotations"), &detail);
    }
    let kind = string(spec, "type");
    if (name == "exempt") != (kind == "Exempt") {
        let detail = "must be 'Exempt' if and only if `name` is 'exempt'";
        errors.invalid(&path.child("type"), kind, detail);
    }
    parts(spec, kind, &path, errors);
    mandatory(spec, name, &path, errors);
}

fn parts(spec: &Value, kind: &str, path: &Path, errors: &mut Errors) {
    let (limited, exempt) = (some(spec, "limited"), some(spec, "exempt"));
    match kind {
        "Exempt" => {
            if limited.is_some() {
                let detail = "must be nil if the type is not Limited";
                errors.forbidden(&path.child("limited"), detail);
            }
            if let Some(exempt) = exempt {
                let path = path.child("exempt");
                shares(exempt, &path, errors);
                lendable(exempt, &path, errors);
            }
        }
        "Limited" => {
            if exempt.is_some() {
                let detail = "must be nil if the type is Limited";
                errors.forbidden(&path.child("exempt"), detail);
            }
            let path = path.child("limited");
            match limited {
                None => errors.required(&path, "must not be empty when type is Limited"),
                Some(limited) => check_limited(limited, &path, errors),
            }
        }
        "" => errors.required(&path.child("type"), ""),
        other => errors.not_supported(&path.child("type"), other, &["Exempt", "Limited"]),
    }
}

fn shares(level: &Value, path: &Path, errors: &mut Errors) {
    if let Some(shares) = int(level, SHARES).filter(|shares| *shares < 0) {
        errors.invalid(&path.child(SHARES), shares, "must be a non-negative integer");
    }
}

fn lendable(level: &Value, path: &Path, errors: &mut Errors) {
    if let Some(percent) = int(level, "lendablePercent") {
        in_range(percent, 0, 100, &path.child("lendablePercent"), errors);
    }
}

fn check_limited(limited: &Value, path: &Path, errors: &mut Errors) {
    shares(limited, path, errors);
    response(
        get(limited, "limitResponse"),
        &path.child("limitResponse"),
        errors,
    );
    lendable(limited, path, errors);
    let field = "borrowingLimitPercent";
    if let Some(percent) = int(limited, field).filter(|percent| *percent < 0) {
        let detail = "if specified, must be a non-negative integer";
        errors.invalid(&path.child(field), percent, detail);
    }
}

/// What happens to requests beyond the limit.
fn response(response: &Value, path: &Path, errors: &mut Errors) {
    let (queuing, at) = (some(response, "queuing"), path.child("queuing"));
    match (string(response, "type"), queuing) {
        ("Reject", None) => {}
        ("Reject", Some(_)) => {
            errors.forbidden(&at, "must be nil if limited.limitResponse.type is not Limited");
        }
        ("Queue", None) => {
            errors.required(&at, "must not be empty if limited.limitResponse.type is Limited");
        }
        ("Queue", Some(queuing)) => queues(queuing, &at, errors),
        ("", _) => errors.required(&path.child("type"), ""),
        (other, _) => errors.not_supported(&path.child("type"), other, &["Queue", "Reject"]),
    }
}

fn queues(queuing: &Value, path: &Path, errors: &mut Errors) {
    let [length, queues, hand] = ["queueLengthLimit", "queues", "handSize"].map(|f| number(queuing, f));
    if length <= 0 {
        errors.invalid(&path.child("queueLengthLimit"), length, "must be positive");
    }
    if queues <= 0 {
        errors.invalid(&path.child("queues"), queues, "must be positive");
    } else if queues > QUEUES_MAX {
        let detail = format!("must not be greater than {QUEUES_MAX}");
        errors.invalid(&path.child("queues"), queues, &detail);
    }
    let path = path.child("handSize");
    if hand <= 0 {
        errors.invalid(&path, hand, "must be positive");
    } else if hand > queues {
        let detail = format!("should not be greater than queues ({queues})");
        errors.invalid(&path, hand, &detail);
    } else if entropy_bits(queues, hand) > HASH_BITS {
        let detail = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS}"
        );
        errors.invalid(&path, hand, &detail);
    }
}

/// Bits that it takes to deal a hand of so many queues.
fn entropy_bits(queues: i64, hand: i64) -> i64 {
    // Both were held to limits that a float takes exactly.
    ((queues as f64).log2() * hand as f64).ceil() as i64
}

/// Two levels must be as they are; of one, a part may be changed.
fn mandatory(spec: &Value, name: &str, path: &Path, errors: &mut Errors) {
    let Some(fixed) = initial::mandatory(name) else {
        return;
    };
    let nothing = Value::Object(serde_json::Map::new());
    let spec = if spec.is_null() { &nothing } else { spec };
    let (mut compared, fixed) = (spec.clone(), get(&fixed, "spec"));
    let free = if name == "exempt" {
        take(&mut compared, "exempt");
        put(&mut compared, "exempt", get(fixed, "exempt").clone());
        " except the 'spec.exempt' field"
    } else {
        ""
    };
    if !internal::same(TYPE, &compared, fixed) {
        let detail = format!("spec of '{name}'{free} must equal the fixed value");
        errors.invalid(path, internal::shown(TYPE, spec), &detail);
    }
}
