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
