//! What a command says on its standard output. A reader that has gone (`isopod ls | head -1`) ends the talk, not the work.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Something could not be said, and somebody might miss it.
static FAILED: AtomicBool = AtomicBool::new(false);

/// `print!` that survives its reader.
macro_rules! out {
    ($($part:tt)*) => { $crate::print::write(format_args!($($part)*)) };
}

/// `println!` that survives its reader.
macro_rules! outln {
    ($($part:tt)*) => { $crate::print::write_line(format_args!($($part)*)) };
}

pub(crate) use {out, outln};

pub fn write(text: Arguments) {
    if let Err(error) = std::io::stdout().lock().write_fmt(text)
        && error.kind() != ErrorKind::BrokenPipe
        && !FAILED.swap(true, Ordering::Relaxed)
    {
        eprintln!("isopod: cannot write to the standard output: {error}");
    }
}

pub fn write_line(text: Arguments) {
    write(format_args!("{text}\n"));
}

pub fn has_failed() -> bool {
    FAILED.load(Ordering::Relaxed)
}
