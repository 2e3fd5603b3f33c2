//! Lines on standard output and standard error. Where nobody reads them any more, a command that only looks
//! ends, as other tools do. One that changes something goes on: it may have stopped a registry, and a terminal can be
//! closed at any time.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write, stderr, stdout};
use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a shell tells of a program that SIGPIPE has ended, which ends most tools at a closed pipe. Rust's programs
/// ignore the signal, for it would come for every connection, too.
const CLOSED_PIPE: i32 = 141;

/// Whether a closed pipe ends this command.
static ENDS: AtomicBool = AtomicBool::new(false);
/// Whether something could not be printed that was asked for.
static LOST: AtomicBool = AtomicBool::new(false);

/// A line on standard output.
macro_rules! print_line {
    ($($text:tt)*) => { $crate::cli::output::line(format_args!($($text)*)) };
}

/// A line on standard error.
macro_rules! print_error {
    ($($text:tt)*) => { $crate::cli::output::error(format_args!($($text)*)) };
}

/// A line on standard error that nothing failed for, yet that people should know.
macro_rules! print_warning {
    ($($text:tt)*) => { $crate::cli::output::error(format_args!("warning: {}", format_args!($($text)*))) };
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

pub(super) fn error(text: Arguments<'_>) {
    // There is nobody left to tell.
    let _ = writeln!(stderr().lock(), "{text}");
}

/// Whether something for standard output is lost that somebody may wait for.
pub(super) fn is_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

fn failed(error: &io::Error) {
    if error.kind() != ErrorKind::BrokenPipe {
        // Said once: the next line fails as well.
        if !LOST.swap(true, Ordering::Relaxed) {
            print_error!("error: standard output cannot be written: {error}");
        }
    } else if ENDS.load(Ordering::Relaxed) {
        exit(CLOSED_PIPE);
    }
}
