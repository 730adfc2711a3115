//! Measures the container runtime on this machine: `cargo run -p node --example runtime_figures [SHIM]`, as root,
//! with busybox-static installed. Prints a table; never a test.
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::time::{Duration, Instant};

use node::runtime::{
    ContainerId, ContainerSpec, ExecSpec, PodSandboxSpec, Runtime, RuntimeConfig, ShimRuntime,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const ROUNDS: usize = 30;

fn main() -> Result<std::process::ExitCode, Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|first| first == "shim") {
        return Ok(node::shim::main(&args[1..]));
    }
    tokio::runtime::Runtime::new()?.block_on(measure())?;
    Ok(std::process::ExitCode::SUCCESS)
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
    println!(
        "{what:32} median {:7.2} ms   p90 {:7.2} ms   n={}",
        at(50),
        at(90),
        times.len()
    );
}

fn shell(uid: &str, rootfs: &Path, attempt: u32, script: &str) -> ContainerSpec {
    let args = ["/bin/busybox", "sh", "-c", script].map(str::to_owned).to_vec();
    ContainerSpec {
        id: ContainerId::new(uid, "main", attempt),
        rootfs: rootfs.to_owned(),
        args,
        ..ContainerSpec::default()
    }
}

async fn measure() -> Result<(), Failure> {
    let dir = std::env::temp_dir().join(format!("isopod-figures-{}", std::process::id()));
    let rootfs = dir.join("rootfs");
    std::fs::create_dir_all(rootfs.join("bin"))?;
    std::fs::copy("/bin/busybox", rootfs.join("bin/busybox"))?;
    let runtime = ShimRuntime::open(RuntimeConfig::new(
        &dir,
        &format!("figures-{}", std::process::id()),
    ))
    .await?;
    let result = rounds(&runtime, &dir, &rootfs).await;
    for pod in runtime.list().await? {
        runtime.remove_pod(&pod.uid).await?;
    }
    std::fs::remove_dir_all(&dir)?;
    result
}

async fn rounds(runtime: &ShimRuntime, dir: &Path, rootfs: &Path) -> Result<(), Failure> {
    let [
        mut sandboxes,
        mut starts,
        mut execs,
        mut stops,
        mut removes,
        mut whole,
    ] = std::array::from_fn(|_| Vec::new());
    for round in 0..ROUNDS {
        let uid = format!("serial-{round}");
        let begun = Instant::now();
        let time = Instant::now();
        runtime
            .create_sandbox(&PodSandboxSpec {
                uid: uid.clone(),
                hostname: "h".into(),
                ..PodSandboxSpec::default()
            })
            .await?;
        sandboxes.push(time.elapsed());
        let spec = shell(
            &uid,
            rootfs,
            0,
            "trap 'exit 0' TERM; while true; do busybox sleep 1000 & wait; done",
        );
        let time = Instant::now();
        runtime.start_container(&spec).await?;
        starts.push(time.elapsed());
        whole.push(begun.elapsed());
        let time = Instant::now();
        let exec = ExecSpec {
            args: vec!["/bin/busybox".into(), "true".into()],
            ..ExecSpec::default()
        };
        runtime.exec(&spec.id, &exec).await?.exit.wait().await?;
        execs.push(time.elapsed());
        let time = Instant::now();
        runtime
            .stop_container(&spec.id, 0, Duration::from_secs(10))
            .await?;
        stops.push(time.elapsed());
        let time = Instant::now();
        runtime.remove_pod(&uid).await?;
        removes.push(time.elapsed());
    }
    print("sandbox and shim", sandboxes);
    print("start (until execve)", starts);
    print("both", whole);
    print("exec true (until its end)", execs);
    print("stop (ends on SIGTERM)", stops);
    print("remove pod", removes);
    side_by_side(runtime, dir, rootfs).await
}

async fn side_by_side(runtime: &ShimRuntime, dir: &Path, rootfs: &Path) -> Result<(), Failure> {
    let time = Instant::now();
    let tasks: Vec<_> = (0..30)
        .map(|n| {
            let (runtime, uid) = (runtime.clone(), format!("many-{n}"));
            let spec = shell(&uid, rootfs, 0, "exec busybox sleep 1000");
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
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    println!(
        "30 pods side by side             {:.0} ms",
        time.elapsed().as_secs_f64() * 1e3
    );
    memory(dir)?;
    let time = Instant::now();
    let removes: Vec<_> = (0..30)
        .map(|n| (runtime.clone(), format!("many-{n}")))
        .map(|(r, uid)| tokio::spawn(async move { r.remove_pod(&uid).await }))
        .collect();
    for task in removes {
        task.await??;
    }
    println!(
        "30 pods removed side by side     {:.0} ms",
        time.elapsed().as_secs_f64() * 1e3
    );
    Ok(())
}

/// What the shims use: proportional and private.
fn memory(dir: &Path) -> Result<(), Failure> {
    let (mut pss, mut private, mut count) = (0, 0, 0);
    for n in 0..30 {
        let state: serde_json::Value =
            serde_json::from_slice(&std::fs::read(dir.join(format!("pods/many-{n}/state.json")))?)?;
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", state["shim_pid"]))?;
        let field = |name: &str| {
            text.lines()
                .find_map(|l| {
                    l.strip_prefix(name)?
                        .split_whitespace()
                        .next()?
                        .parse::<u64>()
                        .ok()
                })
                .unwrap_or(0)
        };
        pss += field("Pss:");
        private += field("Private_Dirty:") + field("Private_Clean:");
        count += 1;
    }
    println!(
        "a shim of {count}: PSS {} kB, private {} kB",
        pss / count,
        private / count
    );
    Ok(())
}
