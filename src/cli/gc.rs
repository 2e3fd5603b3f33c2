//! `regsweep gc`: collects garbage now.
//!
//! It prints the results. How a collection works is in `crate::gc`.

use anyhow::Context as _;
use serde_json::json;

use super::args::{GcArguments, OutputFormat, Selection};
use super::exit::Exit;
use super::progress::RegistryProgress;
use super::session::{Session, clock, open_registries, open_state, select};
use super::signals;
use super::table::{bytes, count};
use crate::config::{Config, Env, Registry};
use crate::report::{CollectionOutcome, CollectionReport, collection_document};
use crate::run::{Cancellation, GraceMode, blocked, collect, recover, scan_and_plan};
use crate::state::State;

/// Why a registry is not collected after a signal.
const STOPPED: &str = "nothing was collected: regsweep was asked to stop";

pub(super) async fn gc(config: &Config, arguments: &GcArguments, env: Env<'_>) -> anyhow::Result<Exit> {
    let selection = Selection { registry: arguments.registry.clone(), repository: Vec::new() };
    let registries = select(config, &selection)?;
    let format = arguments.output.format;
    let state = match open_state(config) {
        Ok(state) => state,
        Err(error) => {
            let has_gc = |registry: &&&Registry| registry.gc.is_some();
            for registry in registries.iter().filter(has_gc).filter(|_| format == OutputFormat::Json) {
                print_document(&registry.name, &not_collected(error.to_string()));
            }
            return Err(error);
        }
    };
    let sessions = open_registries(config, &selection, None, Some(&state))?;
    anyhow::ensure!(
        !arguments.registry.is_empty() || sessions.iter().any(|session| session.registry.gc.is_some()),
        "no registry has a `gc` in the configuration: add one to collect garbage"
    );
    let mut exit = Exit::Success;
    for session in sessions.iter().filter(|session| session.registry.gc.is_none()) {
        let name = &session.registry.name;
        if arguments.registry.contains(name) {
            let error = "it has no `gc` in the configuration: add one to collect garbage";
            print_failure(name, error.to_owned(), format);
            exit = Exit::Failed;
        }
    }
    let cancellation = Cancellation::default();
    let _watcher = signals::watch(&cancellation)?;
    for session in sessions.iter().filter(|session| session.registry.gc.is_some()) {
        let name = &session.registry.name;
        match collect_one(session, &state, env, arguments, &cancellation).await {
            Ok(Some(collected)) => {
                if format == OutputFormat::Json {
                    print_document(name, &collected);
                    exit = exit.worse(exit_of(&collected));
                } else {
                    exit = exit.worse(print_collection(name, &collected));
                }
            }
            Ok(None) => {}
            Err(error) => {
                print_failure(name, format!("{error:#}"), format);
                exit = exit.worse(Exit::Failed);
            }
        }
    }
    Ok(exit)
}

async fn collect_one(
    session: &Session<'_>,
    state: &State,
    env: Env<'_>,
    arguments: &GcArguments,
    cancellation: &Cancellation,
) -> anyhow::Result<Option<CollectionReport>> {
    let Some(collector) = session.collector(env)? else { return Ok(None) };
    let collector = if arguments.force { collector.without_minimum() } else { collector };
    let context = session.registry_context(None);
    // Never cancelled: a registry that a collection left stopped must be restarted first.
    recover(context, &collector, state, &clock).await?;
    anyhow::ensure!(!cancellation.runs.is_cancelled(), STOPPED);
    let grace = if arguments.no_grace { GraceMode::Overridden } else { GraceMode::Enforced };
    let blocked = cancellation
        .runs
        .run_until_cancelled(blocked(context, state, grace, clock()))
        .await
        .context(STOPPED)?;
    if let Some(why) = blocked? {
        return Ok(Some(CollectionReport::skipped(clock(), why.to_string())));
    }
    let progress = RegistryProgress::new(&session.registry.name);
    let found = cancellation
        .runs
        .run_until_cancelled(scan_and_plan(context, &progress, async |_| Ok(None)))
        .await
        .context(STOPPED)??;
    drop(progress);
    Ok(Some(collect(context, &collector, state, &found.retained, cancellation, &clock).await?))
}

/// Reports why there was no collection.
fn print_failure(registry: &str, error: String, format: OutputFormat) {
    print_error!("{registry}: {error}");
    if format == OutputFormat::Json {
        print_document(registry, &not_collected(error));
    }
}

fn not_collected(error: String) -> CollectionReport {
    CollectionReport { outcome: CollectionOutcome::Failed, ..CollectionReport::skipped(clock(), error) }
}

fn print_document(registry: &str, collected: &CollectionReport) {
    let mut document = collection_document(collected);
    document["version"] = json!(1);
    document["registry"] = json!(registry);
    print_line!("{document}");
}

/// Prints the result of a collection.
pub(super) fn print_collection(registry: &str, collected: &CollectionReport) -> Exit {
    let error = collected.error.as_deref().unwrap_or_default();
    match collected.outcome {
        CollectionOutcome::Success => print_line!(
            "{registry}: collected {}, {}; the registry was down for {:.1} s",
            count(collected.blobs, "blob", "blobs"),
            bytes(collected.bytes),
            collected.downtime.as_secs_f64()
        ),
        CollectionOutcome::Skipped => print_line!("{registry}: nothing was collected: {error}"),
        CollectionOutcome::Failed if collected.downtime.is_zero() => {
            print_error!("{registry}: the collection failed: {error}");
        }
        CollectionOutcome::Failed => print_error!(
            "{registry}: the collection failed, and the registry was down for {:.1} s: {error}",
            collected.downtime.as_secs_f64()
        ),
    }
    exit_of(collected)
}

pub(super) fn exit_of(collected: &CollectionReport) -> Exit {
    match collected.outcome {
        CollectionOutcome::Success | CollectionOutcome::Skipped => Exit::Success,
        CollectionOutcome::Failed => Exit::Failed,
    }
}
