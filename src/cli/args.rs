//! Arguments as they are typed, and the help texts.
//!
//! It reads no configuration: names of registries are checked later.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::policy::{Pattern, Patterns};
use crate::run::TimeArgument;
use crate::telemetry::LogFormat;

/// The default path of the configuration file.
pub(super) const CONFIG: &str = "/etc/regsweep/config.yaml";

/// Exit codes, printed below the help of the program.
const EXIT_CODES: &str = "\
Exit codes:
  0    Success
  1    A failure, described on standard error
  2    Wrong usage
  3    Refused by a limit, or because the registry may hide tags
  78   Invalid configuration
  141  Standard output was closed before a read-only command had finished";

/// The heading of the options that every command has.
const GLOBAL: &str = "Global options";

/// Apply retention rules from a YAML file to container registries.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub(super) struct Arguments {
    /// Read the configuration from this file
    #[arg(long, value_name = "FILE", global = true, help_heading = GLOBAL, env = "REGSWEEP_CONFIG", default_value = CONFIG)]
    pub(super) config: PathBuf,
    /// Write messages and logs on standard error in this format; RUST_LOG sets the log level (default: error on
    /// a terminal, otherwise info)
    #[arg(long, value_name = "FORMAT", global = true, help_heading = GLOBAL, value_enum, default_value = "text")]
    pub(super) log_format: LogFormat,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check the configuration and report every problem in it
    Check(CheckArguments),
    /// Show what a run would delete and why, without changing anything
    Plan(PlanArguments),
    /// Carry out the plan once, then collect garbage if a `gc` is configured
    Run(RunArguments),
    /// Collect garbage now: have registries free the bytes of deleted images
    Gc(GcArguments),
    /// Run on the configured schedule and serve metrics, health checks and a status page
    Serve,
    /// Ask the service on this machine whether it is healthy
    Health(HealthArguments),
    /// List repositories with their tags, digests, ages and sizes
    Ls(LsArguments),
    /// Explain the verdict on one image: every reason for and against it
    Explain(ExplainArguments),
    /// List past runs and what they deleted
    History(HistoryArguments),
    /// Restore what a run deleted, as far as the registry still has its blobs
    Undo(UndoArguments),
}

/// Whether an invalid command line asks for JSON on standard error. The parser has given up by then.
pub(super) fn asks_for_json(arguments: impl Iterator<Item = OsString>) -> bool {
    let arguments: Vec<OsString> = arguments.collect();
    arguments.iter().any(|argument| argument == "--log-format=json")
        || arguments.windows(2).any(|pair| pair[0] == "--log-format" && pair[1] == "json")
}

impl Command {
    /// Whether it only reads, so that it can be ended at any time.
    pub(super) fn is_read_only(&self) -> bool {
        match self {
            Self::Check(_)
            | Self::Plan(_)
            | Self::Health(_)
            | Self::Ls(_)
            | Self::Explain(_)
            | Self::History(_) => true,
            Self::Run(_) | Self::Gc(_) | Self::Serve | Self::Undo(_) => false,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// Also check that each registry answers and allows deletion, and that its garbage collection is set up; nothing
    /// is deleted or stopped
    #[arg(long)]
    pub(super) connect: bool,
    /// Print the results of --connect in this format
    #[arg(
        long = "output",
        short = 'o',
        value_name = "FORMAT",
        value_enum,
        default_value = "table",
        requires = "connect"
    )]
    pub(super) format: OutputFormat,
}

#[derive(Debug, Args)]
pub(super) struct PlanArguments {
    #[command(flatten)]
    pub(super) selection: Selection,
    #[command(flatten)]
    pub(super) output: OutputArguments,
    #[command(flatten)]
    pub(super) state: StateArguments,
    /// Plan as of this moment (2026-01-31T12:00:00Z), or the start of this day (2026-01-31) [default: now]
    #[arg(long, value_name = "TIME", value_parser = TimeArgument::parse)]
    pub(super) at: Option<TimeArgument>,
    /// Show kept images, too
    #[arg(long)]
    pub(super) all: bool,
}

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    pub(super) selection: Selection,
    #[command(flatten)]
    pub(super) output: OutputArguments,
    /// Override the configured limits for this run
    #[arg(long)]
    pub(super) override_limits: bool,
}

#[derive(Debug, Args)]
pub(super) struct GcArguments {
    /// Collect only in this registry, by its name in the configuration; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(super) registry: Vec<String>,
    /// Collect even while `gc.grace` has not passed; what is collected cannot be restored
    #[arg(long)]
    pub(super) no_grace: bool,
    /// Collect even if that frees less than `gc.min_reclaimable`
    #[arg(long)]
    pub(super) force: bool,
    #[command(flatten)]
    pub(super) output: OutputArguments,
}

#[derive(Debug, Args)]
pub(super) struct HealthArguments {
    /// Ask whether the service is ready as well: every registry answers and no run is overdue
    #[arg(long)]
    pub(super) ready: bool,
}

#[derive(Debug, Args)]
pub(super) struct LsArguments {
    #[command(flatten)]
    pub(super) selection: Selection,
    #[command(flatten)]
    pub(super) output: OutputArguments,
    #[command(flatten)]
    pub(super) state: StateArguments,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    /// Explain this image: [REGISTRY/]REPOSITORY:TAG or [REGISTRY/]REPOSITORY@DIGEST, where REGISTRY is a name or a host
    /// and the first 12 digits of DIGEST are enough
    pub(super) image: String,
    #[command(flatten)]
    pub(super) output: OutputArguments,
    #[command(flatten)]
    pub(super) state: StateArguments,
    /// Explain as of this moment (2026-01-31T12:00:00Z), or the start of this day (2026-01-31) [default: now]
    #[arg(long, value_name = "TIME", value_parser = TimeArgument::parse)]
    pub(super) at: Option<TimeArgument>,
}

#[derive(Debug, Args)]
pub(super) struct HistoryArguments {
    /// Show only the run with this number
    pub(super) run: Option<i64>,
    /// Show only runs of this registry, by its name in the configuration
    #[arg(long, value_name = "NAME")]
    pub(super) registry: Option<String>,
    /// Show only deletions in repositories whose whole name matches; may be repeated
    #[arg(long, value_name = "REGEX", value_parser = Pattern::parse)]
    pub(super) repository: Vec<Pattern>,
    /// Show only runs that began at or after this moment (2026-01-31T12:00:00Z) or day (2026-01-31, in the configured
    /// `timezone`)
    #[arg(long, value_name = "TIME", value_parser = TimeArgument::parse)]
    pub(super) since: Option<TimeArgument>,
    /// Show only runs that began at or before this moment, or on or before this day
    #[arg(long, value_name = "TIME", value_parser = TimeArgument::parse)]
    pub(super) until: Option<TimeArgument>,
    /// Show at most this many runs, the latest ones
    #[arg(long, value_name = "N", default_value = "20")]
    pub(super) limit: u32,
    #[command(flatten)]
    pub(super) output: OutputArguments,
}

impl HistoryArguments {
    pub(super) fn repositories(&self) -> Option<Patterns> {
        (!self.repository.is_empty()).then(|| Patterns::new(self.repository.clone()))
    }
}

#[derive(Debug, Args)]
pub(super) struct UndoArguments {
    /// Undo the run with this number, as `regsweep history` lists it
    pub(super) run: i64,
    /// Restore only this image with its children and referrers: REPOSITORY:TAG or REPOSITORY@DIGEST, of which the
    /// first 12 digits are enough
    pub(super) image: Option<String>,
    #[command(flatten)]
    pub(super) output: OutputArguments,
}

/// The registries and repositories that a command applies to.
#[derive(Debug, Args)]
pub(super) struct Selection {
    /// Use only this registry, by its name in the configuration; may be repeated [default: all]
    #[arg(long, value_name = "NAME")]
    pub(super) registry: Vec<String>,
    /// Use only repositories whose whole name matches; may be repeated [default: all]
    #[arg(long, value_name = "REGEX", value_parser = Pattern::parse)]
    pub(super) repository: Vec<Pattern>,
}

/// How a read-only command uses the state that earlier runs have left.
#[derive(Debug, Args)]
pub(super) struct StateArguments {
    /// Fail if the state in `state_dir` is missing or cannot be read, instead of working out ages without it
    #[arg(long)]
    pub(super) require_state: bool,
}

#[derive(Debug, Args)]
pub(super) struct OutputArguments {
    /// Print in this format
    #[arg(long = "output", short = 'o', value_name = "FORMAT", value_enum, default_value = "table")]
    pub(super) format: OutputFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    /// Fitted to the width of a terminal; wide where standard output is no terminal
    Table,
    /// One line per row, however long; nothing is cut
    Wide,
    /// One JSON document per line, as described in docs/json.md
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
