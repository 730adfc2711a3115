//! The pipeline, pure: a call and what is stored go in, a decision comes out. One file a stage, one function a verb.
//! row → check → default → mutate → prepare → validate → admit; the shell commits what comes out.

pub mod access;
pub mod create;
pub mod delete;
pub mod evict;
pub mod managed;
pub mod metadata;
pub mod page;
pub mod patch;
pub mod prepare;
pub mod rbac;
pub mod read;
pub mod review;
pub mod scale;
pub mod select;
pub mod subresource;
pub mod token;
pub mod update;

use access::{Authenticator, Authorizer, Signer};
use kinds::node::{self, restriction};
use kinds::review::Extra;
use kinds::{Registry, Row};
use meta::{Call, Draft, Object, Reply, Snapshot, Status, Timestamp, Verb};
use serde_json::{Value, json};
use store::{CommitError, Committed, Write};

/// Who calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: Extra,
    /// The client's program, up to the first `/` of its user agent: the default field manager.
    pub agent: String,
}

/// What a decision may look at.
pub struct Seen<'a> {
    pub registry: &'a Registry,
    pub snapshot: &'a Snapshot,
    pub authorizer: &'a dyn Authorizer,
    /// The caller is a part of this server, which has its rights from what it is: it writes under a name of its own, and
    /// is not asked whether it may. Whoever comes over a socket has been asked before the pipeline begins.
    pub trusted: bool,
    /// Signs service account tokens, where the server has a key.
    pub signer: Option<&'a dyn Signer>,
    pub authenticator: Option<&'a dyn Authenticator>,
}

/// What is to be done for a call.
pub enum Decision {
    /// Nothing is written.
    Answer(Reply, Vec<String>),
    Write(Pending),
}

impl Decision {
    /// For those that mean "as it will be, whatever it was": an object that is there by now is changed instead.
    fn whoever_was_faster(mut self) -> Self {
        if let Self::Write(pending) = &mut self {
            pending.retry = true;
        }
        self
    }
}

/// Writes that wait for the store, and what to answer when they are done.
pub struct Pending {
    pub writes: Vec<Write>,
    pub then: Then,
    pub warnings: Vec<String>,
    /// The client did not say which revision it means: decide anew when the object changed meanwhile.
    pub retry: bool,
    /// What to answer when a precondition fails and there is no retry.
    pub lost: Status,
}

/// How the committed objects become the reply.
pub enum Then {
    Object {
        created: bool,
    },
    /// The update that let go of the last thing that held the object: the store deletes, the client sees its update.
    Released(Box<Draft>),
    /// A `Status` or another object that was ready before the write.
    Done(Value),
    /// Created something that is not stored as such (`binding`).
    Created(Value),
    Scale(std::sync::Arc<Row>),
    Collection,
}

/// One call on its way: what every stage needs.
pub struct Cx<'a> {
    pub seen: &'a Seen<'a>,
    pub caller: &'a Caller,
    pub row: &'a std::sync::Arc<Row>,
    pub now: Timestamp,
    pub random: &'a mut dyn FnMut() -> u64,
    pub warnings: Vec<String>,
}

/// Decides one call of a caller who is authorized. Reads the clock, randomness and the cluster only through its arguments.
pub fn decide(
    seen: &Seen,
    caller: &Caller,
    row: &std::sync::Arc<Row>,
    call: Call,
    now: Timestamp,
    random: &mut dyn FnMut() -> u64,
) -> Result<Decision, Status> {
    if row.namespaced && call.namespace.is_empty() && !spans_namespaces(call.verb) {
        return Err(Status::bad_request("the namespace of the object is missing"));
    }
    let mut cx = Cx {
        seen,
        caller,
        row,
        now,
        random,
        warnings: Vec::new(),
    };
    check_options(&call)?;
    match call.verb {
        Verb::Get => read::get(&cx, &call),
        Verb::List => read::list(&cx, &call),
        Verb::Create if call.subresource.is_empty() => create::create(&mut cx, call),
        Verb::Create => subresource::create(&mut cx, call),
        Verb::Update => update::update(&mut cx, call),
        Verb::PatchJson | Verb::PatchMerge | Verb::PatchStrategic => patch::patch(&mut cx, call),
        Verb::Apply => patch::apply(&mut cx, call),
        Verb::Delete => delete::delete(&mut cx, &call),
        Verb::DeleteCollection => delete::collection(&mut cx, &call),
    }
}

fn spans_namespaces(verb: Verb) -> bool {
    matches!(verb, Verb::List | Verb::DeleteCollection)
}

/// Options that only some verbs take, in upstream's words.
fn check_options(call: &Call) -> Result<(), Status> {
    let options = &call.options;
    let patching = matches!(
        call.verb,
        Verb::PatchJson | Verb::PatchMerge | Verb::PatchStrategic
    );
    let mut errors = meta::Errors::new();
    if call.verb == Verb::Apply && options.field_manager.is_empty() {
        let field = meta::Path::new("fieldManager");
        errors.required(&field, "is required for apply patch");
    }
    if patching && options.force {
        let field = meta::Path::new("force");
        errors.forbidden(&field, "may not be specified for non-apply patch");
    }
    managed::check_manager(&options.field_manager, &mut errors);
    if errors.is_empty() {
        return Ok(());
    }
    let kind = match call.verb {
        Verb::Create => "CreateOptions",
        Verb::Update => "UpdateOptions",
        _ => "PatchOptions",
    };
    Err(Status::invalid("meta.k8s.io", kind, "", &errors))
}

/// The reply to writes that the store has made.
pub fn finish(then: Then, committed: Committed) -> Result<Reply, Status> {
    let lone = |mut objects: Vec<Object>| {
        objects
            .pop()
            .ok_or_else(|| Status::internal("the store committed no object"))
    };
    Ok(match then {
        Then::Object { created } => Reply::Object {
            object: lone(committed.objects)?,
            created,
        },
        Then::Released(draft) => Reply::Object {
            object: draft.seal(committed.revision),
            created: false,
        },
        Then::Done(value) => Reply::Done(value),
        Then::Created(value) => Reply::Value { value, created: true },
        Then::Scale(row) => Reply::Value {
            value: scale::of(&row, &lone(committed.objects)?)?,
            created: false,
        },
        Then::Collection => Reply::List {
            objects: committed.objects,
            revision: committed.revision,
            continue_token: String::new(),
            remaining: None,
        },
    })
}

/// What a failed commit means to the client, unless it is tried again.
pub fn lost(error: CommitError, conflict: Status) -> Status {
    match error {
        CommitError::Conflict { .. } => conflict,
        CommitError::Full(why) => Status::new(
            507,
            "InsufficientStorage",
            format!(
                "nothing was written, the disk is full: {why}; free some space there and try again, reads go on meanwhile"
            ),
        ),
        CommitError::Failed(why) => Status::unavailable(format!("the store failed: {why}")),
        CommitError::Closed => Status::unavailable("the server is shutting down"),
    }
}

/// A `Status` that says all went well.
pub fn success(details: Value) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

impl Cx<'_> {
    /// The stored object that a call is about.
    pub fn stored(&self, call: &Call) -> Result<Object, Status> {
        self.seen
            .snapshot
            .get(self.row.res, &call.namespace, &call.name)
            .cloned()
            .ok_or_else(|| Status::not_found(self.row.res, &call.name))
    }

    pub fn invalid(&self, name: &str, errors: &meta::Errors) -> Status {
        // What is stored as another group's kind is named so.
        let stored = self.row.rules.version_of().unwrap_or(self.row.res);
        Status::invalid(stored.group, self.row.kind, name, errors)
    }

    /// Refuses a write that gives away more than the caller holds.
    pub fn admit_caller(&self, object: &Value, old: Option<&Value>) -> Result<(), Status> {
        if self.seen.trusted {
            return Ok(());
        }
        let asks = review::Known(self);
        self.row
            .rules
            .admit_caller(object, old, &asks, self.seen.snapshot)
    }

    /// Refuses what a node may not write of others. The server's own node is no stranger to it.
    pub fn restrict_node(&self, attempt: &restriction::Attempt) -> Result<(), Status> {
        let caller = self.caller;
        match node::access::node_of(&caller.name, &caller.groups) {
            Some(node) if !self.seen.trusted => restriction::admit(node, attempt, self.seen.snapshot),
            _ => Ok(()),
        }
    }

    pub fn warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }
}
