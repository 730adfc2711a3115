//! What goes in and out of containers: exec, attach, logs, ports, use.

use std::time::Duration;

use node::runtime::logs::{self, LogOptions};
use node::runtime::{AttachStreams, ExecSession, ExecSpec, LogRotation, Runtime, RuntimeError, TerminalSize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{LIMIT, World};

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

/// A dump that is taken by `kubectl run -i` must be whole, however slow its reader is.
#[tokio::test(flavor = "multi_thread")]
async fn several_can_attach_and_each_gets_all() {
    let world = World::new().await;
    world.pod("p1").await;
    let mut spec = world.shell(
        "p1",
        "main",
        "while read line; do echo \"< $line\"; [ $line = go ] && yes | head -c 3000000; done; echo bye",
    );
    (spec.stdin, spec.stdin_once) = (true, true);
    world.runtime.start_container(&spec).await.expect("start");
    let listens = AttachStreams {
        stdout: true,
        ..AttachStreams::default()
    };
    let mut slow = world.runtime.attach(&spec.id, listens).await.expect("attach");
    let gone = world.runtime.attach(&spec.id, listens).await.expect("attach");
    let all = AttachStreams {
        stdin: true,
        stdout: true,
        stderr: true,
    };
    let mut session = world.runtime.attach(&spec.id, all).await.expect("attach");
    let mut stdin = session.stdin.take().expect("stdin");
    stdin.write_all(b"hello\ngo\n").await.expect("write");
    drop(stdin);
    let mut reader = session.stdout.take().expect("stdout");
    let quick = tokio::spawn(async move {
        let mut out = String::new();
        reader.read_to_string(&mut out).await.map(|_| out)
    });
    let mut out = String::new();
    let mut reader = slow.stdout.take().expect("stdout");
    out.push(char::from(reader.read_u8().await.expect("read")));
    // Who leaves is waited for no more; who only does not read is.
    drop(gone);
    assert!(!quick.is_finished(), "nobody gets ahead of a slow one by much");
    let rest = tokio::time::timeout(LIMIT, reader.read_to_string(&mut out)).await;
    rest.expect("in time").expect("read");
    let quick = quick.await.expect("no panic").expect("read");
    for out in [quick, out] {
        assert!(out.starts_with("< hello\n< go\ny\n") && out.ends_with("y\nbye\n"));
        assert_eq!(out.len(), 3_000_000 + "< hello\n< go\nbye\n".len());
    }
    assert_eq!(world.exit(&spec.id).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_attacher_has_not_read_outlives_the_pod() {
    let world = World::new().await;
    world.pod("p1").await;
    let mut spec = world.shell("p1", "main", "read line; yes | head -c 100000; echo end");
    (spec.stdin, spec.stdin_once) = (true, true);
    world.runtime.start_container(&spec).await.expect("start");
    let streams = AttachStreams {
        stdin: true,
        stdout: true,
        stderr: false,
    };
    let mut session = world.runtime.attach(&spec.id, streams).await.expect("attach");
    let mut stdin = session.stdin.take().expect("stdin");
    stdin.write_all(b"go\n").await.expect("write");
    assert_eq!(world.exit(&spec.id).await.code, 0);
    world.runtime.remove_pod("p1").await.expect("remove");
    let mut out = String::new();
    let mut reader = session.stdout.take().expect("stdout");
    reader.read_to_string(&mut out).await.expect("read");
    assert_eq!((out.len(), out.ends_with("y\nend\n")), (100_004, true));
}

/// LONG: one container serves all ways of running something in it.
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
        "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo hello | nc -l -p 80; sleep 1000",
    );
    world.runtime.start_container(&spec).await.expect("start");
    let connected = tokio::time::timeout(LIMIT, async {
        loop {
            match world.runtime.dial("p1", 80).await {
                Ok(stream) => return stream,
                // pause: a listener in a container cannot be awaited from here.
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
