//! What is acknowledged survives, and a directory that cannot be trusted is refused with words that help.

use crate::support::*;
use store::{Expect, OpenError, Options, Store};

fn open(dir: &std::path::Path) -> Store {
    Store::open(dir, Options::new("the-id")).expect("open")
}

#[test]
fn a_reopened_store_has_its_objects_revision_identity_and_watches() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = open(dir.path());
    assert_eq!(store.snapshot().revision(), 1);
    let a = create(&store, "a", "1");
    assert_eq!(a.revision(), 2);
    create(&store, "b", "1");
    commit(
        &store,
        vec![put("a", "2", Expect::Revision(2)), delete("b", Expect::Present)],
    )
    .expect("both");
    let before = contents(&store.snapshot());
    futures::executor::block_on(store.close());

    let store = Store::open(dir.path(), Options::new("another")).expect("open again");
    assert_eq!(store.id(), "the-id");
    assert_eq!(store.snapshot().revision(), 4);
    assert_eq!(contents(&store.snapshot()), before);
    assert_eq!(store.oldest_kept(), 1);
    assert_eq!(contents(&store.snapshot_at(3).expect("kept")).len(), 2);
    assert_eq!(create(&store, "b", "3").revision(), 5);
}

#[test]
fn a_second_open_names_the_process_that_has_it() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = open(dir.path());
    let error = Store::open(dir.path(), Options::new("x")).err().expect("locked");
    assert!(
        error.to_string().contains(&format!("pid {}", std::process::id())),
        "{error}"
    );
    drop(store);
    open(dir.path());
    assert!(matches!(error, OpenError::Locked { .. }));
}

#[test]
fn a_store_that_has_been_in_use_is_never_taken_for_a_new_one() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = open(dir.path());
    create(&store, "a", "1");
    drop(store);
    let used = || {
        let options = Options {
            has_been: true,
            ..Options::new("x")
        };
        Store::open(dir.path(), options)
    };
    drop(used().expect("it is whole"));
    let log = dir.path().join("log-00000000000000000001");
    let whole = std::fs::read(&log).expect("the log");
    // It was never closed: that would tell the same of some of them.
    std::fs::remove_file(dir.path().join("closed")).expect("it was closed");
    // Header alone, empty, zeros, its only frame torn, gone.
    let torn = &whole[..whole.len() - 1];
    for left in [Some(&whole[..128]), Some(b""), Some(&[0; 4096]), Some(torn), None] {
        match left {
            Some(bytes) => std::fs::write(&log, bytes).expect("write"),
            None => std::fs::remove_file(&log).expect("remove"),
        }
        let error = used().err().expect("refused");
        assert!(
            matches!(&error, OpenError::Emptied { path } if *path == log),
            "{error}"
        );
        assert_eq!(std::fs::read(&log).ok().as_deref(), left, "nothing was changed");
    }
    std::fs::write(&log, &whole).expect("write");
    assert_eq!(contents(&used().expect("restored").snapshot()).len(), 1);
}
