//! One rule of a role: what it allows, what it covers of another's, and how it reads in messages. Rules only ever add
//! rights. Source: rbac.authorization.k8s.io/v1 API reference, "Using RBAC Authorization".

use crate::review::Attributes;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeSet;

type Texts = Vec<Box<str>>;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyRule {
    #[serde(deserialize_with = "nullable")]
    pub verbs: Texts,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Texts,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub resources: Texts,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Texts,
    #[serde(
        rename = "nonResourceURLs",
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub non_resource_urls: Texts,
}

/// A list that may be `null`, which is an empty one.
pub(super) fn nullable<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

const ALL: &str = "*";

fn has(texts: &[Box<str>], text: &str) -> bool {
    texts.iter().any(|own| **own == *text)
}

fn has_or_all(texts: &[Box<str>], text: &str) -> bool {
    texts.iter().any(|own| **own == *text || **own == *ALL)
}

/// Whether a pattern of paths stands for this one; a `*` at its end means whatever follows.
fn path_matches(pattern: &str, path: &str) -> bool {
    let begins = |pattern: &str| path.starts_with(pattern.trim_end_matches('*'));
    pattern == path || (pattern.ends_with('*') && begins(pattern))
}

/// What follows the slash of `pods/status`.
fn subresource(resource: &str) -> Option<&str> {
    resource.split_once('/').map(|(_, subresource)| subresource)
}

impl PolicyRule {
    /// Whether it allows this. The most selective list is looked at first: it is asked on every call.
    pub fn allows(&self, asked: &Attributes) -> bool {
        if let Some(path) = asked.path {
            let mut patterns = self.non_resource_urls.iter();
            return patterns.any(|own| path_matches(own, path)) && has_or_all(&self.verbs, asked.verb);
        }
        has_or_all(&self.api_groups, asked.group)
            && self.matches_resource(asked.resource, asked.subresource)
            && has_or_all(&self.verbs, asked.verb)
            && (self.resource_names.is_empty() || has(&self.resource_names, asked.name))
    }

    fn matches_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|own| {
            if **own == *ALL {
                return true;
            }
            if subresource.is_empty() {
                return **own == *resource;
            }
            let split = own.split_once('/');
            split.is_some_and(|(of, sub)| sub == subresource && (of == ALL || of == resource))
        })
    }

    /// The rule as rules of one verb, group, resource and name each.
    fn atoms(&self) -> Vec<Self> {
        let one = |text: &str| vec![Box::from(text)];
        let mut atoms = Vec::new();
        for group in &self.api_groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    let atom = Self {
                        verbs: one(verb),
                        api_groups: one(group),
                        resources: one(resource),
                        ..Self::default()
                    };
                    if self.resource_names.is_empty() {
                        atoms.push(atom);
                        continue;
                    }
                    atoms.extend(self.resource_names.iter().map(|name| Self {
                        resource_names: one(name),
                        ..atom.clone()
                    }));
                }
            }
        }
        for url in &self.non_resource_urls {
            atoms.extend(self.verbs.iter().map(|verb| Self {
                verbs: one(verb),
                non_resource_urls: one(url),
                ..Self::default()
            }));
        }
        atoms
    }

    /// Whether it gives all that another rule of one verb, resource and name does.
    fn covers(&self, atom: &Self) -> bool {
        let all = |own: &Texts, wanted: &Texts| has(own, ALL) || wanted.iter().all(|text| has(own, text));
        let resource = |wanted: &str| {
            has_or_all(&self.resources, wanted)
                || subresource(wanted).is_some_and(|sub| has(&self.resources, &format!("*/{sub}")))
        };
        let path = |wanted: &str| self.non_resource_urls.iter().any(|own| path_matches(own, wanted));
        let names = self.resource_names.is_empty()
            || (!atom.resource_names.is_empty()
                && atom.resource_names.iter().all(|n| has(&self.resource_names, n)));
        all(&self.verbs, &atom.verbs)
            && all(&self.api_groups, &atom.api_groups)
            && atom.resources.iter().all(|wanted| resource(wanted))
            && names
            && atom.non_resource_urls.iter().all(|wanted| path(wanted))
    }

    /// As messages show it: `{APIGroups:["apps"], Resources:["deployments"], Verbs:["get"]}`.
    pub fn compact(&self) -> String {
        let parts = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let given = parts.iter().filter(|(_, texts)| !texts.is_empty());
        let shown: Vec<String> = given
            .map(|(name, texts)| format!("{name}:{}", quoted(texts)))
            .collect();
        format!("{{{}}}", shown.join(", "))
    }
}

/// Texts as upstream's messages list them: `["a" "b"]`.
pub fn quoted(texts: &[impl AsRef<str>]) -> String {
    let quoted: Vec<String> = texts.iter().map(|t| format!("{:?}", t.as_ref())).collect();
    format!("[{}]", quoted.join(" "))
}

/// What of `wanted` the rules `held` do not give, as rules of one verb, resource and name each.
pub fn missing(held: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    let atoms = wanted.iter().flat_map(PolicyRule::atoms);
    atoms
        .filter(|atom| !held.iter().any(|rule| rule.covers(atom)))
        .collect()
}

/// Rules of one resource that differ in their verbs alone, as one; each as text, in order.
pub fn described(atoms: &[PolicyRule]) -> Vec<String> {
    let mut joined: Vec<PolicyRule> = Vec::new();
    for atom in atoms {
        let same = |rule: &&mut PolicyRule| {
            !rule.resources.is_empty()
                && rule.api_groups == atom.api_groups
                && rule.resources == atom.resources
                && rule.resource_names == atom.resource_names
        };
        match joined.iter_mut().find(same) {
            Some(rule) => rule.verbs.extend(atom.verbs.iter().cloned()),
            None => joined.push(atom.clone()),
        }
    }
    let texts: BTreeSet<String> = joined.iter().map(PolicyRule::compact).collect();
    texts.into_iter().collect()
}
