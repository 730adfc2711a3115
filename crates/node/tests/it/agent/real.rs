//! Whole lives of pods in real containers.

use super::api::{Api, RealEnv};
use kinds::pod::PODS;
use meta::{Call, Client, Env};
use node::agent::{Agent, AgentConfig, NoNetwork, NodeIdentity, Parts};
use node::images::{Build, Images, RegistryConfig, Source};
use node::runtime::logs::LogOptions;
use node::runtime::{Runtime, RuntimeConfig, ShimRuntime};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A node on a data directory of its own; all of its pods are removed when it is dropped.
struct World {
    dir: tempfile::TempDir,
    cluster: String,
    api: Api,
    runtime: ShimRuntime,
    agent: Agent,
}

fn build_image(images: &Images, dir: &std::path::Path) {
    let root = dir.join("image");
    super::super::runtime::make_rootfs(&root);
    let mut build = Build::new("busybox:1", Source::Folder(root));
    build.cmd = vec!["sh".into()];
    images.build(&build).expect("image");
}

async fn start(dir: &std::path::Path, cluster: &str, api: &Api) -> (ShimRuntime, Agent) {
    let data = dir.join("data");
    let mut config = RuntimeConfig::new(&data, cluster);
    config.shim_command = vec![env!("CARGO_BIN_EXE_isopod-shim-test").into()];
    let runtime = ShimRuntime::open(config).await.expect("runtime");
    let images = Images::open(&data, RegistryConfig::default()).expect("images");
    if images.get("busybox:1").expect("store").is_none() {
        build_image(&images, dir);
    }
    let node = NodeIdentity {
        name: "n1".into(),
        ips: vec!["192.0.2.1".into()],
    };
    let parts = Parts {
        config: AgentConfig::new(node, &data),
        client: Arc::new(api.clone()),
        env: Arc::new(RealEnv),
        rows: Arc::new(kinds::Registry::builtin),
        runtime: Arc::new(runtime.clone()),
        network: Arc::new(NoNetwork::default()),
        images: Some(images),
    };
    let agent = Agent::start(parts).await.expect("agent");
    (runtime, agent)
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let cluster = format!(
            "agent-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let env: Arc<dyn Env> = Arc::new(RealEnv);
        let api = Api::new(env);
        let (runtime, agent) = start(dir.path(), &cluster, &api).await;
        Self {
            dir,
            cluster,
            api,
            runtime,
            agent,
        }
    }

    async fn create(&self, name: &str, spec: Value) {
        let mut spec = spec;
        spec["nodeName"] = "n1".into();
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec,
            "status": {"phase": "Pending", "qosClass": "BestEffort"}});
        self.api
            .call(Call::create(PODS, "ns", pod))
            .await
            .expect("created");
    }

    async fn wait(&self, name: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.api
            .wait(PODS, "ns", name, what, |pod| pod.is_some_and(&fits))
            .await
    }

    async fn delete(&self, name: &str) {
        self.api
            .call(Call::delete(PODS, "ns", name))
            .await
            .expect("deleted");
        self.api
            .wait(PODS, "ns", name, "it goes", |pod| pod.is_none())
            .await;
    }

    async fn log(&self, name: &str, previous: bool) -> String {
        use futures::StreamExt;
        let log = self
            .agent
            .logs("ns", name, "", previous, LogOptions::default())
            .await;
        let pieces: Vec<_> = log.expect("log").collect().await;
        pieces
            .into_iter()
            .map(|piece| String::from_utf8(piece.expect("piece").to_vec()).expect("utf-8"))
            .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let (agent, runtime) = (self.agent.clone(), self.runtime.clone());
        let cleanup = async move {
            agent.stop().await;
            for pod in runtime.list().await.expect("list") {
                agent.remove_pod(&pod.uid).await.expect("remove");
            }
        };
        let handle = tokio::runtime::Handle::current();
        let cleaned = std::thread::spawn(move || handle.block_on(cleanup)).join();
        assert!(cleaned.is_ok() || std::thread::panicking(), "pods are left");
    }
}

fn is_ready(pod: &Value) -> bool {
    kinds::pod::is_ready(pod)
}

fn state<'a>(pod: &'a Value, kind: &str) -> &'a Value {
    &pod["status"]["containerStatuses"][0]["state"][kind]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_becomes_ready_and_is_deleted_without_a_trace() {
    let world = World::new().await;
    let begun = std::time::Instant::now();
    let script = "echo hello from $(hostname) $WHO; trap 'exit 0' TERM; while true; do usleep 10000; done";
    world.create("web-0", json!({"restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "containers": [{
        "name": "main", "image": "busybox:1", "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script],
        "env": [{"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1},
    }]})).await;
    let pod = world.wait("web-0", "ready", is_ready).await;
    eprintln!("create to ready: {:?}", begun.elapsed());
    assert_eq!(pod["status"]["phase"], "Running", "{pod:#}");
    assert_eq!(pod["status"]["podIP"], "198.18.0.1");
    assert_eq!(world.log("web-0", false).await, "hello from web-0 198.18.0.1\n");
    let begun = std::time::Instant::now();
    world.delete("web-0").await;
    eprintln!("delete to gone: {:?}", begun.elapsed());
    assert!(world.runtime.list().await.expect("list").is_empty());
    let left: Vec<_> = std::fs::read_dir(world.dir.path().join("data/pods"))
        .expect("pods")
        .collect();
    assert!(left.is_empty(), "{left:?}");
    let events = world.api.events().join("\n");
    for reason in ["Pulled", "Created", "Started", "Killing"] {
        assert!(events.contains(reason), "{events}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_container_restarts_and_then_backs_off() {
    let world = World::new().await;
    world.create("crash", json!({"restartPolicy": "Always", "containers": [{
        "name": "main", "image": "busybox:1", "command": ["sh", "-c", "echo once; echo why > /dev/termination-log; exit 3"],
    }]})).await;
    let pod = world
        .wait("crash", "back-off", |pod| {
            state(pod, "waiting")["reason"] == "CrashLoopBackOff"
        })
        .await;
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!(status["restartCount"], 1, "{pod:#}");
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 3);
    assert_eq!(status["lastState"]["terminated"]["message"], "why\n");
    let uid = pod["metadata"]["uid"].as_str().expect("uid");
    assert_eq!(
        state(&pod, "waiting")["message"],
        format!("back-off 10s restarting failed container=main pod=crash_ns({uid})")
    );
    assert_eq!(world.log("crash", true).await, "once\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_agent_finds_the_pod_again_and_leaves_it_alone() {
    let mut world = World::new().await;
    world
        .create(
            "stay",
            json!({"restartPolicy": "Always", "terminationGracePeriodSeconds": 1, "containers": [{
                "name": "main", "image": "busybox:1", "command": ["sleep", "1000"],
            }]}),
        )
        .await;
    let before = world.wait("stay", "ready", is_ready).await;
    world.agent.stop().await;
    let (runtime, agent) = start(world.dir.path(), &world.cluster, &world.api).await;
    (world.runtime, world.agent) = (runtime, agent);
    world.api.events();
    // pause: nothing may happen in this time, and nothing tells of that.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let after = world.wait("stay", "ready", is_ready).await;
    assert_eq!(
        after["status"]["containerStatuses"],
        before["status"]["containerStatuses"]
    );
    world.delete("stay").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_container_said_at_its_end_is_read_by_the_next_agent() {
    let mut world = World::new().await;
    let script = "sleep 1; echo -n bye > /dev/termination-log; echo loud; exit 3";
    let containers: Vec<Value> = [("file", "/dev/termination-log"), ("log", "/dev/elsewhere")]
        .iter()
        .map(|(name, path)| {
            json!({"name": name, "image": "busybox:1", "command": ["sh", "-c", script],
                "terminationMessagePath": path, "terminationMessagePolicy": "FallbackToLogsOnError"})
        })
        .collect();
    world
        .create(
            "said",
            json!({"restartPolicy": "Never", "containers": containers}),
        )
        .await;
    let pod = world
        .wait("said", "running", |pod| pod["status"]["phase"] == "Running")
        .await;
    let uid = pod["metadata"]["uid"].as_str().expect("a uid");
    world.agent.stop().await;
    for name in ["file", "log"] {
        let id = node::runtime::ContainerId::new(uid, name, 0);
        world.runtime.wait_container(&id).await.expect("it ends");
    }
    let (runtime, agent) = start(world.dir.path(), &world.cluster, &world.api).await;
    (world.runtime, world.agent) = (runtime, agent);
    let pod = world
        .wait("said", "failed", |pod| pod["status"]["phase"] == "Failed")
        .await;
    let said = |n: usize| pod["status"]["containerStatuses"][n]["state"]["terminated"]["message"].clone();
    assert_eq!([said(0), said(1)], ["bye", "loud\n"]);
    world.delete("said").await;
}
