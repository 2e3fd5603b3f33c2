//! `regsweep run`: do what the plan says, once, and collect.

use std::path::Path;

use futures_util::future::join_all;

use super::Exit;
use super::args::{CONFIG, Form, RunArguments};
use super::bars::Bar;
use super::gc::{exit_of, print_collection};
use super::narrowed::Narrowed;
use super::plan::{LEFT_ALONE, Listing, summary, troubles};
use super::session::{clock, open, selected, state};
use super::signals;
use super::table::count;
use crate::config::{Config, Env};
use crate::report::{Outcome, RunReport, Trouble, no_run_document, run_document};
use crate::run::{self, Error, LimitMode, RunOptions, RunResult, Stop, recover};

pub(super) async fn run(
    config: &Config,
    path: &Path,
    arguments: &RunArguments,
    env: Env<'_>,
) -> anyhow::Result<Exit> {
    let registries = selected(config, &arguments.selection)?;
    let form = arguments.output.form;
    let state = match state(config) {
        Ok(state) => state,
        Err(error) => {
            let (now, text) = (clock(), error.to_string());
            let trouble = Trouble { text: &text, kind: Some("state") };
            for registry in registries.iter().filter(|_| form == Form::Json) {
                let document = no_run_document(None, &registry.name, now, Outcome::Failed, trouble);
                print_line!("{document}");
            }
            return Err(error);
        }
    };
    let sessions = open(config, &arguments.selection, None, Some(&state))?;
    let narrowed = Narrowed::to(&arguments.selection.repository);
    let limits = if arguments.override_limits { LimitMode::Overridden } else { LimitMode::Enforced };
    let stop = Stop::default();
    let watcher = signals::watch(&stop)?;
    let runs = sessions.iter().map(async |session| {
        let collector = session.collector(env)?;
        let options =
            RunOptions { state: &state, collector: collector.as_ref(), limits, stop: &stop, clock: &clock };
        let context = session.registry_context(narrowed.only());
        if let Some(collector) = &collector {
            recover(context, collector, &state, &clock).await?;
        }
        match run::run(context, &options, &Bar::among(&session.registry.name, &narrowed)).await {
            Err(error @ Error::Stopped) => Ok(Ended::Stopped(error)),
            run_result => anyhow::Ok(Ended::Itself(Box::new(run_result?))),
        }
    });
    let runs = join_all(runs).await;
    drop(watcher);
    let mut exit = Exit::Done;
    let whole = runs.iter().all(|run| matches!(run, Ok(Ended::Itself(_))));
    for (session, result) in sessions.iter().zip(runs) {
        let name = &session.registry.name;
        let now = session.registry_context(None).now;
        let nothing = |outcome, text: &str, kind| {
            if form == Form::Json {
                let trouble = Trouble { text, kind };
                let run = state.run_that_began(name, now).ok().flatten();
                print_line!("{}", no_run_document(run, name, now, outcome, trouble));
            }
        };
        match result {
            Ok(Ended::Itself(run_result)) => exit = exit.and(print(&run_result, form, path)),
            Ok(Ended::Stopped(error)) => {
                nothing(Outcome::Interrupted, &error.to_string(), Some(error.kind()));
                print_error!("{name}: {error}");
                exit = exit.and(Exit::Failed);
            }
            Err(error) => {
                let kind = error.downcast_ref::<Error>().map(Error::kind);
                nothing(Outcome::Failed, &format!("{error:#}"), kind);
                print_error!("{name}: {error:#}");
                exit = exit.and(Exit::Failed);
            }
        }
    }
    // Nobody knows what is in a registry that could not be read.
    Ok(if whole { exit.and(narrowed.complain()) } else { exit })
}

/// What a run came to that did not fail.
enum Ended {
    Itself(Box<RunResult>),
    /// Somebody asked for it before anything was done.
    Stopped(Error),
}

fn print(run_result: &RunResult, form: Form, path: &Path) -> Exit {
    let exit = print_run(run_result, form);
    if form == Form::Table {
        print_line!("{}", how_to_undo(run_result, path));
    }
    if let (Some(until), Form::Table) = (run_result.held_back, form) {
        print_line!(
            "{}: gc.grace holds the collection back until {}; until then what was deleted can be undone (`regsweep history`)",
            run_result.report.registry,
            until.format("%F %T UTC"),
        );
    }
    match &run_result.collected {
        Some(collected) if form == Form::Table => {
            exit.and(print_collection(&run_result.report.registry, collected))
        }
        Some(collected) => exit.and(exit_of(collected)),
        None => exit,
    }
}

fn print_run(run_result: &RunResult, form: Form) -> Exit {
    let RunResult { run, scanned, report, collected, .. } = run_result;
    let plan = &scanned.plan;
    match form {
        Form::Json => print_line!("{}", run_document(*run, report, plan, collected.as_ref())),
        Form::Table => {
            let mut listing = Listing::new(false);
            plan.repositories.iter().for_each(|repository| listing.add(repository));
            if let Some(text) = listing.text() {
                print_line!("{text}");
            }
            print_line!("{}", summary(plan, scanned.unclaimed));
            for skipped in &report.skipped {
                let what = skipped.tag.as_ref().map_or_else(|| skipped.digest.short(), |tag| tag.as_str());
                print_line!(
                    "{}: {} {what} was left alone: {}",
                    report.registry,
                    skipped.repository,
                    skipped.why
                );
            }
            print_line!("{}", done(report, collected.is_some()));
        }
    }
    let fate = if report.applied { "" } else { LEFT_ALONE };
    let exit = troubles(&report.registry, fate, &report.failures, &report.refusals);
    match &report.cut_off {
        Some(why) => {
            print_error!("{}: {why}", report.registry);
            exit.and(Exit::Failed)
        }
        None => exit,
    }
}

/// The number of the run, and the command that takes it back.
fn how_to_undo(run_result: &RunResult, path: &Path) -> String {
    let RunResult { run, report, collected, .. } = run_result;
    let text = format!("{}: this was run {run}", report.registry);
    if report.deleted.iter().all(|deleted| deleted.already_gone) && report.untagged.is_empty() {
        return text;
    }
    let config =
        if path == Path::new(CONFIG) { String::new() } else { format!(" --config {}", quoted(path)) };
    let swept = collected.as_ref().is_some_and(|collected| collected.blobs > 0);
    let which = if swept { "put back what is left of what it deleted" } else { "put back what it deleted" };
    format!("{text}; to {which}: regsweep undo {run}{config}")
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |one: char| one.is_ascii_alphanumeric() || "/._-+:,@".contains(one);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn done(report: &RunReport, collected: bool) -> String {
    if !report.applied {
        return format!(
            "{}: nothing was deleted, because the mode is plan; set `mode: enforce` to carry plans out",
            report.registry
        );
    }
    let mut text =
        format!("{}: deleted {}", report.registry, count(report.deleted.len(), "manifest", "manifests"));
    if !report.untagged.is_empty() {
        text += &format!(", removed {} alone", count(report.untagged.len(), "tag", "tags"));
    }
    if !report.deleted.is_empty() && !collected {
        text += "; the registry frees their bytes when its garbage collector runs";
    }
    text
}
