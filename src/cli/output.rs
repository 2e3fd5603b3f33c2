//! Lines on standard output and standard error. Where nobody reads them any more, a command that only looks
//! ends, as other tools do. One that changes something goes on: it may have stopped a registry, and a terminal can be
//! closed at any time.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write, stderr, stdout};
use std::panic::set_hook;
use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::Level;

use crate::telemetry;

/// What a shell tells of a program that SIGPIPE has ended, which ends most tools at a closed pipe. Rust's programs
/// ignore the signal, for it would come for every connection, too.
const CLOSED_PIPE: i32 = 141;

/// Whether a closed pipe ends this command.
static ENDS: AtomicBool = AtomicBool::new(false);
/// Whether every line on standard error is JSON.
static JSON: AtomicBool = AtomicBool::new(false);
/// Whether something could not be printed that was asked for.
static LOST: AtomicBool = AtomicBool::new(false);

/// A line on standard output.
macro_rules! print_line {
    ($($text:tt)*) => { $crate::cli::output::line(format_args!($($text)*)) };
}

/// A line on standard error: something failed.
macro_rules! print_error {
    ($($text:tt)*) => { $crate::cli::output::tell($crate::cli::output::Saying::Error, format_args!($($text)*)) };
}

/// A line on standard error: nothing failed, yet people should know.
macro_rules! print_warning {
    ($($text:tt)*) => { $crate::cli::output::tell($crate::cli::output::Saying::Warning, format_args!($($text)*)) };
}

/// A line on standard error that says what goes on.
macro_rules! print_note {
    ($($text:tt)*) => { $crate::cli::output::tell($crate::cli::output::Saying::Note, format_args!($($text)*)) };
}

/// What is said on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Saying {
    /// What has failed.
    Error,
    /// What was not done, in words that say so themselves.
    Problem,
    /// What people should know.
    Warning,
    /// What goes on.
    Note,
}

/// Standard output.
pub(super) struct Out;

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        stdout().write(bytes).inspect_err(failed)
    }

    fn flush(&mut self) -> io::Result<()> {
        stdout().flush().inspect_err(failed)
    }
}

/// From now on every line on standard error is JSON, also one about a panic.
pub(super) fn tell_json() {
    JSON.store(true, Ordering::Relaxed);
    set_hook(Box::new(|panic| print_error!("{panic}")));
}

/// Whether every line on standard error is JSON.
pub(super) fn is_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// From now on a closed pipe ends the program: it changes nothing that it would leave half done.
pub(super) fn end_at_a_closed_pipe() {
    ENDS.store(true, Ordering::Relaxed);
}

pub(super) fn line(text: Arguments<'_>) {
    // In one piece, so that no two lines get mixed up.
    if let Err(error) = writeln!(stdout().lock(), "{text}") {
        failed(&error);
    }
}

pub(super) fn tell(saying: Saying, text: Arguments<'_>) {
    let level = match saying {
        Saying::Error | Saying::Problem => Level::ERROR,
        Saying::Warning => Level::WARN,
        Saying::Note => Level::INFO,
    };
    let line = match saying {
        _ if is_json() => telemetry::json_line(level, &text.to_string()),
        Saying::Error => format!("error: {text}"),
        Saying::Warning => format!("warning: {text}"),
        Saying::Problem | Saying::Note => text.to_string(),
    };
    // There is nobody left to tell if this fails.
    let _ = writeln!(stderr().lock(), "{line}");
}

/// Whether something for standard output is lost that somebody may wait for.
pub(super) fn is_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

fn failed(error: &io::Error) {
    if error.kind() != ErrorKind::BrokenPipe {
        // Said once: the next line fails as well.
        if !LOST.swap(true, Ordering::Relaxed) {
            print_error!("standard output cannot be written: {error}");
        }
    } else if ENDS.load(Ordering::Relaxed) {
        exit(CLOSED_PIPE);
    }
}
