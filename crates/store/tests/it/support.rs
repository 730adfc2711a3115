//! Objects, transactions and a small runtime for the tests.

use futures::executor::block_on;
use meta::{Draft, Object, Res, Snapshot};
use serde_json::json;
use std::collections::BTreeMap;
use std::future::Future;
use store::{CommitError, Committed, Expect, Store, Write};

pub const MAPS: Res = Res::new("", "configmaps");
pub const SETS: Res = Res::new("apps", "statefulsets");

pub fn draft(name: &str, data: &str) -> Draft {
    Draft::new(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"v": data},
        "metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}")}}),
    )
    .expect("a valid object")
}

pub fn put(name: &str, data: &str, expect: Expect) -> Write {
    Write::Put {
        res: MAPS,
        draft: draft(name, data),
        expect,
    }
}

pub fn delete(name: &str, expect: Expect) -> Write {
    Write::Delete {
        res: MAPS,
        key: format!("ns/{name}"),
        expect,
    }
}

pub fn commit(store: &Store, writes: Vec<Write>) -> Result<Committed, CommitError> {
    block_on(store.commit(writes))
}

pub fn create(store: &Store, name: &str, data: &str) -> Object {
    let done = commit(store, vec![put(name, data, Expect::Absent)]).expect("create");
    done.objects[0].clone()
}

/// All objects of a snapshot as text, to compare by.
pub fn contents(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let rows = snapshot.tables().flat_map(|(res, table)| {
        table.iter().map(move |(key, object)| {
            let text = String::from_utf8_lossy(object.json()).into_owned();
            (format!("{}/{key}", res.qualified()), text)
        })
    });
    rows.collect()
}

pub fn on_tokio<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}
