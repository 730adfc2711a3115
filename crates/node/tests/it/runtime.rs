//! Real containers of a scratch root file system (Debian's static busybox), from start to nothing left.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use node::runtime::{
    ContainerId, ContainerSpec, ContainerState, Exit, ExitReason, PodSandboxSpec, Runtime,
    RuntimeConfig, RuntimeEvent, ShimRuntime,
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
                let pod = self
                    .runtime
                    .pod(&id.pod_uid)
                    .await
                    .expect("pod")
                    .expect("known");
                if let Some(exit) =
                    pod.containers
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
        "sh", "cat", "echo", "id", "sleep", "hostname", "ls", "touch", "mount", "stat", "tr",
        "head", "grep", "wc", "kill", "ps", "dd", "stty", "yes", "nc", "readlink", "seq", "env",
        "pwd", "true", "mkdir", "usleep",
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
    let spec = world.shell(
        "p1",
        "main",
        "echo hello from $(hostname); echo oops >&2; exit 7",
    );
    let (exit, log) = world.run(&spec).await;
    assert_eq!(
        (exit.code, exit.signal, exit.reason),
        (7, 0, ExitReason::Error)
    );
    let mut lines: Vec<&str> = log.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["stderr F oops", "stdout F hello from host-p1"]);
    assert!(
        matches!(events.recv().await.expect("event"), RuntimeEvent::Started { id, .. } if id == spec.id)
    );
    assert!(
        matches!(events.recv().await.expect("event"), RuntimeEvent::Exited { id, .. } if id == spec.id)
    );
    world
        .runtime
        .remove_container(&spec.id)
        .await
        .expect("remove");
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
