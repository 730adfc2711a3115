//! The simulated world: the real pipeline, store and controllers, a simulated node and disk, a virtual clock, and one
//! seed that decides who acts next and what goes wrong.

use crate::env::SimEnv;
use crate::laws::{self, Act, Broken};
use crate::node::{Deed, Node};
use crate::office::{Begun, Office};
use crate::rng::Rng;
use crate::story::Story;
use crate::user::User;
use crate::{calm, start, words};
use apiserver::{Api, Caller, Parts};
use futures::{FutureExt, StreamExt};
use kinds::{Controller, Registry, Seen};
use meta::{Call, Change, Env, Reply, Res, Snapshot, Status, Timestamp, Verb};
use std::sync::Arc;
use std::time::Duration;
use store::{Changes, Options, SimLog, Store};

/// What a run of the world may be like.
#[derive(Clone)]
pub struct Settings {
    pub controllers: Vec<Controller>,
    /// Steps with faults and a user.
    pub steps: usize,
    pub tell: bool,
    /// Sabotage: the node does not wait for a predecessor's processes.
    pub hasty_node: bool,
    /// Sabotage: a new node agent does not ask the runtime what runs already.
    pub forgetful_agent: bool,
    /// Sabotage: changes that are dropped on their way to a controller, in percent.
    pub dropped_changes: u64,
    /// New objects of this kind may be refused: the user asks for what the API does not allow.
    pub refused: Option<Res>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            controllers: start::controllers(),
            steps: 160,
            tell: false,
            hasty_node: false,
            forgetful_agent: false,
            dropped_changes: 0,
            refused: None,
        }
    }
}

pub struct World {
    pub env: Arc<SimEnv>,
    pub rng: Rng,
    pub node: Node,
    pub user: User,
    pub story: Story,
    pub offices: Vec<Office>,
    /// All changes since the beginning; workers have their places in it.
    pub log: Vec<Change>,
    pub step: usize,
    /// Faults happen.
    pub stormy: bool,
    /// The store's disk has no room left until then.
    full_until: Option<Timestamp>,
    rows: Registry,
    disk: SimLog,
    store: Store,
    api: Api,
    changes: Changes,
    dropped_changes: u64,
    refused: Option<Res>,
}

/// Who acts next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Actor {
    Office(usize),
    Node,
    User,
    Chaos,
    Clock,
}

impl World {
    pub fn new(seed: u64, settings: &Settings) -> Result<Self, Broken> {
        let mut rng = Rng::new(seed ^ 0x1505_0d00_5eed);
        let env = Arc::new(SimEnv::new(Rng::new(rng.next_u64())));
        let disk = SimLog::new();
        let (store, api) = open(&disk, &env)?;
        let changes = store
            .changes(store.snapshot().revision())
            .map_err(|e| Broken::new("store", e))?;
        let mut node = Node::new(store.snapshot());
        node.hasty = settings.hasty_node;
        node.forgetful = settings.forgetful_agent;
        let mut world = Self {
            user: User::new(&mut rng),
            env,
            rng,
            node,
            story: Story::new(settings.tell),
            offices: settings.controllers.iter().copied().map(Office::new).collect(),
            log: Vec::new(),
            step: 0,
            stormy: true,
            full_until: None,
            rows: Registry::builtin(),
            disk,
            store,
            api,
            changes,
            dropped_changes: settings.dropped_changes,
            refused: settings.refused,
        };
        start::furnish(&mut world)?;
        Ok(world)
    }

    pub fn snapshot(&self) -> Snapshot {
        self.store.snapshot()
    }

    pub fn now(&self) -> Timestamp {
        self.env.now()
    }

    pub fn tell(&mut self, who: &str, what: impl FnOnce() -> String) {
        self.story.tell(self.step, self.env.elapsed_ms(), who, what);
    }

    /// The whole of a run: storm, then calm until all is as it should be.
    pub fn live(&mut self, settings: &Settings) -> Result<(), Broken> {
        for _ in 0..settings.steps {
            self.advance()?;
        }
        self.stormy = false;
        self.make_room();
        self.tell("the storm is over", String::new);
        calm::converge(self)
    }

    /// One step of whoever the seed picks. False when nobody has anything to do, now or later.
    pub fn advance(&mut self) -> Result<bool, Broken> {
        self.step += 1;
        let Some(actor) = self.pick() else {
            return Ok(false);
        };
        self.env.advance_ms(1 + self.rng.below(5));
        if self.full_until.is_some_and(|at| at <= self.now()) {
            self.make_room();
        }
        match actor {
            Actor::Office(index) => self.work(index)?,
            Actor::Node => self.node_acts()?,
            Actor::User => crate::user::act(self)?,
            Actor::Chaos => crate::chaos::act(self)?,
            Actor::Clock => self.wait(),
        }
        laws::hold_always(self)?;
        Ok(true)
    }

    /// The store's disk is full for a while: it refuses all writes, and reads go on.
    pub fn fill_disk(&mut self) {
        self.full_until = Some(self.soon(4000));
        self.disk.set_full(true);
    }

    pub fn is_disk_full(&self) -> bool {
        self.full_until.is_some()
    }

    fn make_room(&mut self) {
        if self.full_until.take().is_some() {
            self.disk.set_full(false);
            self.tell("disk", || "has room again".into());
        }
    }

    fn pick(&mut self) -> Option<Actor> {
        let now = self.now();
        let mut actors = Vec::with_capacity(self.offices.len() + 4);
        let mut weights = Vec::with_capacity(self.offices.len() + 4);
        for (index, office) in self.offices.iter().enumerate() {
            if office.has_work(self.log.len(), now) {
                actors.push(Actor::Office(index));
                weights.push(10);
            }
        }
        if self.node_has_work() {
            actors.push(Actor::Node);
            weights.push(15);
        }
        let idle = actors.is_empty();
        if self.next_timer().is_some() {
            actors.push(Actor::Clock);
            weights.push(2);
        }
        if self.stormy {
            actors.extend([Actor::User, Actor::Chaos]);
            weights.extend(if idle { [4, 1] } else { [2, 1] });
        }
        let at = self.rng.weighted(&weights)?;
        actors.get(at).copied()
    }

    fn node_has_work(&self) -> bool {
        self.node_is_behind() || self.node.has_work(self.now())
    }

    fn node_is_behind(&self) -> bool {
        self.node.view.revision() < self.store.snapshot().revision()
    }

    fn next_timer(&self) -> Option<Timestamp> {
        let now = self.now();
        let timers = self.offices.iter().filter_map(|o| o.worker.next_timer());
        timers
            .chain(self.node.next_timer(now))
            .chain(self.full_until)
            .filter(|at| *at > now)
            .min()
    }

    /// Time passes until the next timer, or a part of that.
    fn wait(&mut self) {
        let Some(until) = self.next_timer() else { return };
        if self.stormy && self.rng.percent(30) {
            self.env.advance_ms(self.rng.below(2000));
        } else {
            self.env.advance_to(until);
        }
    }

    fn node_acts(&mut self) -> Result<(), Broken> {
        let now = self.now();
        let looks = !self.stormy || self.rng.percent(60) || !self.node.has_work(now);
        if looks && self.node_is_behind() {
            self.node.look(self.store.snapshot(), now);
            return Ok(());
        }
        let kubelet = caller("kubelet", "system:nodes");
        match self.node.act(now, &mut self.rng, self.stormy) {
            None => {}
            Some(Deed::Told(told)) if told.is_empty() => {}
            Some(Deed::Told(told)) => self.tell("node", || told),
            Some(Deed::Reclaim(name, call)) => {
                let result = self.call(&kubelet, *call);
                let told = format!("removes the folder of {name}");
                self.tell("node", || format!("{told}{}", words::outcome(&result)));
                laws::node_writes_are_valid(&told, &result, self.is_disk_full())?;
                self.node.settle_volume(name, &result, now);
            }
            Some(Deed::Errand(uid, call, errand)) => {
                let told = words::errand(&call, &errand);
                let result = self.call(&kubelet, *call);
                self.tell("node", || format!("{told}{}", words::outcome(&result)));
                laws::node_writes_are_valid(&told, &result, self.is_disk_full())?;
                self.node.settle(&uid, errand, &result, now);
            }
        }
        Ok(())
    }

    /// A call through the pipeline. What it changed is at the end of `log`.
    pub fn call(&mut self, who: &Caller, call: Call) -> Result<Reply, Status> {
        let outcome = self.api.call(who, call).now_or_never();
        self.drain();
        match outcome {
            Some(outcome) => outcome.map(|(reply, _)| reply),
            None => Err(Status::internal("a call over an inline store waited")),
        }
    }

    fn drain(&mut self) {
        while let Some(Some(Ok(batch))) = self.changes.next().now_or_never() {
            self.log.extend(batch.iter().cloned());
        }
    }

    /// One piece of a controller's work: take in changes, begin a run, or do the next act of one.
    fn work(&mut self, index: usize) -> Result<(), Broken> {
        let now = self.now();
        let newest = self.store.snapshot();
        let stale = self.stormy && self.rng.percent(10);
        let office = &mut self.offices[index];
        let choices = office.choices(self.log.len(), now);
        match self.rng.weighted(&choices) {
            Some(0) => {
                let count = if self.stormy {
                    1 + self.rng.index(6)
                } else {
                    usize::MAX
                };
                let seen = Seen {
                    now,
                    snapshot: &newest,
                    rows: &self.rows,
                };
                let (rng, dropped) = (&mut self.rng, self.dropped_changes);
                office.observe(&self.log, count, &seen, |_| dropped > 0 && rng.percent(dropped));
            }
            Some(1) => {
                let floor = office.newest_observed(&self.log);
                let revision = floor + self.rng.below((newest.revision() + 1).saturating_sub(floor));
                let snapshot = match stale.then(|| self.store.snapshot_at(revision)) {
                    Some(Ok(old)) => old,
                    _ => newest,
                };
                let begun = office.begin(&snapshot, &self.rows, now);
                self.tell_begun(index, begun, snapshot.revision());
            }
            Some(_) => self.act(index)?,
            None => {}
        }
        Ok(())
    }

    fn tell_begun(&mut self, index: usize, begun: Option<Begun>, revision: u64) {
        let Some(begun) = begun.filter(|b| b.acts || !b.why.is_empty()) else {
            return;
        };
        let name = self.offices[index].worker.controller.name;
        self.tell(name, || {
            format!(
                "looks at {} (revision {revision}): {}",
                begun.key,
                begun.why.join("; ")
            )
        });
    }

    /// The next act of one of a controller's runs, with what may happen to it on the way.
    fn act(&mut self, index: usize) -> Result<(), Broken> {
        let now = self.now();
        let (snapshot, rows) = (self.store.snapshot(), &self.rows);
        let office = &mut self.offices[index];
        let pick = self.rng.index(office.active.len());
        let seen = Seen {
            now,
            snapshot: &snapshot,
            rows,
        };
        let Some(step) = office.next_step(pick, &seen) else {
            office.finish(pick, now);
            return Ok(());
        };
        let name = office.worker.controller.name;
        let (planned, planned_at, done) = office.context(pick);
        let lost_request = self.stormy && self.rng.percent(1);
        let lost_reply = self.stormy && self.rng.percent(2);
        if lost_request {
            self.tell(name, || {
                format!("{}: the request is lost", words::call(&step.call))
            });
            self.offices[index].settle(pick, &step, Err(Status::internal("the request was lost")));
            return Ok(());
        }
        let before = self.log.len();
        let result = self.call(
            &caller(name, "system:serviceaccounts:kube-system"),
            step.call.clone(),
        );
        self.tell(name, || {
            format!("{}{}", words::call(&step.call), words::outcome(&result))
        });
        let act = Act {
            controller: name,
            call: &step.call,
            planned: &planned,
            planned_at,
            done: &done,
            changes: &self.log[before..],
            result: &result,
            disk_full: self.is_disk_full(),
            may_be_refused: step.call.verb == Verb::Create && self.refused == Some(step.call.res),
        };
        laws::hold_for(&act)?;
        let told = if lost_reply {
            self.tell(name, || "the reply to that is lost".into());
            Err(Status::internal("the reply was lost"))
        } else {
            result
        };
        self.offices[index].settle(pick, &step, told);
        Ok(())
    }

    /// A controller's process state is gone; it starts over from what is stored.
    pub fn restart_office(&mut self, index: usize) {
        let snapshot = self.store.snapshot();
        let seen = Seen {
            now: self.env.now(),
            snapshot: &snapshot,
            rows: &self.rows,
        };
        self.offices[index].restart(&seen, self.log.len());
    }

    /// The node agent starts over; pods live on.
    pub fn restart_agent(&mut self) {
        self.node.restart_agent(self.store.snapshot(), self.env.now());
    }

    /// The power goes in the middle of a commit: the batch is torn, and everything in memory is gone. Processes of
    /// pods live on, as they do when the server dies.
    pub fn crash(&mut self) -> Result<(), Broken> {
        self.disk.cut_power_at_next_append();
        let acknowledged = self.store.snapshot();
        let touched = crate::user::touch(self);
        let unsynced = self.disk.unsynced_bytes();
        let kept = self.rng.index(unsynced + 1);
        let spoiled = self.rng.percent(30).then(|| self.rng.index(kept.max(1)));
        self.disk.crash(kept, spoiled);
        self.tell("power", || {
            let write = if touched {
                "in the middle of a write"
            } else {
                "while nothing is written"
            };
            format!("is cut {write}: {kept} of {unsynced} unsynced bytes are left")
        });
        (self.store, self.api) = open(&self.disk, &self.env)?;
        laws::acknowledged_writes_are_there(&acknowledged, &self.store.snapshot())?;
        let after = self.log.last().map_or(0, |c| c.revision);
        self.changes = self.store.changes(after).map_err(|e| Broken::new("store", e))?;
        self.drain();
        (0..self.offices.len()).for_each(|index| self.restart_office(index));
        self.node.restart_agent(self.store.snapshot(), self.now());
        Ok(())
    }

    pub fn soon(&mut self, within_ms: u64) -> Timestamp {
        self.now().plus(Duration::from_millis(self.rng.below(within_ms)))
    }
}

fn open(disk: &SimLog, env: &Arc<SimEnv>) -> Result<(Store, Api), Broken> {
    let past = disk
        .recover()
        .map_err(|e| Broken::new("the log can be recovered", e))?;
    let clock = env.clone();
    let options = Options {
        clock: Arc::new(move || Duration::from_millis(clock.elapsed_ms())),
        history: store::Limits {
            age: Duration::from_secs(1 << 30),
            changes: 1 << 20,
            bytes: 1 << 30,
        },
        ..Options::new("sim")
    };
    let store = Store::inline(past, Box::new(disk.clone()), options);
    let api = Api::new(Parts::new(store.clone(), env.clone()));
    Ok((store, api))
}

/// An identity that may do everything, under its own name.
pub fn caller(name: &str, group: &str) -> Caller {
    Caller {
        name: name.into(),
        groups: vec![group.into()],
        agent: name.into(),
        ..Caller::default()
    }
}
