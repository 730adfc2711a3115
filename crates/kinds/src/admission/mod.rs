//! What the kinds of admissionregistration.k8s.io have in common: rules of what they are about, parameters, and how both
//! are printed. Source: admissionregistration.k8s.io/v1 API reference.

pub(crate) mod expressions;
pub(crate) mod webhooks;

use crate::check::{dns_subdomain, label_selector, one_of_given};
use crate::json::{child_mut, get, has, items_mut, list, put_default, some, string, texts};
use crate::review::Attributes;
use crate::row::{Within, text};
use meta::{Errors, Path, name};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use webhooks::Sort;

const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
/// Nothing of what is deleted can be changed.
const MUTATING: [&str; 4] = ["*", "CONNECT", "CREATE", "UPDATE"];
const POLICIES: [&str; 2] = ["Equivalent", "Exact"];
/// Names that are kept for configurations from files.
const STATIC: &str = ".static.k8s.io";

/// Warnings of a name.
pub(crate) fn name_warnings(object: &Value) -> Vec<String> {
    let reserved = text(object, "/metadata/name").ends_with(STATIC);
    let why = format!(
        "metadata.name: names ending with {STATIC:?} are reserved for static manifest-based configurations and cannot be managed via the API"
    );
    reserved.then_some(why).into_iter().collect()
}

/// Everything, where nothing is said.
pub(crate) fn default_matches(holder: &mut Value, field: &str) {
    let Some(matches) = child_mut(holder, field) else {
        return;
    };
    put_default(matches, "matchPolicy", "Equivalent");
    default_selectors(matches);
    for field in ["resourceRules", "excludeResourceRules"] {
        default_rules(matches, field);
    }
}

fn default_selectors(holder: &mut Value) {
    for field in ["namespaceSelector", "objectSelector"] {
        put_default(holder, field, Map::new());
    }
}

fn default_rules(holder: &mut Value, field: &str) {
    for rule in items_mut(holder, field) {
        put_default(rule, "scope", "*");
    }
}

/// Which requests a policy or binding is about.
pub(crate) fn matches(matches: &Value, path: &Path, errors: &mut Errors) {
    if matches.is_null() {
        return;
    }
    match has(matches, "matchPolicy") {
        false => errors.required(&path.child("matchPolicy"), ""),
        true => one_of_given(matches, "matchPolicy", &POLICIES, path, errors),
    }
    for field in ["namespaceSelector", "objectSelector"] {
        match some(matches, field) {
            None => errors.required(&path.child(field), ""),
            Some(selector) => label_selector(selector, &path.child(field), errors),
        }
    }
    for field in ["resourceRules", "excludeResourceRules"] {
        for (i, rule) in list(matches, field).iter().enumerate() {
            named_rule(rule, &path.child(field).index(i), errors);
        }
    }
}

/// What changes objects does so when they are made or changed.
pub(crate) fn only_mutating(matches: &Value, path: &Path, errors: &mut Errors) {
    let path = path.child("resourceRules").child("operations");
    for rule in list(matches, "resourceRules") {
        for operation in list(rule, "operations").iter().filter_map(Value::as_str) {
            if !MUTATING.contains(&operation) {
                errors.not_supported(&path, operation, &MUTATING);
            }
        }
    }
}

/// What policies of both sorts have. Conditions that are as they were are not looked at again.
pub(crate) fn policy(spec: &Value, old: &Value, sort: Sort, path: &Path, errors: &mut Errors) {
    let field = "failurePolicy";
    match has(spec, field) {
        false => errors.required(&path.child(field), ""),
        true => one_of_given(spec, field, &["Fail", "Ignore"], path, errors),
    }
    if let Some(kind) = some(spec, "paramKind") {
        param_kind(kind, &path.child("paramKind"), errors);
    }
    let (given, at) = (get(spec, "matchConstraints"), path.child("matchConstraints"));
    if given.is_null() {
        errors.required(&at, "");
    } else {
        matches(given, &at, errors);
        if list(given, "resourceRules").is_empty() {
            errors.required(&at.child("resourceRules"), "");
        }
        if sort == Sort::Mutating {
            only_mutating(given, &at, errors);
        }
    }
    let same_kind = get(spec, "paramKind") == get(old, "paramKind");
    let same_conditions = list(spec, "matchConditions") == list(old, "matchConditions");
    if old.is_null() || !same_kind || !same_conditions {
        expressions::match_conditions(spec, path, errors);
    }
    expressions::variables(spec, path, errors);
}

fn named_rule(named: &Value, path: &Path, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (i, given) in list(named, "resourceNames").iter().enumerate() {
        let (given, path) = (
            given.as_str().unwrap_or_default(),
            path.child("resourceNames").index(i),
        );
        for why in name::check_path_segment(given) {
            errors.invalid(&path, given, &why);
        }
        if !seen.insert(given) {
            errors.duplicate(&path, given);
        }
    }
    rule(named, path, errors);
}

fn has_all(values: &[Value]) -> bool {
    values.iter().any(|value| value == "*")
}

/// `*` stands alone.
fn alone(holder: &Value, field: &str, others: &str, path: &Path, errors: &mut Errors) {
    let values = list(holder, field);
    if values.len() > 1 && has_all(values) {
        let detail = format!("if '*' is present, must not specify other {others}");
        errors.invalid(&path.child(field), values.to_vec(), &detail);
    }
}

fn some_of(holder: &Value, field: &str, path: &Path, errors: &mut Errors) {
    if list(holder, field).is_empty() {
        errors.required(&path.child(field), "");
    }
}

/// Operations on resources.
fn rule(rule: &Value, path: &Path, errors: &mut Errors) {
    some_of(rule, "operations", path, errors);
    alone(rule, "operations", "operations", path, errors);
    for (i, operation) in list(rule, "operations").iter().enumerate() {
        let operation = operation.as_str().unwrap_or_default();
        if !OPERATIONS.contains(&operation) {
            errors.not_supported(&path.child("operations").index(i), operation, &OPERATIONS);
        }
    }
    some_of(rule, "apiGroups", path, errors);
    alone(rule, "apiGroups", "API groups", path, errors);
    some_of(rule, "apiVersions", path, errors);
    alone(rule, "apiVersions", "API versions", path, errors);
    for (i, version) in list(rule, "apiVersions").iter().enumerate() {
        if version == "" {
            errors.required(&path.child("apiVersions").index(i), "");
        }
    }
    resources(rule, path, errors);
    one_of_given(rule, "scope", &["*", "Cluster", "Namespaced"], path, errors);
}

/// Resources and subresources, where `*` stands for all of either.
fn resources(rule: &Value, path: &Path, errors: &mut Errors) {
    some_of(rule, "resources", path, errors);
    let (all, path) = (list(rule, "resources"), path.child("resources"));
    let (mut whole, mut everywhere) = (BTreeSet::new(), BTreeSet::new());
    // Upstream looks at the last of those without a subresource alone.
    let mut plain = false;
    for (i, given) in all.iter().enumerate() {
        let (given, path) = (given.as_str().unwrap_or_default(), path.index(i));
        if given.is_empty() {
            errors.required(&path, "");
            continue;
        }
        let Some((resource, sub)) = given.split_once('/') else {
            plain = given != "*";
            continue;
        };
        if whole.contains(resource) {
            let detail = format!("if '{resource}/*' is present, must not specify {given}");
            errors.invalid(&path, given, &detail);
        }
        if everywhere.contains(sub) {
            let detail = format!("if '*/{sub}' is present, must not specify {given}");
            errors.invalid(&path, given, &detail);
        }
        if sub == "*" {
            whole.insert(resource);
        }
        if resource == "*" {
            everywhere.insert(sub);
        }
    }
    if all.len() > 1 && all.iter().any(|given| given == "*/*") {
        let detail = "if '*/*' is present, must not specify other resources";
        errors.invalid(&path, all.to_vec(), detail);
    }
    if has_all(all) && plain {
        let detail = "if '*' is present, must not specify other resources without subresources";
        errors.invalid(&path, all.to_vec(), detail);
    }
}

/// The kind of a policy's parameters.
pub(crate) fn param_kind(kind: &Value, path: &Path, errors: &mut Errors) {
    let (version, kind) = (string(kind, "apiVersion"), string(kind, "kind"));
    let at = path.child("apiVersion");
    match *version.split('/').collect::<Vec<_>>() {
        [""] => errors.required(&at, ""),
        [of_core] => param_version("", of_core, version, &at, errors),
        [group, of_group] => param_version(group, of_group, version, &at, errors),
        _ => {
            let detail = format!("unexpected GroupVersion string: {version}");
            errors.invalid(&at, version, &detail);
        }
    }
    let wrong = name::check_dns1035_label(&kind.to_lowercase());
    if kind.is_empty() {
        errors.required(&path.child("kind"), "");
    } else if !wrong.is_empty() {
        let detail = format!(
            "may have mixed case, but should otherwise match: {}",
            wrong.join(",")
        );
        errors.invalid(&path.child("kind"), kind, &detail);
    }
}

fn param_version(group: &str, version: &str, whole: &str, path: &Path, errors: &mut Errors) {
    let wrong = name::check_dns1123_subdomain(group);
    if !group.is_empty() && !wrong.is_empty() {
        errors.invalid(path, group, &wrong.join(","));
    }
    let wrong = name::check_dns1035_label(version);
    if version.is_empty() {
        errors.invalid(path, whole, "version must be specified");
    } else if !wrong.is_empty() {
        errors.invalid(path, version, &wrong.join(","));
    }
}

/// Which parameters a binding gives its policy, by name or by selector.
pub(crate) fn param_ref(given: &Value, path: &Path, errors: &mut Errors) {
    if given.is_null() {
        return;
    }
    let (name, selector) = (string(given, "name"), some(given, "selector"));
    let both = "name and selector are mutually exclusive";
    if !name.is_empty() {
        for why in name::check_path_segment(name) {
            errors.invalid(&path.child("name"), name, &why);
        }
        if selector.is_some() {
            errors.forbidden(&path.child("name"), both);
        }
    }
    if let Some(selector) = selector {
        label_selector(selector, &path.child("selector"), errors);
        if !name.is_empty() {
            errors.forbidden(&path.child("selector"), both);
        }
    } else if name.is_empty() {
        errors.required(path, "one of name or selector must be specified");
    }
    let (field, actions) = ("parameterNotFoundAction", ["Deny", "Allow"]);
    crate::check::one_of(given, field, &actions, true, path, errors);
}

/// What bindings of both sorts have: a policy, parameters, and to which requests they bring it.
pub(crate) fn binding(spec: &Value, path: &Path, errors: &mut Errors) {
    match string(spec, "policyName") {
        "" => errors.required(&path.child("policyName"), ""),
        name => dns_subdomain(&path.child("policyName"), name, errors),
    }
    param_ref(get(spec, "paramRef"), &path.child("paramRef"), errors);
    matches(get(spec, "matchResources"), &path.child("matchResources"), errors);
}

/// Who names a kind of parameters may read all of that kind.
pub(crate) fn may_read_params(object: &Value, within: &Within, errors: &mut Errors) {
    let kind = |policy: &Value| get(get(policy, "spec"), "paramKind").clone();
    let wanted = kind(object);
    if wanted.is_null() || within.old.is_some_and(|old| kind(old) == wanted) {
        return;
    }
    let (version, kind) = (string(&wanted, "apiVersion"), string(&wanted, "kind"));
    let user = within.asks.caller();
    let (allowed, _) = may_read("get", Some((version, kind)), ("*", "*"), within);
    if !allowed {
        let detail = format!(
            "user {} must have \"get\" permission on all objects of the referenced paramKind (kind={kind}, apiVersion={version})",
            user.as_go()
        );
        errors.forbidden(&Path::new("spec").child("paramKind"), &detail);
    }
}

/// Who binds parameters to a policy may read them.
pub(crate) fn may_read_bound(object: &Value, policies: meta::Res, within: &Within, errors: &mut Errors) {
    let reference = |binding: &Value| get(get(binding, "spec"), "paramRef").clone();
    let wanted = reference(object);
    if wanted.is_null() || within.old.is_some_and(|old| reference(old) == wanted) {
        return;
    }
    let name = text(object, "/spec/policyName");
    let policy = within.seen.get(policies, "", name).map(|policy| policy.value());
    let kind = policy
        .as_ref()
        .and_then(|policy| some(get(policy, "spec"), "paramKind"));
    let known = kind.map(|kind| (string(kind, "apiVersion"), string(kind, "kind")));
    let verb = if string(&wanted, "name").is_empty() {
        "list"
    } else {
        "get"
    };
    let place = (string(&wanted, "name"), string(&wanted, "namespace"));
    let (allowed, resolved) = may_read(verb, known, place, within);
    if allowed {
        return;
    }
    let user = within.asks.caller().as_go();
    let everywhere =
        format!("user {user} does not have \"{verb}\" permission for all groups, versions and resources");
    let detail = match (&policy, known) {
        (None, _) => {
            format!("unable to get policy {name} to determine minimum required permissions and {everywhere}")
        }
        (Some(_), Some((version, kind))) if !resolved => format!(
            "unable to resolve paramKind &ParamKind{{APIVersion:{version},Kind:{kind},}} to determine minimum required permissions and {everywhere}"
        ),
        _ => format!("user {user} does not have \"{verb}\" permission on the object referenced by paramRef"),
    };
    errors.forbidden(&Path::new("spec").child("paramRef"), &detail);
}

/// Whether the caller may read objects of a kind, and whether that kind is served. Of a kind that nobody knows the caller
/// must be allowed all.
fn may_read(
    verb: &str,
    kind: Option<(&str, &str)>,
    (name, namespace): (&str, &str),
    within: &Within,
) -> (bool, bool) {
    let known = kind.and_then(|(version, kind)| within.asks.resource_of(version, kind));
    let group = kind.map(|(version, _)| version.split_once('/').map_or("", |(group, _)| group));
    let attributes = Attributes {
        verb,
        group: group.unwrap_or("*"),
        resource: known.map_or("*", |res| res.plural),
        name,
        namespace,
        ..Attributes::default()
    };
    let allowed = within.asks.verdict(&within.asks.caller(), &attributes).allowed;
    (allowed, known.is_some())
}

/// A policy's parameters in a table.
pub(crate) fn param_kind_cell(object: &Value) -> String {
    match some(get(object, "spec"), "paramKind") {
        None => "<unset>".into(),
        Some(kind) => format!("{}/{}", string(kind, "apiVersion"), string(kind, "kind")),
    }
}

/// A binding's parameters in a table. Nothing says here whether they are in a namespace.
pub(crate) fn param_ref_cell(object: &Value) -> String {
    let given = get(get(object, "spec"), "paramRef");
    match (
        string(given, "name"),
        string(given, "namespace"),
        some(given, "selector"),
    ) {
        ("", _, Some(selector)) => go_selector(selector),
        ("", _, None) => "<unset>".into(),
        (name, "", _) => format!("*/{name}"),
        (name, namespace, _) => format!("{namespace}/{name}"),
    }
}

/// A selector as Go prints it.
fn go_selector(selector: &Value) -> String {
    let mut labels: Vec<_> = texts(selector, "matchLabels").collect();
    labels.sort_unstable();
    let labels: String = labels
        .iter()
        .map(|(key, value)| format!("{key}: {value},"))
        .collect();
    let expression = |e: &Value| {
        let values = list(e, "values").iter().filter_map(Value::as_str);
        let values = values.collect::<Vec<_>>().join(" ");
        let (key, operator) = (string(e, "key"), string(e, "operator"));
        format!("LabelSelectorRequirement{{Key:{key},Operator:{operator},Values:[{values}],}},")
    };
    let expressions: String = list(selector, "matchExpressions")
        .iter()
        .map(expression)
        .collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}

/// How many items a list of a spec has.
pub(crate) fn count(object: &Value, field: &str) -> Value {
    list(get(object, "spec"), field).len().into()
}
