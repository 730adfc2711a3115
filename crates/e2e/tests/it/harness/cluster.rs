//! A cluster of a test's own: made on the first line of the test, gone on the last, even when the test fails.

use super::command::{Prepared, Run, prepare, words};
use super::host::{self, Traces};
use super::tools::{self, Tool};
use super::watch::Watch;
use serde_json::Value;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// What `kubectl wait` and `rollout status` get. A loaded CI machine is slow, and a failure is what it is seen on.
pub const LIMIT: &str = "--timeout=60s";

static COUNT: AtomicUsize = AtomicUsize::new(0);

pub struct Cluster {
    pub name: String,
    pub home: TempDir,
    pub kubeconfig: PathBuf,
    pub api_port: u16,
    removed: bool,
}

/// A port that nobody has at this moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

impl Cluster {
    /// A cluster that is up, or `None` when the test is to be skipped. Every test needs kubectl.
    pub fn start(test: &str, tools: &[Tool]) -> Option<Self> {
        let cluster = Self::prepare(test, tools)?;
        cluster.up().ok();
        Some(cluster)
    }

    /// As `start`, with the images that most tests run: visits:1 and busybox:1.
    pub fn with_images(test: &str, tools: &[Tool]) -> Option<Self> {
        let needs = [tools, &[Tool::Busybox]].concat();
        let cluster = Self::start(test, &needs)?;
        cluster.build_visits("visits:1");
        cluster.build_busybox("busybox:1");
        Some(cluster)
    }

    /// A cluster that is not up yet.
    pub fn prepare(test: &str, tools: &[Tool]) -> Option<Self> {
        if !tools::can_run(test, &[&[Tool::Kubectl], tools].concat()) {
            return None;
        }
        let home = tempfile::Builder::new()
            .prefix("isopod-e2e-")
            .tempdir()
            .expect("a folder");
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Some(Self {
            name: format!("e2e-{}-{count}", std::process::id()),
            kubeconfig: home.path().join("kubeconfig"),
            home,
            api_port: free_port(),
            removed: false,
        })
    }

    pub fn up(&self) -> Run {
        self.up_with().run()
    }

    pub fn up_with(&self) -> Prepared {
        self.isopod_with(&format!(
            "up --kubeconfig {} --api-port {}",
            self.kubeconfig.display(),
            self.api_port
        ))
    }

    /// `isopod <line> --name <this cluster>`, to be run.
    pub fn isopod_with(&self, line: &str) -> Prepared {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut args = vec![command.to_owned()];
        // `image build` is a command of two words; what follows `--` is not ours.
        let mut rest = words(rest);
        if matches!(command, "image" | "kubeconfig") && !rest.is_empty() {
            args.push(rest.remove(0));
        }
        if command != "ls" {
            args.extend(["--name".to_owned(), self.name.clone()]);
        }
        args.extend(rest);
        self.isopod_raw(args)
    }

    /// The program with exactly these arguments.
    pub fn isopod_raw(&self, args: impl IntoIterator<Item = String>) -> Prepared {
        prepare(&tools::isopod(), args)
            .env("ISOPOD_HOME", self.clusters())
            .env("KUBECONFIG", &self.kubeconfig)
    }

    #[track_caller]
    pub fn isopod(&self, line: &str) -> String {
        self.isopod_with(line).run().ok()
    }

    /// `ISOPOD_HOME` of this test.
    pub fn clusters(&self) -> PathBuf {
        self.home.path().join("clusters")
    }

    /// The folder that holds all of this cluster.
    pub fn dir(&self) -> PathBuf {
        self.clusters().join(&self.name)
    }

    pub fn kubectl_with(&self, line: &str) -> Prepared {
        prepare(&Tool::Kubectl.path(), words(line))
            .env("KUBECONFIG", &self.kubeconfig)
            // Discovery is read anew for each cluster: the cache is kept by address, and ports come again.
            .env("HOME", self.home.path())
            .env("KUBECACHEDIR", self.home.path().join("cache"))
    }

    /// What kubectl prints; fails the test when it fails.
    #[track_caller]
    pub fn kubectl(&self, line: &str) -> String {
        let run = self.kubectl_with(line).run();
        if run.status.success() {
            return run.stdout;
        }
        panic!("{}\n{}", run.report("failed"), self.describe_failure());
    }

    /// What kubectl says on standard error when it must fail.
    #[track_caller]
    pub fn kubectl_fails(&self, line: &str) -> String {
        self.kubectl_with(line).run().fails()
    }

    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        let run = self.kubectl_with("apply -f -").input(manifest).run();
        if run.status.success() {
            return run.stdout;
        }
        panic!("{}\n--- manifest\n{manifest}", run.report("failed"));
    }

    /// One object, as the API has it.
    #[track_caller]
    pub fn get(&self, what: &str) -> Value {
        let text = self.kubectl(&format!("get {what} -o json"));
        serde_json::from_str(&text).expect("JSON")
    }

    #[track_caller]
    pub fn jsonpath(&self, what: &str, path: &str) -> String {
        self.kubectl(&format!("get {what} -o 'jsonpath={path}'"))
    }

    #[track_caller]
    pub fn wait(&self, what: &str, condition: &str) {
        self.kubectl(&format!("wait {what} '--for={condition}' {LIMIT}"));
    }

    #[track_caller]
    pub fn rollout(&self, what: &str) -> String {
        self.kubectl(&format!("rollout status {what} {LIMIT}"))
    }

    pub fn watch(&self, line: &str) -> Watch {
        Watch::start(self.kubectl_with(line).into_command(), line)
    }

    pub fn helm(&self, helm: Tool, line: &str) -> String {
        self.helm_with(helm, line).run().ok()
    }

    pub fn helm_with(&self, helm: Tool, line: &str) -> Prepared {
        prepare(&helm.path(), words(line))
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.home.path())
            .env("HELM_CACHE_HOME", self.home.path().join("helm"))
            .env("HELM_CONFIG_HOME", self.home.path().join("helm"))
            .env("HELM_DATA_HOME", self.home.path().join("helm"))
    }

    pub fn build_visits(&self, image: &str) {
        let binary = tools::visits();
        self.isopod(&format!("image build {image} --binary {}", binary.display()));
    }

    /// An image of Debian's static busybox, with a name for each of its tools.
    pub fn build_busybox(&self, image: &str) {
        let folder = self.busybox_folder();
        self.isopod(&format!("image build {image} --from-dir {}", folder.display()));
    }

    pub fn busybox_folder(&self) -> PathBuf {
        let folder = self.home.path().join("busybox");
        if !folder.exists() {
            busybox_root(&folder);
        }
        folder
    }

    /// Everything that runs for this cluster.
    pub fn traces(&self) -> Traces {
        Traces::of(self.home.path(), &self.name)
    }

    /// The server process, as its own file says.
    pub fn server(&self) -> host::Process {
        let text = std::fs::read(self.dir().join("server.json")).expect("the server runs");
        let running: Value = serde_json::from_slice(&text).expect("JSON");
        let pid = running["pid"].as_i64().expect("a pid") as i32;
        host::process(pid).expect("the server runs")
    }

    pub fn server_log(&self) -> String {
        std::fs::read_to_string(self.dir().join("server.log")).unwrap_or_default()
    }

    /// Where a LoadBalancer Service is reached: `127.0.0.x:port`.
    pub fn load_balancer(&self, service: &str) -> String {
        self.wait(
            &format!("svc/{service}"),
            "jsonpath={.status.loadBalancer.ingress[0].ip}",
        );
        self.jsonpath(
            &format!("svc/{service}"),
            "{.status.loadBalancer.ingress[0].ip}:{.spec.ports[0].port}",
        )
    }

    /// Removes the cluster now, and asserts that nothing of it is left.
    pub fn remove(mut self) {
        self.isopod("rm");
        self.removed = true;
        let left = self.traces();
        assert!(left.is_empty(), "`isopod rm` left this behind: {left:#?}");
        assert!(!self.dir().exists(), "`isopod rm` left {}", self.dir().display());
        assert!(!self.kubeconfig.exists(), "`isopod rm` left the kubeconfig");
    }

    /// What someone who looks at a failed test wants to see.
    fn describe_failure(&self) -> String {
        let mut text = String::new();
        for line in [
            "get po,sts,deploy,rs,svc,pvc -A -o wide",
            "get events -A --sort-by=.metadata.creationTimestamp",
        ] {
            let run = self.kubectl_with(line).run();
            text.push_str(&run.report("said"));
            text.push('\n');
        }
        let log = self.server_log();
        let lines: Vec<&str> = log.lines().collect();
        text.push_str("--- the end of server.log\n");
        text.push_str(&lines[lines.len().saturating_sub(30)..].join("\n"));
        text
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let panicked = self.server_log().contains("panicked at");
        if !self.removed && self.dir().exists() {
            if std::thread::panicking() {
                let text = format!("{}: the test failed; {}\n", self.name, self.describe_failure());
                std::io::stderr().write_all(text.as_bytes()).ok();
            }
            let mut command = Command::new(tools::isopod());
            command
                .args(["rm", "--name", &self.name])
                .env("ISOPOD_HOME", self.clusters());
            let output = command.output();
            if !std::thread::panicking() {
                let output = output.expect("isopod rm");
                assert!(output.status.success(), "isopod rm: {output:?}");
                let left = self.traces();
                assert!(left.is_empty(), "`isopod rm` left this behind: {left:#?}");
            }
        }
        assert!(std::thread::panicking() || !panicked, "the server panicked");
    }
}

fn busybox_root(folder: &Path) {
    use std::os::unix::fs::symlink;
    let busybox = Tool::Busybox.path();
    for part in ["bin", "etc", "tmp", "root"] {
        std::fs::create_dir_all(folder.join(part)).expect("a folder");
    }
    std::fs::copy(&busybox, folder.join("bin/busybox")).expect("copied");
    let list = prepare(&busybox, ["--list"]).run().ok();
    for tool in list.lines().filter(|tool| *tool != "busybox") {
        symlink("busybox", folder.join("bin").join(tool)).expect("linked");
    }
    let users = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n";
    std::fs::write(folder.join("etc/passwd"), users).expect("written");
    std::fs::write(folder.join("etc/group"), "root:x:0:\nnobody:x:65534:\n").expect("written");
}
