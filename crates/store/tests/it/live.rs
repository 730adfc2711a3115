//! Many callers at once: conflicts, watches, limits of history, closing.

use crate::support::*;
use futures::{FutureExt, StreamExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use store::{CommitError, Expect, Limits, Options, Store};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn of_many_that_count_on_the_same_revision_exactly_one_wins() {
    let dir = tempfile::tempdir().expect("tempdir");
    on_tokio(async {
        let store = Store::open(dir.path(), Options::new("id")).expect("open");
        store
            .commit(vec![put("n", "0", Expect::Absent)])
            .await
            .expect("create");
        let won = Arc::new(AtomicU64::new(0));
        let workers: Vec<_> = (0..16)
            .map(|_| {
                let (store, won) = (store.clone(), won.clone());
                tokio::spawn(async move {
                    let mut at = 2;
                    for _ in 0..20 {
                        match store.commit(vec![put("n", "x", Expect::Revision(at))]).await {
                            Ok(done) => {
                                assert!(store.snapshot().revision() >= done.revision);
                                at = done.revision;
                                won.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(CommitError::Conflict {
                                index: 0,
                                current: Some(current),
                            }) => {
                                assert!(current.revision() != at);
                                at = current.revision();
                            }
                            Err(other) => panic!("{other}"),
                        }
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.await.expect("worker");
        }
        assert_eq!(store.snapshot().revision(), 2 + won.load(Ordering::Relaxed));
        assert!(won.load(Ordering::Relaxed) >= 20);
        store.close().await;
    });
}

#[test]
fn more_committers_than_places_all_get_through_and_watches_see_each_once() {
    let dir = tempfile::tempdir().expect("tempdir");
    on_tokio(async {
        let store = Store::open(dir.path(), Options::new("id")).expect("open");
        let total = 3000_u64;
        let watchers: Vec<_> = (0..4)
            .map(|_| {
                let mut changes = store.changes(1).expect("kept");
                tokio::spawn(async move {
                    let mut next = 2;
                    while next < 2 + total {
                        for change in changes.next().await.expect("open").expect("kept").iter() {
                            assert_eq!(change.revision, next);
                            next += 1;
                        }
                    }
                })
            })
            .collect();
        let writes = (0..total).map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                store
                    .commit(vec![put(&format!("o{n}"), "1", Expect::Absent)])
                    .await
            })
        });
        for write in writes.collect::<Vec<_>>() {
            write.await.expect("task").expect("commit");
        }
        for watcher in watchers {
            watcher.await.expect("watcher");
        }
        assert_eq!(store.snapshot().count(MAPS) as u64, total);
        store.close().await;
    });
}

#[test]
fn a_reader_whose_place_is_gone_is_told_so_and_the_writer_never_waits() {
    let options = Options {
        history: Limits {
            changes: 10,
            ..Limits::default()
        },
        ..Options::new("id")
    };
    let store = Store::memory(options);
    let mut slow = store.changes(1).expect("kept");
    for n in 0..25 {
        create(&store, &format!("o{n}"), "1");
    }
    assert_eq!(store.oldest_kept(), 16);
    let gone = slow
        .next()
        .now_or_never()
        .flatten()
        .expect("an item")
        .expect_err("too slow");
    assert_eq!(gone.to_string(), "too old resource version: 1 (16)");
    assert!(slow.next().now_or_never().expect("ready").is_none());
    assert_eq!(store.changes(15).err(), Some(gone_at(15)));
    assert_eq!(store.snapshot_at(15).err(), Some(gone_at(15)));
    assert_eq!(store.snapshot_at(16).expect("kept").count(MAPS), 15);
    store.compact(20);
    assert_eq!(store.oldest_kept(), 20);
    store.compact(9999);
    assert_eq!(store.oldest_kept(), 26);
    assert!(store.changes(26).is_ok());
}

fn gone_at(requested: u64) -> store::Compacted {
    store::Compacted {
        requested,
        oldest: 16,
    }
}

#[test]
fn pages_of_one_revision_agree_while_writes_go_on() {
    let store = Store::memory(Options::new("id"));
    for n in 0..100 {
        create(&store, &format!("o{n:03}"), "old");
    }
    let first = store.snapshot();
    let (mut after, mut seen) = (String::new(), Vec::new());
    loop {
        let page = store.snapshot_at(first.revision()).expect("kept");
        let keys: Vec<String> = page
            .after(MAPS, "ns/", &after)
            .take(7)
            .inspect(|(_, object)| assert!(object.revision() <= first.revision()))
            .map(|(key, _)| key.to_string())
            .collect();
        let Some(last) = keys.last() else { break };
        after = last.clone();
        commit(&store, vec![delete(&last[3..], Expect::Present)]).expect("delete");
        create(&store, &format!("{}-new", &last[3..]), "new");
        seen.extend(keys);
    }
    let wanted: Vec<String> = (0..100).map(|n| format!("ns/o{n:03}")).collect();
    assert_eq!(seen, wanted);
}

#[test]
fn history_is_bounded_by_bytes_and_goes_with_time() {
    let now = Arc::new(AtomicU64::new(0));
    let clock = now.clone();
    let options = Options {
        clock: Arc::new(move || Duration::from_secs(clock.load(Ordering::Relaxed))),
        history: Limits {
            bytes: 100_000,
            ..Limits::default()
        },
        ..Options::new("id")
    };
    let store = Store::memory(options);
    for n in 0..2000 {
        create(&store, &format!("o{n}"), "some data");
        commit(&store, vec![delete(&format!("o{n}"), Expect::Present)]).expect("delete");
    }
    let (changes, bytes) = store.history_size();
    assert!(
        changes > 20 && bytes <= 100_000,
        "{changes} changes, {bytes} bytes"
    );
    assert_eq!(store.snapshot().tables().count(), 0);
    now.store(301, Ordering::Relaxed);
    create(&store, "last", "1");
    assert_eq!(store.history_size().0, 1);
    assert_eq!(store.oldest_kept(), store.snapshot().revision() - 1);
}

#[test]
fn closing_writes_what_waits_ends_watches_and_refuses_more() {
    let dir = tempfile::tempdir().expect("tempdir");
    on_tokio(async {
        let store = Store::open(dir.path(), Options::new("id")).expect("open");
        let changes = store.changes(1).expect("kept");
        let waiter = tokio::spawn({
            let store = store.clone();
            async move { store.wait_for(3, SOON).await }
        });
        let writes: Vec<_> = (0..2)
            .map(|n| {
                let store = store.clone();
                tokio::spawn(async move {
                    store
                        .commit(vec![put(&format!("o{n}"), "1", Expect::Absent)])
                        .await
                })
            })
            .collect();
        for write in writes {
            write.await.expect("task").expect("commit");
        }
        assert!(waiter.await.expect("task"));
        assert!(!store.wait_for(4, Duration::from_millis(1)).await);
        let (left, late) = (store.clone(), store.clone());
        let late = tokio::spawn(async move { late.wait_for(9, SOON).await });
        store.close().await;
        assert!(!late.await.expect("task"), "a closed store will never get there");
        let seen: usize = changes
            .map(|batch| batch.expect("kept").len())
            .collect::<Vec<_>>()
            .await
            .iter()
            .sum();
        assert_eq!(seen, 2);
        assert!(matches!(
            left.commit(vec![put("x", "1", Expect::Absent)]).await,
            Err(CommitError::Closed)
        ));
        assert_eq!(left.snapshot().count(MAPS), 2);
    });
}

#[test]
fn a_transaction_of_no_writes_and_one_that_conflicts_take_no_revision() {
    let store = Store::memory(Options::new("id"));
    let a = create(&store, "a", "1");
    assert_eq!(commit(&store, vec![]).expect("nothing to do").revision, 2);
    let error = commit(
        &store,
        vec![put("b", "1", Expect::Absent), put("a", "2", Expect::Absent)],
    );
    let Err(CommitError::Conflict {
        index: 1,
        current: Some(current),
    }) = error
    else {
        panic!("{error:?}");
    };
    assert!(current.same(&a));
    assert_eq!(
        (store.snapshot().revision(), store.snapshot().count(MAPS)),
        (2, 1)
    );
    let gone = commit(&store, vec![delete("b", Expect::Absent)]);
    assert!(matches!(
        gone,
        Err(CommitError::Conflict {
            index: 0,
            current: None
        })
    ));
}
