//! The API as calls: how controllers, scheduler and node agent read and write. In process it is the pipeline itself,
//! without encoding; for a remote node it is HTTPS.

use crate::{Change, Object, Res, Snapshot, Status};
use bytes::Bytes;
use futures::stream::BoxStream;
use serde_json::Value;

/// One request, as the router would make it from a path, a query and a body.
#[derive(Clone, Debug)]
pub struct Call {
    pub verb: Verb,
    pub res: Res,
    /// Empty: cluster-scoped, or all namespaces for reads.
    pub namespace: String,
    /// Empty for create, list and deletecollection.
    pub name: String,
    /// `status`, `scale`, `eviction`, `binding`, …; empty for the object itself.
    pub subresource: &'static str,
    pub body: Option<Value>,
    /// The body's own text, where messages about fields follow its order.
    pub sent: Option<Sent>,
    pub options: Options,
}

/// A JSON body as it came.
#[derive(Clone, Debug)]
pub struct Sent {
    pub json: Bytes,
    /// Fields that stand there more than once, as `duplicate field "data.a"`.
    pub duplicates: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    List,
    Create,
    Update,
    /// RFC 6902
    PatchJson,
    /// RFC 7386
    PatchMerge,
    PatchStrategic,
    Apply,
    Delete,
    DeleteCollection,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    pub dry_run: bool,
    pub field_manager: String,
    /// Server-side apply takes over fields of others.
    pub force: bool,
    pub field_validation: FieldValidation,
    pub grace_seconds: Option<i64>,
    pub propagation: Option<Propagation>,
    /// Preconditions of deletes (and of writes by controllers).
    pub uid: Option<String>,
    pub revision: Option<u64>,
    pub label_selector: String,
    pub field_selector: String,
    /// Objects a page; 0: all.
    pub limit: usize,
    pub continue_token: String,
    pub resource_version: String,
    pub resource_version_match: String,
}

/// What happens to unknown and duplicate fields of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// What a call answers when it did what was asked.
#[derive(Clone, Debug)]
pub enum Reply {
    /// The object; `created` tells 201 from 200.
    Object { object: Object, created: bool },
    /// An object that is not stored as such: dry runs, `scale`, token requests.
    Value { value: Value, created: bool },
    List {
        objects: Vec<Object>,
        revision: u64,
        continue_token: String,
        remaining: Option<usize>,
    },
    /// Deletes that leave nothing behind: a `Status` with `Success`.
    Done(Value),
}

/// A verdict of a watch: changes in order, or bookmarks that only carry a revision.
#[derive(Clone, Debug)]
pub enum Event {
    Change(Change),
    /// All changes up to this revision were sent.
    Bookmark(u64),
}

/// What every room above the store uses to reach the API. Carries its own identity.
#[async_trait::async_trait]
pub trait Client: Send + Sync {
    async fn call(&self, call: Call) -> Result<Reply, Status>;

    /// The newest snapshot that this client knows.
    fn snapshot(&self) -> Snapshot;

    /// All changes after `revision`, of all resources, in order. Ends with an error when they are no longer kept.
    fn changes(&self, revision: u64) -> BoxStream<'static, Result<Change, Status>>;
}

impl Call {
    fn new(verb: Verb, res: Res, namespace: &str, name: &str, body: Option<Value>) -> Self {
        Self {
            verb,
            res,
            namespace: namespace.into(),
            name: name.into(),
            subresource: "",
            body,
            sent: None,
            options: Options::default(),
        }
    }

    pub fn get(res: Res, namespace: &str, name: &str) -> Self {
        Self::new(Verb::Get, res, namespace, name, None)
    }

    pub fn list(res: Res, namespace: &str) -> Self {
        Self::new(Verb::List, res, namespace, "", None)
    }

    pub fn create(res: Res, namespace: &str, object: Value) -> Self {
        Self::new(Verb::Create, res, namespace, "", Some(object))
    }

    pub fn update(res: Res, namespace: &str, name: &str, object: Value) -> Self {
        Self::new(Verb::Update, res, namespace, name, Some(object))
    }

    pub fn merge_patch(res: Res, namespace: &str, name: &str, patch: Value) -> Self {
        Self::new(Verb::PatchMerge, res, namespace, name, Some(patch))
    }

    pub fn delete(res: Res, namespace: &str, name: &str) -> Self {
        Self::new(Verb::Delete, res, namespace, name, None)
    }

    pub fn subresource(mut self, subresource: &'static str) -> Self {
        self.subresource = subresource;
        self
    }

    /// Only if the object is still this one.
    pub fn if_uid(mut self, uid: &str) -> Self {
        self.options.uid = Some(uid.to_string());
        self
    }

    /// Only if the object is unchanged since this revision.
    pub fn if_revision(mut self, revision: u64) -> Self {
        self.options.revision = Some(revision);
        self
    }

    pub fn manager(mut self, manager: &str) -> Self {
        self.options.field_manager = manager.to_string();
        self
    }
}
