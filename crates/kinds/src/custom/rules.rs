//! The rules of a custom resource, from one version of its definition: what typed code does for built-in kinds, the schema
//! does here. Source: KEP-693, KEP-2885 (validation), KEP-4358 (selectable fields), KEP-4008 (ratcheting).

use super::cells::{self, Printed};
use super::expressions::{self, Ruled};
use super::jsonpath::JsonPath;
use super::structure::Structure;
use super::{defaults, embedded, lists, prune, shape, validate};
use crate::row::{MadeOf, Rules, Write, text};
use crate::{Check, schema};
use codec::strict::conform_metadata;
use meta::schema::Schema;
use meta::selector::LabelSelector;
use meta::{Errors, FieldError, Object, Path, Res, Snapshot, Status, Timestamp, name};
use serde_json::Value;
use std::sync::OnceLock;

/// One version of a custom resource.
pub struct Custom {
    definition: Object,
    version: &'static str,
    list_kind: &'static str,
    made_of: MadeOf,
    /// The version in whose form objects are stored.
    storage: &'static str,
    /// Objects may be stored in another form than the storage version's.
    several: bool,
    has_status: bool,
    scale_selector: Option<Box<str>>,
    deprecation: Option<&'static str>,
    selectable: Vec<(Box<str>, Option<JsonPath>)>,
    /// The definition is on its way out: nothing new is made.
    ending: bool,
    known: OnceLock<Known>,
    /// The schema of the storage version, where that is another one.
    stored: OnceLock<Structure>,
}

/// What is read of the schema when it is first needed.
struct Known {
    structure: Structure,
    schema: Schema,
    /// None where the schema has no rules.
    ruled: Option<Ruled>,
    columns: Vec<Printed>,
}

impl Custom {
    /// Of a version of a definition; `before` are the rules that an older state of it gave.
    pub fn new(definition: &Object, value: &Value, version: &Value, before: Option<&dyn Rules>) -> Self {
        let own = meta::res::intern(text(version, "/name"));
        let versions = value.pointer("/spec/versions").and_then(Value::as_array);
        let versions: Vec<&Value> = versions.into_iter().flatten().collect();
        let stored = versions.iter().find(|v| v["storage"] == true);
        let ever_stored = value.pointer("/status/storedVersions").and_then(Value::as_array);
        let generation = definition.meta().generation;
        let same = before
            .and_then(Rules::made_of)
            .filter(|made| *made.uid == *definition.uid() && made.generation == generation);
        let selectable = version.get("selectableFields").and_then(Value::as_array);
        let selectable = selectable.into_iter().flatten().map(|field| {
            let path = text(field, "/jsonPath");
            (path.trim_start_matches('.').into(), JsonPath::parse(path).ok())
        });
        Self {
            definition: definition.clone(),
            version: own,
            list_kind: meta::res::intern(text(value, "/spec/names/listKind")),
            made_of: same.unwrap_or_else(|| MadeOf {
                uid: definition.uid().into(),
                generation,
                since: definition.revision(),
            }),
            storage: stored.map_or(own, |v| meta::res::intern(text(v, "/name"))),
            several: versions.len() > 1 || ever_stored.is_some_and(|list| list.len() > 1),
            has_status: version
                .pointer("/subresources/status")
                .is_some_and(Value::is_object),
            scale_selector: version
                .pointer("/subresources/scale/labelSelectorPath")
                .and_then(Value::as_str)
                .map(Into::into),
            deprecation: deprecation(value, version, &versions),
            selectable: selectable.collect(),
            ending: definition.meta().is_deleting(),
            known: OnceLock::new(),
            stored: OnceLock::new(),
        }
    }

    fn known(&self) -> &Known {
        self.known.get_or_init(|| {
            let value = self.definition.value();
            let (version, null) = (version_of(&value, self.version), Value::Null);
            let own = version.and_then(|v| v.pointer("/schema/openAPIV3Schema"));
            let own = own.unwrap_or(&null);
            let structure = structure_of(&value, self.version);
            Known {
                schema: shape::schema(&structure),
                ruled: Ruled::read(own, true),
                columns: cells::columns(version.unwrap_or(&null)),
                structure,
            }
        })
    }

    fn structure(&self) -> &Structure {
        &self.known().structure
    }

    /// Problems that a whole object has, whatever it was before.
    fn check(&self, object: &Value, old: Option<&Value>, errors: &mut Errors) {
        let structure = self.structure();
        validate::validate(structure, &Path::root(), object, old, errors);
        self.check_scale(object, true, errors);
        embedded::validate(structure, &Path::root(), object, errors);
        self.check_lists(object, old, errors);
        self.check_rules(object, old, errors);
    }

    /// Rules are only asked of values that have the types that they were written for.
    fn check_rules(&self, object: &Value, old: Option<&Value>, errors: &mut Errors) {
        let Some(ruled) = &self.known().ruled else { return };
        let blocks = |error: &FieldError| {
            use meta::field::Cause::{NotSupported, Required, TooLong, TooMany, TypeInvalid};
            matches!(
                error.cause,
                NotSupported | Required | TooLong | TooMany | TypeInvalid
            )
        };
        if errors.0.iter().any(blocks) {
            let why = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            return errors.invalid(&Path::root(), Value::Null, why);
        }
        expressions::validate(ruled, self.structure(), object, old, errors);
    }

    fn check_lists(&self, object: &Value, old: Option<&Value>, errors: &mut Errors) {
        let structure = self.structure();
        let root = Path::root();
        let mut before = Errors::new();
        if let Some(old) = old {
            lists::validate(structure, &root, old, &mut before);
        }
        if before.is_empty() {
            lists::validate(structure, &root, object, errors);
        }
    }

    /// The numbers that `scale` shows must be ones.
    fn check_scale(&self, object: &Value, with_spec: bool, errors: &mut Errors) {
        let value = self.definition.value();
        let Some(scale) = version_of(&value, self.version)
            .and_then(|v| v.pointer("/subresources/scale"))
            .filter(|scale| scale.is_object())
        else {
            return;
        };
        let fields = ["specReplicasPath", "statusReplicasPath"];
        for field in fields.iter().skip(usize::from(!with_spec)) {
            let path = text(scale, &format!("/{field}"));
            check_replicas(object, path, errors);
        }
        if let Some(path) = self.scale_selector.as_deref()
            && let Some(found) = at(object, path).filter(|v| !v.is_string())
        {
            let why = format!(
                "{path} accessor error: {found} is of the type {}, expected string",
                go_type(found)
            );
            errors.invalid(&Path::new(path), "", &why);
        }
    }
}

fn check_replicas(object: &Value, path: &str, errors: &mut Errors) {
    let Some(found) = at(object, path) else { return };
    let field = Path::new(path);
    match found.as_i64() {
        None => {
            let why = format!(
                "{path} accessor error: {found} is of the type {}, expected int64",
                go_type(found)
            );
            errors.invalid(&field, 0, &why);
        }
        Some(n) if n < 0 => errors.invalid(&field, n, "should be a non-negative integer"),
        Some(n) if n > i64::from(i32::MAX) => {
            errors.invalid(
                &field,
                n,
                &format!("should be less than or equal to {}", i32::MAX),
            );
        }
        Some(_) => {}
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_i64() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let mut steps = path.trim_start_matches('.').split('.');
    steps.try_fold(object, |value, step| value.get(step))
}

/// What clients of a version are warned of.
fn deprecation(definition: &Value, version: &Value, versions: &[&Value]) -> Option<&'static str> {
    if version["deprecated"] != true {
        return None;
    }
    if let Some(own) = version.get("deprecationWarning").and_then(Value::as_str) {
        return Some(meta::res::intern(own));
    }
    let (group, kind) = (
        text(definition, "/spec/group"),
        text(definition, "/spec/names/kind"),
    );
    let name = |version: &Value| text(version, "/name").to_string();
    let own = name(version);
    let mut said = format!("{group}/{own} {kind} is deprecated");
    let newer = versions
        .iter()
        .filter(|v| v["served"] == true && v["deprecated"] != true)
        .map(|v| name(v))
        .filter(|other| name::version_rank(other) > name::version_rank(&own))
        .max_by_key(|other| name::version_rank(other));
    if let Some(newer) = newer {
        said.push_str(&format!("; use {group}/{newer} {kind}"));
    }
    Some(meta::res::intern(&said))
}

impl Rules for Custom {
    fn default(&self, object: &mut Value) {
        defaults::fill(object, self.structure());
    }

    fn schema(&self) -> Option<Schema> {
        Some(self.known().schema.clone())
    }

    fn list_kind(&self) -> Option<&'static str> {
        Some(self.list_kind)
    }

    fn made_of(&self) -> Option<MadeOf> {
        Some(self.made_of.clone())
    }

    fn conform(&self, body: &mut Value) -> Option<Result<Vec<String>, String>> {
        Some(conform(self.structure(), body))
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        self.check(object, None, errors);
    }

    fn update_checks(&self, _write: Write) -> &'static [Check] {
        Check::CHANGES
    }

    fn validate_update(&self, write: Write, object: &Value, old: &Value, errors: &mut Errors) {
        if write != Write::Status {
            return self.check(object, Some(old), errors);
        }
        if let (Some(status), Some(of)) = (object.get("status"), self.structure().property("status")) {
            validate::validate(of, &Path::new("status"), status, old.get("status"), errors);
        }
        self.check_scale(object, false, errors);
        self.check_lists(object, Some(old), errors);
        self.check_rules(object, Some(old), errors);
    }

    fn admit(
        &self,
        write: Write,
        object: &mut Value,
        _old: Option<&Value>,
        _seen: &Snapshot,
    ) -> Result<(), Status> {
        if write == Write::Create && self.ending {
            let res = super::resource(&self.definition.value());
            let why = "create not allowed while custom resource definition is terminating";
            return Err(Status::forbidden(res, text(object, "/metadata/name"), why));
        }
        Ok(())
    }

    fn makes_generation(&self, object: &Value, old: &Value) -> bool {
        !self.has_status && object.get("status") != old.get("status")
    }

    fn status_keeps(&self) -> &'static [&'static str] {
        &[
            "labels",
            "annotations",
            "ownerReferences",
            "finalizers",
            "generateName",
        ]
    }

    fn checks_finalizer_names(&self) -> bool {
        false
    }

    fn needs_revision(&self) -> bool {
        true
    }

    fn deprecation(&self) -> Option<&'static str> {
        self.deprecation
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        finalizer_warnings(object, old)
    }

    fn version_of(&self) -> Option<Res> {
        let stored = self.version == self.storage;
        (!stored).then(|| super::resource(&self.definition.value()))
    }

    fn is_view(&self) -> bool {
        true
    }

    fn reshapes(&self, object: &Object) -> bool {
        if object.revision() < self.made_of.since {
            return true;
        }
        self.several && object.version() != Some(self.version)
    }

    fn shown(&self, object: &mut Value) {
        to_version(object, self.version);
        // What is stored has metadata that could be read, or it would not be there.
        if conform(self.structure(), object).is_ok() {
            defaults::fill(object, self.structure());
        }
    }

    fn stored(&self, object: &mut Value) {
        to_version(object, self.storage);
        // What only this version knows is not kept.
        let structure = self
            .stored
            .get_or_init(|| structure_of(&self.definition.value(), self.storage));
        prune::prune(object, structure);
    }

    fn column_definitions(&self) -> Option<Vec<Value>> {
        Some(cells::definitions(&self.known().columns))
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        cells::cells(&self.known().columns, object, now)
    }

    fn selects(&self, field: &str) -> bool {
        self.selectable.iter().any(|(name, _)| **name == *field)
    }

    fn field(&self, object: &Value, path: &str) -> String {
        let own = self.selectable.iter().find(|(name, _)| **name == *path);
        let found = own.and_then(|(_, path)| path.as_ref()?.find(object).into_iter().next());
        match found {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }

    fn scale_selector(&self, object: &Value) -> String {
        let path = self.scale_selector.as_deref();
        let found = path.and_then(|path| at(object, path)).and_then(Value::as_str);
        let parsed = found.and_then(|selector| LabelSelector::parse(selector).ok());
        parsed.map(|selector| selector.to_string()).unwrap_or_default()
    }

    fn document(&self) -> Option<Value> {
        let value = self.definition.value();
        let own = version_of(&value, self.version).and_then(|v| v.pointer("/schema/openAPIV3Schema"));
        Some(own.cloned().unwrap_or_else(
            || serde_json::json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
        ))
    }
}

fn version_of<'a>(definition: &'a Value, version: &str) -> Option<&'a Value> {
    let versions = definition.pointer("/spec/versions")?.as_array()?;
    versions.iter().find(|v| text(v, "/name") == version)
}

/// The schema of a version; without one every field is kept.
fn structure_of(definition: &Value, version: &str) -> Structure {
    let null = Value::Null;
    let own = version_of(definition, version).and_then(|v| v.pointer("/schema/openAPIV3Schema"));
    let mut structure = Structure::of_resource(own.unwrap_or(&null));
    if definition.pointer("/spec/preserveUnknownFields") == Some(&Value::Bool(true)) {
        structure.preserve_unknown = true;
    }
    structure
}

/// Takes out what the schema does not know, and brings metadata into form.
fn conform(structure: &Structure, body: &mut Value) -> Result<Vec<String>, String> {
    let quoted = |path: String| format!("unknown field \"{path}\"");
    let mut unknown = conform_metadata(schema::arena(), body).map_err(|misfits| misfits.told(None))?;
    unknown.extend(prune::prune(body, structure).into_iter().map(quoted));
    prune::drop_nulls(body, Some(structure));
    unknown.extend(prune::conform_embedded(body, structure)?);
    Ok(unknown)
}

fn to_version(object: &mut Value, version: &str) {
    let api_version = text(object, "/apiVersion");
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    object["apiVersion"] = format!("{group}/{version}").into();
}

/// Finalizers that somebody else could mean another thing by.
fn finalizer_warnings(object: &Value, old: Option<&Value>) -> Vec<String> {
    const KNOWN: [&str; 3] = ["orphan", "foregroundDeletion", "kubernetes"];
    let of = |object: &Value| -> Vec<String> {
        let list = object.pointer("/metadata/finalizers").and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(Into::into)
            .collect()
    };
    let before = old.map(of).unwrap_or_default();
    let mut added: Vec<String> = of(object).into_iter().filter(|f| !before.contains(f)).collect();
    added.sort();
    added.dedup();
    let mut said = Vec::new();
    for finalizer in added {
        let at = format!("metadata.finalizers: {finalizer:?}");
        said.extend(
            name::check_qualified_name(&finalizer)
                .into_iter()
                .map(|why| format!("{at}: {why}")),
        );
        if !finalizer.contains('/') && !KNOWN.contains(&finalizer.as_str()) {
            let path = if finalizer.contains('.') {
                " including a path (/)"
            } else {
                ""
            };
            said.push(format!(
                "{at}: prefer a domain-qualified finalizer name{path} to avoid accidental conflicts with other finalizer writers"
            ));
        }
    }
    said
}
