//! A good object and what becomes of it when it is changed here and there: each change a line of merge patch, below it all
//! that is said of it.

use crate::{decoded, errors, lines, now, prepared, rules};
use kinds::{Check, Write};
use meta::{Errors, Res};
use serde_json::Value;

fn merge(to: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else {
        *to = patch.clone();
        return;
    };
    if !to.is_object() {
        *to = Value::Object(serde_json::Map::new());
    }
    for (key, value) in members {
        match value {
            Value::Null => drop(to.as_object_mut().and_then(|map| map.remove(key))),
            value => merge(&mut to[key], value),
        }
    }
}

pub fn patched(base: &Value, patch: &Value) -> Value {
    let mut object = base.clone();
    merge(&mut object, patch);
    object
}

/// New objects. The base itself is good.
pub fn refused(res: Res, base: &Value, patches: &[Value]) -> String {
    assert_eq!(errors(res, base.clone()), "");
    let cases = patches.iter().map(|patch| {
        let said = errors(res, patched(base, patch));
        format!("{patch}\n{}", indented(&said))
    });
    cases.collect::<Vec<_>>().join("\n")
}

/// Updates of the object, or of its status, as the pipeline checks them.
pub fn changed(res: Res, write: Write, base: &Value, patches: &[Value]) -> String {
    let old = prepared(res, decoded(res, base.clone()));
    let cases = patches.iter().map(|patch| {
        let mut new = decoded(res, patched(&old, patch));
        let rules = rules(res);
        rules.default(&mut new);
        rules.prepare(write, &mut new, Some(&old), now());
        let mut found = Errors::new();
        for check in rules.update_checks(write) {
            match check {
                Check::Object => rules.validate_replacement(&new, &old, &mut found),
                Check::Change => rules.validate_update(write, &new, &old, &mut found),
                Check::Metadata | Check::MetadataChange => {}
            }
        }
        format!("{patch}\n{}", indented(&lines(&found)))
    });
    cases.collect::<Vec<_>>().join("\n")
}

fn indented(text: &str) -> String {
    let text = if text.is_empty() { "good" } else { text };
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// What a table shows of these, a line each.
pub fn table(res: Res, base: &Value, patches: &[Value]) -> String {
    let text = |cell: &Value| cell.as_str().map_or(cell.to_string(), String::from);
    let line = |patch: &Value| {
        let object = patched(base, patch);
        let cells = rules(res).cells(&object, now());
        cells.iter().map(text).collect::<Vec<_>>().join(" | ")
    };
    patches.iter().map(line).collect::<Vec<_>>().join("\n")
}
