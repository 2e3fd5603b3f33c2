//! `regsweep run`: do what the plan says, once.

use futures_util::future::join_all;

use super::Exit;
use super::args::{Form, RunArguments};
use super::bars::Bar;
use super::plan::{listing, summary, troubles};
use super::session::{Session, open};
use super::table::count;
use crate::config::Config;
use crate::engine::{self, Limits, Stop, Survey, apply, survey};
use crate::policy::{Mode, Patterns};
use crate::registry::Ready;
use crate::report::{Outcome, RunReport, run_document};

pub(super) async fn run(config: &Config, arguments: &RunArguments) -> anyhow::Result<Exit> {
    let sessions = open(config, &arguments.selection, None)?;
    let only = arguments.selection.only();
    let limits = if arguments.override_limits { Limits::Overridden } else { Limits::Respected };
    let stop = Stop::default();
    let watcher = tokio::spawn(watch_signals(stop.clone()));
    let runs = sessions.iter().map(|session| carry_out(config, session, only.as_ref(), limits, &stop));
    let runs = join_all(runs).await;
    watcher.abort();
    let mut exit = Exit::Done;
    for (session, result) in sessions.iter().zip(runs) {
        match result {
            Ok((survey, report)) => exit = exit.and(print(&survey, &report, arguments.output.form)),
            Err(error) => {
                eprintln!("error: {}: {error}", session.registry.name);
                exit = exit.and(Exit::Failed);
            }
        }
    }
    Ok(exit)
}

async fn carry_out(
    config: &Config,
    session: &Session<'_>,
    only: Option<&Patterns>,
    limits: Limits,
    stop: &Stop,
) -> Result<(Survey, RunReport), engine::Error> {
    let bar = Bar::new(&session.registry.name);
    let site = session.site(only);
    match config.mode {
        Mode::Plan => {
            let survey = survey(site, &bar, async |_| Ok(())).await?;
            let report = RunReport::of_plan(&survey.plan);
            Ok((survey, report))
        }
        Mode::Enforce => {
            let deleter = session.reader.deleter();
            let ready = async |repository: &_| match deleter.ready(repository).await? {
                Ready::Yes => Ok(()),
                Ready::No(why) => Err(engine::Error::NotReady(why)),
            };
            let survey = survey(site, &bar, ready).await?;
            let report = apply(site, &survey, &deleter, limits, stop, &bar).await;
            Ok((survey, report))
        }
    }
}

fn print(survey: &Survey, report: &RunReport, form: Form) -> Exit {
    let plan = &survey.plan;
    match form {
        Form::Json => println!("{}", run_document(report, plan)),
        Form::Table => {
            if let Some(text) = listing(plan, false) {
                println!("{text}");
            }
            println!("{}", summary(plan, survey.unclaimed));
            for spared in &report.spared {
                let what = spared.tag.as_ref().map_or_else(|| spared.digest.short(), |tag| tag.as_str());
                println!("{}: {} {what} was left alone: {}", report.registry, spared.repository, spared.why);
            }
            println!("{}", done(report));
        }
    }
    if !report.applied {
        return troubles(plan);
    }
    for failure in &report.failures {
        eprintln!("error: {}: {}: {}", report.registry, failure.repository, failure.error);
    }
    for refusal in &report.refusals {
        eprintln!("refused: {}: {refusal}", report.registry);
    }
    match report.outcome() {
        Outcome::Success => Exit::Done,
        Outcome::Refused => Exit::Refused,
        Outcome::Partial | Outcome::Failed | Outcome::Skipped => Exit::Failed,
    }
}

fn done(report: &RunReport) -> String {
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
    if !report.deleted.is_empty() {
        text += "; the registry frees their bytes when its garbage collector runs";
    }
    text
}

/// Turns the first interrupt or termination into a stop between two deletions.
async fn watch_signals(stop: Stop) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = terminate.recv() => {}
        result = tokio::signal::ctrl_c() => {
            if result.is_err() {
                return;
            }
        }
    }
    eprintln!("stopping after the deletion under way");
    stop.request();
}
