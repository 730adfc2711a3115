//! One run of a plan: its acts as calls, in order, until they are done or one fails; what the controller then has to
//! say comes last. Pure; the caller makes the calls.

use kinds::plan::{Act, EventAct, Failure, NAME_MADE, Plan, Target};
use kinds::{Controller, Key, Seen};
use meta::{Call, Reply, Res, Status, Timestamp, Verb};
use std::collections::VecDeque;

/// Calls of one kind that follow each other are given out together, so that they share an fsync.
const MAX_BATCH: usize = 64;

/// A plan on its way.
pub struct Run {
    pub controller: Controller,
    pub key: Key,
    pub why: Vec<String>,
    acts: VecDeque<Act>,
    wake: Option<Timestamp>,
    /// What is told once the steps under way have succeeded: the number of the step, and its event.
    news: Vec<(usize, EventAct)>,
    /// The steps under way: verb, kind and name.
    under_way: Vec<(Verb, Res, String)>,
    /// How many of them have outcomes.
    settled: usize,
    /// What went wrong first.
    pub failure: Option<Failure>,
    /// The controller has yet to say what follows from the failure.
    unanswered: bool,
    /// The newest revision that this run wrote.
    pub last_revision: u64,
}

/// One call of a run. What is only told (an event) may fail without harm to the rest.
pub struct Step {
    pub call: Call,
    pub optional: bool,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Done { wake: Option<Timestamp> },
    Failed,
}

impl Run {
    pub fn new(controller: Controller, key: Key, plan: Plan) -> Self {
        let Plan { acts, wake, why, .. } = plan;
        Self {
            controller,
            key,
            why,
            acts: acts.into(),
            wake,
            news: Vec::new(),
            under_way: Vec::new(),
            settled: 0,
            failure: None,
            unanswered: false,
            last_revision: 0,
        }
    }

    /// The next steps; they do not depend on each other. Empty when the run is over. An event that follows an act tells
    /// of it, so it comes after that act has succeeded, and not at all when it has failed.
    pub fn next_steps(&mut self, seen: &Seen) -> Vec<Step> {
        let steps = self.steps(seen);
        self.settled = 0;
        self.under_way = steps.iter().map(|step| subject(&step.call)).collect();
        steps
    }

    fn steps(&mut self, seen: &Seen) -> Vec<Step> {
        let news = std::mem::take(&mut self.news).into_iter();
        let mut steps: Vec<Step> = news
            .enumerate()
            .map(|(n, (_, event))| step(self.controller.name, Act::Event(event), n, seen))
            .collect();
        if !steps.is_empty() {
            return steps;
        }
        if std::mem::take(&mut self.unanswered)
            && let Some(failure) = &self.failure
        {
            self.acts = (self.controller.failed)(seen, &self.key, failure).acts.into();
        }
        let mut closed = false;
        while let Some(act) = self.acts.pop_front() {
            let alone = !is_independent(&act);
            match (act, steps.len().checked_sub(1)) {
                (Act::Event(event), Some(last)) => self.news.push((last, event)),
                (act, Some(_)) if alone || closed || steps.len() == MAX_BATCH => {
                    self.acts.push_front(act);
                    break;
                }
                (act, _) => {
                    steps.push(step(self.controller.name, act, steps.len(), seen));
                    closed = alone;
                }
            }
        }
        steps
    }

    /// The outcome of one step. The first failure ends the plan after the steps that are under way, and only what the
    /// controller says to it follows. Outcomes come in the order of the steps.
    pub fn settle(&mut self, optional: bool, result: Result<Reply, Status>) {
        let number = self.settled;
        self.settled += 1;
        if result.is_err() {
            self.news.retain(|(of, _)| *of != number);
        }
        match result {
            Ok(Reply::Object { object, .. }) => {
                self.last_revision = self.last_revision.max(object.revision());
                for (_, event) in self.news.iter_mut().filter(|(of, _)| *of == number) {
                    event.message = event.message.replace(NAME_MADE, object.name());
                }
            }
            Ok(_) => {}
            Err(_) if optional => {}
            Err(status) => self.fail(number, status),
        }
    }

    fn fail(&mut self, number: usize, status: Status) {
        self.acts.clear();
        if self.failure.is_some() {
            return;
        }
        let (verb, res, name) = self.under_way[number].clone();
        // Somebody was faster: the next plan knows, and there is nothing to tell.
        self.unanswered = !status.is_conflict() && (verb == Verb::Create || !status.is_not_found());
        self.failure = Some(Failure {
            verb,
            res,
            name,
            status,
        });
    }

    pub fn outcome(&self) -> Outcome {
        match &self.failure {
            None => Outcome::Done { wake: self.wake },
            // Nothing new may come into this namespace any more: this is as far as it goes.
            Some(failure) if failure.status.is_namespace_terminating() => Outcome::Done { wake: None },
            Some(_) => Outcome::Failed,
        }
    }
}

/// What a call is about.
fn subject(call: &Call) -> (Verb, Res, String) {
    let named = call.body.as_ref().filter(|_| call.name.is_empty());
    let name = named.map_or(call.name.as_str(), |body| {
        kinds::row::text(body, "/metadata/name")
    });
    (call.verb, call.res, name.to_string())
}

/// Creates and deletes of one plan concern different objects.
fn is_independent(act: &Act) -> bool {
    matches!(act, Act::Create { .. } | Act::Delete { .. } | Act::Event(_))
}

/// `number`: of the steps that go out together.
fn step(controller: &'static str, act: Act, number: usize, seen: &Seen) -> Step {
    let optional = matches!(act, Act::Event(_));
    let seen = Seen {
        now: kinds::event::told_at(seen.now, number),
        ..*seen
    };
    Step {
        call: call(controller, act, &seen),
        optional,
    }
}

/// An act as a call, with the controller as field manager.
fn call(controller: &'static str, act: Act, seen: &Seen) -> Call {
    let call = match act {
        Act::Create {
            res,
            namespace,
            object,
        } => Call::create(res, &namespace, object),
        Act::Update {
            target,
            subresource,
            object,
        } => {
            let call =
                Call::update(target.res, &target.namespace, &target.name, object).subresource(subresource);
            guarded(call, &target)
        }
        Act::Patch {
            target,
            subresource,
            patch,
        } => {
            let call = Call::merge_patch(target.res, &target.namespace, &target.name, patch)
                .subresource(subresource);
            guarded(call, &target)
        }
        Act::Post {
            target,
            subresource,
            object,
        } => {
            let mut call = Call::create(target.res, &target.namespace, object).subresource(subresource);
            call.name = target.name.clone();
            guarded(call, &target)
        }
        Act::Delete {
            target,
            grace_seconds,
            propagation,
        } => {
            let mut call = guarded(Call::delete(target.res, &target.namespace, &target.name), &target);
            call.options.grace_seconds = grace_seconds;
            call.options.propagation = propagation;
            call
        }
        Act::Event(event) => kinds::event::record(controller, &event, seen),
    };
    call.manager(controller)
}

fn guarded(mut call: Call, target: &Target) -> Call {
    call.options.uid = Some(target.uid.clone());
    call.options.revision = target.revision;
    call
}
