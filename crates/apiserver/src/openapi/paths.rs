//! Paths and operations of one group version, derived from what discovery says of it.

use super::params;
use super::schemas::{Edition, Gvk, Wanted, meta_type, reference};
use crate::discovery::describe::{Group, Resource, Subresource, Version};
use serde_json::{Map, Value, json};

const PRODUCES: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];
const STREAMS: [&str; 2] = [
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];
const PATCHES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// What the operations of one group version have in common.
struct Of<'a> {
    edition: Edition,
    group: &'a Group,
    version: &'a Version,
    root: String,
    /// `AppsV1`
    prefix: String,
    /// `apps_v1`
    tag: String,
}

/// A resource or subresource under way into paths.
struct Target<'a> {
    gvk: &'a Gvk,
    type_name: &'a str,
    namespaced: bool,
    /// `Pod`, or `PodLog` for a subresource.
    name: String,
    /// A custom resource: it has neither protobuf nor strategic merge patches.
    custom: bool,
}

/// One operation before it is written down.
struct Operation<'a> {
    method: &'static str,
    /// `x-kubernetes-action`
    action: &'static str,
    id: String,
    text: String,
    parameters: &'a [&'static str],
    body: Option<&'a str>,
    patch: bool,
    /// The type of the answer; empty is plain text.
    answer: &'a str,
    codes: &'a [(&'static str, &'static str)],
    watches: bool,
}

/// Methods that upgrade to a stream, and those that a pod may be sent.
const RUN: &[&str] = &["get", "post"];
const ALL: &[&str] = &["delete", "get", "head", "options", "patch", "post", "put"];

const OK: &[(&str, &str)] = &[("200", "OK")];
const WRITTEN: &[(&str, &str)] = &[("200", "OK"), ("201", "Created")];
const POSTED: &[(&str, &str)] = &[("200", "OK"), ("201", "Created"), ("202", "Accepted")];
const DELETED: &[(&str, &str)] = &[("200", "OK"), ("202", "Accepted")];

/// The paths of a group version. What types they speak is added to `wanted`.
pub fn paths(edition: Edition, group: &Group, version: &Version, wanted: &mut Wanted) -> Map<String, Value> {
    let short = group.name.strip_suffix(".k8s.io").unwrap_or(group.name);
    let short = if short.is_empty() { "core" } else { short };
    let camel: String = short.split('.').map(capital).collect();
    let mut tag = camel.clone();
    tag.replace_range(..1, &camel[..1].to_lowercase());
    let of = Of {
        edition,
        group,
        version,
        root: match group.name {
            "" => format!("/api/{}", version.name),
            name => format!("/apis/{name}/{}", version.name),
        },
        prefix: format!("{camel}{}", capital(version.name)),
        tag: format!("{tag}_{}", version.name),
    };
    for kind in ["Status", "DeleteOptions", "Patch", "WatchEvent"] {
        let gvk = Gvk::new(group.name, version.name, kind);
        let own = matches!(kind, "DeleteOptions" | "WatchEvent").then_some(gvk);
        wanted.add(&meta_type(kind), own);
    }
    wanted.add(&meta_type("Status"), Some(Gvk::new("", "v1", "Status")));
    let mut paths = Map::new();
    for resource in &version.resources {
        of.resource(resource, wanted, &mut paths);
    }
    paths
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// Types of subresources that are not their resource's own.
fn type_of(kind: &str, own: &str) -> String {
    match kind {
        "Scale" => "io.k8s.api.autoscaling.v1.Scale".into(),
        "Binding" => "io.k8s.api.core.v1.Binding".into(),
        "Eviction" => "io.k8s.api.policy.v1.Eviction".into(),
        "TokenRequest" => "io.k8s.api.authentication.v1.TokenRequest".into(),
        _ => own.into(),
    }
}

impl Of<'_> {
    fn resource(&self, resource: &Resource, wanted: &mut Wanted, paths: &mut Map<String, Value>) {
        let gvk = Gvk::new(self.group.name, self.version.name, resource.kind);
        let own = resource.row.as_ref().map_or("", |row| row.type_name);
        let type_name = type_of(resource.kind, own);
        let target = Target {
            gvk: &gvk,
            type_name: &type_name,
            namespaced: resource.namespaced,
            name: resource.kind.into(),
            custom: resource
                .row
                .as_ref()
                .is_some_and(|row| row.rules.made_of().is_some()),
        };
        let scope = if resource.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        let collection = format!("{}{scope}/{}", self.root, resource.plural);
        let Some(row) = &resource.row else {
            wanted.add(&type_name, Some(gvk.clone()));
            self.put(paths, collection, &target, false, vec![self.create(&target)]);
            return;
        };
        if resource.verbs == ["create"] {
            wanted.add(&type_name, Some(gvk.clone()));
            self.put(paths, collection, &target, false, vec![self.create(&target)]);
            return;
        }
        wanted.row(row, &gvk);
        let list_type = format!("{type_name}List");
        let mut operations = vec![
            self.list(&target, &list_type, self.id("list", &target, "")),
            self.create(&target),
        ];
        if resource.verbs.contains(&"deletecollection") {
            operations.push(self.delete_collection(&target));
        }
        self.put(paths, collection.clone(), &target, false, operations);
        if resource.namespaced {
            let id = format!("list{}{}ForAllNamespaces", self.prefix, resource.kind);
            let everywhere = Target {
                namespaced: false,
                name: target.name.clone(),
                ..target
            };
            let path = format!("{}/{}", self.root, resource.plural);
            self.put(
                paths,
                path,
                &everywhere,
                false,
                vec![self.list(&target, &list_type, id)],
            );
        }
        let one = format!("{collection}/{{name}}");
        let mut operations = self.object(&target, true);
        operations.push(self.delete(&target, row.rules.returns_deleted()));
        self.put(paths, one.clone(), &target, true, operations);
        for sub in &resource.subresources {
            self.subresource(&target, sub, &one, wanted, paths);
        }
    }

    fn subresource(
        &self,
        of: &Target,
        sub: &Subresource,
        one: &str,
        wanted: &mut Wanted,
        paths: &mut Map<String, Value>,
    ) {
        let (group, version) = match sub.version {
            "" => (self.group.name, self.version.name),
            other => (sub.group, other),
        };
        let gvk = Gvk::new(group, version, sub.kind);
        let type_name = type_of(sub.kind, of.type_name);
        let target = Target {
            gvk: &gvk,
            type_name: &type_name,
            namespaced: of.namespaced,
            name: format!("{}{}", of.name, capital(sub.name)),
            custom: of.custom,
        };
        if type_name != of.type_name {
            wanted.add(&type_name, Some(gvk.clone()));
        }
        let operations = match sub.name {
            "log" => vec![self.log(&target)],
            "exec" => self.connect(&target, params::EXEC, RUN),
            "attach" => self.connect(&target, params::ATTACH, RUN),
            "portforward" => self.connect(&target, params::PORT_FORWARD, RUN),
            "proxy" => {
                let deeper = Target {
                    name: format!("{}WithPath", target.name),
                    ..target
                };
                let operations = self.connect(&deeper, params::PROXY, ALL);
                self.put(
                    paths,
                    format!("{one}/{}/{{path}}", sub.name),
                    &deeper,
                    true,
                    operations,
                );
                self.connect(&target, params::PROXY, ALL)
            }
            "finalize" => self
                .object(&target, false)
                .into_iter()
                .filter(|(m, _)| *m == "put")
                .collect(),
            _ if sub.verbs == ["create"] => vec![self.create(&target)],
            _ => self.object(&target, true),
        };
        self.put(paths, format!("{one}/{}", sub.name), &target, true, operations);
    }

    /// `readAppsV1NamespacedDeployment`
    fn id(&self, verb: &str, target: &Target, middle: &str) -> String {
        let scope = if target.namespaced { "Namespaced" } else { "" };
        format!("{verb}{}{middle}{scope}{}", self.prefix, target.name)
    }

    fn put(
        &self,
        paths: &mut Map<String, Value>,
        path: String,
        target: &Target,
        named: bool,
        operations: Vec<(&'static str, Value)>,
    ) {
        let mut parameters = Vec::new();
        if named {
            let text = format!("Name of the {}.", target.gvk.kind);
            parameters.push(params::path(self.edition, "name", &text));
        }
        if target.namespaced {
            parameters.push(params::path(
                self.edition,
                "namespace",
                "Namespace of the object.",
            ));
        }
        if path.ends_with("{path}") {
            let text = "The path inside the pod.";
            parameters.push(params::path(self.edition, "path", text));
        }
        parameters.extend(params::of(self.edition, "pretty"));
        let mut item: Map<String, Value> = operations
            .into_iter()
            .map(|(method, operation)| (method.to_string(), operation))
            .collect();
        item.insert("parameters".into(), parameters.into());
        paths.insert(path, item.into());
    }

    fn list(&self, target: &Target, list_type: &str, id: String) -> (&'static str, Value) {
        self.operation(
            target,
            Operation {
                method: "get",
                action: "list",
                id,
                text: format!("Lists or watches objects of kind {}.", target.gvk.kind),
                parameters: params::LIST,
                body: None,
                patch: false,
                answer: list_type,
                codes: OK,
                watches: true,
            },
        )
    }

    fn create(&self, target: &Target) -> (&'static str, Value) {
        self.operation(
            target,
            Operation {
                method: "post",
                action: "post",
                id: self.id("create", target, ""),
                text: format!("Creates a {}.", target.gvk.kind),
                parameters: params::WRITE,
                body: Some(target.type_name),
                patch: false,
                answer: target.type_name,
                codes: POSTED,
                watches: false,
            },
        )
    }

    fn delete_collection(&self, target: &Target) -> (&'static str, Value) {
        self.operation(
            target,
            Operation {
                method: "delete",
                action: "deletecollection",
                id: self.id("delete", target, "Collection"),
                text: format!("Deletes a collection of objects of kind {}.", target.gvk.kind),
                parameters: params::DELETE_COLLECTION,
                body: Some(&meta_type("DeleteOptions")),
                patch: false,
                answer: &meta_type("Status"),
                codes: OK,
                watches: false,
            },
        )
    }

    fn delete(&self, target: &Target, answers_object: bool) -> (&'static str, Value) {
        let status = meta_type("Status");
        let answer = if answers_object { target.type_name } else { &status };
        self.operation(
            target,
            Operation {
                method: "delete",
                action: "delete",
                id: self.id("delete", target, ""),
                text: format!("Deletes a {}.", target.gvk.kind),
                parameters: params::DELETE,
                body: Some(&meta_type("DeleteOptions")),
                patch: false,
                answer,
                codes: DELETED,
                watches: false,
            },
        )
    }

    /// GET, PUT and PATCH of an object or of a part of it.
    fn object(&self, target: &Target, patches: bool) -> Vec<(&'static str, Value)> {
        let kind = &target.gvk.kind;
        let base = |method, action, id: String, text: String| Operation {
            method,
            action,
            id,
            text,
            parameters: &[],
            body: None,
            patch: false,
            answer: target.type_name,
            codes: OK,
            watches: false,
        };
        let get = base(
            "get",
            "get",
            self.id("read", target, ""),
            format!("Reads the {kind}."),
        );
        let put = Operation {
            parameters: params::WRITE,
            body: Some(target.type_name),
            codes: WRITTEN,
            ..base(
                "put",
                "put",
                self.id("replace", target, ""),
                format!("Replaces the {kind}."),
            )
        };
        let body = meta_type("Patch");
        let patch = Operation {
            parameters: params::PATCH,
            body: Some(&body),
            patch: true,
            codes: WRITTEN,
            ..base(
                "patch",
                "patch",
                self.id("patch", target, ""),
                format!("Changes parts of the {kind}."),
            )
        };
        let mut list = vec![self.operation(target, get), self.operation(target, put)];
        if patches {
            list.push(self.operation(target, patch));
        }
        list
    }

    fn log(&self, target: &Target) -> (&'static str, Value) {
        self.operation(
            target,
            Operation {
                method: "get",
                action: "get",
                id: self.id("read", target, ""),
                text: "Reads the log of a container.".into(),
                parameters: params::LOG,
                body: None,
                patch: false,
                answer: "",
                codes: OK,
                watches: false,
            },
        )
    }

    /// Methods that lead to the pod itself.
    fn connect(
        &self,
        target: &Target,
        parameters: &[&'static str],
        methods: &[&'static str],
    ) -> Vec<(&'static str, Value)> {
        let one = |method: &'static str| {
            let verb = capital(method);
            let scope = if target.namespaced { "Namespaced" } else { "" };
            self.operation(
                target,
                Operation {
                    method,
                    action: "connect",
                    id: format!("connect{}{verb}{scope}{}", self.prefix, target.name),
                    text: format!("Connects {verb} requests to {}.", target.gvk.kind),
                    parameters,
                    body: None,
                    patch: false,
                    answer: "",
                    codes: OK,
                    watches: false,
                },
            )
        };
        methods.iter().map(|method| one(method)).collect()
    }

    fn operation(&self, target: &Target, operation: Operation) -> (&'static str, Value) {
        let parameters: Vec<Value> = operation
            .parameters
            .iter()
            .filter_map(|name| params::of(self.edition, name))
            .collect();
        let mut value = json!({
            "tags": [self.tag],
            "description": operation.text,
            "operationId": operation.id,
            "x-kubernetes-action": operation.action,
            "x-kubernetes-group-version-kind": target.gvk.value(),
        });
        match self.edition {
            Edition::V2 => v2(&mut value, &operation, parameters, target.custom),
            Edition::V3 => v3(&mut value, &operation, parameters, target.custom),
        }
        (operation.method, value)
    }
}

/// The media types that an operation answers with.
fn produces(operation: &Operation, custom: bool) -> Vec<&'static str> {
    let all: Vec<&'static str> = match operation.answer {
        "" if operation.action == "connect" => vec!["*/*"],
        "" => vec!["text/plain"],
        _ if operation.watches => PRODUCES.into_iter().chain(STREAMS).collect(),
        _ => PRODUCES.to_vec(),
    };
    all.into_iter()
        .filter(|media| !(custom && media.contains("protobuf")))
        .collect()
}

/// The forms of patches.
fn patches(custom: bool) -> Vec<&'static str> {
    let all = PATCHES.into_iter();
    all.filter(|media| !(custom && media.contains("strategic")))
        .collect()
}

fn v2(value: &mut Value, operation: &Operation, mut parameters: Vec<Value>, custom: bool) {
    if let Some(body) = operation.body {
        let required = operation.action != "delete" && operation.action != "deletecollection";
        let mut body = json!({"name": "body", "in": "body", "schema": reference(Edition::V2, body)});
        if required {
            body["required"] = true.into();
        }
        parameters.insert(0, body);
    }
    let answer = match operation.answer {
        "" => json!({"type": "string"}),
        name => reference(Edition::V2, name),
    };
    let mut responses: Map<String, Value> = operation
        .codes
        .iter()
        .map(|(code, text)| (code.to_string(), json!({"description": text, "schema": answer})))
        .collect();
    responses.insert("401".into(), json!({"description": "Unauthorized"}));
    value["parameters"] = parameters.into();
    value["responses"] = responses.into();
    value["schemes"] = json!(["https"]);
    value["produces"] = json!(produces(operation, custom));
    value["consumes"] = if operation.patch {
        json!(patches(custom))
    } else {
        json!(["*/*"])
    };
}

fn v3(value: &mut Value, operation: &Operation, parameters: Vec<Value>, custom: bool) {
    if !parameters.is_empty() {
        value["parameters"] = parameters.into();
    }
    if let Some(body) = operation.body {
        let types = if operation.patch {
            patches(custom)
        } else {
            vec!["*/*"]
        };
        let content: Map<String, Value> = types
            .iter()
            .map(|t| (t.to_string(), json!({"schema": reference(Edition::V3, body)})))
            .collect();
        value["requestBody"] = json!({"content": content});
        if operation.action != "delete" && operation.action != "deletecollection" {
            value["requestBody"]["required"] = true.into();
        }
    }
    let answer = match operation.answer {
        "" => json!({"type": "string"}),
        name => reference(Edition::V3, name),
    };
    let content: Map<String, Value> = produces(operation, custom)
        .into_iter()
        .map(|t| (t.to_string(), json!({"schema": answer})))
        .collect();
    let mut responses: Map<String, Value> = operation
        .codes
        .iter()
        .map(|(code, text)| (code.to_string(), json!({"description": text, "content": content})))
        .collect();
    responses.insert("401".into(), json!({"description": "Unauthorized"}));
    value["responses"] = responses.into();
}
