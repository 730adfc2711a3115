//! Commands with a limit. One that fails, or does not end, fails the test with all that it said.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// No command of a test takes longer; kubectl's own waits have their own, shorter limits.
const LIMIT: Duration = Duration::from_secs(90);

/// What a command did.
#[derive(Debug)]
pub struct Run {
    pub command: String,
    pub stdout: String,
    pub stderr: String,
    pub status: ExitStatus,
    pub took: Duration,
}

impl Run {
    /// Its standard output; fails the test unless it succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.status.success(), "{}", self.report("failed"));
        self.stdout
    }

    /// Its standard error; fails the test if it succeeded.
    #[track_caller]
    pub fn fails(self) -> String {
        assert!(!self.status.success(), "{}", self.report("should have failed"));
        self.stderr
    }

    pub fn report(&self, what: &str) -> String {
        let mut text = format!(
            "`{}` {what} ({}, {:.1} s)",
            self.command,
            self.status,
            self.took.as_secs_f64()
        );
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !stream.is_empty() {
                write!(text, "\n--- {name}\n{}", stream.trim_end()).expect("a string");
            }
        }
        text
    }
}

/// Splits a line as a shell would, as far as words and single quotes go.
pub fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut begun) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            '\'' => (quoted, begun) = (!quoted, true),
            c if c.is_whitespace() && !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            c => {
                word.push(c);
                begun = true;
            }
        }
    }
    assert!(!quoted, "an open quote in: {line}");
    if begun {
        words.push(word);
    }
    words
}

/// A command, not run yet.
pub struct Prepared {
    command: Command,
    shown: String,
    input: Vec<u8>,
    limit: Duration,
}

pub fn prepare<S: AsRef<OsStr>>(program: &Path, args: impl IntoIterator<Item = S>) -> Prepared {
    let mut command = Command::new(program);
    let mut shown = program
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    for arg in args {
        write!(shown, " {}", arg.as_ref().to_string_lossy()).expect("a string");
        command.arg(arg);
    }
    Prepared {
        command,
        shown,
        input: Vec::new(),
        limit: LIMIT,
    }
}

impl Prepared {
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// By way of a shell that does this first: `umask 077`.
    pub fn after(mut self, prelude: &str) -> Self {
        let mut shell = Command::new("/bin/bash");
        shell
            .args(["-c", &format!("{prelude}; exec \"$0\" \"$@\"")])
            .arg(self.command.get_program())
            .args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            shell.env(name, value.unwrap_or_default());
        }
        self.command = shell;
        self
    }

    /// For those who talk to it while it runs.
    pub fn into_command(self) -> Command {
        self.command
    }

    pub fn run(mut self) -> Run {
        let began = Instant::now();
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start `{}`: {e}", self.shown));
        let mut stdin = child.stdin.take().expect("piped");
        let mut input = std::mem::take(&mut self.input);
        // kubectl before 1.35 takes a manifest that begins with a brace for JSON, whatever follows.
        if self.shown.contains("-f -") && input.trim_ascii_start().first() == Some(&b'{') {
            input.splice(0..0, *b"---\n");
        }
        // Who does not read its input is not in the wrong.
        std::thread::spawn(move || stdin.write_all(&input).ok());
        let stdout = collect(child.stdout.take().expect("piped"));
        let stderr = collect(child.stderr.take().expect("piped"));
        let ended = super::host::wait_for_end(child.id() as i32, self.limit);
        if !ended {
            child.kill().expect("killed");
        }
        let status = child.wait().expect("ended");
        // A daemon that it started may keep a pipe open: what has come is what counts.
        let grace = Duration::from_secs(2);
        let run = Run {
            command: self.shown,
            stdout: stdout.recv_timeout(grace).unwrap_or_default(),
            stderr: stderr.recv_timeout(grace).unwrap_or_default(),
            status,
            took: began.elapsed(),
        };
        assert!(ended, "{}", run.report("did not end in time and was killed"));
        run
    }
}

fn collect(mut stream: impl Read + Send + 'static) -> std::sync::mpsc::Receiver<String> {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("a pipe");
        send.send(String::from_utf8_lossy(&bytes).into_owned()).ok();
    });
    receive
}

#[test]
fn words_are_split_as_a_shell_does() {
    assert_eq!(
        words("get po  -l 'a in (b)' -o jsonpath='{.x y}' ''"),
        ["get", "po", "-l", "a in (b)", "-o", "jsonpath={.x y}", ""]
    );
}
