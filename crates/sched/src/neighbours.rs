//! Whom a pod needs near it, keeps away, or wants to be spread with: required affinity and anti-affinity, and the hard
//! constraints of its spread over topologies. Source: upstream's plugins InterPodAffinity and PodTopologySpread.

use crate::filter::{self, Wants};
use crate::node::NodeView;
use kinds::namespace::NAMESPACES;
use kinds::row::text;
use kinds::workload::{NEEDS, Pod, REPELS, SPREADS, items, label_selector};
use kinds::{Seen, pod::PODS};
use meta::Object;
use meta::selector::LabelSelector;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const NOT_NEAR: &str = "node(s) didn't match pod affinity rules";
const NOT_FAR: &str = "node(s) didn't match pod anti-affinity rules";
const REPELLED: &str = "node(s) didn't satisfy existing pods anti-affinity rules";
const UNEVEN: &str = "node(s) didn't match pod topology spread constraints";
const NO_LABEL: &str = "node(s) didn't match pod topology spread constraints (missing required label)";

/// What all that runs means for one pod that looks for a node.
#[derive(Default)]
pub struct Neighbours {
    near: Vec<Near>,
    far: Places,
    repelled: Places,
    spreads: Vec<Spread>,
}

/// Values of node labels, by the label's key: parts of the cluster.
#[derive(Default)]
struct Places(BTreeMap<String, BTreeSet<String>>);

impl Places {
    fn add(&mut self, key: &str, node: &NodeView) {
        if let Some(value) = node.labels.get(key) {
            self.0.entry(key.into()).or_default().insert(value.clone());
        }
    }

    fn hold(&self, node: &NodeView) -> bool {
        let here = |(key, values): (&String, &BTreeSet<String>)| {
            node.labels.get(key).is_some_and(|value| values.contains(value))
        };
        self.0.iter().any(here)
    }
}

/// One term of the pod's affinity: where pods are that all of its terms mean.
struct Near {
    key: String,
    places: BTreeSet<String>,
    /// No pod is meant yet, and this one is of those: it may be the first.
    may_be_first: bool,
}

struct Spread {
    key: String,
    max_skew: i64,
    min_domains: usize,
    /// The pod counts as well, wherever it goes.
    own: i64,
    /// Matching pods by value of the label, on the nodes that count.
    pods: BTreeMap<String, i64>,
}

impl Neighbours {
    pub fn of(seen: &Seen, pod: &Object, wants: &Wants, nodes: &[NodeView]) -> Self {
        let mut found = Self::default();
        for node in nodes {
            for other in &node.repelling {
                for term in &other.share().repels {
                    let term = Term::of(seen, term, &other.object);
                    if term.means(pod) {
                        found.repelled.add(&term.key, node);
                    }
                }
            }
        }
        if !Pod::of(pod).share().minds_others {
            return found;
        }
        let by_name: BTreeMap<&str, &NodeView> = nodes.iter().map(|node| (&*node.name, node)).collect();
        let placed = || {
            let pods = seen.snapshot.list(PODS, "").map(Pod::of);
            pods.filter(|other| !other.is_finished()).filter_map(|other| {
                let node = by_name.get(other.facts.spec.node_name.as_deref()?)?;
                Some((other, *node))
            })
        };
        let terms = |part| {
            items(wants.spec, part)
                .map(|term| Term::of(seen, term, pod))
                .collect()
        };
        let (repels, needs): (Vec<Term>, Vec<Term>) = (terms(REPELS), terms(NEEDS));
        for (other, node) in placed() {
            for term in repels.iter().filter(|term| term.means(&other.object)) {
                found.far.add(&term.key, node);
            }
        }
        found.near = near(&needs, pod, placed());
        let hard = |spread: &&Value| text(spread, "/whenUnsatisfiable") == "DoNotSchedule";
        let hard: Vec<&Value> = items(wants.spec, SPREADS).filter(hard).collect();
        let counted = |spread: &&Value| spread_of(spread, &hard, pod, wants, nodes, placed());
        found.spreads = hard.iter().map(counted).collect();
        found
    }

    /// Why the node will not do.
    pub fn problem(&self, node: &NodeView) -> Option<&'static str> {
        if self
            .spreads
            .iter()
            .any(|spread| !node.labels.contains_key(&spread.key))
        {
            return Some(NO_LABEL);
        }
        if self.spreads.iter().any(|spread| spread.is_uneven(node)) {
            return Some(UNEVEN);
        }
        let is_near = |near: &Near| {
            let place = node.labels.get(&near.key);
            place.is_some_and(|place| near.may_be_first || near.places.contains(place))
        };
        match () {
            () if !self.near.iter().all(is_near) => Some(NOT_NEAR),
            () if self.far.hold(node) => Some(NOT_FAR),
            () if self.repelled.hold(node) => Some(REPELLED),
            () => None,
        }
    }
}

fn near<'a>(needs: &[Term], pod: &Object, placed: impl Iterator<Item = (Pod, &'a NodeView)>) -> Vec<Near> {
    let all_mean = |other: &Object| needs.iter().all(|term| term.means(other));
    let meant: Vec<&NodeView> = placed
        .filter(|(other, _)| all_mean(&other.object))
        .map(|(_, node)| node)
        .collect();
    // A pod that runs where the label is missing is in no place.
    let somewhere = |node: &&NodeView| needs.iter().any(|term| node.labels.contains_key(&term.key));
    let may_be_first = !meant.iter().any(somewhere) && all_mean(pod);
    let of_term = |term: &Term| Near {
        key: term.key.clone(),
        places: meant
            .iter()
            .filter_map(|node| node.labels.get(&term.key).cloned())
            .collect(),
        may_be_first,
    };
    needs.iter().map(of_term).collect()
}

/// Pods in some namespaces, with some labels, and how near counts.
struct Term {
    /// `None`: all of them.
    namespaces: Option<BTreeSet<String>>,
    selector: LabelSelector,
    key: String,
}

impl Term {
    fn of(seen: &Seen, term: &Value, owner: &Object) -> Self {
        let given = items(term, "/namespaces")
            .filter_map(Value::as_str)
            .map(str::to_string);
        let mut names: BTreeSet<String> = given.collect();
        let chooses = term
            .get("namespaceSelector")
            .filter(|selector| !selector.is_null());
        let chosen = chooses.map(label_selector);
        if chosen.is_none() && names.is_empty() {
            names.insert(owner.namespace().into());
        }
        let all = chosen.as_ref().is_some_and(LabelSelector::is_everything);
        if let Some(chosen) = chosen.filter(|_| !all) {
            let namespaces = seen.snapshot.list(NAMESPACES, "");
            let fitting = namespaces.filter(|namespace| chosen.matches(&namespace.meta().labels));
            names.extend(fitting.map(|namespace| namespace.name().to_string()));
        }
        Self {
            namespaces: (!all).then_some(names),
            selector: label_selector(&with_own_labels(term, owner)),
            key: text(term, "/topologyKey").into(),
        }
    }

    fn means(&self, pod: &Object) -> bool {
        let near = self
            .namespaces
            .as_ref()
            .is_none_or(|names| names.contains(pod.namespace()));
        near && self.selector.matches(&pod.meta().labels)
    }
}

/// The term's selector, with the labels that are to be as on the pod itself, or other than there.
fn with_own_labels(term: &Value, owner: &Object) -> Value {
    let mut selector = term.get("labelSelector").cloned().unwrap_or_default();
    if selector.is_null() {
        return selector;
    }
    let mut expressions: Vec<Value> = items(&selector, "/matchExpressions").cloned().collect();
    for (keys, operator) in [("/matchLabelKeys", "In"), ("/mismatchLabelKeys", "NotIn")] {
        for key in items(term, keys).filter_map(Value::as_str) {
            let own = owner.meta().label(key);
            expressions.extend(own.map(|own| json!({"key": key, "operator": operator, "values": [own]})));
        }
    }
    selector["matchExpressions"] = expressions.into();
    selector
}

fn spread_of<'a>(
    spread: &Value,
    hard: &[&Value],
    pod: &Object,
    wants: &Wants,
    nodes: &[NodeView],
    placed: impl Iterator<Item = (Pod, &'a NodeView)>,
) -> Spread {
    let key = text(spread, "/topologyKey");
    let selector = label_selector(&with_own_labels(spread, pod));
    // A policy that is not given: affinity is heeded, taints are not.
    let heeds = |policy: &str, default: bool| match text(spread, policy) {
        "" => default,
        given => given == "Honor",
    };
    let (affinity, taints) = (
        heeds("/nodeAffinityPolicy", true),
        heeds("/nodeTaintsPolicy", false),
    );
    let counts = |node: &NodeView| {
        hard.iter()
            .all(|other| node.labels.contains_key(text(other, "/topologyKey")))
            && (!affinity || filter::matches_selector(wants, node))
            && (!taints || filter::untolerated(wants, node).is_none())
    };
    let place = |node: &NodeView| node.labels.get(key).cloned();
    let domains = nodes.iter().filter(|node| counts(node)).filter_map(place);
    let mut pods: BTreeMap<String, i64> = domains.map(|domain| (domain, 0)).collect();
    for (other, node) in placed {
        let object = &other.object;
        let counted = object.namespace() == pod.namespace() && !other.is_deleting();
        if counted && selector.matches(&object.meta().labels) && counts(node) {
            *place(node)
                .and_then(|domain| pods.get_mut(&domain))
                .unwrap_or(&mut 0) += 1;
        }
    }
    let number = |field: &str| spread.get(field).and_then(Value::as_i64);
    Spread {
        key: key.into(),
        max_skew: number("maxSkew").unwrap_or(1),
        min_domains: number("minDomains").and_then(|n| n.try_into().ok()).unwrap_or(1),
        own: i64::from(selector.matches(&pod.meta().labels)),
        pods,
    }
}

impl Spread {
    fn is_uneven(&self, node: &NodeView) -> bool {
        let least = if self.pods.len() < self.min_domains {
            0
        } else {
            self.pods.values().min().copied().unwrap_or(0)
        };
        let here = node
            .labels
            .get(&self.key)
            .and_then(|domain| self.pods.get(domain));
        here.copied().unwrap_or(0) + self.own - least > self.max_skew
    }
}
