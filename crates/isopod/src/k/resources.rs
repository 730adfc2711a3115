//! What the server serves, by its own discovery; `po`, `sts.apps`, `type/name` and their paths.

use super::Session;
use super::client::Client;
use anyhow::{Result, anyhow, bail};
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

const DISCOVERY: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
/// What needs no escape in a query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// One kind that the server serves.
#[derive(Clone, Debug, PartialEq)]
pub struct Kind {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub plural: String,
    singular: String,
    short: Vec<String>,
    categories: Vec<String>,
    pub namespaced: bool,
}

impl Kind {
    /// `pod`, `statefulset.apps`: how lines about an object begin.
    pub fn shown(&self) -> String {
        let singular = self.kind.to_lowercase();
        match self.group.is_empty() {
            true => singular,
            false => format!("{singular}.{}", self.group),
        }
    }

    pub fn is(&self, res: meta::Res) -> bool {
        self.group == res.group && self.plural == res.plural
    }

    /// The collection's path; an empty namespace is all of them.
    pub fn collection(&self, namespace: &str) -> String {
        let base = match self.group.is_empty() {
            true => format!("/api/{}", self.version),
            false => format!("/apis/{}/{}", self.group, self.version),
        };
        match self.namespaced && !namespace.is_empty() {
            true => format!("{base}/namespaces/{namespace}/{}", self.plural),
            false => format!("{base}/{}", self.plural),
        }
    }

    pub fn object(&self, namespace: &str, name: &str) -> String {
        let name = utf8_percent_encode(name, PLAIN);
        format!("{}/{name}", self.collection(namespace))
    }

    /// ` from default namespace`, or nothing for what has none.
    pub fn place(&self, namespace: &str) -> String {
        match self.namespaced {
            true => format!(" from {namespace} namespace"),
            false => String::new(),
        }
    }
}

/// `?a=b&c=d`; nothing for no pairs. Values are escaped here.
pub fn query(pairs: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (key, value) in pairs {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(key);
        text.push('=');
        text.extend(utf8_percent_encode(value, PLAIN));
    }
    text
}

pub struct Discovery {
    kinds: Vec<Kind>,
}

impl Discovery {
    pub async fn read(client: &Client) -> Result<Self> {
        let (core, groups) = futures::try_join!(
            client.call(Method::GET, "/api", DISCOVERY, None),
            client.call(Method::GET, "/apis", DISCOVERY, None),
        )?;
        Ok(Self::of(&[core, groups]))
    }

    fn of(lists: &[Value]) -> Self {
        let mut kinds = Vec::new();
        for group in lists.iter().flat_map(|list| items(&list["items"])) {
            // The preferred version comes first; others serve the same objects.
            for version in items(&group["versions"]).iter().take(1) {
                let resources = items(&version["resources"]).iter();
                kinds.extend(resources.map(|r| kind(group, version, r)));
            }
        }
        Self { kinds }
    }

    /// By plural, singular, kind or short name, with or without `.group`.
    pub fn resolve(&self, word: &str) -> Result<Kind> {
        let lower = word.to_lowercase();
        let (name, group) = match lower.split_once('.') {
            Some((name, group)) => (name, Some(group)),
            None => (lower.as_str(), None),
        };
        let in_group = |k: &&Kind| {
            group.is_none_or(|g| {
                k.group == g || g == format!("{}.{}", k.version, k.group) || g == format!("{}.", k.version)
            })
        };
        let exact = |k: &&Kind| k.plural == name || k.singular == name || k.kind.to_lowercase() == name;
        let by_name = self.kinds.iter().filter(in_group).find(exact);
        let short = |k: &&Kind| k.short.iter().any(|s| s == name);
        let found = by_name.or_else(|| self.kinds.iter().filter(in_group).find(short));
        found
            .cloned()
            .ok_or_else(|| anyhow!("the server doesn't have a resource type \"{word}\""))
    }

    pub fn of_object(&self, object: &Value) -> Result<Kind> {
        let (api_version, kind) = (text(object, "/apiVersion"), text(object, "/kind"));
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let same_group = |k: &&Kind| k.group == group && k.kind == kind;
        let found = self.kinds.iter().find(same_group).cloned();
        let Some(mut found) = found else {
            bail!(
                "resource mapping not found for name: \"{}\" namespace: \"{}\": no matches for kind \"{kind}\" in version \"{api_version}\"\nensure CRDs are installed first",
                text(object, "/metadata/name"),
                text(object, "/metadata/namespace"),
            );
        };
        found.version = version.to_string();
        Ok(found)
    }

    /// The kinds of `a,b` and of `all`.
    fn list(&self, words: &str) -> Result<Vec<Kind>> {
        let mut kinds = Vec::new();
        for word in words.split(',').filter(|w| !w.is_empty()) {
            if word == "all" {
                kinds.extend(
                    self.kinds
                        .iter()
                        .filter(|k| k.categories.iter().any(|c| c == "all"))
                        .cloned(),
                );
            } else {
                kinds.push(self.resolve(word)?);
            }
        }
        Ok(kinds)
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn kind(group: &Value, version: &Value, resource: &Value) -> Kind {
    let texts = |key: &str| {
        items(&resource[key])
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_string)
            .collect()
    };
    Kind {
        group: text(group, "/metadata/name").to_string(),
        version: text(version, "/version").to_string(),
        kind: text(resource, "/responseKind/kind").to_string(),
        plural: text(resource, "/resource").to_string(),
        singular: text(resource, "/singularResource").to_string(),
        short: texts("shortNames"),
        categories: texts("categories"),
        namespaced: resource["scope"] == "Namespaced",
    }
}

/// What a command is about: one kind, and its objects' names; no names means all.
#[derive(Debug, PartialEq)]
pub struct Target {
    pub kind: Kind,
    pub names: Vec<String>,
}

impl Session {
    /// `TYPE[,TYPE] [NAME…]` or `TYPE/NAME…`.
    pub fn targets(&self, words: &[String]) -> Result<Vec<Target>> {
        targets(&self.discovery, words)
    }

    /// `POD` or `TYPE/NAME`: the kind and the name.
    pub fn pod_or(&self, word: &str) -> Result<(Kind, String)> {
        match word.split_once('/') {
            Some((kind, name)) => Ok((self.discovery.resolve(kind)?, name.to_string())),
            None => Ok((self.discovery.resolve(kinds::pod::PODS.plural)?, word.to_string())),
        }
    }

    /// `TYPE/NAME…` or `TYPE NAME…`: each as kind and name.
    pub fn named(&self, words: &[String]) -> Result<Vec<(Kind, String)>> {
        let targets = self.targets(words)?;
        if targets.iter().any(|t| t.names.is_empty()) {
            bail!("a name is missing; say TYPE/NAME or TYPE NAME");
        }
        let pairs = targets
            .into_iter()
            .flat_map(|t| t.names.into_iter().map(move |name| (t.kind.clone(), name)));
        Ok(pairs.collect())
    }

    pub async fn read(&self, kind: &Kind, name: &str) -> Result<Value> {
        self.client.get(&kind.object(&self.namespace, name)).await
    }

    pub async fn list(&self, kind: &Kind, selector: Option<&str>) -> Result<Vec<Value>> {
        let pairs: Vec<_> = selector
            .iter()
            .map(|s| ("labelSelector", s.to_string()))
            .collect();
        let path = format!("{}{}", kind.collection(&self.namespace), query(&pairs));
        let mut list = self.client.get(&path).await?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            _ => Ok(Vec::new()),
        }
    }
}

fn targets(discovery: &Discovery, words: &[String]) -> Result<Vec<Target>> {
    let pairs = words.iter().any(|w| w.contains('/'));
    if pairs {
        let mut targets: Vec<Target> = Vec::new();
        for word in words {
            let Some((kind, name)) = word.split_once('/') else {
                bail!(
                    "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'isopod k get resource/<resource_name>' instead of 'isopod k get resource resource/<resource_name>'"
                );
            };
            if kind.is_empty() || name.is_empty() {
                bail!("arguments in resource/name form must have a single resource and name");
            }
            let kind = discovery.resolve(kind)?;
            match targets.iter_mut().find(|t| t.kind == kind) {
                Some(target) => target.names.push(name.to_string()),
                None => targets.push(Target {
                    kind,
                    names: vec![name.to_string()],
                }),
            }
        }
        return Ok(targets);
    }
    let Some((first, names)) = words.split_first() else {
        bail!("You must specify the type of resource; for example: isopod k get pods");
    };
    let kinds = discovery.list(first)?;
    Ok(kinds
        .into_iter()
        .map(|kind| Target {
            kind,
            names: names.to_vec(),
        })
        .collect())
}

#[cfg(test)]
impl Kind {
    pub fn for_tests() -> Self {
        Self {
            group: String::new(),
            version: "v1".into(),
            kind: "Pod".into(),
            plural: "pods".into(),
            singular: "pod".into(),
            short: vec!["po".into()],
            categories: Vec::new(),
            namespaced: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn discovery() -> Discovery {
        let core = json!({"items": [{"metadata": {}, "versions": [{"version": "v1", "resources": [
            {"resource": "pods", "singularResource": "pod", "scope": "Namespaced", "shortNames": ["po"], "categories": ["all"],
             "responseKind": {"kind": "Pod"}},
            {"resource": "nodes", "singularResource": "node", "scope": "Cluster", "shortNames": ["no"], "responseKind": {"kind": "Node"}},
        ]}]}]});
        let groups = json!({"items": [{"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [
            {"resource": "statefulsets", "singularResource": "statefulset", "scope": "Namespaced", "shortNames": ["sts"],
             "categories": ["all"], "responseKind": {"kind": "StatefulSet"}},
        ]}]}]});
        Discovery::of(&[core, groups])
    }

    #[test]
    fn words_become_kinds_and_paths() {
        let known = discovery();
        for word in [
            "sts",
            "statefulset",
            "statefulsets",
            "StatefulSet",
            "sts.apps",
            "statefulsets.v1.apps",
        ] {
            let kind = known.resolve(word).expect(word);
            assert_eq!(
                kind.object("ns", "web"),
                "/apis/apps/v1/namespaces/ns/statefulsets/web"
            );
            assert_eq!(kind.shown(), "statefulset.apps");
        }
        let node = known.resolve("no").expect("nodes");
        assert_eq!(node.collection("ns"), "/api/v1/nodes");
        let error = known.resolve("foo").expect_err("no such type");
        assert_eq!(
            error.to_string(),
            "the server doesn't have a resource type \"foo\""
        );
    }

    #[test]
    fn targets_in_both_forms() {
        let known = discovery();
        let words = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let shapes = |list: &[&str]| {
            let all = targets(&known, &words(list)).expect("targets");
            all.iter()
                .map(|t| format!("{} {}", t.kind.plural, t.names.join(",")))
                .collect::<Vec<_>>()
        };
        assert_eq!(shapes(&["po,sts"]), ["pods ", "statefulsets "]);
        assert_eq!(shapes(&["po", "a", "b"]), ["pods a,b"]);
        assert_eq!(
            shapes(&["pod/a", "sts/w", "po/b"]),
            ["pods a,b", "statefulsets w"]
        );
        assert_eq!(shapes(&["all"]), ["pods ", "statefulsets "]);
        assert!(targets(&known, &words(&["po", "sts/w"])).is_err());
    }

    #[test]
    fn queries_are_escaped() {
        let pairs = [
            ("labelSelector", "a in (b,c)".to_string()),
            ("limit", "5".to_string()),
        ];
        assert_eq!(query(&pairs), "?labelSelector=a%20in%20%28b%2Cc%29&limit=5");
    }
}
