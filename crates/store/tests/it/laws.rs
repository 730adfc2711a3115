//! Random transactions against a plain model: outcomes, snapshots, watches and the log all tell the same story.

use crate::support::*;
use futures::{FutureExt, StreamExt};
use meta::{Change, ChangeKind, Res};
use proptest::prelude::*;
use std::collections::BTreeMap;
use store::{CommitError, Expect, NoLog, Options, Past, SimLog, State, Store, Write};

/// A write by small numbers, so that keys and revisions meet often.
#[derive(Clone, Debug)]
struct Step {
    res: Res,
    name: u8,
    is_delete: bool,
    expect: Wanted,
    data: u16,
}

#[derive(Clone, Debug)]
enum Wanted {
    Absent,
    Present,
    /// The revision that the model has, less this.
    Current(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let wanted = prop_oneof![
        3 => Just(Wanted::Absent),
        2 => Just(Wanted::Present),
        3 => Just(Wanted::Current(0)),
        1 => (1..3u64).prop_map(Wanted::Current),
    ];
    let res = prop_oneof![Just(MAPS), Just(SETS)];
    (res, 0..5u8, prop::bool::weighted(0.3), wanted, any::<u16>()).prop_map(
        |(res, name, is_delete, expect, data)| Step {
            res,
            name,
            is_delete,
            expect,
            data,
        },
    )
}

fn transactions() -> impl Strategy<Value = Vec<Vec<Step>>> {
    prop::collection::vec(prop::collection::vec(step(), 1..4), 1..40)
}

/// Key -> (revision, data).
type Rows = BTreeMap<(Res, String), (u64, String)>;

/// What the store must do, told in the plainest way. Returns the index of the write that conflicts.
fn model(rows: &mut Rows, revision: u64, steps: &[Step]) -> (Vec<Write>, Result<(), usize>) {
    let mut next = rows.clone();
    let mut writes = Vec::new();
    let mut outcome = Ok(());
    for (index, step) in steps.iter().enumerate() {
        let key = (step.res, format!("ns/o{}", step.name));
        let current = next.get(&key).map(|(revision, _)| *revision);
        let (expect, holds) = match step.expect {
            Wanted::Absent => (Expect::Absent, current.is_none()),
            Wanted::Present => (Expect::Present, current.is_some()),
            Wanted::Current(less) => {
                let wanted = current.unwrap_or(2).saturating_sub(less);
                (Expect::Revision(wanted), current == Some(wanted))
            }
        };
        let data = step.data.to_string();
        if outcome.is_ok() && !(holds && (current.is_some() || !step.is_delete)) {
            outcome = Err(index);
        } else if step.is_delete {
            next.remove(&key);
        } else {
            next.insert(key.clone(), (revision, data.clone()));
        }
        writes.push(match step.is_delete {
            true => Write::Delete {
                res: step.res,
                key: key.1,
                expect,
            },
            false => Write::Put {
                res: step.res,
                draft: draft(&format!("o{}", step.name), &data),
                expect,
            },
        });
    }
    if outcome.is_ok() {
        *rows = next;
    }
    (writes, outcome)
}

/// The model's rows as the store would print them.
fn expected(rows: &Rows) -> BTreeMap<String, String> {
    let row = |((res, key), (revision, data)): (&(Res, String), &(u64, String))| {
        let name = key.trim_start_matches("ns/");
        let object = draft(name, data).seal(*revision);
        let text = String::from_utf8_lossy(object.json()).into_owned();
        (format!("{}/{key}", res.qualified()), text)
    };
    rows.iter().map(row).collect()
}

/// Runs the transactions on a store; gives the expected contents of every revision.
fn run(store: &Store, all: &[Vec<Step>]) -> BTreeMap<u64, BTreeMap<String, String>> {
    let mut rows = Rows::new();
    let mut revision = 1;
    let mut seen = BTreeMap::from([(1, BTreeMap::new())]);
    for steps in all {
        let (writes, outcome) = model(&mut rows, revision + 1, steps);
        match (commit(store, writes), outcome) {
            (Ok(done), Ok(())) => {
                revision += 1;
                assert_eq!(done.revision, revision);
                assert_eq!(done.objects.len(), steps.len());
                assert!(done.objects.iter().all(|o| o.revision() == revision));
            }
            (Err(CommitError::Conflict { index, .. }), Err(expected)) => {
                assert_eq!(index, expected)
            }
            (got, expected) => panic!("the model says {expected:?}, the store {got:?}"),
        }
        assert_eq!(contents(&store.snapshot()), expected(&rows));
        assert_eq!(store.snapshot().revision(), revision);
        seen.insert(revision, expected(&rows));
    }
    seen
}

/// Applies a change as a client with a cache would, checking what it says about before and after.
fn follow(cache: &mut BTreeMap<String, String>, change: &Change) {
    let key = format!("{}/{}", change.res.qualified(), change.object.meta().key());
    let text = |object: &meta::Object| String::from_utf8_lossy(object.json()).into_owned();
    assert_eq!(change.object.revision(), change.revision);
    let previous = match change.kind {
        ChangeKind::Deleted => cache.remove(&key),
        _ => cache.insert(key, text(&change.object)),
    };
    assert_eq!(previous, change.previous.as_ref().map(text));
    assert_eq!(previous.is_none(), change.kind == ChangeKind::Added);
}

/// What a watch from `after` gives without waiting.
fn watch(store: &Store, after: u64) -> Vec<Change> {
    let mut changes = store.changes(after).expect("kept");
    let mut all = Vec::new();
    while let Some(Some(batch)) = changes.next().now_or_never() {
        all.extend(batch.expect("not compacted").iter().cloned());
    }
    all
}

fn check_history(store: &Store, seen: &BTreeMap<u64, BTreeMap<String, String>>) {
    for (revision, wanted) in seen {
        let snapshot = store.snapshot_at(*revision).expect("kept");
        assert_eq!(snapshot.revision(), *revision);
        assert_eq!(&contents(&snapshot), wanted);
        let mut cache = wanted.clone();
        let mut last = *revision;
        for change in watch(store, *revision) {
            assert!(change.revision == last || change.revision == last + 1);
            last = change.revision;
            follow(&mut cache, &change);
        }
        assert_eq!(last, store.snapshot().revision());
        assert_eq!(cache, contents(&store.snapshot()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_store_does_what_the_model_says_and_its_history_agrees(all in transactions()) {
        let log = SimLog::new();
        let store = Store::inline(Default::default(), Box::new(log.clone()), Options::new("sim"));
        let seen = run(&store, &all);
        check_history(&store, &seen);
        // A restart finds the same, with the whole history.
        let past = log.recover().expect("whole");
        let again = Store::inline(past.clone(), Box::new(log), Options::new("sim"));
        prop_assert_eq!(again.snapshot().revision(), store.snapshot().revision());
        check_history(&again, &seen);
        // So it does when all of it was one batch: watches and old snapshots may start in the middle of one.
        let batches = vec![past.batches.concat()];
        let past = Past { batches, ..past };
        let one_batch = Store::inline(past, Box::new(NoLog), Options::new("sim"));
        check_history(&one_batch, &seen);
    }

    #[test]
    fn one_batch_equals_the_same_transactions_one_by_one(all in transactions()) {
        let mut rows = Rows::new();
        let mut revision = 1;
        let batch: Vec<Vec<Write>> = all.iter().map(|steps| {
            let (writes, outcome) = model(&mut rows, revision + 1, steps);
            revision += u64::from(outcome.is_ok());
            writes
        }).collect();
        let (mut whole, mut single) = (State::default(), State::default());
        let (outcomes, changes, records) = whole.apply(batch.clone());
        let mut one_by_one = Vec::new();
        for (writes, outcome) in batch.into_iter().zip(&outcomes) {
            let (mut alone, changes, _) = single.apply(vec![writes]);
            let alone = alone.remove(0);
            prop_assert_eq!(format!("{alone:?}"), format!("{outcome:?}"));
            one_by_one.extend(changes);
        }
        prop_assert_eq!(format!("{changes:?}"), format!("{one_by_one:?}"));
        prop_assert_eq!(records.revision, single.revision());
        prop_assert_eq!(contents(whole.snapshot()), expected(&rows));
    }

    #[test]
    fn a_power_cut_leaves_all_of_the_last_batch_or_none(
        all in transactions(),
        kept in any::<prop::sample::Index>(),
        spoiled in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let log = SimLog::new();
        let store = Store::inline(Default::default(), Box::new(log.clone()), Options::new("sim"));
        run(&store, &all);
        let before = contents(&store.snapshot());
        log.cut_power_at_next_append();
        let writes = vec![put("x", "1", Expect::Absent), put("y", "1", Expect::Absent)];
        prop_assert!(matches!(commit(&store, writes), Err(CommitError::Failed(_))));
        prop_assert_eq!(contents(&store.snapshot()), before.clone());
        let next = commit(&store, vec![put("z", "1", Expect::Absent)]);
        prop_assert!(matches!(next, Err(CommitError::Failed(_))));
        let size = log.unsynced_bytes();
        let kept = kept.index(size + 1);
        log.crash(kept, spoiled.filter(|_| kept > 0).map(|s| s.index(kept)));
        let found = contents(&log.recover().expect("only the end is torn").newest);
        let complete = kept == size && spoiled.is_none();
        prop_assert_eq!(found.len(), before.len() + if complete { 2 } else { 0 });
        prop_assert!(before.iter().all(|(key, text)| found.get(key) == Some(text)));
    }
}
