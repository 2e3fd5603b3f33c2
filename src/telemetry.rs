//! Logs: where they go, in which form, and how much of them.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line, with stable field names.
    Json,
}

/// Who reads the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Somebody who called a command and sees on the terminal what it prints.
    Caller,
    /// Somebody who looks after the service.
    Operator,
}

/// Sends logs to standard error. `filter` is what `RUST_LOG` says; without it a caller sees only errors
/// on a terminal, since tables and progress tell the rest there.
pub fn start(format: LogFormat, filter: Option<&str>, audience: Audience) {
    let terminal = std::io::stderr().is_terminal();
    let default = match (audience, terminal, format) {
        (Audience::Caller, true, LogFormat::Text) => "error",
        // The scheduler tells of its own workings at every start.
        _ => "info,tokio_cron_scheduler=warn",
    };
    let filter = EnvFilter::new(filter.unwrap_or(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // It would tell of a standard error that cannot be written on standard error, and panic.
    let builder = builder.log_internal_errors(false);
    let result = match format {
        LogFormat::Text => builder.with_ansi(terminal).with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_target(false).try_init(),
    };
    // Somebody else's logs are running already, which only happens inside another program.
    drop(result);
}
