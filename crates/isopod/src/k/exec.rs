//! `exec`: a command's streams over a WebSocket, whose first byte of a message names the stream.

use super::args::Exec;
use super::logs::{container_of, pod_of};
use super::resources::{query, text};
use super::{Session, error};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use kinds::pod::PODS;
use nix::sys::termios::{self, SetArg, Termios};
use serde_json::{Value, json};
use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

const PROTOCOL: &str = "v5.channel.k8s.io";
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;
const PIECE_BYTES: usize = 16 * 1024;
/// Pieces of standard input on their way; a slow command slows its input down.
const QUEUE: usize = 16;

pub async fn exec(session: &Session, args: &Exec) -> Result<ExitCode> {
    let pod = pod_of(session, &args.target).await?;
    let container = container_of(&pod, args.container.as_deref())?;
    let tty = args.tty && args.stdin && std::io::stdin().is_terminal();
    if args.tty && !tty {
        eprintln!("Unable to use a TTY - input is not a terminal or the right kind of file");
    }
    let mut pairs = vec![("container", container), ("stdout", "true".into())];
    for (key, on) in [("stdin", args.stdin), ("stderr", !tty), ("tty", tty)] {
        if on {
            pairs.push((key, "true".into()));
        }
    }
    pairs.extend(args.command.iter().map(|word| ("command", word.clone())));
    let kind = session.discovery.resolve(PODS.plural)?;
    let path = kind.object(&session.namespace, text(&pod, "/metadata/name"));
    let path = format!("{path}/exec{}", query(&pairs));
    let upgraded = session.client.upgrade(&path, PROTOCOL).await?;
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await;
    let _raw = if tty { Some(RawTerminal::enter()?) } else { None };
    run(socket, args.stdin, tty).await
}

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

async fn run(socket: Socket, stdin: bool, tty: bool) -> Result<ExitCode> {
    let (mut out, mut input) = socket.split();
    let mut typed = if stdin { read_stdin() } else { mpsc::channel(1).1 };
    let mut open = stdin;
    let mut resized = signal(SignalKind::window_change())?;
    if tty && let Some(size) = size_message() {
        out.send(size).await?;
    }
    loop {
        tokio::select! {
            piece = typed.recv(), if open => match piece {
                Some(bytes) => out.send(message(STDIN, &bytes)).await?,
                None => {
                    open = false;
                    out.send(Message::binary(vec![CLOSE, STDIN])).await?;
                }
            },
            // ignored: the signal carries nothing
            _ = resized.recv(), if tty => {
                if let Some(size) = size_message() {
                    out.send(size).await?;
                }
            }
            received = input.next() => match received {
                Some(Ok(Message::Binary(data))) => {
                    if let Some(code) = take(&data)? {
                        return Ok(code);
                    }
                }
                Some(Ok(Message::Close(_))) | None => bail!("the connection ended before the command did"),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error).context("the connection to the command broke off"),
            },
        }
    }
}

fn message(channel: u8, bytes: &[u8]) -> Message {
    let mut data = Vec::with_capacity(bytes.len() + 1);
    data.push(channel);
    data.extend_from_slice(bytes);
    Message::binary(data)
}

/// Passes output on; the message about the command's end gives its exit code.
fn take(data: &[u8]) -> Result<Option<ExitCode>> {
    match data.split_first() {
        Some((&STDOUT, bytes)) => {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()?;
        }
        Some((&STDERR, bytes)) => std::io::stderr().write_all(bytes)?,
        Some((&ERROR, bytes)) => return ended(bytes).map(Some),
        _ => {}
    }
    Ok(None)
}

fn ended(status: &[u8]) -> Result<ExitCode> {
    let status: Value = serde_json::from_slice(status).context("the command's end is not told in JSON")?;
    if status["status"] == "Success" {
        return Ok(ExitCode::SUCCESS);
    }
    if status["reason"] == "NonZeroExitCode" {
        let causes = status.pointer("/details/causes").and_then(Value::as_array);
        let code = causes.into_iter().flatten().find(|c| c["reason"] == "ExitCode");
        let code: u8 = code.and_then(|c| text(c, "/message").parse().ok()).unwrap_or(1);
        eprintln!("command terminated with exit code {code}");
        return Ok(ExitCode::from(code));
    }
    Err(error::Failed::from_status(&status).into())
}

/// Standard input can only be read by a thread that waits; it ends with the program.
fn read_stdin() -> mpsc::Receiver<Bytes> {
    let (send, receive) = mpsc::channel(QUEUE);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut piece = [0; PIECE_BYTES];
        loop {
            match input.read(&mut piece) {
                Ok(0) => return,
                Ok(n) => {
                    if send.blocking_send(Bytes::copy_from_slice(&piece[..n])).is_err() {
                        return;
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(%error, "standard input cannot be read");
                    return;
                }
            }
        }
    });
    receive
}

fn size_message() -> Option<Message> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    let text = json!({"Width": size.ws_col, "Height": size.ws_row}).to_string();
    Some(message(RESIZE, text.as_bytes()))
}

/// Keys go to the command as they are typed, until this is dropped.
struct RawTerminal(Termios);

impl RawTerminal {
    fn enter() -> Result<Self> {
        let before =
            termios::tcgetattr(std::io::stdin()).context("the terminal does not tell its settings")?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, &raw).context("the terminal cannot be set")?;
        Ok(Self(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if let Err(error) = termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, &self.0) {
            tracing::warn!(%error, "the terminal stays as it is; say: reset");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_command() {
        let success = ended(br#"{"status":"Success"}"#).expect("ended");
        assert_eq!(format!("{success:?}"), format!("{:?}", ExitCode::SUCCESS));
        let status = br#"{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}"#;
        assert_eq!(
            format!("{:?}", ended(status).expect("ended")),
            format!("{:?}", ExitCode::from(7))
        );
        let status = br#"{"status":"Failure","reason":"InternalError","message":"no such file","code":500}"#;
        assert!(ended(status).is_err());
    }
}
