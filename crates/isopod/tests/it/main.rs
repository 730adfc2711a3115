//! The built program on a machine: what it prints and leaves when it is given bad input, and a cluster's short life.
//! Starting a cluster takes root, as CI has; every test has a folder and clusters of its own and removes them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of clusters; all that is in it is removed at the end, however the test ends.
struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder }
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_isopod"))
            .args(args)
            .env("ISOPOD_HOME", self.home())
            .env("KUBECONFIG", self.path("kubeconfig"))
            .env_remove("ISOPOD_LOG")
            .output()
            .expect("the program runs")
    }

    /// Runs it and expects success; returns what it printed.
    fn good(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs it and expects one message; returns it with the exit code.
    fn bad(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        assert!(
            !output.status.success(),
            "{args:?} must fail: {}",
            text(&output.stdout)
        );
        (output.status.code().unwrap_or(-1), text(&output.stderr))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let Ok(entries) = std::fs::read_dir(self.home()) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let output = self.run(&["rm", "--name", &name]);
            if !output.status.success() {
                eprintln!("cluster {name} is left: {}", text(&output.stderr));
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

/// Names of this run: a cluster's namespaces and cgroups are the machine's.
fn cluster(word: &str) -> String {
    format!("t{}-{word}", std::process::id())
}

#[test]
fn without_a_cluster_each_command_says_what_to_do() {
    let world = World::new();
    let help = world.run(&[]);
    assert!(text(&help.stderr).contains("Usage: isopod"));
    let cases: [(&[&str], &str); 8] = [
        (&["down", "--name", "nope"], "there is no cluster nope"),
        (&["rm", "--name", "nope"], "there is no cluster nope"),
        (&["kubeconfig", "--name", "nope"], "isopod up --name nope"),
        (&["image", "ls", "--name", "nope"], "there is no cluster nope"),
        (
            &["k", "--name", "nope", "get", "pods"],
            "there is no cluster nope",
        ),
        (&["up", "--name", "Not_A_Name"], "cannot be a cluster's name"),
        (&["up", "--sped", "1"], "unexpected argument '--sped'"),
        (
            &["k", "--kubeconfig", "/nonexistent/config", "get", "pods"],
            "there is no kubeconfig",
        ),
    ];
    for (args, expected) in cases {
        let (_, message) = world.bad(args);
        assert!(message.contains(expected), "{args:?}: {message}");
    }
    let (code, _) = world.bad(&["status", "--name", "nope"]);
    assert_eq!(code, 4);
    assert!(is_empty(&world.home()));
    assert!(world.good(&["completions", "bash"]).contains("_isopod"));
    assert!(world.good(&["version"]).contains("Kubernetes v1.36"));
}

#[test]
fn a_first_up_that_fails_leaves_nothing() {
    let world = World::new();
    let name = cluster("fail");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let (_, message) = world.bad(&["up", "--name", &name, "--api-port", &port]);
    assert!(
        message.contains(&format!("port {port} on 127.0.0.1 is taken")),
        "{message}"
    );
    assert!(is_empty(&world.home()) && !world.path("kubeconfig").exists());

    let broken = world.path("broken");
    std::fs::write(&broken, "][").expect("written");
    let broken = broken.display().to_string();
    let (_, message) = world.bad(&["up", "--name", &name, "--kubeconfig", &broken]);
    assert!(message.contains("is not a kubeconfig"), "{message}");
    assert!(is_empty(&world.home()));

    let full = world.path("full");
    std::fs::create_dir(&full).expect("a folder");
    std::fs::write(full.join("letter.txt"), "mine").expect("written");
    let shown = full.display().to_string();
    let (_, message) = world.bad(&["up", "--name", &name, "--data-dir", &shown]);
    assert!(message.contains("holds other things (letter.txt)"), "{message}");
    assert!(full.join("letter.txt").exists() && is_empty(&world.home()));

    let settings = world.path("up.yaml");
    std::fs::write(&settings, "name: a\nprot: 1\n").expect("written");
    let settings = settings.display().to_string();
    let (_, message) = world.bad(&["up", "--config", &settings]);
    assert!(
        message.contains("up.yaml, line 2") && message.contains("prot"),
        "{message}"
    );
}

#[test]
fn a_folder_of_another_layout_is_refused_and_kept() {
    let world = World::new();
    let name = cluster("layout");
    let folder = world.home().join(&name);
    std::fs::create_dir_all(&folder).expect("a folder");
    let settings = format!(r#"{{"layout": 99, "name": "{name}", "api_port": 1, "kubeconfig": "/x"}}"#);
    std::fs::write(folder.join("cluster.json"), &settings).expect("written");
    let (_, message) = world.bad(&["up", "--name", &name]);
    assert!(message.contains("has layout 99"), "{message}");
    assert_eq!(
        std::fs::read_to_string(folder.join("cluster.json")).expect("there"),
        settings
    );
}

// LONG: one story; each step stands on the one before.
#[test]
fn a_clusters_short_life() {
    let world = World::new();
    let name = cluster("life");
    let elsewhere = world.path("data").display().to_string();
    world.good(&["up", "--name", &name, "--data-dir", &elsewhere]);
    let (_, message) = world.bad(&["up", "--name", &name]);
    assert!(message.contains("is up already"), "{message}");
    let listed: Vec<serde_json::Value> =
        serde_json::from_str(&world.good(&["ls", "-o", "json"])).expect("JSON");
    assert_eq!(listed[0]["name"], name.as_str());
    let config = world.good(&["kubeconfig", "--name", &name]);
    assert!(config.contains("client-certificate-data"), "{config}");

    let namespaces = world.good(&["k", "--name", &name, "get", "ns"]);
    let header = namespaces.lines().next().expect("a header");
    assert_eq!(header, "NAME              STATUS   AGE");
    assert_eq!(
        world.good(&["k", "--name", &name, "create", "namespace", "team"]),
        "namespace/team created\n"
    );
    let (_, message) = world.bad(&["k", "--name", &name, "get", "cm", "x"]);
    assert_eq!(
        message,
        "Error from server (NotFound): configmaps \"x\" not found\n"
    );
    let manifest = world.path("cm.yaml");
    let kind = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: ";
    let manifest_shown = manifest.display().to_string();
    let apply = ["k", "--name", &name, "-n", "team", "apply", "-f", &manifest_shown];
    for (value, what) in [("one", "created"), ("one", "unchanged"), ("two", "configured")] {
        std::fs::write(&manifest, format!("{kind}{value}}}\n")).expect("written");
        assert_eq!(world.good(&apply), format!("configmap/a {what}\n"));
    }
    let get = [
        "k",
        "--name",
        &name,
        "-n",
        "team",
        "get",
        "cm/a",
        "-o",
        "jsonpath={.data.k}",
    ];
    assert_eq!(world.good(&get), "two");
    let wait = [
        "k",
        "--name",
        &name,
        "-n",
        "team",
        "wait",
        "--for=jsonpath={.data.k}=two",
        "cm/a",
    ];
    assert_eq!(world.good(&wait), "configmap/a condition met\n");
    let delete = [
        "k",
        "--name",
        &name,
        "-n",
        "team",
        "delete",
        "-f",
        &manifest_shown,
    ];
    assert_eq!(
        world.good(&delete),
        "configmap \"a\" deleted from team namespace\n"
    );

    let (_, message) = world.bad(&["image", "build", "x:1", "--binary", "/bin/sh", "--name", &name]);
    assert!(message.contains("dynamically linked"), "{message}");
    world.good(&["down", "--name", &name]);
    assert_eq!(world.run(&["status", "--name", &name]).status.code(), Some(3));
    world.good(&["rm", "--name", &name]);
    assert!(!world.path("data").exists() && is_empty(&world.home()) && !world.path("kubeconfig").exists());
}

impl World {
    /// A first `up`, on a port that no other test's `up` can take meanwhile.
    fn first_up(&self, name: &str) {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("bound").port().to_string();
        drop(free);
        self.good(&["up", "--name", name, "--api-port", &port]);
    }

    fn server(&self, name: &str) -> i32 {
        let status: serde_json::Value =
            serde_json::from_str(&self.good(&["status", "--name", name, "-o", "json"])).expect("JSON");
        let pid = status["server"]["pid"].as_i64().expect("a process");
        i32::try_from(pid).expect("a process id")
    }
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).expect("it is there").permissions().mode();
    mode & 0o7777
}

#[test]
fn nobody_else_gets_into_a_clusters_folder_and_a_home_that_was_there_stays() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let name = cluster("closed");
    std::fs::create_dir(world.home()).expect("a folder");
    world.first_up(&name);
    let folder = world.home().join(&name);
    assert_eq!(mode(&folder), 0o700);
    // One that an earlier version made is closed too. A server that was killed a moment ago is waited for.
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    for _ in 0..3 {
        let pid = nix::unistd::Pid::from_raw(world.server(&name));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("killed");
        world.good(&["up", "--name", &name]);
    }
    assert_eq!(mode(&folder), 0o700);
    world.good(&["rm", "--name", &name]);
    assert!(world.home().exists() && is_empty(&world.home()));
}

#[test]
fn a_damaged_cluster_says_what_to_do_and_keeps_what_it_has() {
    let world = World::new();
    let name = cluster("hurt");
    let up = ["up", "--name", &name];
    world.first_up(&name);
    world.good(&["k", "--name", &name, "create", "namespace", "team"]);
    world.good(&["down", "--name", &name]);
    let folder = world.home().join(&name);
    let log = folder.join("store/log-00000000000000000001");
    let empty: &[u8] = b"";
    let garbage: &[u8] = b"-----BEGIN CERTIFICATE-----\n";
    let cases: [(PathBuf, Option<&[u8]>, &str); 6] = [
        (
            log.clone(),
            Some(empty),
            "is missing or empty, but this store has been in use",
        ),
        (log, None, "is missing or empty, but this store has been in use"),
        (folder.join("pki/ca.key"), None, "ca.key is missing"),
        (folder.join("pki/sa.key"), Some(empty), "sa.key is damaged"),
        (
            folder.join("pki/apiserver.crt"),
            Some(garbage),
            "remove it, and isopod up makes a new one",
        ),
        (
            folder.join("cluster.json"),
            Some(b"{\"layout\": 1"),
            "write it anew",
        ),
    ];
    for (file, content, expected) in cases {
        let whole = std::fs::read(&file).expect("it is there");
        match content {
            Some(content) => std::fs::write(&file, content).expect("written"),
            None => std::fs::remove_file(&file).expect("removed"),
        }
        let (_, message) = world.bad(&up);
        let shown = file.display().to_string();
        assert!(
            message.contains(expected) && message.contains(&shown),
            "{message}"
        );
        let now = std::fs::read(&file).ok();
        assert_eq!(now.as_deref(), content, "{shown} was changed");
        let status = text(&world.run(&["status", "--name", &name]).stdout);
        let is_settings = shown.ends_with("cluster.json");
        assert_eq!(status.contains("Bring it up"), !is_settings, "{status}");
        std::fs::write(&file, whole).expect("put back");
    }
    let old = std::fs::read(folder.join("pki/apiserver.key")).expect("a key");
    std::fs::remove_file(folder.join("pki/apiserver.key")).expect("removed");
    world.good(&up);
    assert_ne!(
        old,
        std::fs::read(folder.join("pki/apiserver.key")).expect("a new key")
    );
    world.good(&["k", "--name", &name, "get", "namespace", "team"]);
    world.good(&["rm", "--name", &name]);
    assert!(!world.home().exists());
}

#[test]
fn images_that_cannot_be_are_refused_with_the_way_to_go() {
    let world = World::new();
    let folder = world.home().join("x");
    std::fs::create_dir_all(&folder).expect("a folder");
    let settings = r#"{"layout": 1, "name": "x", "api_port": 1, "kubeconfig": "/x"}"#;
    std::fs::write(folder.join("cluster.json"), settings).expect("written");
    let shown = world.folder.path().display().to_string();
    let (_, message) = world.bad(&["image", "load", &shown, "--name", "x"]);
    assert!(
        message.contains("is a folder") && message.contains("--from-dir"),
        "{message}"
    );
    let (_, message) = world.bad(&["image", "build", "a:1", "--name", "x"]);
    assert!(message.contains("--binary <FILE>|--from-dir <DIR>"), "{message}");
    for user in ["a b", "", "a:", "a:b:c"] {
        let build = [
            "image",
            "build",
            "a:1",
            "--from-dir",
            &shown,
            "--user",
            user,
            "--name",
            "x",
        ];
        let (_, message) = world.bad(&build);
        assert!(message.contains(&format!("user {user:?} is not")), "{message}");
    }
    std::fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn a_node_port_that_was_taken_is_published_when_it_is_free() {
    let world = World::new();
    let name = cluster("ports");
    world.first_up(&name);
    // A node port of upstream's range; another test's or program's is passed over.
    let (port, held) = (30_000..32_767_u16)
        .find_map(|port| Some((port, std::net::TcpListener::bind(("127.0.0.1", port)).ok()?)))
        .expect("a free node port");
    let manifest = world.path("svc.yaml");
    let text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec: {{type: NodePort, ports: [{{port: 80, nodePort: {port}}}]}}\n"
    );
    std::fs::write(&manifest, text).expect("written");
    world.good(&[
        "k",
        "--name",
        &name,
        "apply",
        "-f",
        &manifest.display().to_string(),
    ]);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let patiently = |what: &str, there: &dyn Fn() -> bool| {
        while !there() {
            assert!(std::time::Instant::now() < until, "{what}");
            // pause: nobody tells what happens on the host
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    };
    patiently("the event", &|| {
        let events = world.good(&["k", "--name", &name, "get", "events", "-o", "json"]);
        events.contains(&format!("port {port}/tcp is taken on 127.0.0.1"))
    });
    drop(held);
    patiently("the port", &|| {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    world.good(&["rm", "--name", &name]);
}
