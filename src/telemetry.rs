//! The log: its destination, format and level.

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

/// Fields whose values [`crate::report::listed`] writes as JSON. All others are strings, because their text can come from
/// a registry.
const LISTS: [&str; 4] = ["tags", "moved", "rules", "reasons"];

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Plain text.
    Text,
    /// One JSON object per line, with stable field names.
    Json,
}

/// Who reads the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// The caller of a command, who also sees its output.
    Caller,
    /// The operator of the service.
    Operator,
}

/// Sends the log to standard error. `filter` is the value of `RUST_LOG`. Without it, the caller of a command sees only
/// errors on a terminal, because tables and progress bars show the rest.
pub fn start(format: LogFormat, filter: Option<&str>, audience: Audience) {
    let terminal = std::io::stderr().is_terminal();
    let default = match (audience, terminal, format) {
        (Audience::Caller, true, LogFormat::Text) => "error",
        // The scheduler logs its internals at level info.
        _ => "info,tokio_cron_scheduler=warn",
    };
    let filter = EnvFilter::new(filter.unwrap_or(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Otherwise an error of standard error would be written to standard error, which panics.
    let builder = builder.log_internal_errors(false);
    let result = match format {
        LogFormat::Text => builder.with_ansi(terminal).with_target(false).try_init(),
        LogFormat::Json => builder.event_format(JsonLines).try_init(),
    };
    // An error means that another log is installed already, which happens only inside another program.
    drop(result);
}

/// A message that is not a log event, as a line of the JSON log.
pub fn json_line(level: Level, message: &str) -> String {
    line(level, &Fields(vec![("message", message.into())]))
}

/// One object per line: the time, the level, and the fields of the event.
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
    // Writing to a string does not fail, and the value is valid JSON.
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

/// The fields of an event, in their order.
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        // The origin of records of other libraries, which our own events do not have either.
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
