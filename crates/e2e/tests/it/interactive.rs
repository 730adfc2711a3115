//! Streams into pods: logs, exec with and without a terminal, attach, cp, port-forward and the proxy verbs.

use crate::harness::command::prepare;
use crate::harness::watch::Watch;
use crate::harness::{Cluster, Tool, words};
use crate::lifecycle::pod;
use crate::statefulset::visits_set;

/// Written to a container and read back: every byte value, and more than any buffer on the way holds.
fn many_bytes() -> Vec<u8> {
    (0..3_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

#[test]
fn logs_in_every_form() {
    let Some(cluster) = Cluster::with_images("logs_in_every_form", &[]) else {
        return;
    };
    let line = "for i in 1 2 3 4 5; do echo line $i; done; echo to-stderr >&2; until test -e /tmp/go; do sleep 0.1; done; echo last; sleep 3600";
    let second = "- {name: second, image: 'busybox:1', command: [sh, -c, 'echo from second; sleep 3600']}";
    cluster.apply(&pod("p", line, "", "").replace("---", &format!("  {second}\n---")));
    cluster.wait("pod/p", "condition=Ready");
    let mut follow = cluster.watch("logs p -c main -f");
    follow.until_contains("to-stderr");
    cluster.kubectl("exec p -c main -- touch /tmp/go");
    follow.until_contains("last");
    drop(follow);
    let all = cluster.kubectl("logs p -c main");
    assert_eq!(all, "line 1\nline 2\nline 3\nline 4\nline 5\nto-stderr\nlast\n");
    assert_eq!(cluster.kubectl("logs p -c main --tail=2"), "to-stderr\nlast\n");
    let stamped = cluster.kubectl("logs p -c main --timestamps --tail=1");
    assert!(
        stamped.starts_with("20") && stamped.contains("Z last"),
        "{stamped}"
    );
    assert_eq!(cluster.kubectl("logs p -c main --limit-bytes=6"), "line 1");
    assert!(cluster.kubectl("logs p -c main --since=1h").contains("line 1"));
    let both = cluster.kubectl("logs p --all-containers --prefix");
    assert!(both.contains("[pod/p/second] from second"), "{both}");
    assert_eq!(cluster.kubectl("logs -l app=p -c second"), "from second\n");
    let unclear = cluster.kubectl_with("logs p -c none").run().fails();
    assert!(
        unclear.contains("container none is not valid for pod p"),
        "{unclear}"
    );
    let previous = cluster.kubectl_fails("logs p -c main --previous");
    assert!(
        previous.contains("previous terminated container \"main\" in pod \"p\" not found"),
        "{previous}"
    );
    cluster.remove();
}

#[test]
fn exec_with_and_without_a_terminal() {
    let Some(cluster) = Cluster::with_images("exec_with_and_without_a_terminal", &[Tool::Script]) else {
        return;
    };
    cluster.apply(&pod("p", "sleep 3600", "", ""));
    cluster.wait("pod/p", "condition=Ready");
    let run = cluster
        .kubectl_with("exec p -- sh -c 'echo out; echo err >&2; exit 9'")
        .run();
    assert_eq!(run.stdout, "out\n");
    assert!(run.stderr.starts_with("err\n"), "{}", run.report("said"));
    assert_eq!(run.status.code(), Some(9), "{}", run.report("ended"));
    let bytes = many_bytes();
    let sum = cluster
        .kubectl_with("exec -i p -- sha256sum")
        .input(bytes.clone())
        .run()
        .ok();
    let own = prepare("sha256sum".as_ref(), [] as [&str; 0])
        .input(bytes)
        .run()
        .ok();
    assert_eq!(sum, own);
    let count = cluster.kubectl("exec p -- sh -c 'seq 200000'");
    assert_eq!(count.lines().count(), 200_000);
    let none = cluster.kubectl_fails("exec p -- no-such-program");
    assert!(none.contains("no-such-program"), "{none}");
    // A terminal of its own, by `script`; its size arrives, and so does what is typed.
    let kubectl = Tool::Kubectl.path();
    let typed = "tty; stty size; exit 4\n";
    let inner = format!("stty rows 33 cols 77; {} exec -it p -- sh", kubectl.display());
    let run = prepare(&Tool::Script.path(), ["-qec", &inner, "/dev/null"])
        .env("KUBECONFIG", &cluster.kubeconfig)
        .env("HOME", cluster.home.path())
        .env("TERM", "dumb")
        .input(typed)
        .run();
    assert!(
        run.stdout.contains("/dev/pts/"),
        "{}",
        run.report("has no terminal")
    );
    assert!(run.stdout.contains("33 77"), "{}", run.report("has another size"));
    assert_eq!(run.status.code(), Some(4), "{}", run.report("ended"));
    cluster.remove();
}

#[test]
fn exec_of_older_clients_and_what_is_refused() {
    let Some(cluster) = Cluster::with_images("exec_of_older_clients_and_what_is_refused", &[]) else {
        return;
    };
    cluster.apply(&pod("p", "sleep 3600", "", ""));
    cluster.wait("pod/p", "condition=Ready");
    // They know SPDY only.
    let by_spdy = |line: &str| {
        cluster
            .kubectl_with(line)
            .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false")
    };
    let run = by_spdy("exec p -- sh -c 'echo out; echo err >&2; exit 9'").run();
    assert_eq!(run.stdout, "out\n");
    assert!(run.stderr.starts_with("err\n"), "{}", run.report("said"));
    assert_eq!(run.status.code(), Some(9), "{}", run.report("ended"));
    let back = by_spdy("exec -i p -- sh -c 'cat | base64 -w0; echo'")
        .input(many_bytes())
        .run()
        .ok();
    let same = cluster
        .kubectl_with("exec -i p -- sh -c 'cat | base64 -w0; echo'")
        .input(many_bytes())
        .run()
        .ok();
    assert!(
        back == same && back.len() > 4_000_000,
        "{} and {} bytes",
        back.len(),
        same.len()
    );
    let cat = cluster
        .kubectl_with("exec -i p -- cat")
        .input("text ".repeat(1_000_000))
        .run()
        .ok();
    assert_eq!(cat.len(), 5_000_000);
    for line in ["exec p -c none -- ls", "attach p -c none"] {
        let said = cluster.kubectl_fails(line);
        assert!(
            said.contains("container none is not valid for pod p")
                || said.contains("container none not found in pod p"),
            "{said}"
        );
    }
    let quiet = "{apiVersion: v1, kind: Pod, metadata: {name: q}, spec: {schedulingGates: [{name: a.b/c}], containers: [{name: main, image: 'busybox:1'}]}}";
    cluster.apply(quiet);
    let said = cluster.kubectl_fails("exec q -- ls");
    assert!(said.contains("pod q does not have a host assigned"), "{said}");
    cluster.remove();
}

#[test]
fn attach_and_run() {
    let Some(cluster) = Cluster::with_images("attach_and_run", &[]) else {
        return;
    };
    cluster.apply(&pod(
        "p",
        "while read l; do echo got $l; done; sleep 3600",
        "",
        "stdin: true",
    ));
    cluster.wait("pod/p", "condition=Ready");
    let mut attach = cluster.watch("attach -i p");
    attach.say("one\n");
    attach.until_contains("got one");
    attach.say("two\n");
    attach.until_contains("got two");
    drop(attach);
    let said = cluster
        .kubectl_with("run once --image=busybox:1 --restart=Never -i --rm --quiet -- cat")
        .input("through\n")
        .run()
        .ok();
    assert!(said.contains("through"), "{said}");
    cluster.remove();
}

#[test]
fn files_are_copied_both_ways() {
    let Some(cluster) = Cluster::with_images("files_are_copied_both_ways", &[]) else {
        return;
    };
    cluster.apply(&pod("p", "sleep 3600", "", ""));
    cluster.wait("pod/p", "condition=Ready");
    let folder = cluster.home.path().join("copied");
    std::fs::create_dir_all(folder.join("deep")).expect("a folder");
    std::fs::write(folder.join("deep/bytes"), many_bytes()).expect("written");
    std::fs::write(folder.join("text"), "hello\n").expect("written");
    cluster.kubectl(&format!("cp {} p:/tmp/there", folder.display()));
    assert_eq!(cluster.kubectl("exec p -- cat /tmp/there/text"), "hello\n");
    let back = cluster.home.path().join("back");
    cluster.kubectl(&format!("cp p:/tmp/there {}", back.display()));
    assert_eq!(
        std::fs::read(back.join("deep/bytes")).expect("the copy"),
        many_bytes()
    );
    cluster.remove();
}

#[test]
fn ports_are_forwarded() {
    let Some(cluster) = Cluster::start("ports_are_forwarded", &[]) else {
        return;
    };
    cluster.build_visits("visits:1");
    cluster.apply(&visits_set("web", 1, ""));
    cluster.rollout("sts/web");
    for (what, websockets) in [
        ("pod/web-0 :8080", "true"),
        ("svc/web :8123", "true"),
        ("sts/web :http", "true"),
        ("pod/web-0 :8080", "false"),
    ] {
        let line = format!("port-forward {what}");
        let command = cluster
            .kubectl_with(&line)
            .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets);
        let mut forward = Watch::start(command.into_command(), &line);
        // `Forwarding from 127.0.0.1:40123 -> 8080`
        let line = forward.until("the port", |line| line.starts_with("Forwarding from 127.0.0.1"));
        let address = words(&line)[2].clone();
        for _ in 0..3 {
            let answer = crate::services::get(&address, "/");
            assert!(answer.contains("web-0 has seen"), "{what}: {answer}");
        }
    }
    cluster.remove();
}

#[test]
fn the_api_leads_to_pods_and_services() {
    let Some(cluster) = Cluster::with_images("the_api_leads_to_pods_and_services", &[]) else {
        return;
    };
    cluster.apply(&visits_set("web", 1, ""));
    cluster.rollout("sts/web");
    let root = "/api/v1/namespaces/default";
    let paths = [
        "pods/web-0",
        "pods/http:web-0:8080",
        "services/web:http",
        "services/web:8123",
    ];
    for path in paths {
        let answer = cluster.kubectl(&format!("get --raw {root}/{path}/proxy/"));
        assert!(answer.contains("web-0 has seen"), "{path}: {answer}");
    }
    let refused = cluster.kubectl_fails(&format!("get --raw {root}/pods/web-0:1/proxy/"));
    let ip = cluster.jsonpath("pod/web-0", "{.status.podIP}");
    let why = format!("error trying to reach service: dial tcp {ip}:1: connect: connection refused");
    assert!(refused.contains(&why), "{refused}");
    // `Starting to serve on 127.0.0.1:40123`
    let line = "proxy --port=0";
    let mut proxy = Watch::start(cluster.kubectl_with(line).into_command(), line);
    let started = proxy.until("the port", |line| line.starts_with("Starting to serve on"));
    let address = words(&started).last().cloned().unwrap_or_default();
    for path in paths {
        let answer = crate::services::get(&address, &format!("{root}/{path}/proxy/"));
        assert!(answer.contains("web-0 has seen"), "{path}: {answer}");
    }
    let led = crate::services::try_get(&address, &format!("{root}/pods/web-0/proxy"));
    let led = led.expect_err("a redirect");
    let to = format!("{root}/pods/web-0/proxy/");
    assert!(
        led.contains("301 Moved Permanently") && led.contains(&to),
        "{led}"
    );
    cluster.remove();
}
