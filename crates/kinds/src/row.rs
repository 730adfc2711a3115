//! A kind is a row: all that the router, discovery, storage, tables, admission and collectors need to know of it.
//! Built-in kinds are rows made once; a CustomResourceDefinition is a row made at run time.

use crate::column::Column;
use crate::review::{Asks, User};
use meta::schema::Schema;
use meta::selector::LabelSelector;
use meta::{Errors, Object, Res, Snapshot, Status, Timestamp};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

/// One served version of one resource.
pub struct Row {
    /// Group and plural; also where objects are stored and watched.
    pub res: Res,
    pub version: &'static str,
    pub kind: &'static str,
    pub singular: &'static str,
    pub short_names: &'static [&'static str],
    pub categories: &'static [&'static str],
    pub namespaced: bool,
    /// Name in OpenAPI: `io.k8s.api.apps.v1.StatefulSet`.
    pub type_name: &'static str,
    /// Counts changes of the spec in `metadata.generation`.
    pub generation: bool,
    /// Has `status` that only its subresource writes.
    pub status: bool,
    pub scale: Option<ScalePaths>,
    /// Field selectors beyond `metadata.name` and `metadata.namespace`: JSON paths such as `spec.nodeName`.
    pub selectable: &'static [&'static str],
    /// Column definitions; the cells come from `Rules::cells`, after the name and before the age where those are listed.
    pub columns: &'static [Column],
    pub rules: Arc<dyn Rules>,
}

/// Where a kind keeps what `autoscaling/v1 Scale` shows.
#[derive(Clone, Copy, Debug)]
pub struct ScalePaths {
    pub replicas: &'static str,
    pub status_replicas: &'static str,
    /// Path of a label selector in the spec (or of its text in the status, for custom resources).
    pub selector: Option<&'static str>,
}

/// Which state of a definition rules were made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeOf {
    pub uid: Box<str>,
    pub generation: i64,
    /// Objects that were written before this revision may be of an older form.
    pub since: u64,
}

/// What a status write of most kinds leaves of the metadata (`Rules::status_keeps`).
pub const STATUS_KEEPS: &[&str] = &["labels", "annotations", "finalizers", "ownerReferences"];

/// Which write is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    Create,
    /// PUT, PATCH or apply of the object itself.
    Update,
    /// … of its `status` subresource.
    Status,
    /// Any other subresource that writes the object (`scale`, `binding`, `resize`, `ephemeralcontainers`).
    Other(&'static str),
}

/// One part of what an update is checked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Metadata of the new object.
    Metadata,
    /// Metadata against what it was.
    MetadataChange,
    /// `Rules::validate_replacement`.
    Object,
    /// `Rules::validate_update`.
    Change,
}

impl Check {
    /// What a write changes, and no more.
    pub const CHANGES: &[Self] = &[Self::MetadataChange, Self::Change];
    pub const CHANGES_FIRST: &[Self] = &[Self::MetadataChange, Self::Change, Self::Metadata, Self::Object];
    pub const OBJECT_FIRST: &[Self] = &[Self::Metadata, Self::Object, Self::MetadataChange, Self::Change];
}

/// What a check of a write may look at besides the objects.
pub struct Within<'a> {
    /// What the object was; absent on create.
    pub old: Option<&'a Value>,
    pub seen: &'a Snapshot,
    pub asks: &'a dyn Asks,
}

/// What is special about a kind. All of it pure; the pipeline does the rest the same for every kind.
pub trait Rules: Send + Sync {
    /// Fills in defaults, idempotently, whatever comes in (types were checked before).
    fn default(&self, _object: &mut Value) {}

    /// Sets what clients may not choose and resets what this write may not touch, beyond the pipeline's own rule
    /// (status is dropped on create and kept on update; all but status is kept on a status write).
    fn prepare(&self, _write: Write, _object: &mut Value, _old: Option<&Value>, _now: Timestamp) {}

    /// Writes into a new object who made it, after `prepare`.
    fn sign(&self, _object: &mut Value, _maker: &User) {}

    /// Errors that come of the rest of the cluster or of the caller's rights, before all others.
    fn validate_within(&self, _write: Write, _object: &Value, _within: &Within, _errors: &mut Errors) {}

    /// Errors that come of what the caller may do elsewhere: asked when nothing else is wrong.
    fn authorize(&self, _write: Write, _object: &Value, _within: &Within, _errors: &mut Errors) {}

    /// All errors of an object that is about to be stored (metadata is checked by the pipeline).
    fn validate(&self, _object: &Value, _errors: &mut Errors) {}

    /// `validate` of what takes the place of `old`, whose own weaknesses are let pass.
    fn validate_replacement(&self, object: &Value, _old: &Value, errors: &mut Errors) {
        self.validate(object, errors);
    }

    /// Errors that only a new object can have.
    fn validate_new(&self, _object: &Value, _errors: &mut Errors) {}

    /// What a new object is checked for and in which order, before `validate_new`. Metadata that is not looked at here is
    /// looked at when nothing else is wrong.
    fn create_checks(&self) -> &'static [Check] {
        &[Check::Metadata, Check::Object]
    }

    /// What an update is checked for and in which order, after what is checked for every kind; upstream says some of it
    /// twice. A status write leaves the rest of the object as it is and does not check it again.
    fn update_checks(&self, write: Write) -> &'static [Check] {
        match write {
            Write::Status => Check::CHANGES,
            _ => &[
                Check::MetadataChange,
                Check::Metadata,
                Check::Object,
                Check::Change,
            ],
        }
    }

    /// Finalizers must be known or have a group; some kinds never asked for that.
    fn checks_finalizer_names(&self) -> bool {
        true
    }

    /// Errors of the transition: immutable fields and the like. `validate` has run as well.
    fn validate_update(&self, _write: Write, _object: &Value, _old: &Value, _errors: &mut Errors) {}

    /// `validate_update` sees the lists and maps without content that came with the object, as upstream's texts show them;
    /// else it sees what would be stored, which has none.
    fn compares_as_sent(&self) -> bool {
        false
    }

    /// What a new state takes for itself before it is validated, Service addresses for one; a state that cannot have it is
    /// told of nothing else. `old` is absent on create.
    fn begin(
        &self,
        _write: Write,
        _object: &mut Value,
        _old: Option<&Value>,
        _seen: &Snapshot,
    ) -> Result<(), Status> {
        Ok(())
    }

    /// What the one who writes must hold besides the right to write the kind: nobody grants more than that. Asked before
    /// anything is checked; `old` is absent on create.
    fn admit_caller(
        &self,
        _object: &Value,
        _old: Option<&Value>,
        _asks: &dyn Asks,
        _seen: &Snapshot,
    ) -> Result<(), Status> {
        Ok(())
    }

    /// Checks against the rest of the cluster: claims in use. Runs last, before the write; `old` is absent on create.
    fn admit(
        &self,
        _write: Write,
        _object: &mut Value,
        _old: Option<&Value>,
        _seen: &Snapshot,
    ) -> Result<(), Status> {
        Ok(())
    }

    /// `begin` hands out what only one object may have: writes of this kind are decided one after the other.
    fn allocates(&self) -> bool {
        false
    }

    /// Whether this object may be deleted now at all.
    fn admit_delete(&self, _object: &Value, _seen: &Snapshot) -> Result<(), Status> {
        Ok(())
    }

    /// Seconds of grace a delete gives: `None` deletes at once (if no finalizer holds it). `asked` is the request's.
    fn deletion_grace(&self, _object: &Value, _asked: Option<i64>) -> Option<i64> {
        None
    }

    /// Something besides `metadata.finalizers` keeps a deleted object in place (`spec.finalizers` of namespaces).
    fn holds(&self, _object: &Value) -> bool {
        false
    }

    /// What else changes in an object that is marked for deletion (`status.phase` of namespaces).
    fn mark_deleted(&self, _object: &mut Value) {}

    /// A new object may come with its status (a node tells of itself so).
    fn creates_with_status(&self) -> bool {
        false
    }

    /// What else than the spec makes a new generation (a Deployment's annotations).
    fn makes_generation(&self, _object: &Value, _old: &Value) -> bool {
        false
    }

    /// Fields of `metadata` that a status write leaves as they are; it may change all that are not the server's.
    fn status_keeps(&self) -> &'static [&'static str] {
        &[]
    }

    /// What clients are warned of whenever they use this kind at all.
    fn deprecation(&self) -> Option<&'static str> {
        None
    }

    /// Subresources beyond `status` and `scale`: `log`, `binding`, `token`, …
    fn subresources(&self) -> &'static [&'static str] {
        &[]
    }

    /// A delete that does not say what becomes of dependents leaves them behind.
    fn orphans_by_default(&self) -> bool {
        false
    }

    /// Objects of this kind are not stored: these are what there is at any time, to be read and no more.
    fn shows(&self) -> Option<Vec<Value>> {
        None
    }

    /// A delete that leaves nothing behind answers with the object instead of a `Status`.
    fn returns_deleted(&self) -> bool {
        false
    }

    /// Objects may have to be brought into this row's form when they are read (`reshapes` says which).
    fn is_view(&self) -> bool {
        self.version_of().is_some()
    }

    /// This stored object is not in the row's form.
    fn reshapes(&self, _object: &Object) -> bool {
        self.version_of().is_some()
    }

    /// The state of the definition that a custom resource's rules were made of.
    fn made_of(&self) -> Option<MadeOf> {
        None
    }

    /// The schema, where it is not the one of `Row::type_name`.
    fn schema(&self) -> Option<Schema> {
        None
    }

    /// Brings a body into form where the schema alone does not say how. Gives unknown fields, or what cannot be read.
    fn conform(&self, _body: &mut Value) -> Option<Result<Vec<String>, String>> {
        None
    }

    /// The type for OpenAPI, where it is none of the built-in ones.
    fn document(&self) -> Option<Value> {
        None
    }

    /// `kind` of lists, where it is not the kind with `List`.
    fn list_kind(&self) -> Option<&'static str> {
        None
    }

    /// What tables say of their columns, where these are not `Row::columns`.
    fn column_definitions(&self) -> Option<Vec<Value>> {
        None
    }

    /// A field selector beyond `Row::selectable`.
    fn selects(&self, _field: &str) -> bool {
        false
    }

    /// This row is another version of what is stored as that resource: of another group's kind (`events.k8s.io` Event), or
    /// of its own resource, whose other row says `None` here (`autoscaling/v1` HorizontalPodAutoscaler).
    fn version_of(&self) -> Option<Res> {
        None
    }

    /// Brings a stored object into this version's form …
    fn shown(&self, _object: &mut Value) {}

    /// … and back.
    fn stored(&self, _object: &mut Value) {}

    /// Objects of this kind are questions: a create is answered, nothing is stored, and there is no other verb.
    fn is_question(&self) -> bool {
        false
    }

    /// Writes the answer into the question.
    fn answer(&self, _question: &mut Value, _asks: &dyn Asks) -> Result<(), Status> {
        Ok(())
    }

    /// The claims of a token that belongs into this object and is not in it yet.
    fn wants_token(&self, _object: &Value, _seen: &Snapshot) -> Option<Value> {
        None
    }

    /// Puts the signed token where it belongs.
    fn put_token(&self, _object: &mut Value, _token: &str) {}

    /// Whether DELETE of the collection is served.
    fn deletes_collections(&self) -> bool {
        true
    }

    /// PUT (and any other update) of an object that does not exist creates it.
    fn creates_on_update(&self) -> bool {
        false
    }

    /// A PUT must name the revision that it was made from.
    fn needs_revision(&self) -> bool {
        false
    }

    /// Finalizers that every new object of the kind gets (`kubernetes` on namespaces is in the spec, not here).
    fn finalizers(&self) -> &'static [&'static str] {
        &[]
    }

    /// Warnings for the client (`Warning:` headers).
    fn warnings(&self, _object: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }

    /// Messages about a name that is not allowed for this kind.
    fn check_name(&self, name: &str) -> Vec<String> {
        meta::name::check_dns1123_subdomain(name)
    }

    /// … or for this object, whose name follows from what it says.
    fn check_name_of(&self, _object: &Value, name: &str) -> Vec<String> {
        self.check_name(name)
    }

    /// The cells of a printed row, one a column of `Row::columns`.
    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![text(object, "/metadata/name").into(), age(object, now).into()]
    }

    /// What a table says of the row beside its cells: that a pod is through.
    fn row_conditions(&self, _object: &Value) -> Vec<Value> {
        Vec::new()
    }

    /// The value of a selectable field as text; by default what stands at its path.
    fn field(&self, object: &Value, path: &str) -> String {
        plain_field(object, path)
    }

    /// Selector text for `scale`, from the object.
    fn scale_selector(&self, object: &Value) -> String {
        let spec = object.pointer("/spec/selector").cloned().unwrap_or(Value::Null);
        let parsed = serde_json::from_value(spec).ok();
        LabelSelector::of_spec(parsed.as_ref())
            .map(|s| s.to_string())
            .unwrap_or_default()
    }
}

/// A kind without rules of its own.
pub struct Plain;

impl Rules for Plain {}

impl Row {
    /// `apps/v1`, or `v1`.
    pub fn api_version(&self) -> String {
        if self.res.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.res.group, self.version)
        }
    }

    /// Objects are kept in this row's form. Exactly one row of a resource that is stored says so.
    pub fn is_stored(&self) -> bool {
        self.rules.version_of().is_none() && self.rules.shows().is_none()
    }

    /// The type's schema; custom resources without one allow anything.
    pub fn schema(&self) -> Schema {
        let own = self.rules.schema();
        own.or_else(|| Schema::of(crate::schema::arena(), self.type_name))
            .unwrap_or_else(Schema::any)
    }

    /// `kind` of a list of these objects.
    pub fn list_kind(&self) -> Cow<'static, str> {
        match self.rules.list_kind() {
            Some(own) => Cow::Borrowed(own),
            None => Cow::Owned(format!("{}List", self.kind)),
        }
    }

    /// Whether objects can be selected by this field.
    pub fn selects(&self, field: &str) -> bool {
        self.selectable.contains(&field) || self.rules.selects(field)
    }
}

/// What stands at a path such as `spec.nodeName`, as text.
pub fn plain_field(object: &Value, path: &str) -> String {
    let pointer = format!("/{}", path.replace('.', "/"));
    match object.pointer(&pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(s)) => s.clone(),
        Some(other) => other.to_string(),
    }
}

/// The text at a JSON pointer, or the empty text.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The text of an annotation, if it is there.
pub fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(name)?.as_str()
}

/// The whole number at a JSON pointer.
pub fn int(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

/// Time since creation as kubectl prints it.
pub fn age(object: &Value, now: Timestamp) -> String {
    match Timestamp::parse(text(object, "/metadata/creationTimestamp")) {
        Some(created) => ago(created, now),
        None => "<unknown>".to_string(),
    }
}

/// How long ago something was, as kubectl prints it. Clocks may differ by less than two seconds.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    if then >= now.plus_seconds(2) {
        return "<invalid>".to_string();
    }
    duration(now.since(then))
}

/// A duration as kubectl prints ages (`duration.HumanDuration`): two significant units at most.
pub fn duration(since: std::time::Duration) -> String {
    let seconds = since.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |big: u64, unit: &str, small: u64, small_unit: &str| {
        if small == 0 {
            format!("{big}{unit}")
        } else {
            format!("{big}{unit}{small}{small_unit}")
        }
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}
