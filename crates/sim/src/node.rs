//! The simulated node: the agent's dispatch over a view of its own, a worker a pod, and the runtime beneath. The seed
//! says which worker has its turn; the world makes the calls.

use crate::containers::Containers;
use crate::podworker::{Around, Errand, Worker};
use crate::rng::Rng;
use kinds::persistentvolume::PERSISTENTVOLUMES;
use kinds::persistentvolumeclaim::PERSISTENTVOLUMECLAIMS;
use kinds::row::text;
use kinds::workload::{PODS, Pod};
use meta::{Call, Object, Reply, Snapshot, Status, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

pub const NODE: &str = "node-1";

/// An image that cannot be pulled, and one whose process never gets ready.
pub const BAD_IMAGE: &str = "missing:1";
pub const SICK_IMAGE: &str = "sick:1";

/// Pause before a volume is tried again that could not be deleted.
const RECLAIM_PAUSE: Duration = Duration::from_millis(500);

/// What the agent did, or wants the world to do for it.
pub enum Deed {
    Told(String),
    /// A worker's call, by its pod's uid.
    Errand(String, Box<Call>, Errand),
    /// The end of a released volume, by name.
    Reclaim(String, Box<Call>),
}

/// A pod that the agent knows.
struct Place {
    object: Object,
    /// The pod that had the name before: its successor waits for it.
    before: Option<String>,
    worker: Option<Worker>,
}

pub struct Node {
    /// What the agent knows of the cluster. Older than the truth until it looks again.
    pub view: Snapshot,
    containers: Containers,
    /// By pod uid.
    places: BTreeMap<String, Place>,
    /// Released volumes that are to be deleted, and when.
    released: BTreeMap<String, Timestamp>,
    /// A sabotage for the tests of the laws: start a pod although its predecessor's processes are still there.
    pub hasty: bool,
    /// Another one: pods are taken on as if nothing of them ran.
    pub forgetful: bool,
}

impl Node {
    pub fn new(view: Snapshot) -> Self {
        Self {
            view,
            containers: Containers::default(),
            places: BTreeMap::new(),
            released: BTreeMap::new(),
            hasty: false,
            forgetful: false,
        }
    }

    /// The agent's view becomes this one, and its workers hear of it.
    pub fn look(&mut self, view: Snapshot, now: Timestamp) {
        for (uid, place) in &mut self.places {
            let key = place.object.meta().key();
            let found = view.by_key(PODS, &key).filter(|o| o.uid() == uid);
            if let Some(object) = found {
                place.object = object.clone();
            }
            let claims = Pod::of(&place.object).claims().any(|claim| {
                let namespace = place.object.namespace();
                source(&view, namespace, claim) != source(&self.view, namespace, claim)
            });
            if let Some(worker) = &mut place.worker {
                match found {
                    Some(object) => worker.look_at(object),
                    None => worker.gone(),
                }
                if claims {
                    worker.claims_changed(now);
                }
            }
        }
        for object in view.list(PODS, "") {
            let placed = Pod::of(object).facts.spec.node_name.as_deref() == Some(NODE);
            if placed && !self.places.contains_key(object.uid()) {
                self.take_on(object);
            }
        }
        let released = view.list(PERSISTENTVOLUMES, "").filter(|volume| {
            let value = volume.value();
            text(&value, "/status/phase") == "Released"
                && text(&value, "/spec/persistentVolumeReclaimPolicy") == "Delete"
                && !volume.meta().is_deleting()
        });
        let before = std::mem::take(&mut self.released);
        let at = |name: &str| before.get(name).copied().unwrap_or(now);
        self.released = released.map(|v| (v.name().to_string(), at(v.name()))).collect();
        self.view = view;
    }

    fn take_on(&mut self, object: &Object) {
        let mut others = self.places.iter();
        let before = others.find(|(_, p)| p.object.meta().key() == object.meta().key());
        let place = Place {
            object: object.clone(),
            before: before.map(|(uid, _)| uid.clone()).filter(|_| !self.hasty),
            worker: None,
        };
        self.places.insert(object.uid().into(), place);
    }

    /// A new agent: it removes what nobody knows and takes over the rest.
    pub fn restart_agent(&mut self, view: Snapshot, now: Timestamp) {
        self.places.clear();
        self.released.clear();
        let known: Vec<&str> = view.list(PODS, "").map(Object::uid).collect();
        self.containers.retain(|uid| known.contains(&uid));
        self.look(view, now);
    }

    /// The machine starts again: every process is gone.
    pub fn reboot(&mut self, view: Snapshot, now: Timestamp) {
        self.containers.reboot(now);
        self.restart_agent(view, now);
    }

    fn waits(&self, place: &Place) -> bool {
        place
            .before
            .as_ref()
            .is_some_and(|uid| self.places.contains_key(uid))
    }

    fn is_ready(&self, place: &Place, now: Timestamp) -> bool {
        match &place.worker {
            Some(worker) => worker.has_errand() || worker.has_turn(&self.containers, now),
            None => !self.waits(place),
        }
    }

    pub fn has_work(&self, now: Timestamp) -> bool {
        self.released.values().any(|at| *at <= now) || self.places.values().any(|p| self.is_ready(p, now))
    }

    /// When something happens without anybody's doing.
    pub fn next_timer(&self, now: Timestamp) -> Option<Timestamp> {
        let workers = self.places.values().filter_map(|p| p.worker.as_ref());
        let timers = workers.filter_map(|w| w.next_timer(&self.containers));
        let timers = timers.chain(self.released.values().copied());
        timers.filter(|at| *at > now).min()
    }

    /// One turn of whichever worker the seed picks.
    pub fn act(&mut self, now: Timestamp, rng: &mut Rng, stormy: bool) -> Option<Deed> {
        let volumes: Vec<&String> = self
            .released
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(n, _)| n)
            .collect();
        let places = self.places.iter().filter(|(_, p)| self.is_ready(p, now));
        let uids: Vec<&String> = places.map(|(uid, _)| uid).collect();
        let pick = rng.index(volumes.len() + uids.len());
        if let Some(name) = volumes.get(pick).map(|n| n.to_string()) {
            self.released.remove(&name);
            let volume = self.view.get(PERSISTENTVOLUMES, "", &name)?;
            let call = Call::delete(PERSISTENTVOLUMES, "", &name).if_uid(volume.uid());
            return Some(Deed::Reclaim(name, Box::new(call)));
        }
        let uid = uids.get(pick - volumes.len())?.to_string();
        let place = self.places.get_mut(&uid)?;
        let key = place.object.meta().key().to_string();
        let Some(worker) = &mut place.worker else {
            let gone = self.view.by_key(PODS, &key).is_none_or(|o| o.uid() != uid);
            let left = self.containers.state(&uid, now).filter(|_| !self.forgetful);
            let worker = Worker::adopt(&place.object, left.as_ref(), &self.containers, now);
            let mut worker = worker.ok()?;
            if gone {
                worker.gone();
            }
            place.worker = Some(worker);
            return Some(Deed::Told(format!("takes on pod {key}")));
        };
        let turn = worker.has_turn(&self.containers, now);
        if worker.has_errand() && (!turn || rng.percent(50)) {
            let (call, errand) = worker.errand()?;
            return Some(Deed::Errand(uid, Box::new(call), errand));
        }
        let told = worker.turn(&mut Around {
            now,
            rng,
            containers: &mut self.containers,
            view: &self.view,
            stormy,
        });
        if worker.over {
            self.places.remove(&uid);
        }
        let words = if told.is_empty() {
            String::new()
        } else {
            format!("{key}: {}", told.join(", "))
        };
        Some(Deed::Told(words))
    }

    pub fn settle(&mut self, uid: &str, errand: Errand, result: &Result<Reply, Status>, now: Timestamp) {
        if let Some(worker) = self.places.get_mut(uid).and_then(|p| p.worker.as_mut()) {
            worker.settle(errand, result, now);
        }
    }

    /// A volume that could not be deleted is tried again.
    pub fn settle_volume(&mut self, name: String, result: &Result<Reply, Status>, now: Timestamp) {
        if result
            .as_ref()
            .is_err_and(|status| !matches!(status.code, 404 | 409))
        {
            self.released.insert(name, now.plus(RECLAIM_PAUSE));
        }
    }

    /// Uid and key of every pod that has live processes.
    pub fn alive(&self, now: Timestamp) -> impl Iterator<Item = (&str, &str)> {
        self.containers.alive(now)
    }

    /// A container of which two attempts live: pod and container.
    pub fn doubled(&self, now: Timestamp) -> Option<(&str, &str)> {
        self.containers.doubled(now)
    }

    /// The pod's containers end by themselves.
    pub fn crash(&mut self, uid: &str, now: Timestamp) {
        self.containers.crash(uid, now);
    }

    /// Readiness is lost for a while.
    pub fn falter(&mut self, uid: &str, now: Timestamp, until: Timestamp) {
        self.containers.falter(uid, until);
        if let Some(worker) = self.places.get_mut(uid).and_then(|p| p.worker.as_mut()) {
            worker.probe_now(now);
        }
    }
}

/// The revisions of a claim and its volume.
fn source(view: &Snapshot, namespace: &str, claim: &str) -> Option<(u64, Option<u64>)> {
    let claim = view.get(PERSISTENTVOLUMECLAIMS, namespace, claim)?;
    let volume = view.get(PERSISTENTVOLUMES, "", text(&claim.value(), "/spec/volumeName"));
    Some((claim.revision(), volume.map(Object::revision)))
}

pub fn image(pod: &Pod) -> String {
    text(&pod.object.value(), "/spec/containers/0/image").to_string()
}
