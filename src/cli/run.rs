//! `regsweep run`: do what the plan says, once, and collect.

use futures_util::future::join_all;

use super::Exit;
use super::args::{Form, RunArguments};
use super::bars::Bar;
use super::gc::{exit_of, print_collection};
use super::plan::{LEFT_ALONE, Listing, summary, troubles};
use super::session::{clock, open, state};
use super::signals;
use super::table::count;
use crate::config::{Config, Env};
use crate::engine::{Conducted, Error, Limits, Means, Stop, Survey, conduct, recover};
use crate::report::{Collected, RunReport, run_document};

pub(super) async fn run(config: &Config, arguments: &RunArguments, env: Env<'_>) -> anyhow::Result<Exit> {
    let state = state(config)?;
    let sessions = open(config, &arguments.selection, None, Some(&state))?;
    let only = arguments.selection.only();
    let limits = if arguments.override_limits { Limits::Overridden } else { Limits::Respected };
    let stop = Stop::default();
    let watcher = signals::watch(&stop)?;
    let runs = sessions.iter().map(async |session| {
        let collector = session.collector(env)?;
        let means =
            Means { state: &state, collector: collector.as_ref(), limits, stop: &stop, clock: &clock };
        let site = session.site(only.as_ref());
        if let Some(collector) = &collector {
            recover(site, collector, &state, &clock).await?;
        }
        match conduct(site, &means, &Bar::new(&session.registry.name)).await {
            Err(error @ Error::Stopped) => {
                print_error!("error: {}: {error}", session.registry.name);
                Ok(None)
            }
            conducted => anyhow::Ok(Some(conducted?)),
        }
    });
    let runs = join_all(runs).await;
    drop(watcher);
    let mut exit = Exit::Done;
    for (session, result) in sessions.iter().zip(runs) {
        match result {
            Ok(Some(conducted)) => exit = exit.and(print(&conducted, arguments.output.form)),
            // It has been said.
            Ok(None) => exit = exit.and(Exit::Failed),
            Err(error) => {
                print_error!("error: {}: {error:#}", session.registry.name);
                exit = exit.and(Exit::Failed);
            }
        }
    }
    Ok(exit)
}

fn print(conducted: &Conducted, form: Form) -> Exit {
    let exit = print_run(&conducted.survey, &conducted.report, form, conducted.collected.as_ref());
    if let (Some(until), Form::Table) = (conducted.held_back, form) {
        print_line!(
            "{}: gc.grace holds the collection back until {}; until then what was deleted can be undone (`regsweep history`)",
            conducted.report.registry,
            until.format("%F %T UTC"),
        );
    }
    match &conducted.collected {
        Some(collected) if form == Form::Table => {
            exit.and(print_collection(&conducted.report.registry, collected))
        }
        Some(collected) => exit.and(exit_of(collected)),
        None => exit,
    }
}

fn print_run(survey: &Survey, report: &RunReport, form: Form, collected: Option<&Collected>) -> Exit {
    let plan = &survey.plan;
    match form {
        Form::Json => print_line!("{}", run_document(report, plan, collected)),
        Form::Table => {
            let mut listing = Listing::new(false);
            plan.repositories.iter().for_each(|repository| listing.add(repository));
            if let Some(text) = listing.text() {
                print_line!("{text}");
            }
            print_line!("{}", summary(plan, survey.unclaimed));
            for spared in &report.spared {
                let what = spared.tag.as_ref().map_or_else(|| spared.digest.short(), |tag| tag.as_str());
                print_line!(
                    "{}: {} {what} was left alone: {}",
                    report.registry,
                    spared.repository,
                    spared.why
                );
            }
            print_line!("{}", done(report, collected.is_some()));
        }
    }
    let fate = if report.applied { "" } else { LEFT_ALONE };
    let exit = troubles(&report.registry, fate, &report.failures, &report.refusals);
    match &report.cut_off {
        Some(why) => {
            print_error!("error: {}: {why}", report.registry);
            exit.and(Exit::Failed)
        }
        None => exit,
    }
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
