//! `regsweep run`: carries out the plan once, then collects garbage.
//!
//! It prints what a run did. How a run works is in `crate::run`.

use std::path::Path;

use futures_util::future::join_all;

use super::args::{CONFIG, OutputFormat, RunArguments};
use super::exit::Exit;
use super::filter::RepositoryFilter;
use super::gc::{exit_of, print_collection};
use super::plan::{PlanTable, SKIPPED, print_problems, summary};
use super::progress::RegistryProgress;
use super::session::{Session, clock, open_registries, open_state, select};
use super::signals;
use super::table::{count, fit};
use crate::config::{Config, Env};
use crate::report::{Outcome, RunReport, Trouble, no_run_document, run_document};
use crate::run::{self, Cancellation, Error, LimitMode, RunOptions, RunResult, recover};
use crate::state::State;

pub(super) async fn run(
    config: &Config,
    path: &Path,
    arguments: &RunArguments,
    env: Env<'_>,
) -> anyhow::Result<Exit> {
    let registries = select(config, &arguments.selection)?;
    let format = arguments.output.format;
    let state = open_state(config).inspect_err(|error| {
        for registry in registries.iter().filter(|_| format == OutputFormat::Json) {
            let text = error.to_string();
            let trouble = Trouble { text: &text, kind: Some("state") };
            print_line!("{}", no_run_document(None, &registry.name, clock(), Outcome::Failed, trouble));
        }
    })?;
    let sessions = open_registries(config, &arguments.selection, None, Some(&state))?;
    let filter = RepositoryFilter::new(&arguments.selection.repository);
    let limits = if arguments.override_limits { LimitMode::Overridden } else { LimitMode::Enforced };
    let cancellation = Cancellation::default();
    let watcher = signals::watch(&cancellation)?;
    let runs = sessions.iter().map(async |session| {
        let collector = session.collector(env)?;
        let collector = collector.as_ref();
        let options =
            RunOptions { state: &state, collector, limits, cancellation: &cancellation, clock: &clock };
        run_one(session, &options, &filter).await
    });
    let runs = join_all(runs).await;
    drop(watcher);
    let mut exit = Exit::Success;
    let all_read = runs.iter().all(|run| matches!(run, Ok(Ended::Normally(_))));
    for (session, result) in sessions.iter().zip(runs) {
        exit = exit.worse(match result {
            Ok(Ended::Normally(run_result)) => print(&run_result, format, path),
            Ok(Ended::Stopped(error)) => {
                let (text, kind) = (error.to_string(), Some(error.kind()));
                print_no_run(session, &state, format, Outcome::Interrupted, Trouble { text: &text, kind })
            }
            Err(error) => {
                let (text, kind) = (format!("{error:#}"), error.downcast_ref::<Error>().map(Error::kind));
                print_no_run(session, &state, format, Outcome::Failed, Trouble { text: &text, kind })
            }
        });
    }
    // A registry that could not be read may have a match.
    Ok(if all_read { exit.worse(filter.report_unmatched()) } else { exit })
}

/// Runs on one registry, after it is restarted if an earlier collection left it stopped.
async fn run_one(
    session: &Session<'_>,
    options: &RunOptions<'_>,
    filter: &RepositoryFilter,
) -> anyhow::Result<Ended> {
    let context = session.registry_context(filter.patterns());
    let progress = RegistryProgress::with_filter(&session.registry.name, filter);
    if let Some(collector) = options.collector {
        recover(context, collector, options.state, &clock).await?;
    }
    match run::run(context, options, &progress).await {
        Err(error @ Error::Stopped) => Ok(Ended::Stopped(error)),
        run_result => Ok(Ended::Normally(Box::new(run_result?))),
    }
}

/// Reports that there is no result of a run, and why.
fn print_no_run(
    session: &Session<'_>,
    state: &State,
    format: OutputFormat,
    outcome: Outcome,
    trouble: Trouble<'_>,
) -> Exit {
    let name = &session.registry.name;
    if format == OutputFormat::Json {
        let now = session.registry_context(None).now;
        let run = state.run_that_began(name, now).ok().flatten();
        print_line!("{}", no_run_document(run, name, now, outcome, trouble));
    }
    print_error!("{name}: {}", trouble.text);
    Exit::Failed
}

/// How a run ended that did not fail.
enum Ended {
    Normally(Box<RunResult>),
    /// It was asked to stop before it had deleted anything.
    Stopped(Error),
}

fn print(run_result: &RunResult, format: OutputFormat, path: &Path) -> Exit {
    let exit = print_run(run_result, format);
    if format != OutputFormat::Json {
        print_line!("{}", undo_hint(run_result, path));
    }
    if let (Some(until), OutputFormat::Table) = (run_result.held_back, format) {
        print_line!(
            "{}: no collection before {} (gc.grace); until then the run can be undone",
            run_result.report.registry,
            until.format("%F %T UTC"),
        );
    }
    match &run_result.collected {
        Some(collected) if format == OutputFormat::Table => {
            exit.worse(print_collection(&run_result.report.registry, collected))
        }
        Some(collected) => exit.worse(exit_of(collected)),
        None => exit,
    }
}

fn print_run(run_result: &RunResult, format: OutputFormat) -> Exit {
    let RunResult { run, scanned, report, collected, .. } = run_result;
    let plan = &scanned.plan;
    match format {
        OutputFormat::Json => print_line!("{}", run_document(*run, report, plan, collected.as_ref())),
        OutputFormat::Table | OutputFormat::Wide => {
            let mut table = PlanTable::new(format, false);
            plan.repositories.iter().for_each(|repository| table.add(repository));
            if let Some(text) = table.text() {
                print_line!("{text}");
            }
            print_line!("{}", fit(&summary(plan, scanned.unclaimed), format));
            for skipped in &report.skipped {
                let subject = skipped.tag.as_ref().map_or_else(|| skipped.digest.short(), |tag| tag.as_str());
                print_line!(
                    "{}: {} {subject} was skipped: {}",
                    report.registry,
                    skipped.repository,
                    skipped.why
                );
            }
            print_line!("{}", result(report, collected.is_some()));
        }
    }
    let suffix = if report.applied { "" } else { SKIPPED };
    let exit = print_problems(&report.registry, suffix, &report.failures, &report.refusals);
    match &report.cut_off {
        Some(why) => {
            print_error!("{}: {why}", report.registry);
            exit.worse(Exit::Failed)
        }
        None => exit,
    }
}

/// The number of the run, and the command that undoes it.
fn undo_hint(run_result: &RunResult, path: &Path) -> String {
    let RunResult { run, report, collected, .. } = run_result;
    let text = format!("{}: this was run {run}", report.registry);
    if report.deleted.iter().all(|deleted| deleted.already_gone) && report.untagged.is_empty() {
        return text;
    }
    let config =
        if path == Path::new(CONFIG) { String::new() } else { format!(" --config {}", quoted(path)) };
    let swept = collected.as_ref().is_some_and(|collected| collected.blobs > 0);
    let effect = if swept { "restore what the collection has left" } else { "restore what it deleted" };
    format!("{text}; to {effect}: regsweep undo {run}{config}")
}

/// A path, quoted for a shell where needed.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn result(report: &RunReport, collected: bool) -> String {
    if !report.applied {
        return format!(
            "{}: nothing was deleted, because the mode is plan; set `mode: enforce` to delete",
            report.registry
        );
    }
    let mut text =
        format!("{}: deleted {}", report.registry, count(report.deleted.len(), "manifest", "manifests"));
    if !report.untagged.is_empty() {
        text += &format!(", removed {} from kept images", count(report.untagged.len(), "tag", "tags"));
    }
    if !report.deleted.is_empty() && !collected {
        text += "; the next garbage collection frees the bytes";
    }
    text
}
