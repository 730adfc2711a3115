//! The API as calls: what HTTP and the in-process client share. Decides, commits, and tries again after a conflict.

use crate::core::access::{self, Ask, Authenticator, Authorizer, Signer};
use crate::core::rbac::Rbac;
use crate::core::{self, Caller, Decision, Pending, Seen, page};
use crate::node_ops::NodeOps;
use crate::views;
use arc_swap::ArcSwap;
use futures::StreamExt;
use futures::stream::BoxStream;
use kinds::custom::DEFINITIONS;
use kinds::{Registry, Row};
use meta::snapshot::Table;
use meta::{Call, Change, Client, Env, Options, Reply, Snapshot, Status, Verb};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::Store;

/// How often a call without a revision is decided anew when others write the same object at the same time.
const MAX_ATTEMPTS: usize = 16;

/// How long a read waits for a revision that lies ahead.
const REVISION_WAIT: Duration = Duration::from_secs(3);

/// Everything behind the API. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Parts>, Arc<Own>);

/// What the API keeps for itself.
struct Own {
    /// Held from decision to commit where a kind hands out what only one object may have.
    allocation: tokio::sync::Mutex<()>,
    /// Of the definitions that were stored when somebody last asked; `Api::registry` brings it up to date.
    registry: ArcSwap<Registry>,
    remaking: Mutex<()>,
}

/// What an API is made of; `Parts::new` has the defaults.
pub struct Parts {
    pub store: Store,
    pub env: Arc<dyn Env>,
    pub authorizer: Arc<dyn Authorizer>,
    /// Without one, bearer tokens are refused.
    pub authenticator: Option<Arc<dyn Authenticator>>,
    pub signer: Option<Arc<dyn Signer>>,
    /// Logs, exec, attach and port-forward; without one they answer 503. May be set after the start.
    pub node: ArcSwap<Option<Arc<dyn NodeOps>>>,
}

impl Parts {
    pub fn new(store: Store, env: Arc<dyn Env>) -> Self {
        Self {
            store,
            env,
            authorizer: Arc::new(Rbac::default()),
            authenticator: None,
            signer: None,
            node: ArcSwap::from_pointee(None),
        }
    }
}

/// Who makes a call, and whether that is a part of this server (`Seen::trusted`).
#[derive(Clone, Copy)]
struct By<'a> {
    caller: &'a Caller,
    trusted: bool,
}

/// A reply and the warnings that go with it.
pub type Outcome = Result<(Reply, Vec<String>), Status>;

impl Api {
    pub fn new(parts: Parts) -> Self {
        let own = Own {
            allocation: tokio::sync::Mutex::new(()),
            registry: ArcSwap::from_pointee(Registry::builtin()),
            remaking: Mutex::new(()),
        };
        Self(Arc::new(parts), Arc::new(own))
    }

    /// The rows that are served now: those of the newest snapshot's definitions.
    pub fn registry(&self) -> Arc<Registry> {
        let known = self.1.registry.load_full();
        if known.is_of(&definitions(&self.0.store.snapshot())) {
            return known;
        }
        // What it guards is replaced as a whole, so a panic elsewhere does not spoil it.
        let _turn = self.1.remaking.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.1.registry.load_full();
        let definitions = definitions(&self.0.store.snapshot());
        if known.is_of(&definitions) {
            return known;
        }
        let made = Arc::new(known.with_definitions(&definitions));
        self.1.registry.store(made.clone());
        made
    }

    pub fn parts(&self) -> &Parts {
        &self.0
    }

    /// Refuses what a caller may not do.
    pub fn require(&self, caller: &Caller, ask: &Ask) -> Result<(), Status> {
        access::require(&*self.0.authorizer, &self.0.store.snapshot(), caller, ask)
    }

    /// The API for a part of this server, in process and without encoding. It acts under its own name, and is not asked
    /// whether it may.
    pub fn client(&self, caller: Caller) -> Arc<dyn Client> {
        Arc::new(InProcess {
            api: self.clone(),
            caller,
        })
    }

    /// Gives the API its way to the pods' runtime.
    pub fn set_node(&self, node: Arc<dyn NodeOps>) {
        self.0.node.store(Arc::new(Some(node)));
    }

    /// One call of a part of this server.
    pub async fn call(&self, caller: &Caller, call: Call) -> Outcome {
        let registry = self.registry();
        let row = registry
            .by_res(call.res)
            .cloned()
            .ok_or_else(Status::no_such_path)?;
        let by = By {
            caller,
            trusted: true,
        };
        self.call_by(&registry, &row, by, call).await
    }

    /// A call on a row that the router has found, of a caller who has been authorized.
    pub async fn call_row(
        &self,
        registry: &Registry,
        row: &Arc<Row>,
        caller: &Caller,
        call: Call,
    ) -> Outcome {
        let by = By {
            caller,
            trusted: false,
        };
        self.call_by(registry, row, by, call).await
    }

    async fn call_by(&self, registry: &Registry, row: &Arc<Row>, by: By<'_>, mut call: Call) -> Outcome {
        if call.verb == Verb::List {
            let snapshot = self.read_snapshot(&call.options).await?;
            let snapshot = views::snapshot(row, &call, snapshot)?;
            let decided = self.decide(registry, row, by, call, &snapshot)?;
            return match decided {
                Decision::Answer(reply, warnings) => Ok((reply, warnings)),
                Decision::Write(_) => Err(Status::internal("a list decided to write")),
            };
        }
        if call.verb == Verb::Get
            && let Some(revision) = page::parse_revision(&call.options.resource_version)?
            && revision > self.0.store.snapshot().revision()
        {
            self.wait_for(revision).await?;
        }
        let allocates = call.verb != Verb::Get && row.rules.allocates();
        let _turn = if allocates {
            Some(self.1.allocation.lock().await)
        } else {
            None
        };
        let mut attempts = 0;
        loop {
            attempts += 1;
            let snapshot = views::snapshot(row, &call, self.0.store.snapshot())?;
            let again = may_retry(&call) && attempts < MAX_ATTEMPTS;
            let next = again.then(|| call.clone());
            let pending = match self.decide(registry, row, by, call, &snapshot)? {
                Decision::Answer(reply, warnings) => return Ok((reply, warnings)),
                Decision::Write(pending) => pending,
            };
            let Pending {
                writes,
                then,
                warnings,
                retry,
                lost,
            } = pending;
            match self.0.store.commit(views::stored(row, writes)?).await {
                Ok(mut committed) => {
                    for object in &mut committed.objects {
                        let shown = views::shown(row, object)?.into_owned();
                        *object = shown;
                    }
                    return Ok((core::finish(then, committed)?, warnings));
                }
                Err(store::CommitError::Conflict { .. }) if retry && next.is_some() => {}
                Err(error) => return Err(core::lost(error, lost)),
            }
            match next {
                Some(next) => call = next,
                None => return Err(Status::internal("a call was lost")),
            }
        }
    }

    fn decide(
        &self,
        registry: &Registry,
        row: &Arc<Row>,
        by: By<'_>,
        call: Call,
        snapshot: &Snapshot,
    ) -> Result<Decision, Status> {
        let seen = Seen {
            registry,
            snapshot,
            authorizer: &*self.0.authorizer,
            trusted: by.trusted,
            signer: self.0.signer.as_deref(),
            authenticator: self.0.authenticator.as_deref(),
        };
        let env = &self.0.env;
        core::decide(&seen, by.caller, row, call, env.now(), &mut || env.random())
    }

    /// The snapshot that a list's options ask for.
    pub async fn read_snapshot(&self, options: &Options) -> Result<Snapshot, Status> {
        let store = &self.0.store;
        let newest = store.snapshot();
        let (revision, exactly) = match page::wanted(options)? {
            page::Wanted::Newest => return Ok(newest),
            page::Wanted::AtLeast(revision) => (revision, false),
            page::Wanted::Exactly(revision) => (revision, true),
        };
        if revision > newest.revision() {
            self.wait_for(revision).await?;
        }
        if exactly {
            store.snapshot_at(revision).map_err(|_| page::expired(options))
        } else {
            Ok(store.snapshot())
        }
    }

    pub async fn wait_for(&self, revision: u64) -> Result<(), Status> {
        if self.0.store.wait_for(revision, REVISION_WAIT).await {
            return Ok(());
        }
        Err(Status::too_large_revision(
            revision,
            self.0.store.snapshot().revision(),
        ))
    }
}

fn definitions(snapshot: &Snapshot) -> Table {
    snapshot.table(DEFINITIONS).cloned().unwrap_or_default()
}

/// Calls that do not say which revision they mean are decided anew after a conflict, so their body is kept.
fn may_retry(call: &Call) -> bool {
    match call.verb {
        Verb::Get | Verb::List => false,
        Verb::Create => {
            let name = call.body.as_ref().map_or("", |b| core::metadata::text(b, "name"));
            name.is_empty() || !call.subresource.is_empty()
        }
        Verb::Update => call
            .body
            .as_ref()
            .is_none_or(|b| core::metadata::text(b, "resourceVersion").is_empty()),
        _ => true,
    }
}

struct InProcess {
    api: Api,
    caller: Caller,
}

#[async_trait::async_trait]
impl Client for InProcess {
    async fn call(&self, call: Call) -> Result<Reply, Status> {
        self.api.call(&self.caller, call).await.map(|(reply, _)| reply)
    }

    fn snapshot(&self) -> Snapshot {
        self.api.0.store.snapshot()
    }

    fn changes(&self, revision: u64) -> BoxStream<'static, Result<Change, Status>> {
        match self.api.0.store.changes(revision) {
            Ok(changes) => changes
                .flat_map(|batch| {
                    let items: Vec<Result<Change, Status>> = match batch {
                        Ok(changes) => changes.iter().cloned().map(Ok).collect(),
                        Err(gone) => vec![Err(Status::expired(gone.to_string()))],
                    };
                    futures::stream::iter(items)
                })
                .boxed(),
            Err(gone) => {
                let error = Status::expired(gone.to_string());
                futures::stream::once(async move { Err(error) }).boxed()
            }
        }
    }
}
