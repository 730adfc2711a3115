//! Real files after a crash, cut, spoiled, missing, of another version, or on a full disk.

use crate::support::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use store::{CommitError, Expect, OpenError, Options, SimLog, Store};

const HEADER: usize = 128;

fn open(dir: &Path) -> Result<Store, OpenError> {
    Store::open(dir, Options::new("id"))
}

fn refusal(dir: &Path) -> OpenError {
    open(dir).err().expect("must not open")
}

/// The directory as a crash leaves it: a copy while the store is open, with all preallocated zeros.
fn copy_dir(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().expect("tempdir");
    for entry in fs::read_dir(from).expect("list") {
        let entry = entry.expect("entry");
        fs::copy(entry.path(), to.path().join(entry.file_name())).expect("copy");
    }
    to
}

fn only_log(dir: &Path) -> PathBuf {
    files(dir, "log-").pop().expect("a log")
}

fn files(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("list");
    let paths = entries.map(|e| e.expect("entry").path());
    let mut found: Vec<_> = paths
        .filter(|p| {
            p.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with(prefix))
        })
        .collect();
    found.sort();
    found
}

/// Contents after each revision, and where each one's frame ends in the log.
struct Story {
    dir: tempfile::TempDir,
    contents: Vec<BTreeMap<String, String>>,
    ends: Vec<usize>,
}

fn story() -> Story {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = open(dir.path()).expect("open");
    let log = only_log(dir.path());
    let used = || {
        let bytes = fs::read(&log).expect("read");
        // Frames end in '}' (an object) or in a key's last letter, never in a zero.
        bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1)
    };
    let (mut contents_of, mut ends) = (vec![contents(&store.snapshot())], vec![HEADER]);
    for step in 0..8 {
        let name = format!("n{}", step % 3);
        let writes = match step {
            0..3 => vec![put(&name, "first", Expect::Absent)],
            5 => vec![delete(&name, Expect::Present), put("both", "x", Expect::Absent)],
            _ => vec![put(&name, "again", Expect::Present)],
        };
        commit(&store, writes).expect("commit");
        ends.push(used());
        contents_of.push(contents(&store.snapshot()));
    }
    let crashed = copy_dir(dir.path());
    Story {
        dir: crashed,
        contents: contents_of,
        ends,
    }
}

#[test]
fn a_log_cut_anywhere_holds_every_whole_batch_and_no_half_one() {
    let story = story();
    let log = only_log(story.dir.path());
    let whole = fs::read(&log).expect("read");
    let mut cuts: Vec<usize> = story
        .ends
        .iter()
        .flat_map(|e| [*e, e + 1, e + 19, e + 25])
        .collect();
    cuts.extend(story.ends.iter().skip(1).map(|e| e - 1));
    for cut in cuts {
        let cut = cut.min(whole.len());
        let complete = story.ends.iter().filter(|e| **e <= cut).count() - 1;
        for zeros in [false, true] {
            // The rest of the file is gone, or reads as zeros.
            let mut bytes = whole[..cut].to_vec();
            if zeros {
                bytes.resize(whole.len(), 0);
            }
            let dir = copy_dir(story.dir.path());
            fs::write(only_log(dir.path()), bytes).expect("write");
            let store = open(dir.path()).expect("a torn end is no damage");
            assert_eq!(
                contents(&store.snapshot()),
                story.contents[complete],
                "cut at {cut}"
            );
            // It goes on, and what it goes on with survives too.
            create(&store, "later", "1");
            let wanted = contents(&store.snapshot());
            drop(store);
            assert_eq!(contents(&open(dir.path()).expect("again").snapshot()), wanted);
        }
    }
}

#[test]
fn every_byte_of_an_unsynced_batch_may_be_lost_or_spoiled() {
    let start = || {
        let log = SimLog::new();
        let store = Store::inline(Default::default(), Box::new(log.clone()), Options::new("sim"));
        create(&store, "kept", "1");
        log.cut_power_at_next_append();
        commit(
            &store,
            vec![put("a", "1", Expect::Absent), put("b", "1", Expect::Absent)],
        )
        .expect_err("power cut");
        log
    };
    let size = start().unsynced_bytes();
    assert!(size > 200);
    for kept in 0..=size {
        for spoiled in [None, Some(kept / 2)] {
            let log = start();
            log.crash(kept, spoiled);
            let found = log.recover().expect("only the end is torn").newest;
            let complete = kept == size && spoiled.is_none();
            assert_eq!(found.count(MAPS), if complete { 3 } else { 1 }, "kept {kept}");
        }
    }
}

#[test]
fn a_spoiled_byte_in_the_middle_is_an_error_that_says_where() {
    let story = story();
    let whole = fs::read(only_log(story.dir.path())).expect("read");
    let last = story.ends.len() - 1;
    for frame in 0..last - 1 {
        let (start, end) = (story.ends[frame], story.ends[frame + 1]);
        for at in [start, start + 5, start + 9, start + 15, start + 40, end - 1] {
            let dir = copy_dir(story.dir.path());
            let log = only_log(dir.path());
            let mut bytes = whole.clone();
            bytes[at] ^= 0x11;
            fs::write(&log, &bytes).expect("write");
            let error = refusal(dir.path());
            let text = error.to_string();
            assert!(
                matches!(&error, OpenError::Damaged { offset, .. } if *offset == start),
                "{text}"
            );
            assert!(text.contains(&log.display().to_string()), "{text}");
            // Cut at its head, the log would be that of a new and empty store.
            assert_eq!(text.contains("truncate"), frame > 0, "{text}");
            assert_eq!(fs::read(&log).expect("read"), bytes, "nothing was changed");
        }
    }
}

/// Nothing can be torn once the store was closed: damage at the end is told, and goes only when somebody gives it up.
#[test]
fn damage_at_the_end_of_a_closed_store_is_no_power_cut() {
    let story = story();
    drop(open(story.dir.path()).expect("open"));
    let (last, before) = (story.ends[story.ends.len() - 1], story.ends[story.ends.len() - 2]);
    for spoiled in [false, true] {
        let dir = copy_dir(story.dir.path());
        let log = only_log(dir.path());
        let mut bytes = fs::read(&log).expect("read");
        assert_eq!(bytes.len(), last, "it is cut to its end");
        match spoiled {
            true => bytes[last - 3] ^= 1,
            false => bytes.truncate(last - 3),
        }
        fs::write(&log, &bytes).expect("spoiled");
        let said = refusal(dir.path()).to_string();
        let why = format!("was whole up to byte {last} when the store was closed");
        assert!(
            said.contains(&why) && said.contains(&format!("byte {before}")),
            "{said}"
        );
        // What it says is the way on.
        fs::remove_file(dir.path().join("closed")).expect("given up");
        fs::write(&log, &bytes[..before]).expect("cut");
        let store = open(dir.path()).expect("opens");
        assert_eq!(
            contents(&store.snapshot()),
            story.contents[story.contents.len() - 2]
        );
    }
    // A store that went on, and then lost its power.
    let dir = copy_dir(story.dir.path());
    let mut bytes = fs::read(only_log(dir.path())).expect("read");
    bytes.extend_from_slice(b"\xF7isotorn");
    fs::write(only_log(dir.path()), &bytes).expect("torn");
    assert_eq!(
        contents(&open(dir.path()).expect("opens").snapshot()),
        story.contents[story.contents.len() - 1]
    );
}

#[test]
fn another_version_names_both_versions_and_a_foreign_file_is_refused() {
    let story = story();
    let log = only_log(story.dir.path());
    let mut bytes = fs::read(&log).expect("read");
    bytes[8] = 9;
    fs::write(&log, &bytes).expect("write");
    let text = refusal(story.dir.path()).to_string();
    assert!(text.contains("version 9") && text.contains("version 1"), "{text}");
    fs::write(&log, "something else, but long enough ".repeat(8)).expect("write");
    let text = refusal(story.dir.path()).to_string();
    assert!(text.contains("not a file of this store"), "{text}");
}

#[test]
fn a_log_that_died_while_it_was_made_is_made_again() {
    let dir = tempfile::tempdir().expect("tempdir");
    drop(open(dir.path()).expect("open"));
    for bytes in [vec![], vec![0; 50], vec![0; 4096]] {
        fs::write(only_log(dir.path()), bytes).expect("write");
        let store = open(dir.path()).expect("open");
        assert_eq!(store.snapshot().revision(), 1);
    }
}

/// A closed store that has just replaced its first log by a checkpoint, and that first log, kept aside.
struct Replaced {
    dir: tempfile::TempDir,
    contents: BTreeMap<String, String>,
    first: PathBuf,
    aside: PathBuf,
}

fn replaced() -> Replaced {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = open(dir.path()).expect("open");
    let (first, aside) = (only_log(dir.path()), dir.path().join("aside"));
    fs::hard_link(&first, &aside).expect("link");
    let megabyte = "x".repeat(1 << 20);
    for name in ["a", "b", "c", "a", "b", "c", "a", "b", "c"] {
        let expect = match store.snapshot().by_key(MAPS, &format!("ns/{name}")) {
            Some(_) => Expect::Present,
            None => Expect::Absent,
        };
        commit(&store, vec![put(name, &megabyte, expect)]).expect("put");
    }
    // The checkpoint is written behind our back; each of these commits gives it the time of one sync.
    create(&store, "small", "0");
    for n in 0..100_000 {
        if !first.exists() {
            break;
        }
        commit(&store, vec![put("small", &n.to_string(), Expect::Present)]).expect("put");
    }
    let contents = contents(&store.snapshot());
    futures::executor::block_on(store.close());
    Replaced {
        dir,
        contents,
        first,
        aside,
    }
}

#[test]
fn a_checkpoint_replaces_the_log_and_leftovers_of_a_crash_are_swept() {
    let Replaced {
        dir,
        contents: wanted,
        first,
        aside,
    } = replaced();
    let dir = dir.path();
    assert_eq!(
        (files(dir, "log-").len(), files(dir, "checkpoint-").len()),
        (1, 1)
    );
    // Died before the old log was removed, or in a later checkpoint.
    fs::copy(&aside, &first).expect("copy");
    fs::write(dir.join("checkpoint-00000000000000000999.tmp"), "half").expect("write");
    let store = open(dir).expect("reopen");
    assert_eq!(contents(&store.snapshot()), wanted);
    assert_eq!(
        (files(dir, "log-").len(), files(dir, "checkpoint-").len()),
        (1, 1)
    );
    // The history goes back to the checkpoint.
    let start = only_log(dir)
        .to_string_lossy()
        .ends_with(&format!("{:020}", store.oldest_kept()));
    assert!(start && store.oldest_kept() > 1);
}

#[test]
fn a_crash_before_the_checkpoint_is_complete_finds_everything_in_the_logs() {
    let Replaced {
        dir,
        contents: wanted,
        first,
        aside,
    } = replaced();
    let dir = dir.path();
    fs::remove_file(&files(dir, "checkpoint-")[0]).expect("remove");
    // Without the first log, what was in it is gone for good, and that is said.
    assert!(matches!(refusal(dir), OpenError::Missing { path } if path == first));
    fs::copy(&aside, &first).expect("copy");
    let store = open(dir).expect("reopen");
    assert_eq!(contents(&store.snapshot()), wanted);
    assert_eq!(store.oldest_kept(), 1);
    drop(store);
    // Only the last log may be torn.
    let bytes = fs::read(&first).expect("read");
    fs::write(&first, &bytes[..bytes.len() - 9]).expect("cut");
    assert!(matches!(refusal(dir), OpenError::Damaged { path, .. } if path == first));
}

#[test]
fn a_damaged_checkpoint_or_a_missing_log_is_an_error() {
    let Replaced { dir, .. } = replaced();
    let dir = dir.path();
    let checkpoint = files(dir, "checkpoint-").remove(0);
    let bytes = fs::read(&checkpoint).expect("read");
    for at in [bytes.len() - 10, HEADER + 30, 20] {
        let mut spoiled = bytes.clone();
        spoiled[at] ^= 1;
        fs::write(&checkpoint, spoiled).expect("write");
        assert!(matches!(refusal(dir), OpenError::Damaged { path, .. } if path == checkpoint));
    }
    for length in [bytes.len() / 2, HEADER] {
        fs::write(&checkpoint, &bytes[..length]).expect("write");
        assert!(matches!(refusal(dir), OpenError::Damaged { path, .. } if path == checkpoint));
    }
    fs::write(&checkpoint, &bytes).expect("write");
    let log = only_log(dir);
    let whole = fs::read(&log).expect("read");
    // The log's header was durable before its checkpoint was begun: an empty one has lost what was in it.
    fs::write(&log, b"").expect("write");
    let error = refusal(dir);
    assert!(matches!(&error, OpenError::Damaged { path, .. } if *path == log));
    assert!(!error.to_string().contains("truncate"), "{error}");
    fs::write(&log, whole).expect("write");
    fs::remove_file(&log).expect("remove");
    assert!(matches!(refusal(dir), OpenError::Missing { path } if path == log));
}

/// A small file system of its own, gone when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(size: &str) -> Self {
        let dir = tempfile::tempdir().expect("tempdir");
        let none = None::<&str>;
        let flags = nix::mount::MsFlags::empty();
        let options = format!("size={size}");
        nix::mount::mount(none, dir.path(), Some("tmpfs"), flags, Some(options.as_str()))
            .expect("mounting a tmpfs needs root");
        Self(dir)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let flags = nix::mount::MntFlags::MNT_DETACH;
        if let Err(error) = nix::mount::umount2(self.0.path(), flags) {
            eprintln!("umount {}: {error}", self.0.path().display());
        }
    }
}

#[test]
fn a_full_disk_refuses_writes_keeps_reads_and_recovers_with_room() {
    let disk = SmallDisk::new("2m");
    let filler = disk.0.path().join("filler");
    let dir = disk.0.path().join("data");
    let store = open(&dir).expect("open");
    fs::write(&filler, vec![1; 700 << 10]).expect("fill");
    let mut stored = 0;
    let refused = loop {
        let data = "x".repeat(3000);
        match commit(&store, vec![put(&format!("o{stored}"), &data, Expect::Absent)]) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 1000, "the disk never fills");
    };
    assert!(matches!(&refused, CommitError::Full(_)), "{refused:?}");
    assert!(refused.to_string().contains("disk is full"), "{refused}");
    let before = contents(&store.snapshot());
    assert_eq!(
        (before.len(), store.snapshot().revision()),
        (stored, 1 + stored as u64)
    );
    assert!(matches!(
        commit(&store, vec![put("big", &"y".repeat(5000), Expect::Absent)]),
        Err(CommitError::Full(_))
    ));
    // What a crash would leave now is whole.
    let crashed = copy_dir(&dir);
    assert_eq!(contents(&open(crashed.path()).expect("open").snapshot()), before);
    fs::remove_file(&filler).expect("make room");
    assert_eq!(create(&store, "after", "1").revision(), 2 + stored as u64);
    let wanted = contents(&store.snapshot());
    futures::executor::block_on(store.close());
    assert_eq!(contents(&open(&dir).expect("reopen").snapshot()), wanted);
}

#[test]
fn what_is_no_more_makes_room_on_a_full_disk() {
    let disk = SmallDisk::new("2m");
    let dir = disk.0.path().join("data");
    let store = open(&dir).expect("open");
    create(&store, "same", "0");
    let filling = "x".repeat(3000);
    for n in 0..3000 {
        let data = format!("{filling}{n}");
        let commit = commit(&store, vec![put("same", &data, Expect::Present)]);
        commit.expect("nine megabytes of one object");
    }
    let before = contents(&store.snapshot());
    // What a crash would leave now is whole.
    let crashed = copy_dir(&dir);
    assert_eq!(contents(&open(crashed.path()).expect("open").snapshot()), before);
    futures::executor::block_on(store.close());
    assert_eq!(contents(&open(&dir).expect("reopen").snapshot()), before);
}

#[test]
fn a_checkpoint_that_finds_no_room_loses_nothing_and_is_made_once_there_is() {
    let disk = SmallDisk::new("26m");
    let (filler, dir) = (disk.0.path().join("filler"), disk.0.path().join("data"));
    let store = open(&dir).expect("open");
    // Three megabytes of objects need a checkpoint of three; leave room for less beside a log of eight.
    fs::write(&filler, vec![1; 16 << 20]).expect("fill");
    let megabyte = "x".repeat(1 << 20);
    for name in ["a", "b", "c"] {
        create(&store, name, &megabyte);
    }
    let update = |store: &Store, n: usize| {
        let name = ["a", "b", "c"][n % 3];
        commit(store, vec![put(name, &megabyte, Expect::Present)])
    };
    let refused = (0..100)
        .find_map(|n| update(&store, n).err())
        .expect("a full disk");
    assert!(matches!(refused, CommitError::Full(_)), "{refused:?}");
    let before = contents(&store.snapshot());
    futures::executor::block_on(store.close());
    assert!(files(&dir, "log-").len() > 1 && files(&dir, "checkpoint-").is_empty());
    let store = open(&dir).expect("a full disk can be read");
    assert_eq!(contents(&store.snapshot()), before);
    fs::remove_file(&filler).expect("make room");
    // With room for it, a checkpoint comes after a megabyte or two and gives back the room of the old logs.
    let tried = files(&dir, "log-");
    for n in 0..4 {
        if files(&dir, "log-") == tried {
            update(&store, n).expect("there is room");
        }
    }
    // It is written behind our back; each small commit gives it some time.
    create(&store, "small", "0");
    for n in 0..200_000 {
        if !tried[0].exists() {
            break;
        }
        commit(&store, vec![put("small", &n.to_string(), Expect::Present)]).expect("put");
    }
    let wanted = contents(&store.snapshot());
    futures::executor::block_on(store.close());
    assert_eq!(files(&dir, "checkpoint-").len(), 1);
    assert_eq!(contents(&open(&dir).expect("reopen").snapshot()), wanted);
}
