//! libcontainer says why something failed only in its tracing events. In the child that creates a container these
//! go into a pipe, and the first one becomes the error's text: the innermost cause is logged first.

use std::fmt::Write;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};

use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

use super::fds;

/// Less than a pipe takes without blocking.
const LINE_LIMIT_BYTES: usize = 2000;
const READ_LIMIT_BYTES: usize = 64 << 10;

pub struct Details {
    reader: OwnedFd,
}

struct ErrorsToPipe(OwnedFd);

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, ", {name}: {value:?}"),
        };
        debug_assert!(written.is_ok(), "writing to a string does not fail");
    }
}

impl Subscriber for ErrorsToPipe {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let mut line = format!("{}{}", text.message, text.fields)
            .replace('\n', " ")
            .into_bytes();
        line.truncate(LINE_LIMIT_BYTES);
        line.push(b'\n');
        if nix::unistd::write(&self.0, &line).is_err() {
            // The pipe is full of earlier, and better, causes.
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

impl Details {
    /// For this process and those that it forks.
    pub fn collect() -> std::io::Result<Self> {
        let (reader, writer) = fds::pipe()?;
        fds::set_nonblocking(reader.as_raw_fd(), true)?;
        fds::set_nonblocking(writer.as_raw_fd(), true)?;
        tracing::subscriber::set_global_default(ErrorsToPipe(writer)).map_err(std::io::Error::other)?;
        Ok(Self { reader })
    }

    /// What came until now.
    pub fn first(self) -> Option<String> {
        let mut text = vec![0; READ_LIMIT_BYTES];
        let count = std::fs::File::from(self.reader).read(&mut text).ok()?;
        let text = String::from_utf8_lossy(&text[..count]);
        text.lines().find(|line| !line.is_empty()).map(str::to_owned)
    }
}
