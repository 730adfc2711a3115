//! What in a value is not of its type, and which of it Go's decoder would tell of: it stops at a type that cannot read
//! its own text (a quantity, a time), and of the others it keeps the first in the text until the end.

use crate::json::At;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// So many are kept; a body that has more of them is told of one of these.
const MOST: usize = 64;

/// The values that do not fit, in the order of their keys.
#[derive(Debug, Default)]
pub struct Misfits(Vec<Misfit>);

#[derive(Debug)]
struct Misfit {
    way: Vec<Step>,
    ends: bool,
    why: String,
}

/// One step from the root to a place.
#[derive(Debug)]
enum Step {
    Member(String),
    Item(usize),
}

impl Misfits {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn are_enough(&self) -> bool {
        self.0.len() >= MOST
    }

    /// `ends`: Go's decoder goes no further.
    pub(super) fn add(&mut self, place: &At, ends: bool, why: String) {
        if !self.are_enough() {
            let way = way(place);
            self.0.push(Misfit { way, ends, why });
        }
    }

    /// The one to tell of, in the words of Go's decoder. `json`: the text, whose order counts; without it that of the keys.
    pub fn told(self, json: Option<&[u8]>) -> String {
        let any_ends = self.0.iter().any(|misfit| misfit.ends);
        let candidates = self.0.into_iter().filter(|misfit| misfit.ends == any_ends);
        let first = match json {
            // Of equal ones the first, as in a text where all keys are in order.
            Some(json) => candidates.min_by_key(|misfit| offset(json, &misfit.way)),
            None => candidates.into_iter().next(),
        };
        first.map_or_else(String::new, |misfit| misfit.why)
    }
}

fn way(place: &At) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut at = place;
    loop {
        at = match at {
            At::Root => break,
            At::Field(parent, name) | At::Key(parent, name) => {
                steps.push(Step::Member((*name).to_string()));
                parent
            }
            At::Index(parent, i) => {
                steps.push(Step::Item(*i));
                parent
            }
        };
    }
    steps.reverse();
    steps
}

/// Where in the text the value at the end of `way` begins, in bytes; for one that is not there, its nearest ancestor.
fn offset(json: &[u8], way: &[Step]) -> usize {
    let Ok(mut value) = serde_json::from_slice::<&RawValue>(json) else {
        return 0;
    };
    for step in way {
        let member = match step {
            Step::Member(name) => serde_json::from_str::<BTreeMap<String, &RawValue>>(value.get())
                .ok()
                .and_then(|members| members.get(name.as_str()).copied()),
            Step::Item(i) => serde_json::from_str::<Vec<&RawValue>>(value.get())
                .ok()
                .and_then(|items| items.get(*i).copied()),
        };
        let Some(member) = member else { break };
        value = member;
    }
    value.get().as_ptr() as usize - json.as_ptr() as usize
}
