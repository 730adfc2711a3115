//! What users get wrong on the command line, and what a machine can do to a cluster: each is one clear message, nothing
//! half-made is left, nothing stored is lost.

use crate::harness::cluster::free_port;
use crate::harness::{Cluster, host};

/// One line that says `isopod: …`, all of `words`, and no backtrace.
#[track_caller]
fn clear(said: &str, words: &[&str]) {
    assert!(said.starts_with("isopod: "), "{said}");
    assert!(
        !said.contains("panicked") && !said.contains("stack backtrace"),
        "{said}"
    );
    for word in words {
        assert!(said.contains(word), "no {word:?} in: {said}");
    }
}

#[test]
// LONG: one table of cases, which reads best in one piece.
fn mistakes_on_the_command_line() {
    let Some(cluster) = Cluster::start("mistakes_on_the_command_line", &[]) else {
        return;
    };
    let raw = |line: &str| cluster.isopod_raw(crate::harness::words(line)).run();
    clear(
        &cluster.isopod_with("up").run().fails(),
        &["is up already", "isopod down"],
    );
    clear(
        &raw("down --name nobody").fails(),
        &["no cluster nobody", "isopod up --name nobody"],
    );
    clear(
        &raw("rm --name nobody").fails(),
        &["no cluster nobody", "isopod ls"],
    );
    clear(&raw("up --name Not_A_Name").fails(), &["Not_A_Name"]);
    clear(
        &raw("image build x --binary /none --name nobody").fails(),
        &["nobody"],
    );
    clear(
        &cluster
            .isopod_with("image build x:1 --binary /none")
            .run()
            .fails(),
        &["/none"],
    );
    clear(
        &cluster
            .isopod_with("image build x:1 --from-dir /none")
            .run()
            .fails(),
        &["/none"],
    );
    clear(
        &cluster
            .isopod_with("image build Not/Valid:1 --binary /bin/true")
            .run()
            .fails(),
        &["Not/Valid"],
    );
    // A program that needs a loader and libraries would not start in an image of its own.
    let dynamic = cluster
        .isopod_with("image build x:1 --binary /bin/ls")
        .run()
        .fails();
    clear(&dynamic, &["/bin/ls", "static"]);
    for line in [
        "",
        "unheard-of",
        "up --api-port 99999",
        "up --wait soon",
        "image build",
        "rm --force-it",
        "completions ksh",
    ] {
        let run = raw(line);
        assert_eq!(run.status.code(), Some(2), "{}", run.report("is no command"));
        assert!(
            run.stderr.contains("Usage:") || run.stderr.contains("--help"),
            "{}",
            run.report("explains nothing")
        );
    }
    let help = raw("up --help").ok();
    assert!(help.contains("Examples:"), "{help}");
    assert!(raw("completions bash").ok().contains("isopod"));
    cluster.remove();
}

#[test]
fn a_port_that_is_taken() {
    let Some(cluster) = Cluster::prepare("a_port_that_is_taken", &[]) else {
        return;
    };
    let taken = std::net::TcpListener::bind(("127.0.0.1", cluster.api_port)).expect("the port");
    let said = cluster.up().fails();
    clear(&said, &[&cluster.api_port.to_string(), "taken", "--api-port"]);
    let left = cluster.traces();
    assert!(left.is_empty(), "a failed `up` left {left:#?}");
    assert!(!cluster.kubeconfig.exists(), "a failed `up` left a kubeconfig");
    drop(taken);
    cluster.up().ok();
    cluster.kubectl("get nodes");
    cluster.remove();
}

#[test]
fn a_folder_of_another_version() {
    let Some(cluster) = Cluster::start("a_folder_of_another_version", &[]) else {
        return;
    };
    cluster.kubectl("create cm kept --from-literal=a=b");
    cluster.isopod("down");
    let file = cluster.dir().join("cluster.json");
    let good = std::fs::read_to_string(&file).expect("the settings");
    let mut other: serde_json::Value = serde_json::from_str(&good).expect("JSON");
    other["layout"] = serde_json::json!(999);
    std::fs::write(&file, other.to_string()).expect("written");
    clear(&cluster.up().fails(), &["999", "isopod rm"]);
    std::fs::write(&file, "{broken").expect("written");
    clear(&cluster.up().fails(), &["cluster.json"]);
    std::fs::write(&file, good).expect("written");
    cluster.up().ok();
    assert_eq!(cluster.jsonpath("cm/kept", "{.data.a}"), "b");
    cluster.remove();
}

/// A torn tail is cut, with nothing acknowledged lost; damage in the midst is refused with a message, and left as it is.
#[test]
fn a_damaged_log() {
    let Some(cluster) = Cluster::start("a_damaged_log", &[]) else {
        return;
    };
    for n in 0..20 {
        cluster.kubectl(&format!("create cm c{n} --from-literal=a=b"));
    }
    host::kill(&cluster.server());
    cluster.isopod("down");
    let newest = newest_log(&cluster.dir().join("store"));
    let good = std::fs::read(&newest).expect("the log");
    std::fs::write(
        &newest,
        [&good[..], &good[..good.len().min(37)], &[0xff; 11]].concat(),
    )
    .expect("written");
    cluster.up().ok();
    assert_eq!(
        cluster
            .kubectl("get cm -l '!none' -o name")
            .lines()
            .filter(|l| l.starts_with("configmap/c"))
            .count(),
        20
    );
    cluster.isopod("down");
    let newest = newest_log(&cluster.dir().join("store"));
    let good = std::fs::read(&newest).expect("the log");
    let mut bad = good.clone();
    let middle = bad.len() / 3;
    bad[middle] ^= 0x55;
    std::fs::write(&newest, &bad).expect("written");
    let said = cluster.up().fails();
    clear(&said, &["store"]);
    assert_eq!(
        std::fs::read(&newest).expect("the log"),
        bad,
        "a damaged log was changed"
    );
    std::fs::write(&newest, good).expect("written");
    cluster.up().ok();
    assert_eq!(
        cluster
            .kubectl("get cm -l '!none' -o name")
            .lines()
            .filter(|l| l.starts_with("configmap/c"))
            .count(),
        20
    );
    cluster.remove();
}

/// The largest file of the store: what was written last goes there.
fn newest_log(folder: &std::path::Path) -> std::path::PathBuf {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the store")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .collect();
    files.sort_by_key(|path| std::fs::metadata(path).expect("a file").len());
    files.pop().expect("a log")
}

/// Writes to a full disk are refused one by one, reads go on, and with room writes work again at once. What was
/// acknowledged is there after a crash, what was refused is not.
#[test]
fn a_full_disk() {
    let Some(cluster) = Cluster::prepare("a_full_disk", &[]) else {
        return;
    };
    let disk = SmallDisk::new("size=48m");
    let data = disk.0.path().join("cluster");
    cluster
        .isopod_with(&format!(
            "up --kubeconfig {} --api-port {} --data-dir {}",
            cluster.kubeconfig.display(),
            cluster.api_port,
            data.display()
        ))
        .run()
        .ok();
    cluster.kubectl("create cm kept --from-literal=a=b");
    let filler = disk.0.path().join("filler");
    disk.fill(&filler);
    let mut made = 0;
    for size in [200_000, 20_000, 2_000] {
        let value = "x".repeat(size);
        let said = (0..20).find_map(|_| {
            let manifest = format!(
                "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: big-{made}}}, data: {{a: {value}}}}}"
            );
            let run = cluster.kubectl_with("create -f -").input(manifest.as_str()).run();
            if run.status.success() {
                made += 1;
                return None;
            }
            Some(run.stderr)
        });
        let said = said.expect("the disk never fills");
        for words in [
            "nothing was written, the disk is full",
            "No space left",
            "free some space",
        ] {
            assert!(said.contains(words), "no {words:?} in {said}");
        }
    }
    let held = || cluster.kubectl("get cm -o name");
    let before = held();
    assert_eq!(before.matches("big-").count(), made, "{before}");
    assert_eq!(cluster.jsonpath("cm/kept", "{.data.a}"), "b");
    std::fs::remove_file(&filler).expect("room");
    cluster.kubectl("create cm after --from-literal=a=b");
    let wanted = held();
    assert_eq!(wanted.lines().count(), before.lines().count() + 1);
    host::kill(&cluster.server());
    cluster.up().ok();
    assert_eq!(held(), wanted);
    cluster.remove();
}

/// A small file system of its own, gone when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(options: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(None::<&str>, dir.path(), Some("tmpfs"), flags, Some(options)).expect("mounted");
        Self(dir)
    }

    /// Leaves not a byte.
    fn fill(&self, filler: &std::path::Path) {
        use std::io::Write;
        let mut file = std::fs::File::create(filler).expect("a file");
        let zeros = [0; 4096];
        let error = std::iter::repeat_with(|| file.write_all(&zeros).err())
            .flatten()
            .next();
        let kind = error.map(|e| e.kind());
        assert_eq!(kind, Some(std::io::ErrorKind::StorageFull));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = nix::mount::umount2(self.0.path(), nix::mount::MntFlags::MNT_DETACH);
        assert!(unmounted.is_ok() || std::thread::panicking(), "{unmounted:?}");
    }
}

/// Mistakes in manifests, as kubectl shows them.
#[test]
fn mistakes_in_manifests() {
    let Some(cluster) = Cluster::start("mistakes_in_manifests", &[]) else {
        return;
    };
    let apply = |manifest: &str| cluster.kubectl_with("apply -f -").input(manifest).run().fails();
    let said = apply(
        "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: main, imagee: x}]}}",
    );
    assert!(
        said.contains("unknown field \"spec.containers[0].imagee\""),
        "{said}"
    );
    let said = apply(
        "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: A_B}, {name: main, image: x, ports: [{containerPort: 99999}]}]}}",
    );
    for text in [
        "spec.containers[0].name: Invalid value: \"A_B\"",
        "spec.containers[0].image: Required value",
        "spec.containers[1].ports[0].containerPort: Invalid value: 99999: must be between 1 and 65535, inclusive",
    ] {
        assert!(said.contains(text), "no {text:?} in {said}");
    }
    let said = apply("{apiVersion: v1, kind: Submarine, metadata: {name: p}}");
    assert!(
        said.contains("Submarine") || said.contains("failed to list CRDs"),
        "{said}"
    );
    let said =
        apply("{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: s}, spec: {replicas: three}}");
    assert!(said.contains("replicas"), "{said}");
    let none = cluster.kubectl("get all");
    assert!(!none.contains("pod/"), "{none}");
    let anonymous = cluster.kubectl_with(&format!(
        "get pods --server=https://127.0.0.1:{} --insecure-skip-tls-verify --kubeconfig=/dev/null --username=a --password=b",
        cluster.api_port
    ));
    let said = anonymous.run().fails();
    assert!(
        said.contains("Unauthorized") || said.contains("forbidden") || said.contains("must be logged in"),
        "{said}"
    );
    let nowhere = format!(
        "up --name second --kubeconfig {0}/none --api-port {1}",
        cluster.kubeconfig.display(),
        free_port()
    );
    let said = cluster.isopod_raw(crate::harness::words(&nowhere)).run().fails();
    assert!(said.contains("kubeconfig"), "{said}");
    cluster
        .isopod_raw(crate::harness::words("rm --name second"))
        .run();
    cluster.remove();
}

/// `up` gave up waiting (or was told not to): the server starts on, and whoever comes next must find it.
#[test]
fn a_cluster_that_is_still_starting_is_found() {
    let Some(cluster) = Cluster::prepare("a_cluster_that_is_still_starting_is_found", &[]) else {
        return;
    };
    let up = format!("up --wait 0 --api-port {}", cluster.api_port);
    for _ in 0..8 {
        let said = cluster.isopod_with(&up).run().fails();
        assert!(said.contains("not ready after 0 s"), "{said}");
        assert_eq!(
            cluster.isopod("rm").trim(),
            format!("cluster {} is removed", cluster.name)
        );
        assert!(!cluster.dir().exists());
    }
    cluster.isopod_with(&up).run().fails();
    let said = cluster.isopod_with(&up).run().fails();
    assert!(said.contains("is up already"), "{said}");
    cluster.remove();
}
