//! Volumes with real mounts and owners.

use crate::images::Scratch;
use k8s_openapi::api::core::v1::Pod;
use node::volumes::{Facts, Mount, Propagation, Sources, TokenRequest, Volumes, needed};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

fn pod(spec: Value) -> Pod {
    serde_json::from_value(
        json!({"metadata": {"name": "web-0", "namespace": "ns", "uid": "u-1",
        "labels": {"app": "web"}, "annotations": {"note": "1"}}, "spec": spec}),
    )
    .expect("a pod")
}

fn with_volume(volume: Value) -> Pod {
    let mut volume = volume;
    volume["name"] = json!("v");
    pod(
        json!({"containers": [{"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}], "volumes": [volume]}),
    )
}

fn sources() -> Sources {
    let mut sources = Sources::default();
    let map = json!({"data": {"a": "1", "b": "2"}, "binaryData": {"bin": "AAE="}});
    sources
        .config_maps
        .insert("cm".into(), serde_json::from_value(map).expect("a map"));
    let secret = json!({"data": {"pw": "aHVudGVy"}});
    sources
        .secrets
        .insert("s".into(), serde_json::from_value(secret).expect("a secret"));
    sources.tokens.insert(
        TokenRequest {
            audience: None,
            expiration_seconds: 3607,
        },
        "the-token".into(),
    );
    sources
}

fn facts() -> Facts {
    Facts {
        pod_ips: vec!["10.0.0.9".into()],
        ..Facts::default()
    }
}

fn set_up(volumes: &Volumes, pod: &Pod) -> Result<Vec<Mount>, String> {
    let join = |errors: Vec<node::volumes::VolumeError>| {
        errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ")
    };
    volumes.set_up(pod, &sources(), &facts()).map_err(join)?;
    let container = &pod.spec.as_ref().expect("spec").containers[0];
    let env = [("POD".to_owned(), "web-0".to_owned())];
    volumes
        .mounts(pod, container, &sources(), &env)
        .map_err(|e| e.to_string())
}

fn source(volumes: &Volumes, pod: &Pod) -> PathBuf {
    set_up(volumes, pod).expect("set up")[0].source.clone()
}

fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).unwrap_or_else(|error| error.kind().to_string())
}

fn mode(path: PathBuf) -> u32 {
    fs::metadata(path).expect("stat").mode() & 0o7777
}

#[test]
fn config_maps_and_secrets_become_files() {
    let scratch = Scratch::new();
    let volumes = Volumes::new(scratch.path());
    let whole = with_volume(json!({"configMap": {"name": "cm"}}));
    let mounts = set_up(&volumes, &whole).expect("set up");
    let dir = &mounts[0].source;
    assert!(mounts[0].read_only && mounts[0].propagation == Propagation::Private);
    assert_eq!((read(dir, "a"), read(dir, "b")), ("1".into(), "2".into()));
    assert_eq!(fs::read(dir.join("bin")).expect("read"), [0, 1]);
    assert_eq!(mode(dir.join("a")), 0o644);
    volumes.tear_down("u-1").expect("tear down");

    let items = json!({"secretName": "s", "defaultMode": 0o400, "items": [
        {"key": "pw", "path": "deep/er/password"}, {"key": "pw", "path": "open", "mode": 0o444}]});
    let dir = source(&volumes, &with_volume(json!({"secret": items})));
    assert_eq!(read(&dir, "deep/er/password"), "hunter");
    assert_eq!(
        (mode(dir.join("deep/er/password")), mode(dir.join("open"))),
        (0o400, 0o444)
    );
    volumes.tear_down("u-1").expect("tear down");

    let absent = with_volume(json!({"configMap": {"name": "no", "optional": true}}));
    assert_eq!(
        fs::read_dir(source(&volumes, &absent))
            .expect("list")
            .filter(|e| {
                e.as_ref()
                    .is_ok_and(|e| !e.file_name().to_string_lossy().starts_with(".."))
            })
            .count(),
        0
    );
    volumes.tear_down("u-1").expect("tear down");
    volumes.tear_down("u-1").expect("idempotent");
    assert_eq!(
        fs::read_dir(scratch.path().join("pods/u-1"))
            .expect("list")
            .count(),
        0
    );
}

#[test]
fn missing_sources_in_upstreams_words() {
    let scratch = Scratch::new();
    let volumes = Volumes::new(scratch.path());
    for (volume, want) in [
        (json!({"configMap": {"name": "no"}}), "configmap \"no\" not found"),
        (json!({"secret": {"secretName": "no"}}), "secret \"no\" not found"),
        (
            json!({"configMap": {"name": "cm", "items": [{"key": "z", "path": "z"}]}}),
            "configmap references non-existent config key: z",
        ),
        (
            json!({"secret": {"secretName": "s", "items": [{"key": "z", "path": "z"}]}}),
            "references non-existent secret key: z",
        ),
        (
            json!({"configMap": {"name": "cm", "items": [{"key": "a", "path": "../z"}]}}),
            "invalid path \"../z\": must be relative and not contain '..'",
        ),
        (
            json!({"persistentVolumeClaim": {"claimName": "data"}}),
            "persistentvolumeclaim \"data\" is not bound",
        ),
        (
            json!({"hostPath": {"path": "/etc/passwd", "type": "Directory"}}),
            "hostPath type check failed: /etc/passwd is not a directory",
        ),
        (
            json!({"hostPath": {"path": "/etc", "type": "File"}}),
            "hostPath type check failed: /etc is not a file",
        ),
        (
            json!({"hostPath": {"path": "/no/such", "type": "Socket"}}),
            "hostPath type check failed: /no/such is not a socket file",
        ),
        (
            json!({"hostPath": {"path": "/etc", "type": "BlockDevice"}}),
            "hostPath type check failed: /etc is not a block device",
        ),
    ] {
        let error = set_up(&volumes, &with_volume(volume)).expect_err(want);
        assert_eq!(
            error,
            format!("MountVolume.SetUp failed for volume \"v\" : {want}")
        );
    }
    let device = with_volume(json!({"hostPath": {"path": "/dev/null", "type": "CharDevice"}}));
    assert_eq!(source(&volumes, &device), Path::new("/dev/null"));
    let two = pod(json!({"containers": [], "volumes": [
        {"name": "x", "secret": {"secretName": "no"}}, {"name": "y", "configMap": {"name": "no"}}]}));
    assert_eq!(
        volumes
            .set_up(&two, &sources(), &facts())
            .expect_err("both")
            .len(),
        2,
        "all errors at once"
    );
}

#[test]
fn updates_swap_atomically_and_only_when_needed() {
    let scratch = Scratch::new();
    let volumes = Volumes::new(scratch.path());
    let pod = with_volume(json!({"configMap": {"name": "cm"}}));
    let dir = source(&volumes, &pod);
    let version = fs::read_link(dir.join("..data")).expect("link");
    assert_eq!(
        volumes.update(&pod, &sources(), &facts()).expect("update"),
        Vec::<String>::new()
    );
    assert_eq!(
        fs::read_link(dir.join("..data")).expect("link"),
        version,
        "nothing is written when nothing changed"
    );

    let mut changed = sources();
    let map = json!({"data": {"a": "new", "c": "new"}});
    changed
        .config_maps
        .insert("cm".into(), serde_json::from_value(map).expect("a map"));
    assert_eq!(volumes.update(&pod, &changed, &facts()).expect("update"), ["v"]);
    assert_eq!(
        (read(&dir, "a"), read(&dir, "c"), read(&dir, "b")),
        ("new".into(), "new".into(), "entity not found".into())
    );
    assert!(
        fs::symlink_metadata(dir.join("b")).is_err(),
        "no dangling name is left"
    );
    assert!(!dir.join(version).exists(), "the old version is removed");

    // While it changes many times, a reader never sees a mixture.
    let reader_dir = dir.clone();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let reader = std::thread::spawn(move || {
        let mut seen = 0;
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            // One version, held by its folder, as a careful reader does.
            let Ok(version) = fs::read_link(reader_dir.join("..data")) else {
                panic!("..data is gone")
            };
            let version = reader_dir.join(version);
            if let (Ok(a), Ok(c)) = (fs::read(version.join("a")), fs::read(version.join("c"))) {
                assert_eq!(a, c);
                seen += 1;
            }
        }
        seen
    });
    for number in 0..100 {
        let text = number.to_string().repeat(50);
        let map = json!({"data": {"a": text, "c": text}});
        changed
            .config_maps
            .insert("cm".into(), serde_json::from_value(map).expect("a map"));
        volumes.update(&pod, &changed, &facts()).expect("update");
    }
    drop(stop);
    assert!(reader.join().expect("no mixture was seen") > 0);
}

#[test]
fn projected_volumes_join_their_sources() {
    let scratch = Scratch::new();
    let volumes = Volumes::new(scratch.path());
    let mut pod = with_volume(json!({"projected": {"defaultMode": 0o640, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "cm", "items": [{"key": "a", "path": "ca.crt"}]}},
        {"secret": {"name": "s"}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}},
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]}}));
    let dir = source(&volumes, &pod);
    for (name, want) in [
        ("token", "the-token"),
        ("ca.crt", "1"),
        ("pw", "hunter"),
        ("namespace", "ns"),
        ("labels", "app=\"web\""),
    ] {
        assert_eq!(read(&dir, name), want);
        assert_eq!(mode(dir.join(name)), 0o640);
    }
    pod.metadata
        .labels
        .get_or_insert_default()
        .insert("new".into(), "x".into());
    assert_eq!(volumes.update(&pod, &sources(), &facts()).expect("update"), ["v"]);
    assert_eq!(read(&dir, "labels"), "app=\"web\"\nnew=\"x\"");

    // One user for all containers: the token is theirs alone.
    let spec = pod.spec.as_mut().expect("spec");
    spec.security_context = serde_json::from_value(json!({"runAsUser": 1000})).expect("a context");
    volumes.update(&pod, &sources(), &facts()).expect("update");
    let token = fs::metadata(dir.join("token")).expect("stat");
    assert_eq!((token.mode() & 0o777, token.uid()), (0o600, 1000));
    assert_eq!(needed(&pod).tokens.len(), 1);
    assert_eq!(needed(&pod).secrets.iter().next().map(String::as_str), Some("s"));
}

#[test]
fn empty_dirs_live_on_disk_or_in_memory() {
    let scratch = Scratch::new();
    let volumes = Volumes::new(scratch.path());
    let disk = with_volume(json!({"emptyDir": {}}));
    let dir = source(&volumes, &disk);
    assert_eq!(mode(dir.clone()), 0o777);
    fs::write(dir.join("kept"), vec![1; 10_000]).expect("write");
    assert_eq!(source(&volumes, &disk), dir);
    assert_eq!(
        read(&dir, "kept").len(),
        10_000,
        "set up again, it keeps what it holds"
    );
    assert!((10_000..100_000).contains(&volumes.empty_dir_usage(&disk, "v").expect("usage")));
    volumes.tear_down("u-1").expect("tear down");
    assert!(!dir.exists());

    let memory = with_volume(json!({"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}));
    let dir = source(&volumes, &memory);
    source(&volumes, &memory);
    assert_eq!(scratch.mounts(), std::slice::from_ref(&dir), "mounted once");
    assert!(
        fs::write(dir.join("big"), vec![0; 2 << 20]).is_err(),
        "the limit holds"
    );
    volumes.tear_down("u-1").expect("tear down");
    assert!(scratch.mounts().is_empty() && !dir.exists());
    let huge = set_up(
        &volumes,
        &with_volume(json!({"emptyDir": {"medium": "HugePages"}})),
    )
    .expect_err("refused");
    assert!(huge.contains("\"HugePages\" is not supported"), "{huge}");
}

#[test]
fn fs_group_owns_what_the_pod_writes_to() {
    let scratch = Scratch::new();
    let volumes = Volumes::new(scratch.path());
    let claim = scratch.path().join("claim");
    fs::create_dir_all(claim.join("sub")).expect("mkdir");
    fs::set_permissions(&claim, fs::Permissions::from_mode(0o777)).expect("for all");
    fs::write(claim.join("sub/file"), "x").expect("write");
    let outside = scratch.path().join("outside");
    fs::write(&outside, "x").expect("write");
    symlink(&outside, claim.join("link")).expect("symlink");
    let mut sources = sources();
    sources.claims.insert("data".into(), claim.clone());
    let pod = pod(
        json!({"securityContext": {"fsGroup": 2000}, "containers": [], "volumes": [
        {"name": "p", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "e", "emptyDir": {}},
        {"name": "c", "configMap": {"name": "cm", "defaultMode": 0o400}}]}),
    );
    volumes.set_up(&pod, &sources, &facts()).expect("set up");
    let owner = |path: PathBuf| {
        let meta = fs::symlink_metadata(path).expect("stat");
        (meta.gid(), meta.mode() & 0o7777)
    };
    assert_eq!(owner(claim.clone()), (2000, 0o2777));
    assert_eq!(owner(claim.join("sub")), (2000, 0o2775));
    assert_eq!(owner(claim.join("sub/file")), (2000, 0o664));
    assert_eq!(owner(claim.join("link")).0, 2000);
    assert_eq!(owner(outside).0, 0, "links are not followed");
    let dir = volumes.pod_dir(&pod).join("volumes");
    assert_eq!(owner(dir.join("empty-dir/e")), (2000, 0o2777));
    assert_eq!(owner(dir.join("configmap/c/..data/a")), (2000, 0o440));
    volumes.tear_down("u-1").expect("tear down");
    assert_eq!(read(&claim, "sub/file"), "x", "a claim's data outlives the pod");
}

fn with_sub_path(scratch: &Scratch, field: &str, path: &str) -> Pod {
    let host = scratch.path().join("host");
    fs::create_dir_all(host.join("real")).expect("mkdir");
    pod(
        json!({"containers": [{"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/v", field: path}]}],
        "volumes": [{"name": "v", "hostPath": {"path": host}}]}),
    )
}

#[test]
fn sub_paths_are_pinned_within_their_volume() {
    let scratch = Scratch::new();
    let volumes = Volumes::new(scratch.path());
    let host = scratch.path().join("host");
    let pod = with_sub_path(&scratch, "subPathExpr", "logs/$(POD)");
    fs::write(host.join("real/file"), "real").expect("write");
    symlink("real", host.join("inner")).expect("symlink");
    symlink("/etc", host.join("abs")).expect("symlink");
    symlink("../../../../../../../etc", host.join("up")).expect("symlink");

    let dir = source(&volumes, &pod);
    fs::write(dir.join("x"), "1").expect("write");
    assert_eq!(read(&host, "logs/web-0/x"), "1");
    // Swapping the folder for a link afterwards changes nothing for the container.
    fs::rename(host.join("logs"), host.join("moved")).expect("rename");
    symlink("/etc", host.join("logs")).expect("symlink");
    assert_eq!(read(&dir, "x"), "1");
    fs::remove_file(host.join("logs")).expect("remove");

    let inner = with_sub_path(&scratch, "subPath", "inner/file");
    let file = source(&volumes, &inner);
    assert_eq!(
        fs::read_to_string(&file).expect("read"),
        "real",
        "a link within the volume is fine"
    );
    source(&volumes, &inner);
    assert_eq!(
        scratch.mounts().len(),
        1,
        "a restart of the container replaces its mount"
    );

    for (field, path, want) in [
        ("subPath", "abs", "leads out of the volume"),
        ("subPath", "abs/passwd", "leads out of the volume"),
        ("subPath", "up", "leads out of the volume"),
        ("subPath", "../x", "not contain '..'"),
        ("subPath", "/etc", "must not be an absolute path"),
        ("subPathExpr", "a/$(NO)", "missing value for \"NO\""),
    ] {
        let error = set_up(&volumes, &with_sub_path(&scratch, field, path)).expect_err(path);
        assert!(
            error.contains(want) && error.contains("container \"c\""),
            "{error}"
        );
    }
    volumes.tear_down("u-1").expect("tear down");
    assert!(scratch.mounts().is_empty());
    assert_eq!(read(&host, "real/file"), "real", "what was mounted is untouched");
    assert_eq!(read(&host, "moved/web-0/x"), "1");
    assert_eq!(
        fs::read_dir(scratch.path().join("pods/u-1"))
            .expect("list")
            .count(),
        0
    );
}

#[test]
fn a_key_of_a_config_map_can_be_mounted_alone() {
    let scratch = Scratch::new();
    let volumes = Volumes::new(scratch.path());
    let pod = pod(json!({"containers": [{"name": "c", "volumeMounts": [
        {"name": "v", "mountPath": "/etc/app/a.conf", "subPath": "a"}, {"name": "v", "mountPath": "/etc/app"}]}],
        "volumes": [{"name": "v", "configMap": {"name": "cm"}}]}));
    let mounts = set_up(&volumes, &pod).expect("set up");
    assert_eq!(
        mounts[0].destination,
        Path::new("/etc/app"),
        "outer mounts come first"
    );
    assert_eq!(fs::read_to_string(&mounts[1].source).expect("read"), "1");
    volumes.tear_down("u-1").expect("tear down");
    assert!(scratch.mounts().is_empty());
}

#[test]
fn host_paths_are_made_where_their_type_says_so() {
    let scratch = Scratch::new();
    let volumes = Volumes::new(scratch.path());
    for (name, kind, is_dir) in [
        ("a/b", "DirectoryOrCreate", true),
        ("a/c", "", true),
        ("a/f", "FileOrCreate", false),
    ] {
        let path = scratch.path().join(name);
        let made = source(
            &volumes,
            &with_volume(json!({"hostPath": {"path": path, "type": kind}})),
        );
        assert_eq!(fs::metadata(made).expect("made").is_dir(), is_dir, "{name}");
        volumes.tear_down("u-1").expect("tear down");
        assert!(path.exists(), "a host's path is never removed");
    }
}

/// What a container wrote is read, whatever else it may have put there instead.
#[test]
fn files_of_variables_are_read_within_their_volume() {
    let scratch = Scratch::new();
    let volumes = Volumes::new(scratch.path());
    let names = [
        "f", "link", "abs", "climb", "fifo", "null", "folder", "sub/f", "huge", "gone",
    ];
    let reference = |volume: &str, path: &str| json!({"name": "X", "valueFrom": {"fileKeyRef": {"volumeName": volume, "path": path, "key": "A"}}});
    let mut env: Vec<Value> = names.iter().map(|path| reference("v", path)).collect();
    env.extend([reference("none", "f"), reference("cm", "a")]);
    let pod = pod(
        json!({"volumes": [{"name": "v", "emptyDir": {}}, {"name": "cm", "configMap": {"name": "cm"}}],
        "containers": [{"name": "c", "env": env, "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}),
    );
    let dir = source(&volumes, &pod);
    let outside = scratch.path().join("outside");
    fs::write(&outside, "A='host'\n").expect("write");
    fs::write(dir.join("f"), "A='1'\nB='2'\n").expect("write");
    symlink("/f", dir.join("link")).expect("a link from the volume's root");
    symlink(&outside, dir.join("abs")).expect("link");
    symlink("../../../../../../outside", dir.join("climb")).expect("link");
    nix::unistd::mkfifo(&dir.join("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    let (kind, zero) = (nix::sys::stat::SFlag::S_IFCHR, nix::sys::stat::makedev(1, 5));
    nix::sys::stat::mknod(&dir.join("null"), kind, nix::sys::stat::Mode::S_IRWXU, zero).expect("device");
    fs::create_dir_all(dir.join("folder")).expect("mkdir");
    symlink("..", dir.join("sub")).expect("link");
    let huge = fs::File::create(dir.join("huge")).expect("create");
    huge.set_len(1 << 40).expect("sparse");
    let container = &pod.spec.as_ref().expect("spec").containers[0];
    let files = volumes.env_files(&pod, container);
    assert_eq!(files.len(), names.len(), "emptyDirs only");
    for name in names {
        let file = &files[&("v".to_owned(), name.to_owned())];
        let good = ["f", "link", "sub/f"].contains(&name);
        assert_eq!(file.is_damaged, !good, "{name}");
        assert_eq!(
            file.values.get("A").map(String::as_str),
            good.then_some("1"),
            "{name}"
        );
        assert_eq!(
            (&file.path, file.values.len()),
            (&dir.join(name), usize::from(good))
        );
    }
}
