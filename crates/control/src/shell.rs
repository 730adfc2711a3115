//! Drives workers in the server: one task a controller, woken by changes and timers alone.

use crate::{Run, Worker};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{select_biased, stream::BoxStream};
use kinds::{Controller, Registry, Seen};
use meta::{Change, Client, Env, Status};
use std::sync::Arc;

/// Keys of one controller that are carried out at the same time.
const MAX_RUNS: usize = 16;
/// Changes taken in before the next key is planned, so that a burst is planned once.
const MAX_DRAIN: usize = 1024;

/// What a controller's task needs; `rows` gives the rows as they are now.
#[derive(Clone)]
pub struct Surroundings {
    pub client: Arc<dyn Client>,
    pub env: Arc<dyn Env>,
    pub rows: Arc<dyn Fn() -> Registry + Send + Sync>,
}

/// Runs one controller until `stop` resolves. The run under way is finished first, so no act is cut in two.
pub async fn run(controller: Controller, around: Surroundings, stop: BoxFuture<'static, ()>) {
    let mut stop = stop.fuse();
    let mut worker = Worker::new(controller);
    let mut changes = follow(&mut worker, &around);
    let mut runs: FuturesUnordered<BoxFuture<'static, Run>> = FuturesUnordered::new();
    loop {
        while runs.len() < MAX_RUNS
            && let Some(run) = begin(&mut worker, &around)
        {
            runs.push(carry_out(run, around.clone()).boxed());
        }
        let mut timer = match worker.next_timer() {
            Some(at) => around.env.sleep_until(at).fuse(),
            None => futures::future::pending().boxed().fuse(),
        };
        select_biased! {
            () = stop => break,
            done = runs.select_next_some() => {
                report(&done);
                worker.finish(done, around.env.now());
            }
            change = changes.next() => match change {
                Some(Ok(change)) => take_in(&mut worker, change, &mut changes, &around),
                // The place in the history is lost: start over from the newest snapshot.
                Some(Err(status)) => {
                    tracing::warn!(controller = controller.name, %status, "missed changes, looking at everything again");
                    changes = follow(&mut worker, &around);
                }
                None => break,
            },
            () = timer => {}
        }
    }
    while let Some(done) = runs.next().await {
        report(&done);
    }
}

type Changes = futures::stream::Fuse<BoxStream<'static, Result<Change, Status>>>;

fn follow(worker: &mut Worker, around: &Surroundings) -> Changes {
    let snapshot = around.client.snapshot();
    let rows = (around.rows)();
    worker.seed(&Seen {
        now: around.env.now(),
        snapshot: &snapshot,
        rows: &rows,
    });
    around.client.changes(snapshot.revision()).fuse()
}

fn begin(worker: &mut Worker, around: &Surroundings) -> Option<Run> {
    let due = worker.has_due() || worker.next_timer().is_some_and(|at| at <= around.env.now());
    if !due {
        return None;
    }
    let (snapshot, rows) = (around.client.snapshot(), (around.rows)());
    worker.begin(&Seen {
        now: around.env.now(),
        snapshot: &snapshot,
        rows: &rows,
    })
}

/// Takes in this change and all that are there already.
fn take_in(worker: &mut Worker, first: Change, changes: &mut Changes, around: &Surroundings) {
    let (snapshot, rows) = (around.client.snapshot(), (around.rows)());
    let seen = Seen {
        now: around.env.now(),
        snapshot: &snapshot,
        rows: &rows,
    };
    worker.observe(&first, &seen);
    for _ in 0..MAX_DRAIN {
        match changes.next().now_or_never() {
            Some(Some(Ok(change))) => worker.observe(&change, &seen),
            // An error or the end shows again at the next turn of the loop; a lost place is found by seeding.
            Some(Some(Err(_))) => return worker.seed(&seen),
            _ => return,
        }
    }
}

async fn carry_out(mut run: Run, around: Surroundings) -> Run {
    loop {
        let (snapshot, rows) = (around.client.snapshot(), (around.rows)());
        let steps = run.next_steps(&Seen {
            now: around.env.now(),
            snapshot: &snapshot,
            rows: &rows,
        });
        if steps.is_empty() {
            return run;
        }
        let calls = steps.into_iter().map(|step| {
            let call = around.client.call(step.call);
            async move { (step.optional, call.await) }
        });
        for (optional, result) in futures::future::join_all(calls).await {
            if let (true, Err(status)) = (optional, &result) {
                tracing::debug!(controller = run.controller.name, key = ?run.key, %status, "event not recorded");
            }
            run.settle(optional, result);
        }
    }
}

fn report(run: &Run) {
    match run.failure.as_ref().map(|failure| &failure.status) {
        Some(status)
            if status.is_conflict()
                || status.is_not_found()
                || status.is_already_exists()
                || status.is_namespace_terminating() =>
        {
            tracing::debug!(controller = run.controller.name, key = ?run.key, %status, "planned again");
        }
        Some(status) => {
            tracing::warn!(controller = run.controller.name, key = ?run.key, %status, "will try again")
        }
        None => {
            tracing::trace!(controller = run.controller.name, key = ?run.key, why = ?run.why, "done")
        }
    }
}
