//! Arguments as they are typed.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::policy::{Pattern, Patterns};
use crate::run::TimeArgument;
use crate::telemetry::LogFormat;

/// Where the configuration is unless something else is said.
pub(super) const CONFIG: &str = "/etc/regsweep/config.yaml";

/// Retention for container registries: YAML rules become exactly the right deletions.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done, 1 something failed, 2 wrong usage, 3 refused by a limit, \
78 bad configuration, 141 nobody reads the output"
)]
pub(super) struct Arguments {
    /// The configuration file
    #[arg(long, global = true, env = "REGSWEEP_CONFIG", default_value = CONFIG)]
    pub(super) config: PathBuf,
    /// The form of log lines on standard error; how much is logged is up to RUST_LOG
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub(super) log_format: LogFormat,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check the configuration and say everything that is wrong with it
    Check(CheckArguments),
    /// Show what a run would do, and why; nothing is changed
    Plan(PlanArguments),
    /// Do what the plan says, once, and collect afterwards where the configuration says so
    Run(RunArguments),
    /// Have registries free the bytes of what was deleted, now
    Gc(GcArguments),
    /// Run by the schedule of the configuration, and show metrics, health and a page
    Serve,
    /// Ask the service on this machine whether it is well
    Health(HealthArguments),
    /// List what registries hold: tags, digests, ages, sizes
    Ls(LsArguments),
    /// Tell every reason for and against one image
    Explain(ExplainArguments),
    /// List past runs and what they deleted
    History(HistoryArguments),
    /// Put back what a run deleted, as far as the registry still has its blobs
    Undo(UndoArguments),
}

/// Whether a command line that makes no sense asks for JSON on standard error all the same.
pub(super) fn asks_for_json(words: impl Iterator<Item = OsString>) -> bool {
    let words: Vec<OsString> = words.collect();
    words.iter().any(|word| word == "--log-format=json")
        || words.windows(2).any(|pair| pair[0] == "--log-format" && pair[1] == "json")
}

impl Command {
    /// Whether it changes nothing that it could leave half done.
    pub(super) fn only_looks(&self) -> bool {
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
    /// Also ask each registry whether it answers and deletes, and look whether what collects for it is there; nothing is
    /// deleted or stopped
    #[arg(long)]
    pub(super) connect: bool,
    /// The form of what --connect prints; JSON is one document a line for each registry
    #[arg(long = "output", short = 'o', value_enum, default_value = "table", requires = "connect")]
    pub(super) form: Form,
}

#[derive(Debug, Args)]
pub(super) struct PlanArguments {
    #[command(flatten)]
    pub(super) selection: Selection,
    #[command(flatten)]
    pub(super) output: Output,
    #[command(flatten)]
    pub(super) remembering: Remembering,
    /// Plan as of another moment, such as 2026-01-31T12:00:00Z, or the beginning of a day, such as 2026-01-31
    #[arg(long, value_name = "TIME", value_parser = TimeArgument::parse)]
    pub(super) at: Option<TimeArgument>,
    /// Show what is kept, too
    #[arg(long)]
    pub(super) all: bool,
}

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    pub(super) selection: Selection,
    #[command(flatten)]
    pub(super) output: Output,
    /// Go beyond the limits of the configuration this once
    #[arg(long)]
    pub(super) override_limits: bool,
}

#[derive(Debug, Args)]
pub(super) struct GcArguments {
    /// Only this registry, by its name in the configuration; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(super) registry: Vec<String>,
    /// Collect even if gc.grace holds it back; what is collected cannot be put back any more
    #[arg(long)]
    pub(super) no_grace: bool,
    /// Collect even if that frees less than gc.min_reclaimable
    #[arg(long)]
    pub(super) force: bool,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Debug, Args)]
pub(super) struct HealthArguments {
    /// Whether it is ready, too: every registry reached, no run overdue
    #[arg(long)]
    pub(super) ready: bool,
}

#[derive(Debug, Args)]
pub(super) struct LsArguments {
    #[command(flatten)]
    pub(super) selection: Selection,
    #[command(flatten)]
    pub(super) output: Output,
    #[command(flatten)]
    pub(super) remembering: Remembering,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    /// [REGISTRY/]REPOSITORY:TAG or [REGISTRY/]REPOSITORY@DIGEST; REGISTRY by its name or its host, DIGEST also by the
    /// 12 characters that tables print
    pub(super) image: String,
    #[command(flatten)]
    pub(super) output: Output,
    #[command(flatten)]
    pub(super) remembering: Remembering,
    /// Judge as of another moment, or the beginning of a day
    #[arg(long, value_name = "TIME", value_parser = TimeArgument::parse)]
    pub(super) at: Option<TimeArgument>,
}

#[derive(Debug, Args)]
pub(super) struct HistoryArguments {
    /// Only this run
    pub(super) run: Option<i64>,
    /// Only this registry, by its name in the configuration
    #[arg(long, value_name = "NAME")]
    pub(super) registry: Option<String>,
    /// Only repositories whose whole name matches; may be repeated
    #[arg(long, value_name = "REGEX", value_parser = Pattern::parse)]
    pub(super) repository: Vec<Pattern>,
    /// Only runs that began at this time or later, such as 2026-01-31T12:00:00Z, or on this day or later, such
    /// as 2026-01-31; days are those of `timezone` in the configuration
    #[arg(long, value_name = "TIME", value_parser = TimeArgument::parse)]
    pub(super) since: Option<TimeArgument>,
    /// Only runs that began at this time or earlier, or on this day or earlier
    #[arg(long, value_name = "TIME", value_parser = TimeArgument::parse)]
    pub(super) until: Option<TimeArgument>,
    /// At most this many runs, the latest ones
    #[arg(long, value_name = "N", default_value = "20")]
    pub(super) limit: u32,
    #[command(flatten)]
    pub(super) output: Output,
}

impl HistoryArguments {
    pub(super) fn only(&self) -> Option<Patterns> {
        (!self.repository.is_empty()).then(|| Patterns::new(self.repository.clone()))
    }
}

#[derive(Debug, Args)]
pub(super) struct UndoArguments {
    /// The run, by its number in `regsweep history`
    pub(super) run: i64,
    /// Only this image of it, with what belongs to it: REPOSITORY:TAG or REPOSITORY@DIGEST, which may be the 12
    /// characters that tables print
    pub(super) image: Option<String>,
    #[command(flatten)]
    pub(super) output: Output,
}

/// Which part of all registries is meant.
#[derive(Debug, Args)]
pub(super) struct Selection {
    /// Only this registry, by its name in the configuration; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(super) registry: Vec<String>,
    /// Only repositories whose whole name matches; may be repeated
    #[arg(long, value_name = "REGEX", value_parser = Pattern::parse)]
    pub(super) repository: Vec<Pattern>,
}

/// What a command that only looks needs of what earlier ones have seen.
#[derive(Debug, Args)]
pub(super) struct Remembering {
    /// Fail if the state in `state_dir` is not there or cannot be read, instead of judging ages without it
    #[arg(long)]
    pub(super) require_state: bool,
}

#[derive(Debug, Args)]
pub(super) struct Output {
    /// The form of what is printed; JSON is one document a line for each registry
    #[arg(long = "output", short = 'o', value_enum, default_value = "table")]
    pub(super) form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    Table,
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
