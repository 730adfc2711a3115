//! What typed decoding does to built-in kinds, done to custom resources: unknown fields go, nulls that mean nothing go, and
//! metadata inside of objects gets its form. Source: KEP-693, sections on pruning and embedded resources.

use super::structure::{Additional, Structure};
use codec::strict::{Misfits, conform_metadata};
use serde_json::{Map, Value};

/// The fields that every object has.
const OWN: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// How many unknown fields are told of.
const TOLD_MAX: usize = 100;

/// Takes out what the schema does not know. Gives the paths of what went, in order.
pub fn prune(value: &mut Value, structure: &Structure) -> Vec<String> {
    let mut walk = Walk {
        at: String::new(),
        gone: Vec::new(),
    };
    walk.value(value, Some(structure));
    walk.gone.sort();
    walk.gone
}

struct Walk {
    at: String,
    gone: Vec<String>,
}

impl Walk {
    fn value(&mut self, value: &mut Value, structure: Option<&Structure>) {
        match value {
            Value::Object(map) => match structure {
                Some(structure) if structure.preserve_unknown => self.kept(map, structure),
                structure => self.object(map, structure),
            },
            Value::Array(items) => {
                let of = structure.and_then(|s| s.items.as_deref());
                // What is kept as it is, is kept in lists too, as long as these say nothing of their items.
                let whole = structure.is_some_and(|s| s.preserve_unknown);
                for (i, item) in items.iter_mut().enumerate() {
                    let from = self.enter_index(i);
                    match (of, whole) {
                        (None, true) => {}
                        (Some(of), true) => self.skip(item, of),
                        (of, false) => self.value(item, of),
                    }
                    self.at.truncate(from);
                }
            }
            _ => {}
        }
    }

    /// Inside of what keeps unknown fields, those that are declared are still looked into.
    fn skip(&mut self, value: &mut Value, structure: &Structure) {
        match value {
            Value::Object(map) => self.kept(map, structure),
            Value::Array(items) => {
                let Some(of) = structure.items.as_deref() else {
                    return;
                };
                for (i, item) in items.iter_mut().enumerate() {
                    let from = self.enter_index(i);
                    self.skip(item, of);
                    self.at.truncate(from);
                }
            }
            _ => {}
        }
    }

    fn kept(&mut self, map: &mut Map<String, Value>, structure: &Structure) {
        for (name, member) in map.iter_mut() {
            if structure.embedded && OWN.contains(&name.as_str()) {
                continue;
            }
            let of = match (structure.property(name), &structure.additional) {
                (Some(property), _) => Some(property),
                (None, Additional::Each(each)) => Some(&**each),
                (None, _) => continue,
            };
            let from = self.enter(name);
            self.value(member, of);
            self.at.truncate(from);
        }
    }

    fn object(&mut self, map: &mut Map<String, Value>, structure: Option<&Structure>) {
        map.retain(|name, member| {
            let Some(structure) = structure else {
                self.tell(name);
                return false;
            };
            if structure.embedded && OWN.contains(&name.as_str()) {
                return true;
            }
            let of = match (structure.property(name), &structure.additional) {
                (Some(property), _) => Some(property),
                (None, Additional::Each(each)) => Some(&**each),
                (None, Additional::Anything | Additional::Nothing) => None,
                (None, Additional::Unsaid) => {
                    self.tell(name);
                    return false;
                }
            };
            let from = self.enter(name);
            self.value(member, of);
            self.at.truncate(from);
            true
        });
    }

    /// Goes to a member; the length of the text to come back to.
    fn enter(&mut self, name: &str) -> usize {
        let from = self.at.len();
        if from > 0 {
            self.at.push('.');
        }
        self.at.push_str(name);
        from
    }

    fn enter_index(&mut self, i: usize) -> usize {
        let from = self.at.len();
        self.at.push_str(&format!("[{i}]"));
        from
    }

    fn tell(&mut self, name: &str) {
        if self.gone.len() < TOLD_MAX {
            let from = self.enter(name);
            self.gone.push(self.at.clone());
            self.at.truncate(from);
        }
    }
}

/// Takes out nulls that may not be there and that no default takes the place of.
pub fn drop_nulls(value: &mut Value, structure: Option<&Structure>) {
    match value {
        Value::Object(map) => map.retain(|name, member| {
            let of = structure.and_then(|s| s.member(name));
            if member.is_null() && of.is_some_and(|s| !s.nullable && s.default.is_none()) {
                return false;
            }
            drop_nulls(member, of);
            true
        }),
        Value::Array(items) => {
            let of = structure.and_then(|s| s.items.as_deref());
            items.iter_mut().for_each(|item| drop_nulls(item, of));
        }
        _ => {}
    }
}

/// Brings the metadata of objects inside of the object into form. Gives unknown fields, or what cannot be read.
pub fn conform_embedded(value: &mut Value, structure: &Structure) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let members = match value {
        Value::Object(map) => map,
        _ => return Ok(found),
    };
    for (name, property) in &structure.properties {
        if let Some(member) = members.get_mut(&**name) {
            embedded(member, property, name, &mut found)?;
        }
    }
    if let Additional::Each(each) = &structure.additional {
        for (name, member) in members
            .iter_mut()
            .filter(|(n, _)| structure.property(n).is_none())
        {
            embedded(member, each, &format!("[{name}]"), &mut found)?;
        }
    }
    found.sort();
    Ok(found)
}

fn embedded(
    value: &mut Value,
    structure: &Structure,
    at: &str,
    found: &mut Vec<String>,
) -> Result<(), String> {
    match value {
        Value::Object(map) if structure.embedded => {
            for name in ["apiVersion", "kind"] {
                if let Some(other) = map.get(name).filter(|v| !v.is_string()) {
                    return Err(format!("{at}.{name}: Invalid value: {other}: must be a string"));
                }
            }
            let shown = map.get("metadata").cloned();
            let unknown = conform_metadata(crate::schema::arena(), value).map_err(|why: Misfits| {
                let shown = shown.unwrap_or_default();
                format!("{at}.metadata: Invalid value: {shown}: {}", why.told(None))
            })?;
            let inside =
                |told: String| told.replacen("unknown field \"", &format!("unknown field \"{at}."), 1);
            found.extend(unknown.into_iter().map(inside));
            if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut)
                && metadata.get("creationTimestamp").is_some_and(Value::is_null)
            {
                metadata.remove("creationTimestamp");
            }
            inner(value, structure, at, found)
        }
        _ => inner(value, structure, at, found),
    }
}

fn inner(value: &mut Value, structure: &Structure, at: &str, found: &mut Vec<String>) -> Result<(), String> {
    match value {
        Value::Object(map) => map.iter_mut().try_for_each(|(name, member)| {
            match (structure.property(name), &structure.additional) {
                (Some(property), _) => embedded(member, property, &format!("{at}.{name}"), found),
                (None, Additional::Each(each)) => embedded(member, each, &format!("{at}[{name}]"), found),
                (None, _) => Ok(()),
            }
        }),
        Value::Array(items) => match structure.items.as_deref() {
            Some(of) => {
                let mut numbered = items.iter_mut().enumerate();
                numbered.try_for_each(|(i, item)| embedded(item, of, &format!("{at}[{i}]"), found))
            }
            None => Ok(()),
        },
        _ => Ok(()),
    }
}
