//! Real containers of a scratch root file system (Debian's static busybox), from start to nothing left.

mod life;
mod streams;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use node::runtime::logs::{self, LogOptions};
use node::runtime::{
    ContainerId, ContainerSpec, ContainerState, Exit, ExitReason, Mount, PodSandboxSpec, Resources, Runtime,
    RuntimeConfig, RuntimeError, RuntimeEvent, ShimRuntime, User,
};

const LIMIT: Duration = Duration::from_secs(20);

/// A data directory, a root file system and a runtime on them; removes all pods when dropped.
struct World {
    dir: tempfile::TempDir,
    cluster: String,
    runtime: ShimRuntime,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

fn config(dir: &Path, cluster: &str) -> RuntimeConfig {
    let mut config = RuntimeConfig::new(dir.join("data"), cluster);
    config.shim_command = vec![env!("CARGO_BIN_EXE_isopod-shim-test").into()];
    config
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let cluster = format!("test-{}-{number}", std::process::id());
        let runtime = ShimRuntime::open(config(dir.path(), &cluster))
            .await
            .expect("open");
        make_rootfs(&dir.path().join("rootfs"));
        Self {
            dir,
            cluster,
            runtime,
        }
    }

    fn rootfs(&self) -> PathBuf {
        self.dir.path().join("rootfs")
    }

    async fn pod(&self, uid: &str) {
        let spec = PodSandboxSpec {
            uid: uid.to_owned(),
            hostname: format!("host-{uid}"),
            ..PodSandboxSpec::default()
        };
        self.runtime.create_sandbox(&spec).await.expect("sandbox");
    }

    fn shell(&self, uid: &str, name: &str, script: &str) -> ContainerSpec {
        ContainerSpec {
            id: ContainerId::new(uid, name, 0),
            rootfs: self.rootfs(),
            args: vec!["sh".into(), "-c".into(), script.into()],
            ..ContainerSpec::default()
        }
    }

    /// Runs to its end; gives exit and log without times.
    async fn run(&self, spec: &ContainerSpec) -> (Exit, String) {
        self.runtime.start_container(spec).await.expect("start");
        let exit = self.exit(&spec.id).await;
        (exit, self.log(&spec.id))
    }

    async fn exit(&self, id: &ContainerId) -> Exit {
        let mut events = self.runtime.subscribe();
        let ended = async {
            loop {
                let pod = self.runtime.pod(&id.pod_uid).await.expect("pod").expect("known");
                if let Some(exit) = pod
                    .containers
                    .iter()
                    .find(|c| c.id == *id)
                    .and_then(|c| match &c.state {
                        ContainerState::Exited(exit) => Some(exit.clone()),
                        _ => None,
                    })
                {
                    return exit;
                }
                events.recv().await.expect("event");
            }
        };
        tokio::time::timeout(LIMIT, ended).await.expect("it ends")
    }

    /// Follows the log until it has `text`.
    async fn wait_for_log(&self, id: &ContainerId, text: &str) {
        let (_running, ended) = tokio::sync::watch::channel(false);
        let options = LogOptions {
            follow: true,
            ..LogOptions::default()
        };
        let mut reader = logs::read(&self.runtime.log_path(id), &options, ended).expect("open");
        let seen = async {
            let mut all = String::new();
            while !all.contains(text) {
                let piece = reader.next().await.expect("next").expect("more");
                all.push_str(std::str::from_utf8(&piece).expect("utf-8"));
            }
        };
        tokio::time::timeout(LIMIT, seen).await.expect("in time");
    }

    fn log(&self, id: &ContainerId) -> String {
        let text = std::fs::read_to_string(self.runtime.log_path(id)).expect("log");
        text.lines()
            .map(|line| line.split_once(' ').expect("time").1.to_owned() + "\n")
            .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let runtime = self.runtime.clone();
        let cleanup = async move {
            for pod in runtime.list().await.expect("list") {
                runtime.remove_pod(&pod.uid).await.expect("remove");
            }
        };
        let clean = std::thread::spawn(|| tokio::runtime::Runtime::new().expect("runtime").block_on(cleanup));
        assert!(
            clean.join().is_ok() || std::thread::panicking(),
            "something of {} is left",
            self.cluster
        );
    }
}

pub(crate) fn make_rootfs(path: &Path) {
    for dir in ["bin", "etc", "proc", "sys", "dev", "tmp", "root"] {
        std::fs::create_dir_all(path.join(dir)).expect("directory");
    }
    std::fs::copy("/bin/busybox", path.join("bin/busybox")).expect("busybox-static is installed");
    for name in [
        "sh", "cat", "echo", "id", "sleep", "hostname", "ls", "touch", "mount", "stat", "tr", "head", "grep",
        "wc", "kill", "ps", "dd", "stty", "yes", "nc", "readlink", "seq", "env", "pwd", "true", "tty",
        "mkdir", "usleep",
    ] {
        std::os::unix::fs::symlink("busybox", path.join("bin").join(name)).expect("symlink");
    }
    std::fs::write(
        path.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/home/web:/bin/sh\n",
    )
    .expect("passwd");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_runs_and_its_output_and_exit_code_are_seen() {
    let world = World::new().await;
    world.pod("p1").await;
    let mut events = world.runtime.subscribe();
    let spec = world.shell("p1", "main", "echo hello from $(hostname); echo oops >&2; exit 7");
    let (exit, log) = world.run(&spec).await;
    assert_eq!((exit.code, exit.signal, exit.reason), (7, 0, ExitReason::Error));
    let mut lines: Vec<&str> = log.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["stderr F oops", "stdout F hello from host-p1"]);
    assert!(matches!(events.recv().await.expect("event"), RuntimeEvent::Started { id, .. } if id == spec.id));
    assert!(matches!(events.recv().await.expect("event"), RuntimeEvent::Exited { id, .. } if id == spec.id));
    world.runtime.remove_container(&spec.id).await.expect("remove");
    world.runtime.remove_pod("p1").await.expect("remove");
    assert!(!world.dir.path().join("data/pods/p1").exists());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    assert!(
        !mounts.contains(world.dir.path().to_str().expect("utf-8")),
        "{mounts}"
    );
    assert!(
        !Path::new("/sys/fs/cgroup/memory/isopod")
            .join(&world.cluster)
            .exists()
    );
}

/// The value that a script printed on a line `name=value`.
fn value<'a>(log: &'a str, name: &str) -> &'a str {
    let found = log
        .lines()
        .find_map(|l| l.split_once("stdout F ")?.1.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no {name} in {log}"))
}

/// LONG: one container says all of it at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_confined_by_default() {
    let world = World::new().await;
    world.pod("p1").await;
    let script = "grep -E '^(CapBnd|CapEff|Seccomp|NoNewPrivs):' /proc/self/status | tr -d '\\t' | tr ':' '='
        echo pid=$$
        mount -t tmpfs none /tmp 2>/dev/null && echo mount=yes || echo mount=no
        touch /proc/sys/kernel/hostname 2>/dev/null && echo procsys=yes || echo procsys=no
        echo keys=$(cat /proc/keys 2>/dev/null | wc -c)
        echo fds=$(ls /proc/self/fd | wc -l)
        echo env=$(env | cut -d= -f1 | tr '\\n' ' ')
        echo home=$HOME
        echo cwd=$(pwd)
        echo groups=$(grep Groups /proc/self/status | tr -d '\\t')
        echo memlimit=$(cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null)
        echo lo=$(cat /sys/class/net/lo/operstate)";
    let mut spec = world.shell("p1", "main", script);
    spec.cwd = "/work/dir".into();
    spec.env = vec![("A".into(), "1".into()), ("A".into(), "2".into())];
    spec.resources = Resources {
        memory_limit_bytes: Some(64 << 20),
        ..Resources::default()
    };
    std::os::unix::fs::symlink("busybox", world.rootfs().join("bin/cut")).expect("symlink");
    let (exit, log) = world.run(&spec).await;
    assert_eq!(exit.code, 0, "{log}");
    assert_eq!(value(&log, "CapBnd"), "00000000a80425fb", "{log}");
    assert_eq!(value(&log, "CapEff"), "00000000a80425fb");
    assert_eq!((value(&log, "Seccomp"), value(&log, "NoNewPrivs")), ("2", "0"));
    assert_eq!(
        (
            value(&log, "pid"),
            value(&log, "mount"),
            value(&log, "procsys"),
            value(&log, "keys")
        ),
        ("1", "no", "no", "0")
    );
    assert_eq!(value(&log, "fds"), "4", "0, 1, 2 and the directory itself: {log}");
    assert_eq!(
        (value(&log, "home"), value(&log, "cwd"), value(&log, "groups")),
        ("/root", "/work/dir", "Groups:")
    );
    assert_eq!(
        (value(&log, "memlimit"), value(&log, "lo")),
        ("67108864", "unknown")
    );

    let mut user = world.shell("p1", "user", "echo id=$(id -u):$(id -g):$(id -G); echo home=$HOME; touch /root/x || echo denied=yes; echo nnp=$(grep NoNew /proc/self/status | tr -d '\\t'); touch /ro/x || echo ro=yes; touch /rw/x && echo rw=yes");
    user.user = User {
        uid: 1000,
        gid: 2000,
        supplementary_groups: vec![3000, 4000],
    };
    user.no_new_privileges = true;
    user.capabilities_drop = vec!["ALL".into()];
    let volume = world.dir.path().join("volume");
    std::fs::create_dir(&volume).expect("volume");
    std::os::unix::fs::chown(&volume, Some(1000), None).expect("chown");
    let mount = |destination: &str, read_only| Mount {
        source: volume.clone(),
        destination: destination.into(),
        read_only,
        ..Mount::default()
    };
    user.mounts = vec![mount("/ro", true), mount("/rw", false)];
    user.read_only_root_filesystem = true;
    let (_, log) = world.run(&user).await;
    assert_eq!(
        (value(&log, "id"), value(&log, "home"), value(&log, "denied")),
        ("1000:2000:2000 3000 4000", "/home/web", "yes")
    );
    assert_eq!(
        (value(&log, "nnp"), value(&log, "ro"), value(&log, "rw")),
        ("NoNewPrivs:1", "yes", "yes"),
        "{log}"
    );
}

/// Kernel messages and a disk's first bytes are the host's, whatever nodes a container makes for itself.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_privileged_container_uses_the_hosts_devices() {
    let world = World::new().await;
    world.pod("p1").await;
    std::os::unix::fs::symlink("busybox", world.rootfs().join("bin/mknod")).expect("symlink");
    let script = "mknod /tmp/$NAME c 1 11 && echo made=yes
        dd if=/tmp/$NAME of=/dev/null bs=8k count=1 2>/tmp/$NAME.words && echo read=yes || echo read=$(grep -o 'not permitted' /tmp/$NAME.words)
        head -c 1 /dev/zero >/dev/null && echo harmless=yes";
    let mut spec = world.shell("p1", "plain", script);
    spec.env = vec![("NAME".into(), "plain".into())];
    let (_, log) = world.run(&spec).await;
    assert_eq!(
        (value(&log, "made"), value(&log, "read"), value(&log, "harmless")),
        ("yes", "not permitted", "yes"),
        "{log}"
    );
    let mut spec = world.shell("p1", "privileged", script);
    spec.env = vec![("NAME".into(), "privileged".into())];
    spec.privileged = true;
    let (_, log) = world.run(&spec).await;
    assert_eq!(value(&log, "read"), "yes", "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_at_the_start_is_said_in_kubernetes_words() {
    let world = World::new().await;
    world.pod("p1").await;
    let mut spec = world.shell("p1", "missing", "");
    spec.args = vec!["foo".into()];
    let error = world
        .runtime
        .start_container(&spec)
        .await
        .expect_err("no such command");
    assert!(
        matches!(&error, RuntimeError::Start { message } if message == "exec: \"foo\": executable file not found in $PATH"),
        "{error:?}"
    );
    let exit = world.exit(&spec.id).await;
    assert_eq!((exit.code, exit.reason), (128, ExitReason::StartError));
    std::fs::write(world.rootfs().join("data.txt"), "x").expect("write");
    let mut starts = Vec::new();
    for (name, path) in [("a", "/nowhere/foo"), ("b", "/data.txt"), ("c", "/tmp")] {
        let mut spec = world.shell("p1", name, "");
        spec.args = vec![path.into()];
        starts.push(
            world
                .runtime
                .start_container(&spec)
                .await
                .expect_err("cannot run")
                .to_string(),
        );
    }
    assert_eq!(
        starts[0],
        "failed to start container: exec: \"/nowhere/foo\": stat /nowhere/foo: no such file or directory"
    );
    assert_eq!(
        starts[1],
        "failed to start container: exec: \"/data.txt\": permission denied"
    );
    assert_eq!(
        starts[2],
        "failed to start container: exec: \"/tmp\": is a directory"
    );
    let mut spec = world.shell("p1", "mount", "true");
    spec.mounts = vec![Mount {
        source: "/nowhere".into(),
        destination: "/x".into(),
        ..Mount::default()
    }];
    let error = world.runtime.start_container(&spec).await.expect_err("no source");
    assert!(
        matches!(&error, RuntimeError::Create(m) if m.contains("/nowhere does not exist")),
        "{error:?}"
    );
    // Not there, so it may be tried again.
    spec.mounts.clear();
    assert_eq!(world.run(&spec).await.0.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_of_a_pod_share_what_the_pod_says() {
    let world = World::new().await;
    let mut sandbox = PodSandboxSpec {
        uid: "p1".into(),
        hostname: "h".into(),
        share_process_namespace: true,
        ..PodSandboxSpec::default()
    };
    world.runtime.create_sandbox(&sandbox).await.expect("sandbox");
    let first = world.shell("p1", "first", "echo hi > /dev/shm/note; echo up; sleep 1000");
    world.runtime.start_container(&first).await.expect("start");
    world.wait_for_log(&first.id, "up").await;
    let second = world.shell(
        "p1",
        "second",
        "cat /dev/shm/note; ps | grep -c 'sleep 1000'; echo pid1=$(cat /proc/1/comm)",
    );
    let (_, log) = world.run(&second).await;
    assert!(
        log.contains("stdout F hi\n") && value(&log, "pid1") == "pause",
        "{log}"
    );
    // SIGKILL reaches all of a container, not only its first process.
    let exit = world
        .runtime
        .stop_container(&first.id, 0, Duration::ZERO)
        .await
        .expect("stop");
    assert_eq!(exit.code, 137);
    sandbox.uid = "p2".into();
    (
        sandbox.share_process_namespace,
        sandbox.host_network,
        sandbox.host_pid,
        sandbox.host_ipc,
    ) = (false, true, true, true);
    world.runtime.create_sandbox(&sandbox).await.expect("sandbox");
    let host = world.shell("p2", "main", "echo host=$(hostname); echo net=$(readlink /proc/self/ns/net); echo pid=$(readlink /proc/self/ns/pid); echo ipc=$(readlink /proc/self/ns/ipc)");
    let (_, log) = world.run(&host).await;
    for name in ["net", "pid", "ipc"] {
        let own = std::fs::read_link(format!("/proc/self/ns/{name}")).expect("namespace");
        assert_eq!(value(&log, name), own.to_str().expect("utf-8"), "{name}");
    }
    assert_eq!(value(&log, "host"), "h", "the node's name, not the machine's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_privileged_container_may_do_all() {
    let world = World::new().await;
    world.pod("p1").await;
    let mut spec = world.shell(
        "p1",
        "main",
        "mount -t tmpfs none /tmp && echo mount=yes; grep Seccomp: /proc/self/status | tr -d '\\t' | tr ':' '='; ls /dev | wc -l",
    );
    spec.privileged = true;
    let (exit, log) = world.run(&spec).await;
    assert_eq!(
        (exit.code, value(&log, "mount"), value(&log, "Seccomp")),
        (0, "yes", "0"),
        "{log}"
    );
}
