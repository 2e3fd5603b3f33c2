//! `regsweep plan`: what a run would do, and why.

use std::time::Duration;

use comfy_table::Cell;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::Exit;
use super::args::{Form, PlanArguments};
use super::bars::Bar;
use super::session::{Session, open};
use super::table::{age, bytes, count, right, table, tags, verdict, why};
use crate::config::Config;
use crate::engine::{Survey, survey};
use crate::plan::{Failure, Plan, Refusal, RepositoryPlan, Verdict};
use crate::policy::Patterns;
use crate::registry::Traffic;
use crate::report::plan_document;

pub(super) async fn plan(config: &Config, arguments: &PlanArguments) -> anyhow::Result<Exit> {
    let sessions = open(config, &arguments.selection, arguments.at)?;
    let only = arguments.selection.only();
    let plans = join_all(sessions.iter().map(|session| look(session, only.as_ref()))).await;
    let mut exit = Exit::Done;
    for (session, (result, taken)) in sessions.iter().zip(plans) {
        let name = &session.registry.name;
        match result {
            Ok(survey) => {
                exit = exit.and(print(&survey, arguments, session.reader.traffic(), taken));
            }
            Err(error) => {
                eprintln!("error: {name}: {error}");
                exit = exit.and(Exit::Failed);
            }
        }
    }
    Ok(exit)
}

async fn look(
    session: &Session<'_>,
    only: Option<&Patterns>,
) -> (Result<Survey, crate::engine::Error>, Duration) {
    let begin = Instant::now();
    let bar = Bar::new(&session.registry.name);
    let survey = survey(session.site(only), &bar, async |_| Ok(())).await;
    (survey, begin.elapsed())
}

fn print(survey: &Survey, arguments: &PlanArguments, traffic: Traffic, taken: Duration) -> Exit {
    let plan = &survey.plan;
    match arguments.output.form {
        Form::Json => println!("{}", plan_document(plan)),
        Form::Table => {
            if let Some(text) = listing(plan, arguments.all) {
                println!("{text}");
            }
            println!("{}", summary(plan, survey.unclaimed));
            println!(
                "{}: read with {} in {:.1} s; this is a plan, and nothing was changed",
                plan.registry,
                count(usize::try_from(traffic.requests).unwrap_or(usize::MAX), "request", "requests"),
                taken.as_secs_f64(),
            );
        }
    }
    troubles(&plan.registry, LEFT_ALONE, &plan.failures, &plan.refusals)
}

/// What becomes of a repository that a plan failed in.
pub(super) const LEFT_ALONE: &str = " is left alone";

/// Says on standard error what stands in the way, and how bad that is. `fate` is what becomes of a
/// repository in which something failed.
pub(super) fn troubles(registry: &str, fate: &str, failures: &[Failure], refusals: &[Refusal]) -> Exit {
    for failure in failures {
        eprintln!("error: {registry}: {}{fate}: {}", failure.repository, failure.error);
    }
    for refusal in refusals {
        eprintln!("refused: {registry}: {refusal}");
    }
    match (failures.is_empty(), refusals.is_empty()) {
        (false, _) => Exit::Failed,
        (true, false) => Exit::Refused,
        (true, true) => Exit::Done,
    }
}

/// What is deleted, or everything, as a table; `None` if there is nothing to show.
pub(super) fn listing(plan: &Plan, all: bool) -> Option<String> {
    let mut rows = table(&["REPOSITORY", "TAGS", "DIGEST", "KIND", "AGE", "SIZE", "VERDICT", "WHY"]);
    for repository in &plan.repositories {
        for planned in &repository.manifests {
            if all || planned.verdict == Verdict::Delete {
                rows.add_row(vec![
                    Cell::new(&repository.repository),
                    Cell::new(tags(&planned.tags)),
                    Cell::new(planned.digest.short()),
                    Cell::new(planned.kind),
                    right(age(planned.age)),
                    right(bytes(planned.bytes)),
                    Cell::new(held(repository, verdict(planned.verdict))),
                    Cell::new(why(planned)),
                ]);
            }
        }
        for untag in &repository.untag {
            rows.add_row(vec![
                Cell::new(&repository.repository),
                Cell::new(&untag.tag),
                Cell::new(untag.digest.short()),
                Cell::new("tag"),
                right(String::new()),
                right(String::new()),
                Cell::new(held(repository, "untag")),
                Cell::new(format!("rule {} no longer keeps it; its manifest stays", untag.rule)),
            ]);
        }
    }
    (!rows.is_empty()).then(|| rows.to_string())
}

fn held(repository: &RepositoryPlan, verdict: &str) -> String {
    if repository.held_back && verdict != "keep" { format!("({verdict})") } else { verdict.to_owned() }
}

/// The sums of a plan in a sentence or two.
pub(super) fn summary(plan: &Plan, unclaimed: usize) -> String {
    let totals = plan.totals();
    let mut text = format!(
        "{}: {} of {} in {} expired, up to {}",
        plan.registry,
        totals.delete,
        count(totals.manifests, "manifest", "manifests"),
        count(totals.repositories, "repository", "repositories"),
        bytes(totals.expired_bytes),
    );
    if totals.untag > 0 {
        text += &format!("; {} to remove alone", count(totals.untag, "tag", "tags"));
    }
    let held: Vec<&RepositoryPlan> =
        plan.repositories.iter().filter(|repository| repository.held_back && !repository.is_idle()).collect();
    if !held.is_empty() {
        text += &format!(
            "; {} held back by the mode of the policy",
            count(held.len(), "repository", "repositories")
        );
    }
    if unclaimed > 0 {
        text +=
            &format!("; {} that no policy claims left alone", count(unclaimed, "repository", "repositories"));
    }
    let ghosts: usize = plan.repositories.iter().map(|repository| repository.ghosts.len()).sum();
    if ghosts > 0 {
        text += &format!("; {} without a manifest", count(ghosts, "tag", "tags"));
    }
    text
}
