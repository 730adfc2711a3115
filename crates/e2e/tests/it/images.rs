//! Images: from a folder, from one binary, from archives, and from a registry on loopback.

use crate::harness::cluster::LIMIT;
use crate::harness::command::prepare;
use crate::harness::{Cluster, Tool};
use crate::lifecycle::pod;
use crate::registry::Registry;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

#[test]
fn pulled_from_a_registry() {
    let tools = [Tool::Registry, Tool::Curl];
    let Some(cluster) = Cluster::with_images("pulled_from_a_registry", &tools) else {
        return;
    };
    let registry = Registry::start(&cluster);
    registry.push(&cluster, "busybox:1", "tools/busybox:2");
    let image = format!("{}/tools/busybox:2", registry.address);
    let with = |name: &str, policy: &str| {
        pod(
            name,
            "echo pulled; sleep 3600",
            "",
            &format!("imagePullPolicy: {policy}"),
        )
        .replace("busybox:1", &image)
    };
    cluster.apply(&with("first", "IfNotPresent"));
    cluster.wait("pod/first", "condition=Ready");
    assert_eq!(cluster.kubectl("logs first"), "pulled\n");
    let mut events = cluster.watch("get events --field-selector=involvedObject.name=first -w --no-headers");
    events.until_contains(&format!("Successfully pulled image \"{image}\""));
    drop(events);
    let digest = cluster.jsonpath("pod/first", "{.status.containerStatuses[0].imageID}");
    assert!(digest.contains("sha256:"), "{digest}");
    cluster.apply(&with("missing", "Always").replace("busybox:2", "busybox:none"));
    cluster.wait(
        "pod/missing",
        "jsonpath={.status.containerStatuses[0].state.waiting.reason}=ErrImagePull",
    );
    let gone = registry.address.clone();
    drop(registry);
    // What is there needs no registry; Always asks it each time.
    cluster.apply(&[with("cached", "IfNotPresent"), with("always", "Always")].concat());
    cluster.wait("pod/cached", "condition=Ready");
    cluster.wait(
        "pod/always",
        "jsonpath={.status.containerStatuses[0].state.waiting.reason}=ImagePullBackOff",
    );
    let message = cluster.jsonpath(
        "pod/always",
        "{.status.containerStatuses[0].state.waiting.message}",
    );
    assert!(message.contains(&gone), "{message}");
    cluster.remove();
}

#[test]
fn built_saved_and_loaded() {
    let Some(cluster) = Cluster::with_images("built_saved_and_loaded", &[]) else {
        return;
    };
    let folder = cluster.busybox_folder();
    cluster.isopod(&format!(
        "image build tool:1 --from-dir {} --entrypoint /bin/sh --entrypoint -c --cmd 'echo $GREETING from $PWD as $(id -u)' \
         --env GREETING=hi --user 77 --workdir /tmp --port 8080",
        folder.display()
    ));
    let archive = cluster.home.path().join("tool.tar");
    cluster.isopod(&format!("image save tool:1 --file {}", archive.display()));
    cluster.isopod("image rm tool:1");
    let listed = cluster.isopod("image ls");
    assert!(!listed.contains("tool"), "{listed}");
    cluster.isopod(&format!("image load {}", archive.display()));
    let listed = cluster.isopod("image ls");
    assert!(listed.contains("tool"), "{listed}");
    cluster.apply(
        "{apiVersion: v1, kind: Pod, metadata: {name: t}, spec: {restartPolicy: Never, containers: [{name: main, image: 'tool:1'}]}}",
    );
    cluster.wait("pod/t", "jsonpath={.status.phase}=Succeeded");
    assert_eq!(cluster.kubectl("logs t"), "hi from /tmp as 77\n");
    cluster.remove();
}

/// A docker-archive of what is in the folder, whose config says `run` of how it is run.
fn docker_archive(cluster: &Cluster, folder: &Path, name: &str, run: &str) -> PathBuf {
    let files = cluster.home.path().join("archive");
    std::fs::create_dir(&files).expect("made");
    let busybox = |words: &[&dyn AsRef<OsStr>]| prepare(&Tool::Busybox.path(), words).run().ok();
    let layer = files.join("layer.tar");
    busybox(&[&"tar", &"-cf", &layer, &"-C", &folder, &"."]);
    let sum = busybox(&[&"sha256sum", &layer]);
    let sum = sum.split(' ').next().expect("a digest");
    let config = format!(
        r#"{{"architecture": "amd64", "os": "linux", "config": {run},
            "rootfs": {{"type": "layers", "diff_ids": ["sha256:{sum}"]}}}}"#
    );
    let manifest =
        format!(r#"[{{"Config": "config.json", "RepoTags": ["{name}"], "Layers": ["layer.tar"]}}]"#);
    std::fs::write(files.join("config.json"), config).expect("written");
    std::fs::write(files.join("manifest.json"), manifest).expect("written");
    let archive = cluster.home.path().join("archive.tar");
    busybox(&[&"tar", &"-cf", &archive, &"-C", &files, &"."]);
    archive
}

/// A volume that the image declares can be written although the root file system cannot, begins with the image's content
/// in each run of the container, and is not made where the pod mounts something itself.
#[test]
fn volumes_that_an_image_declares() {
    let Some(cluster) = Cluster::start("volumes_that_an_image_declares", &[Tool::Busybox]) else {
        return;
    };
    let folder = cluster.busybox_folder();
    std::fs::create_dir(folder.join("data")).expect("made");
    std::fs::write(folder.join("data/seed"), "from the image\n").expect("written");
    for path in ["data", "data/seed"].map(|path| folder.join(path)) {
        std::os::unix::fs::chown(path, Some(77), Some(78)).expect("owned");
    }
    let volumes = r#"{"Volumes": {"/data": {}, "/cache/": {}}}"#;
    let archive = docker_archive(&cluster, &folder, "declares:1", volumes);
    cluster.isopod(&format!("image load {}", archive.display()));
    cluster.apply(
        "
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {runAsUser: 77, runAsGroup: 78}
  volumes: [{name: kept, emptyDir: {}}, {name: own, emptyDir: {}}]
  containers:
  - name: main
    image: declares:1
    securityContext: {readOnlyRootFilesystem: true}
    volumeMounts: [{name: kept, mountPath: /data/kept}, {name: own, mountPath: /cache}]
    readinessProbe: {exec: {command: [test, -e, /data/kept/twice]}}
    command:
    - sh
    - -c
    - |
      ls -A /data; stat -c '%n %u %g' /data /data/seed; cat /data/seed; ls -A /cache
      echo new > /data/new && echo more >> /data/seed && echo wrote
      touch /root-is-read-only 2>&1 || echo refused
      if ! test -e /data/kept/once; then touch /data/kept/once /cache/own; exit 3; fi
      touch /data/kept/twice
      exec sleep 3600
",
    );
    cluster.wait("pod/p", "condition=Ready");
    let run = "kept\nseed\n/data 77 78\n/data/seed 77 78\nfrom the image\n";
    let wrote = "wrote\ntouch: /root-is-read-only: Read-only file system\nrefused\n";
    assert_eq!(cluster.kubectl("logs p --previous"), format!("{run}{wrote}"));
    assert_eq!(cluster.kubectl("logs p"), format!("{run}own\n{wrote}"));
    cluster.remove();
}

/// An archive that is damaged in any way is refused with one clear message, and what was there before still runs.
#[test]
fn damaged_archives_are_refused() {
    let Some(cluster) = Cluster::with_images("damaged_archives_are_refused", &[]) else {
        return;
    };
    let file = |name: &str| cluster.home.path().join(name);
    cluster.isopod(&format!(
        "image save busybox:1 --file {}",
        file("good.tar").display()
    ));
    let good = std::fs::read(file("good.tar")).expect("the archive");
    let before = cluster.isopod("image ls");
    let mut flipped = good.clone();
    let middle = good.len() / 2;
    flipped[middle] ^= 0xff;
    let cases: [(&str, Vec<u8>); 6] = [
        ("empty", Vec::new()),
        ("text", b"not an archive\n".to_vec()),
        ("half", good[..middle].to_vec()),
        ("cut", good[..good.len() - 700].to_vec()),
        ("flipped", flipped),
        ("zeros", vec![0; 10_240]),
    ];
    for (name, bytes) in cases {
        std::fs::write(file(name), bytes).expect("written");
        let run = cluster
            .isopod_with(&format!("image load {}", file(name).display()))
            .run();
        // A cut in the padding after the last blob harms nothing.
        if name == "cut" && run.status.success() {
            continue;
        }
        let said = run.fails();
        assert!(
            said.starts_with("isopod: ") && said.contains(name),
            "{name}: {said}"
        );
        assert!(!said.contains("panicked"), "{said}");
    }
    let said = cluster.isopod_with("image load /none.tar").run().fails();
    assert!(said.contains("/none.tar"), "{said}");
    assert_eq!(before, cluster.isopod("image ls"));
    cluster.apply(&pod("p", "sleep 3600", "", ""));
    cluster.kubectl(&format!("wait pod/p --for=condition=Ready {LIMIT}"));
    cluster.remove();
}

/// With no server there are still images: built before the first `up`, run after it.
#[test]
fn images_outlive_down_and_up() {
    let Some(cluster) = Cluster::with_images("images_outlive_down_and_up", &[]) else {
        return;
    };
    cluster.isopod("down");
    cluster.build_busybox("late:1");
    cluster.up().ok();
    cluster.apply(&pod("p", "sleep 3600", "", "").replace("busybox:1", "late:1"));
    cluster.wait("pod/p", "condition=Ready");
    cluster.remove();
}

/// The Node says which images it has as soon as they are there, and forgets those that are not.
#[test]
fn the_node_says_which_images_it_has() {
    let Some(cluster) = Cluster::start("the_node_says_which_images_it_has", &[]) else {
        return;
    };
    let mut watch = cluster.watch("get nodes -w -o 'jsonpath={.status.images[*].names}{\"\\n\"}'");
    cluster.build_visits("visits:1");
    watch.until("a new image", |line| line.contains("docker.io/library/visits:1"));
    let archive = cluster.home.path().join("visits.tar");
    cluster.isopod(&format!("image save visits:1 -f {}", archive.display()));
    cluster.isopod("image rm visits:1");
    watch.until("no image", |line| !line.contains("visits"));
    cluster.isopod(&format!("image load {}", archive.display()));
    watch.until("a loaded image", |line| {
        line.contains("docker.io/library/visits:1")
    });
    let node = cluster.get("node");
    let size = node.pointer("/items/0/status/images/0/sizeBytes");
    assert!(
        size.and_then(serde_json::Value::as_u64)
            .is_some_and(|size| size > 100_000),
        "{size:?}"
    );
    drop(watch);
    cluster.remove();
}
