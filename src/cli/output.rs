//! Lines on standard output and standard error, as text or JSON.
//!
//! Once standard output is closed, a read-only command ends, as other tools do. A command that changes something
//! continues: it may have stopped a registry, and a terminal can be closed at any time.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write, stderr, stdout};
use std::panic::set_hook;
use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::Level;

use crate::telemetry;

/// The exit code that a shell reports for a program ended by SIGPIPE, as most tools are at a closed pipe. Rust programs
/// ignore that signal, because it would be sent for connections, too.
const CLOSED_PIPE: i32 = 141;

/// Whether a closed standard output ends this command.
static EXIT_AT_CLOSED_PIPE: AtomicBool = AtomicBool::new(false);
/// Whether every line on standard error is JSON.
static JSON: AtomicBool = AtomicBool::new(false);
/// Whether standard output could not be written.
static WRITE_FAILED: AtomicBool = AtomicBool::new(false);

/// Prints a line on standard output.
macro_rules! print_line {
    ($($text:tt)*) => { $crate::cli::output::line(format_args!($($text)*)) };
}

/// Prints a failure on standard error.
macro_rules! print_error {
    ($($text:tt)*) => { $crate::cli::output::message($crate::cli::output::MessageKind::Error, format_args!($($text)*)) };
}

/// Prints a warning on standard error: nothing failed, but the operator should know.
macro_rules! print_warning {
    ($($text:tt)*) => { $crate::cli::output::message($crate::cli::output::MessageKind::Warning, format_args!($($text)*)) };
}

/// Prints on standard error what the command is doing.
macro_rules! print_note {
    ($($text:tt)*) => { $crate::cli::output::message($crate::cli::output::MessageKind::Note, format_args!($($text)*)) };
}

/// What a message on standard error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageKind {
    /// An error.
    Error,
    /// An error whose text needs no `error: ` before it.
    BareError,
    /// A warning.
    Warning,
    /// What the command is doing.
    Note,
}

/// Standard output, for writers of documents.
pub(super) struct Out;

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        stdout().write(bytes).inspect_err(write_failed)
    }

    fn flush(&mut self) -> io::Result<()> {
        stdout().flush().inspect_err(write_failed)
    }
}

/// Makes every line on standard error JSON, including one about a panic.
pub(super) fn use_json() {
    JSON.store(true, Ordering::Relaxed);
    set_hook(Box::new(|panic| print_error!("{panic}")));
}

/// Whether every line on standard error is JSON.
pub(super) fn is_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// Makes a closed standard output end the program. Only for commands that can be ended at any time.
pub(super) fn exit_at_closed_pipe() {
    EXIT_AT_CLOSED_PIPE.store(true, Ordering::Relaxed);
}

pub(super) fn line(text: Arguments<'_>) {
    // Under one lock, so that lines are never mixed.
    if let Err(error) = writeln!(stdout().lock(), "{text}") {
        write_failed(&error);
    }
}

pub(super) fn message(kind: MessageKind, text: Arguments<'_>) {
    let level = match kind {
        MessageKind::Error | MessageKind::BareError => Level::ERROR,
        MessageKind::Warning => Level::WARN,
        MessageKind::Note => Level::INFO,
    };
    let line = match kind {
        _ if is_json() => telemetry::json_line(level, &text.to_string()),
        MessageKind::Error => format!("error: {text}"),
        MessageKind::Warning => format!("warning: {text}"),
        MessageKind::BareError | MessageKind::Note => text.to_string(),
    };
    // A failure to write to standard error cannot be reported anywhere.
    let _ = writeln!(stderr().lock(), "{line}");
}

/// Whether standard output could not be written, other than because it was closed.
pub(super) fn has_write_failed() -> bool {
    WRITE_FAILED.load(Ordering::Relaxed)
}

fn write_failed(error: &io::Error) {
    if error.kind() != ErrorKind::BrokenPipe {
        // Reported once: the next line fails as well.
        if !WRITE_FAILED.swap(true, Ordering::Relaxed) {
            print_error!("cannot write to standard output: {error}");
        }
    } else if EXIT_AT_CLOSED_PIPE.load(Ordering::Relaxed) {
        exit(CLOSED_PIPE);
    }
}
