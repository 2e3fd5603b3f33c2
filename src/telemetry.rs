//! Logs: where they go, in which form, and how much of them.

use std::fmt;
use std::io::IsTerminal as _;

use clap::ValueEnum;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Fields whose values are written as JSON by [`crate::report::listed`]. All others are taken by their word, for they
/// can come from a registry.
const LISTS: [&str; 4] = ["tags", "moved", "rules", "reasons"];

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Plain text.
    Text,
    /// One JSON object per line, with stable field names.
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
        LogFormat::Json => builder.event_format(JsonLines).try_init(),
    };
    // Somebody else's logs are running already, which only happens inside another program.
    drop(result);
}

/// What is no event of the log, as a line among its JSON lines.
pub fn json_line(level: Level, message: &str) -> String {
    line(level, &Fields(vec![("message", message.into())]))
}

/// One object a line: the time, the level, and what the event says, each by its name.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields(Vec::new());
        event.record(&mut fields);
        writeln!(writer, "{}", line(*event.metadata().level(), &fields))
    }
}

fn line(level: Level, fields: &Fields) -> String {
    let mut time = String::new();
    // Writing to memory does not fail, and what is written is JSON.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    serde_json::to_string(&Line { time, level, fields }).unwrap_or_default()
}

struct Line<'a> {
    time: String,
    level: Level,
    fields: &'a Fields,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("timestamp", &self.time)?;
        line.serialize_entry("level", self.level.as_str())?;
        for (name, value) in &self.fields.0 {
            line.serialize_entry(name, value)?;
        }
        line.end()
    }
}

/// What an event says, in its order.
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        // Where records of other libraries come from is not said of our own events either.
        if !field.name().starts_with("log.") {
            self.0.push((field.name().trim_start_matches("r#"), value));
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        let list = LISTS.contains(&field.name()).then(|| serde_json::from_str(&text).ok()).flatten();
        self.add(field, list.unwrap_or_else(|| text.into()));
    }
}
