//! Prints what the store costs on this machine: `cargo run --release -p store --example measure -- DIR`.
#![allow(clippy::print_stdout, clippy::expect_used)]

use meta::{Draft, Res};
use std::path::Path;
use std::time::{Duration, Instant};
use store::{Expect, Options, Store, Write};

const MAPS: Res = Res::new("", "configmaps");

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let dir = std::env::args().nth(1).expect("a directory to write to");
    let dir = Path::new(&dir);
    // First, while nothing else has grown the heap.
    coming_and_going().await;
    let path = dir.join("clients");
    for (clients, total) in [(1, 4000), (32, 64_000)] {
        let store = Store::open(&path, Options::new("measure")).expect("open");
        let spent = commits(&store, clients, total).await;
        let rate = total as f64 / spent.0.as_secs_f64();
        println!(
            "{clients} clients: {rate:.0} commits/s, median {:?}, p99 {:?}",
            spent.1, spent.2
        );
        store.close().await;
        std::fs::remove_dir_all(&path).expect("remove");
    }
    reopening(&dir.join("open")).await;
}

/// Creates objects from several clients at once: total time, median and p99 of one commit.
async fn commits(store: &Store, clients: usize, total: usize) -> (Duration, Duration, Duration) {
    let start = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut spent = Vec::new();
                for n in 0..total / clients {
                    let writes = vec![create(&format!("o-{client}-{n}"))];
                    let start = Instant::now();
                    store.commit(writes).await.expect("commit");
                    spent.push(start.elapsed());
                }
                spent
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.expect("client"));
    }
    let total = start.elapsed();
    all.sort();
    (total, all[all.len() / 2], all[all.len() * 99 / 100])
}

async fn reopening(path: &Path) {
    let store = Store::open(path, Options::new("measure")).expect("open");
    commits(&store, 32, 10_000).await;
    store.close().await;
    let before = resident_kb();
    let start = Instant::now();
    let store = Store::open(path, Options::new("measure")).expect("open");
    let spent = start.elapsed();
    let grown = resident_kb().saturating_sub(before);
    println!(
        "open with {} objects: {spent:?}, +{grown} kB",
        store.snapshot().count(MAPS)
    );
    store.close().await;
    std::fs::remove_dir_all(path).expect("remove");
}

/// A million puts, then 6,000 objects that come and go.
async fn coming_and_going() {
    let store = Store::memory(Options::new("measure"));
    let report = |what: &str| println!("{what}: {} kB resident", resident_kb());
    report("before");
    store.commit(vec![create("one")]).await.expect("create");
    for _ in 0..1_000_000 {
        let Write::Put { res, draft, .. } = create("one") else {
            continue;
        };
        let expect = Expect::Present;
        store
            .commit(vec![Write::Put { res, draft, expect }])
            .await
            .expect("put");
    }
    report("after 1,000,000 puts");
    for n in 0..6000 {
        store
            .commit(vec![create(&format!("o{n}"))])
            .await
            .expect("create");
    }
    for n in 0..6000 {
        let (key, expect) = (format!("ns/o{n}"), Expect::Present);
        store
            .commit(vec![Write::Delete {
                res: MAPS,
                key,
                expect,
            }])
            .await
            .expect("delete");
    }
    report("after 6,000 came and went");
    println!("history: {:?} (changes, bytes)", store.history_size());
    store.compact(u64::MAX);
    report("without history");
}

fn create(name: &str) -> Write {
    let value = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"v": "x".repeat(800)},
        "metadata": {"name": name, "namespace": "ns", "uid": "5d2e4c1a-0000-0000-0000-000000000000",
            "labels": {"app": "a", "tier": "b"}, "creationTimestamp": "2026-01-01T00:00:00Z"}});
    Write::Put {
        res: MAPS,
        draft: Draft::new(value).expect("valid"),
        expect: Expect::Absent,
    }
}

fn resident_kb() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find(|l| l.starts_with("VmRSS")).expect("VmRSS");
    line.split_whitespace()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .expect("a number")
}
