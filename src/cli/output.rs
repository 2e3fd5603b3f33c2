//! Lines on standard output and standard error. That nobody reads them must not end a command half way: it may
//! have stopped a registry, and a terminal can be closed at any time.

use std::fmt::Arguments;
use std::io::{Write as _, stderr, stdout};
use std::sync::atomic::{AtomicBool, Ordering};

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

pub(super) fn line(text: Arguments<'_>) {
    if writeln!(stdout().lock(), "{text}").is_err() {
        LOST.store(true, Ordering::Relaxed);
    }
}

pub(super) fn error(text: Arguments<'_>) {
    // There is nobody left to tell.
    let _ = writeln!(stderr().lock(), "{text}");
}

/// Whether a line for standard output is lost.
pub(super) fn is_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}
