//! What a pod gets from its runtime class: overhead, a choice of nodes, tolerations.
//! Source: the admission plugin RuntimeClass.

use super::refused;
use crate::internal;
use crate::json::{get, has, int, list, members, put, some, string};
use crate::runtimeclass::RUNTIMECLASSES;
use meta::{Snapshot, Status};
use serde_json::{Map, Value};

pub(super) fn admit(pod: &mut Value, seen: &Snapshot) -> Result<(), Status> {
    let name = get(get(pod, "spec"), "runtimeClassName").as_str();
    let class = match name {
        None => Value::Null,
        Some(name) => {
            let missing = || refused(pod, &format!("pod rejected: RuntimeClass {name:?} not found"));
            let found = seen.get(RUNTIMECLASSES, "", name);
            found.ok_or_else(missing)?.value()
        }
    };
    overhead(pod, &class)?;
    scheduling(pod, &class)
}

/// A pod has its class's overhead, and none without.
fn overhead(pod: &mut Value, class: &Value) -> Result<(), Status> {
    let field = "overhead";
    let given = get(get(pod, "spec"), field);
    let empty = given.as_object().is_none_or(Map::is_empty);
    let Some(of_class) = some(class, field) else {
        if given.is_null() {
            return Ok(());
        }
        let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
        return Err(refused(pod, why));
    };
    let fixed = get(of_class, "podFixed").clone();
    let as_spec = |overhead: &Value| Value::Object(Map::from_iter([(field.to_string(), overhead.clone())]));
    if !empty && !internal::same("PodSpec", &as_spec(given), &as_spec(&fixed)) {
        let why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
        return Err(refused(pod, why));
    }
    if let Some(spec) = pod.get_mut("spec")
        && !fixed.is_null()
    {
        put(spec, field, fixed);
    }
    Ok(())
}

/// The pod's choice of nodes and the class's hold together.
fn scheduling(pod: &mut Value, class: &Value) -> Result<(), Status> {
    let Some(wanted) = some(class, "scheduling") else {
        return Ok(());
    };
    let mut selector = match get(get(pod, "spec"), "nodeSelector") {
        Value::Object(map) => map.clone(),
        _ => Map::new(),
    };
    for (key, value) in members(wanted, "nodeSelector") {
        if let Some(own) = selector.get(key).filter(|own| *own != value) {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
            let why = format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                text(value),
                text(own)
            );
            return Err(refused(pod, &why));
        }
        selector.insert(key.clone(), value.clone());
    }
    let own = list(get(pod, "spec"), "tolerations").iter();
    let all: Vec<Value> = own.chain(list(wanted, "tolerations")).cloned().collect();
    let tolerations = merged(&all);
    if let Some(spec) = pod.get_mut("spec") {
        if !selector.is_empty() {
            put(spec, "nodeSelector", selector);
        }
        if !tolerations.is_empty() {
            put(spec, "tolerations", tolerations);
        }
    }
    Ok(())
}

/// Without those that others cover; of equal ones the first stays.
fn merged(all: &[Value]) -> Vec<Value> {
    let mut kept: Vec<Value> = Vec::new();
    for (i, one) in all.iter().enumerate() {
        let later = &all[i + 1..];
        let covered = kept.iter().any(|other| covers(other, one))
            || later.iter().any(|other| other != one && covers(other, one));
        if !covered {
            kept.push(one.clone());
        }
    }
    kept
}

/// `wide` tolerates all that `narrow` does.
fn covers(wide: &Value, narrow: &Value) -> bool {
    let same = |field: &str| string(wide, field) == string(narrow, field);
    if wide == narrow {
        return true;
    }
    let any_key = string(wide, "key").is_empty() && string(wide, "operator") == "Exists";
    if !same("key") && !any_key {
        return false;
    }
    if !same("effect") && !string(wide, "effect").is_empty() {
        return false;
    }
    let seconds = "tolerationSeconds";
    if string(wide, "effect") == "NoExecute" && has(wide, seconds) {
        let shorter = int(narrow, seconds).is_some_and(|of_narrow| Some(of_narrow) <= int(wide, seconds));
        if !shorter {
            return false;
        }
    }
    match string(wide, "operator") {
        "" | "Equal" => string(narrow, "operator") == "Equal" && same("value"),
        operator => operator == "Exists",
    }
}
