//! The real program over real connections: what it answers, what it keeps, and how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// One run of the app on a port that the kernel chose.
struct Visits {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    port: u16,
}

impl Visits {
    fn start(dir: &Path, token: &str) -> Self {
        let mut command = command(dir);
        command.env("VISITS_TOKEN", token);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the app starts");
        let mut log = BufReader::new(child.stderr.take().expect("its log is piped"));
        let mut line = String::new();
        while !line.starts_with("listening on") {
            line.clear();
            assert!(
                log.read_line(&mut line).expect("log is text") > 0,
                "the app ended before it listened"
            );
        }
        let port = line
            .trim()
            .rsplit(':')
            .next()
            .and_then(|p| p.parse().ok())
            .expect("the address ends with the port");
        Self { child, log, port }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connected");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a limit for the test");
        stream
    }

    /// One request on a connection of its own: status and body.
    fn ask(&self, request: &str) -> (u16, String) {
        let mut stream = self.connect();
        write!(
            stream,
            "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("answered");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .expect("a status");
        (status, body.to_owned())
    }

    fn terminate(&self) {
        let kill = Command::new("kill")
            .arg("-TERM")
            .arg(self.child.id().to_string())
            .status()
            .expect("kill runs");
        assert!(kill.success());
    }

    fn end(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("waited");
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).expect("log is text");
        (status, rest)
    }
}

impl Drop for Visits {
    fn drop(&mut self) {
        // Already ended in the tests that pass; a failed test must not leave it behind.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_visits"));
    command
        .env("PORT", "0")
        .env("POD_NAME", "web-visits-0")
        .env("VISITS_FILE", dir.join("visits.txt"))
        .env("SETTINGS_FILE", dir.join("settings"))
        .stderr(Stdio::piped());
    command
}

/// Reads one answer with a content-length from a connection that stays open.
fn read_answer(stream: &mut BufReader<TcpStream>) -> (String, String) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(
            stream.read_line(&mut head).expect("readable") > 0,
            "closed after {head:?}"
        );
    }
    let length = head
        .lines()
        .find_map(|l| l.strip_prefix("content-length: "))
        .and_then(|l| l.parse().ok())
        .expect("a length");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("the whole body");
    (head, String::from_utf8(body).expect("text"))
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn visits_are_counted_shown_and_survive_a_restart() {
    let dir = folder();
    let app = Visits::start(dir.path(), "s3cret");
    assert_eq!(app.ask("GET /healthz"), (200, "ok\n".to_owned()));
    assert_eq!(
        app.ask("GET /"),
        (200, "Hello! web-visits-0 has seen 1 visit\n".to_owned())
    );
    assert_eq!(
        app.ask("GET /?again"),
        (200, "Hello! web-visits-0 has seen 2 visits\n".to_owned())
    );
    let (status, shown) = app.ask("GET /visits");
    assert_eq!((status, shown.lines().count()), (200, 2));
    for line in shown.lines() {
        line.parse::<jiff::Timestamp>().expect("RFC 3339");
    }
    app.terminate();
    let (status, log) = app.end();
    assert_eq!(
        (status.code(), log.as_str()),
        (Some(0), "SIGTERM: all requests are finished, bye\n")
    );

    std::fs::write(dir.path().join("settings"), "greeting=Good day!\n").expect("written");
    let app = Visits::start(dir.path(), "s3cret");
    assert_eq!(
        app.ask("GET /"),
        (200, "Good day! web-visits-0 has seen 3 visits\n".to_owned())
    );
    std::fs::write(dir.path().join("settings"), "greeting=Bye!\n").expect("written");
    assert_eq!(
        app.ask("GET /"),
        (200, "Bye! web-visits-0 has seen 4 visits\n".to_owned()),
        "no restart is needed"
    );
    let on_disk = std::fs::read_to_string(dir.path().join("visits.txt")).expect("readable");
    assert_eq!(on_disk.lines().count(), 4);
}

#[test]
fn methods_paths_and_the_token_are_checked() {
    let dir = folder();
    let app = Visits::start(dir.path(), "s3cret");
    assert_eq!(app.ask("GET /nothing").0, 404);
    assert_eq!(app.ask("DELETE /").0, 405);
    assert_eq!(app.ask("GET /reset").0, 405);
    assert_eq!(app.ask("HEAD /"), (200, String::new()));
    assert_eq!(
        app.ask("GET /").1,
        "Hello! web-visits-0 has seen 1 visit\n",
        "HEAD was not a visit"
    );
    assert_eq!(app.ask("POST /reset").0, 401);
    let with = |token: &str| format!("POST /reset HTTP/1.1\r\nAuthorization: Bearer {token}\r\nX-Ignore:");
    assert_eq!(app.ask(&with("wrong")).0, 401);
    assert_eq!(
        app.ask(&with("s3cret")),
        (200, "web-visits-0 starts again\n".to_owned())
    );
    assert_eq!(app.ask("GET /").1, "Hello! web-visits-0 has seen 1 visit\n");

    let off = Visits::start(folder().path(), "");
    assert_eq!(off.ask(&with("")).0, 403, "no Secret, no reset");
}

#[test]
fn a_connection_serves_many_requests_and_ends_at_once_on_sigterm() {
    let dir = folder();
    let app = Visits::start(dir.path(), "");
    let mut stream = BufReader::new(app.connect());
    for count in 1..=3 {
        stream
            .get_mut()
            .write_all(b"GET / HTTP/1.1\r\n\r\n")
            .expect("sent");
        let (head, body) = read_answer(&mut stream);
        assert!(head.contains("connection: keep-alive"), "{head}");
        assert!(body.contains(&format!("seen {count} visit")), "{body}");
    }
    // Two requests in one packet, the connection stays idle after them, and SIGTERM does not wait for it.
    stream
        .get_mut()
        .write_all(b"GET /healthz HTTP/1.1\r\n\r\nHEAD /healthz HTTP/1.1\r\n\r\n")
        .expect("sent");
    assert_eq!(read_answer(&mut stream).1, "ok\n");
    app.terminate();
    let (status, log) = app.end();
    assert_eq!(
        (status.code(), log.contains("all requests are finished")),
        (Some(0), true),
        "{log}"
    );
}

#[test]
fn requests_that_have_arrived_are_answered_after_sigterm() {
    let dir = folder();
    let app = Visits::start(dir.path(), "");
    let streams: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = app.connect();
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
            BufReader::new(stream)
        })
        .collect();
    app.terminate();
    for mut stream in streams {
        assert!(read_answer(&mut stream).1.contains("web-visits-0 has seen"));
    }
    let (status, log) = app.end();
    assert!(status.success());
    assert!(
        log.ends_with("SIGTERM: all requests are finished, bye\n"),
        "{log}"
    );
}

#[test]
fn under_the_name_tail_it_shows_the_end_of_the_file() {
    let dir = folder();
    let tools = dir.path().join("tools");
    std::fs::create_dir(&tools).expect("made");
    let mut child = command(dir.path());
    child.env("TOOLS_DIR", &tools).env("PATH", &tools);
    let app = Visits::spawn(child);
    for _ in 0..3 {
        app.ask("GET /");
    }
    let tail = Command::new(tools.join("tail"))
        .args(["-n", "2"])
        .arg(dir.path().join("visits.txt"))
        .output();
    let shown = String::from_utf8(tail.expect("the link runs").stdout).expect("text");
    assert_eq!(
        Some(shown.as_str()),
        app.ask("GET /visits").1.split_once('\n').map(|(_, rest)| rest)
    );
}

#[test]
fn a_mistake_ends_the_start_with_its_reason() {
    let dir = folder();
    std::fs::write(dir.path().join("settings"), "color=red\n").expect("written");
    let output = command(dir.path()).output().expect("runs");
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(
        log.ends_with("settings: line 1: unknown setting \"color\"; known: greeting\n"),
        "{log}"
    );
}
