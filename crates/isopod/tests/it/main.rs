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
