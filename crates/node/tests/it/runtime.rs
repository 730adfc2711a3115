//! Real containers of a scratch root file system (Debian's static busybox), from start to nothing left.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use node::runtime::logs::{self, LogOptions};
use node::runtime::{
    AttachStreams, ExecSession, ExecSpec, LogRotation, Mount, Resources, RuntimeError, TerminalSize, User,
};
use node::runtime::{
    ContainerId, ContainerSpec, ContainerState, Exit, ExitReason, PodSandboxSpec, Runtime, RuntimeConfig,
    RuntimeEvent, ShimRuntime,
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
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(cleanup));
    }
}

fn make_rootfs(path: &Path) {
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

fn command(script: &str) -> ExecSpec {
    ExecSpec {
        args: vec!["sh".into(), "-c".into(), script.into()],
        stdout: true,
        stderr: true,
        ..ExecSpec::default()
    }
}

/// All that a session says, and its exit code.
async fn finish(session: ExecSession) -> (i32, String, String) {
    let (mut out, mut err) = (String::new(), String::new());
    if let Some(mut stdout) = session.stdout {
        stdout.read_to_string(&mut out).await.expect("stdout");
    }
    if let Some(mut stderr) = session.stderr {
        stderr.read_to_string(&mut err).await.expect("stderr");
    }
    let exit = tokio::time::timeout(LIMIT, session.exit.wait())
        .await
        .expect("in time")
        .expect("exit");
    (exit.code, out, err)
}

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
async fn a_process_can_be_run_in_a_container() {
    let world = World::new().await;
    world.pod("p1").await;
    let mut spec = world.shell("p1", "main", "sleep 1000");
    spec.env = vec![("FROM".into(), "spec".into())];
    world.runtime.start_container(&spec).await.expect("start");
    let exec = |command: ExecSpec| {
        let (runtime, id) = (world.runtime.clone(), spec.id.clone());
        async move { runtime.exec(&id, &command).await }
    };
    let script = "echo out $FROM $(hostname) $(grep Seccomp: /proc/self/status | tr -d '\\t') $(ls /proc | grep -c '^1$'); echo err >&2; exit 3";
    let (code, out, err) = finish(exec(command(script)).await.expect("exec")).await;
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (3, "out spec host-p1 Seccomp:2 1\n", "err\n")
    );

    let mut cat = command("cat");
    cat.stdin = true;
    let mut session = exec(cat).await.expect("exec");
    let mut stdin = session.stdin.take().expect("stdin");
    let writer = tokio::spawn(async move {
        for _ in 0..100 {
            stdin.write_all(&[b'x'; 10_000]).await.expect("write");
        }
    });
    let (code, out, _) = finish(session).await;
    writer.await.expect("written");
    assert_eq!((code, out.len()), (0, 1_000_000));

    let missing = ExecSpec {
        args: vec!["foo".into()],
        ..ExecSpec::default()
    };
    let error = exec(missing).await.err().expect("no such command");
    assert!(
        matches!(&error, RuntimeError::Exec { code: 127, message } if message.ends_with("exec: \"foo\": executable file not found in $PATH")),
        "{error:?}"
    );

    // Leaving kills the process.
    let mut sleeper = exec(command("echo started; exec sleep 777")).await.expect("exec");
    let mut first = [0; 8];
    sleeper
        .stdout
        .as_mut()
        .expect("stdout")
        .read_exact(&mut first)
        .await
        .expect("read");
    drop(sleeper.exit);
    let rest = tokio::time::timeout(LIMIT, sleeper.stdout.as_mut().expect("stdout").read(&mut first)).await;
    assert_eq!(rest.expect("it is killed").expect("read"), 0);

    let mut tty = command("stty size; read line; echo got $line; tty -s && echo terminal; sleep 0.1; exit 4");
    (tty.tty, tty.stdin, tty.size) = (
        true,
        true,
        Some(TerminalSize {
            width: 101,
            height: 33,
        }),
    );
    let mut session = exec(tty).await.expect("exec");
    (session.resize.as_ref().expect("terminal"))(TerminalSize {
        width: 80,
        height: 24,
    })
    .expect("resize");
    session
        .stdin
        .as_mut()
        .expect("stdin")
        .write_all(b"word\n")
        .await
        .expect("write");
    let stdin = session.stdin.take();
    let (code, out, _) = finish(session).await;
    drop(stdin);
    assert!(out.contains("got word\r\n"), "{out:?}");
    assert!(out.contains("33 101\r\n") || out.contains("24 80\r\n"), "{out:?}");
    assert_eq!(code, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_can_attach_and_a_slow_one_blocks_nobody() {
    let world = World::new().await;
    world.pod("p1").await;
    let mut spec = world.shell(
        "p1",
        "main",
        "while read line; do echo \"< $line\"; [ $line = go ] && yes | head -c 3000000; done; echo bye",
    );
    (spec.stdin, spec.stdin_once) = (true, true);
    world.runtime.start_container(&spec).await.expect("start");
    let slow = world
        .runtime
        .attach(
            &spec.id,
            AttachStreams {
                stdout: true,
                ..AttachStreams::default()
            },
        )
        .await
        .expect("attach");
    let all = AttachStreams {
        stdin: true,
        stdout: true,
        stderr: true,
    };
    let mut session = world.runtime.attach(&spec.id, all).await.expect("attach");
    let mut stdin = session.stdin.take().expect("stdin");
    stdin.write_all(b"hello\ngo\n").await.expect("write");
    drop(stdin);
    let mut out = String::new();
    let reading = session.stdout.take().expect("stdout");
    tokio::time::timeout(LIMIT, {
        let out = &mut out;
        async move {
            let mut r = reading;
            r.read_to_string(out).await
        }
    })
    .await
    .expect("in time")
    .expect("read");
    assert!(
        out.starts_with("< hello\n< go\ny\n") && out.ends_with("y\nbye\n"),
        "{} bytes",
        out.len()
    );
    assert_eq!(world.exit(&spec.id).await.code, 0);
    drop(slow);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_is_gentle_first() {
    let world = World::new().await;
    world.pod("p1").await;
    let gentle = world.shell(
        "p1",
        "gentle",
        "trap 'echo term; exit 5' TERM; echo up; while true; do sleep 0.05; done",
    );
    let stubborn = world.shell("p1", "stubborn", "trap '' TERM; echo up; sleep 1000");
    for spec in [&gentle, &stubborn] {
        world.runtime.start_container(spec).await.expect("start");
        world.wait_for_log(&spec.id, "up").await;
    }
    let exit = world
        .runtime
        .stop_container(&gentle.id, 0, LIMIT)
        .await
        .expect("stop");
    assert_eq!((exit.code, exit.signal), (5, 0));
    assert!(world.log(&gentle.id).contains("stdout F term"));
    let exit = world
        .runtime
        .stop_container(&stubborn.id, 0, Duration::from_millis(50))
        .await
        .expect("stop");
    assert_eq!((exit.code, exit.signal, exit.reason), (137, 9, ExitReason::Error));
    // Again: it has ended already.
    assert_eq!(
        world
            .runtime
            .stop_container(&stubborn.id, 0, LIMIT)
            .await
            .expect("stop")
            .code,
        137
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_memory_is_seen_as_such() {
    let world = World::new().await;
    world.pod("p1").await;
    let mut spec = world.shell("p1", "hog", "exec dd if=/dev/zero of=/dev/null bs=200M count=1");
    spec.resources = Resources {
        memory_limit_bytes: Some(32 << 20),
        ..Resources::default()
    };
    let (exit, _) = world.run(&spec).await;
    assert_eq!(
        (exit.code, exit.reason, exit.oom_killed),
        (137, ExitReason::OomKilled, true)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_outlive_the_server_and_their_results_outlive_the_shim() {
    let world = World::new().await;
    world.pod("p1").await;
    let ended = world.shell("p1", "ended", "exit 3");
    world.run(&ended).await;
    let running = world.shell("p1", "running", "echo up; sleep 0.3; echo still here; sleep 1000");
    let pid = world.runtime.start_container(&running).await.expect("start").pid;
    let second = ShimRuntime::open(config(world.dir.path(), &world.cluster))
        .await
        .expect("open");
    let pod = second.pod("p1").await.expect("pod").expect("known");
    assert!(pod.ready);
    assert_eq!(pod.sandbox.hostname, "host-p1");
    let state = |pod: &node::runtime::PodState, name: &str| {
        pod.containers
            .iter()
            .find(|c| c.id.name == name)
            .expect("there")
            .state
            .clone()
    };
    assert!(matches!(state(&pod, "ended"), ContainerState::Exited(exit) if exit.code == 3));
    assert!(matches!(state(&pod, "running"), ContainerState::Running { pid: p, .. } if p == pid));
    world.wait_for_log(&running.id, "still here").await;
    // Now the shim dies: its container must not run on unseen.
    let mut events = second.subscribe();
    let shim = std::fs::read_to_string(world.dir.path().join("data/pods/p1/state.json")).expect("state");
    let shim: serde_json::Value = serde_json::from_str(&shim).expect("json");
    let shim = shim["shim_pid"].as_i64().expect("pid") as i32;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(shim),
        nix::sys::signal::Signal::SIGKILL,
    )
    .expect("kill");
    let seen = tokio::time::timeout(LIMIT, async {
        let mut seen = Vec::new();
        while !matches!(seen.last(), Some(RuntimeEvent::ShimGone { .. })) {
            seen.push(events.recv().await.expect("event"));
        }
        seen
    });
    let seen = seen.await.expect("in time");
    assert!(
        matches!(&seen[0], RuntimeEvent::Exited { id, exit } if *id == running.id && exit.code == 137 && exit.reason == ExitReason::ContainerStatusUnknown),
        "{seen:?}"
    );
    assert!(
        !Path::new(&format!("/proc/{pid}/root/bin")).exists(),
        "the container is dead"
    );
    // The pod goes on with a new shim that knows the old results.
    let mut again = running.clone();
    again.id.attempt = 1;
    again.args[2] = "echo again".into();
    second.start_container(&again).await.expect("start");
    let third = ShimRuntime::open(config(world.dir.path(), &world.cluster))
        .await
        .expect("open");
    assert_eq!(
        third
            .pod("p1")
            .await
            .expect("pod")
            .expect("known")
            .containers
            .len(),
        3
    );
    third.remove_pod("p1").await.expect("remove");
    third.remove_pod("p1").await.expect("remove again");
    assert!(!world.dir.path().join("data/pods/p1").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_reboot_only_results_are_left() {
    let world = World::new().await;
    let dir = world.dir.path().join("data/pods/p9");
    std::fs::create_dir_all(&dir).expect("directory");
    let state = r#"{"version":1,"boot_id":"another","shim_pid":1,"containers":[{"id":{"pod_uid":"p9","name":"main","attempt":2},"state":"running","pid":1,"started_at_ns":5}]}"#;
    std::fs::write(dir.join("state.json"), state).expect("write");
    std::fs::write(
        dir.join("sandbox.json"),
        r#"{"boot_id":"another","sandbox":{"uid":"p9","hostname":"h"}}"#,
    )
    .expect("write");
    let runtime = ShimRuntime::open(config(world.dir.path(), &world.cluster))
        .await
        .expect("open");
    let pod = runtime.pod("p9").await.expect("pod").expect("known");
    assert!(!pod.ready);
    assert!(
        matches!(&pod.containers[0].state, ContainerState::Exited(e) if e.code == 255 && e.reason == ExitReason::ContainerStatusUnknown)
    );
    runtime.remove_pod("p9").await.expect("remove");
    assert!(!dir.exists());
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
    let host = world.shell("p2", "main", "echo net=$(readlink /proc/self/ns/net); echo pid=$(readlink /proc/self/ns/pid); echo ipc=$(readlink /proc/self/ns/ipc)");
    let (_, log) = world.run(&host).await;
    for name in ["net", "pid", "ipc"] {
        let own = std::fs::read_link(format!("/proc/self/ns/{name}")).expect("namespace");
        assert_eq!(value(&log, name), own.to_str().expect("utf-8"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_followed_to_the_end_and_termination_messages_read() {
    let world = World::new().await;
    world.pod("p1").await;
    let mut spec = world.shell("p1", "main", "for i in $(seq 1 300); do echo line $i; done; echo the end > /dev/termination-log; sleep 0.1; echo last");
    spec.log = LogRotation {
        max_size_bytes: 4000,
        max_files: 5,
    };
    spec.termination_message_path = "/dev/termination-log".into();
    world.runtime.start_container(&spec).await.expect("start");
    let (end, ended) = tokio::sync::watch::channel(false);
    let options = LogOptions {
        follow: true,
        ..LogOptions::default()
    };
    let mut reader = logs::read(&world.runtime.log_path(&spec.id), &options, ended).expect("open");
    let following = tokio::spawn(async move {
        let mut all = String::new();
        while let Some(piece) = reader.next().await.expect("next") {
            all.push_str(std::str::from_utf8(&piece).expect("utf-8"));
        }
        all
    });
    assert_eq!(world.exit(&spec.id).await.code, 0);
    end.send(true).expect("followed");
    let all = following.await.expect("task");
    assert!(all.ends_with("line 299\nline 300\nlast\n"), "{all}");
    assert_eq!(
        world
            .runtime
            .termination_message(&spec.id)
            .await
            .expect("message"),
        "the end\n"
    );
    world.runtime.remove_log(&spec.id).await.expect("remove");
    assert!(!world.runtime.log_path(&spec.id).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn use_is_counted_and_ports_are_reached() {
    let world = World::new().await;
    world.pod("p1").await;
    let spec = world.shell(
        "p1",
        "main",
        "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo hello | nc -l -p 80 -s 127.0.0.1; sleep 1000",
    );
    world.runtime.start_container(&spec).await.expect("start");
    let connected = tokio::time::timeout(LIMIT, async {
        loop {
            match world.runtime.dial("p1", 80).await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    let mut text = [0; 6];
    connected
        .await
        .expect("in time")
        .read_exact(&mut text)
        .await
        .expect("read");
    assert_eq!(&text, b"hello\n");
    let usage = world.runtime.usage("p1").await.expect("usage");
    assert_eq!(usage.containers[0].0, "main");
    assert!(
        usage.total.cpu_usage_ns > 1_000_000 && usage.total.memory_working_set_bytes > 10_000,
        "{usage:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_pods_start_side_by_side() {
    let world = World::new().await;
    let before = std::time::Instant::now();
    let starts = (0..30).map(|n| {
        let runtime = world.runtime.clone();
        let uid = format!("p{n}");
        let spec = world.shell(&uid, "main", "echo up; sleep 1000");
        tokio::spawn(async move {
            runtime
                .create_sandbox(&PodSandboxSpec {
                    uid,
                    hostname: "h".into(),
                    ..PodSandboxSpec::default()
                })
                .await?;
            runtime.start_container(&spec).await
        })
    });
    for start in starts.collect::<Vec<_>>() {
        start.await.expect("task").expect("start");
    }
    eprintln!("30 pods started in {:?}", before.elapsed());
    let running = world
        .runtime
        .list()
        .await
        .expect("list")
        .iter()
        .filter(|p| p.ready && matches!(p.containers[0].state, ContainerState::Running { .. }))
        .count();
    assert_eq!(running, 30);
}
