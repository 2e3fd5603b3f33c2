//! `regsweep plan`: what a run would do, and why.

use std::io::{self, BufWriter, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use comfy_table::{Cell, Table};
use futures_util::future::join_all;
use tokio::time::Instant;

use super::Exit;
use super::args::{Form, PlanArguments};
use super::bars::Bar;
use super::narrowed::Narrowed;
use super::output::{self, Saying};
use super::session::{Recalled, Session, open};
use super::table::{age, bytes, count, right, table, tags, verdict, why};
use crate::config::Config;
use crate::model::RepositoryName;
use crate::plan::{Failure, Plan, Refusal, RepositoryPlan, Verdict};
use crate::report::{PlanWriter, StateUse, Trouble};
use crate::run::{Error, Progress, ScannedPlan, scan_and_plan};

pub(super) async fn plan(config: &Config, arguments: &PlanArguments) -> anyhow::Result<Exit> {
    let Recalled { state, memory, missing } = Recalled::of(config, &arguments.remembering);
    let at = arguments.at.map(|at| at.begin(config.timezone));
    let sessions = open(config, &arguments.selection, at, state.as_ref())?;
    let narrowed = Narrowed::to(&arguments.selection.repository);
    if let Some(why) = missing {
        if arguments.output.form == Form::Json {
            for session in &sessions {
                let writer = PlanWriter::new(Out::Direct(BufWriter::new(output::Out)), memory);
                let now = session.registry_context(None).now;
                let trouble = Trouble { text: &why, kind: Some("state") };
                writer.fail(&session.registry.name, now, trouble).context(UNPRINTED)?;
            }
        }
        anyhow::bail!(why);
    }
    // One document can go out while it is made; several would get in each other's way.
    let direct = sessions.len() == 1;
    let plans = sessions.iter().map(|session| look(session, &narrowed, arguments, memory, direct));
    let plans = join_all(plans).await;
    let mut exit = Exit::Done;
    let whole = plans.iter().all(|looked| looked.scanned.is_ok());
    for (session, looked) in sessions.iter().zip(plans) {
        exit = exit.and(print(session, looked)?);
    }
    // Nobody knows what is in a registry that could not be read.
    Ok(if whole { exit.and(narrowed.complain()) } else { exit })
}

const UNPRINTED: &str = "the plan cannot be printed";

struct Looked {
    scanned: Result<ScannedPlan, Error>,
    shown: Shown,
    taken: Duration,
}

async fn look(
    session: &Session<'_>,
    narrowed: &Narrowed,
    arguments: &PlanArguments,
    memory: StateUse,
    direct: bool,
) -> Looked {
    let begin = Instant::now();
    let context = session.registry_context(narrowed.only());
    let shown = match arguments.output.form {
        Form::Table => Shown::Table(Box::new(Listing::new(arguments.all))),
        Form::Json if direct => {
            Shown::Json(PlanWriter::new(Out::Direct(BufWriter::new(output::Out)), memory))
        }
        Form::Json => Shown::Json(PlanWriter::new(Out::Held(Vec::new()), memory)),
    };
    let bar = Bar::among(&session.registry.name, narrowed);
    let watcher =
        Watcher { bar: &bar, registry: &session.registry.name, now: context.now, shown: shown.into() };
    let scanned = scan_and_plan(context, &watcher, async |_| Ok(None)).await;
    let shown = watcher.shown.into_inner().unwrap_or_else(PoisonError::into_inner);
    Looked { scanned, shown, taken: begin.elapsed() }
}

/// What is shown of each repository, made while the next ones are read.
enum Shown {
    Table(Box<Listing>),
    Json(PlanWriter<Out>),
}

/// Where a document goes.
enum Out {
    Direct(BufWriter<output::Out>),
    Held(Vec<u8>),
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Direct(out) => out.write(bytes),
            Self::Held(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Direct(out) => out.flush(),
            Self::Held(_) => Ok(()),
        }
    }
}

struct Watcher<'a> {
    bar: &'a Bar<'a>,
    registry: &'a str,
    now: DateTime<Utc>,
    shown: Mutex<Shown>,
}

impl Progress for Watcher<'_> {
    fn found(&self, repository: &RepositoryName) {
        self.bar.found(repository);
    }

    fn scanning(&self, repositories: usize) {
        self.bar.scanning(repositories);
    }

    fn scanned(&self) {
        self.bar.scanned();
    }

    fn planned(&self, plan: &RepositoryPlan) {
        match &mut *self.shown.lock().unwrap_or_else(PoisonError::into_inner) {
            Shown::Table(listing) => listing.add(plan),
            Shown::Json(writer) => {
                // What cannot be written now cannot be completed either, and that is reported.
                let _ = writer.repository(self.registry, self.now, plan);
            }
        }
    }
}

fn print(session: &Session<'_>, looked: Looked) -> anyhow::Result<Exit> {
    let Looked { scanned, shown, taken } = looked;
    let scanned = match scanned {
        Ok(scanned) => scanned,
        Err(error) => {
            if let Shown::Json(writer) = shown {
                let trouble = Trouble { text: &error.to_string(), kind: Some(error.kind()) };
                let name = &session.registry.name;
                complete(writer.fail(name, session.registry_context(None).now, trouble).context(UNPRINTED)?)?;
            }
            print_error!("{}: {error}", session.registry.name);
            return Ok(Exit::Failed);
        }
    };
    let plan = &scanned.plan;
    let traffic = session.reader.traffic();
    match shown {
        Shown::Json(writer) => complete(writer.end(plan).context(UNPRINTED)?)?,
        Shown::Table(listing) => {
            if let Some(text) = listing.text() {
                print_line!("{text}");
            }
            print_line!("{}", summary(plan, scanned.unclaimed));
            print_line!(
                "{}: read with {} in {:.1} s; this is a plan, and nothing was changed",
                plan.registry,
                count(usize::try_from(traffic.requests).unwrap_or(usize::MAX), "request", "requests"),
                taken.as_secs_f64(),
            );
        }
    }
    Ok(troubles(&plan.registry, LEFT_ALONE, &plan.failures, &plan.refusals))
}

/// Prints what is held back until others have been printed.
fn complete(out: Out) -> anyhow::Result<()> {
    if let Out::Held(document) = out {
        output::Out.write_all(&document).context(UNPRINTED)?;
    }
    Ok(())
}

/// What becomes of a repository that a plan failed in.
pub(super) const LEFT_ALONE: &str = " is left alone";

/// Says on standard error what stands in the way, and how bad that is. `fate` is what becomes of a
/// repository in which something failed.
pub(super) fn troubles(registry: &str, fate: &str, failures: &[Failure], refusals: &[Refusal]) -> Exit {
    for failure in failures {
        print_error!("{registry}: {}{fate}: {}", failure.repository, failure.error);
    }
    for refusal in refusals {
        output::tell(Saying::Problem, format_args!("refused: {registry}: {refusal}"));
    }
    match (failures.is_empty(), refusals.is_empty()) {
        (false, _) => Exit::Failed,
        (true, false) => Exit::Refused,
        (true, true) => Exit::Done,
    }
}

/// What is deleted, or everything, as a table.
pub(super) struct Listing {
    rows: Table,
    all: bool,
}

impl Listing {
    pub(super) fn new(all: bool) -> Self {
        let headings = ["REPOSITORY", "TAGS", "DIGEST", "KIND", "AGE", "SIZE", "VERDICT", "WHY"];
        Self { rows: table(&headings), all }
    }

    pub(super) fn add(&mut self, repository: &RepositoryPlan) {
        for planned in &repository.manifests {
            if self.all || planned.verdict == Verdict::Delete {
                self.rows.add_row(vec![
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
            self.rows.add_row(vec![
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

    /// `None` if there is nothing to show.
    pub(super) fn text(&self) -> Option<String> {
        (!self.rows.is_empty()).then(|| self.rows.to_string())
    }
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
    let dangling_tags: usize =
        plan.repositories.iter().map(|repository| repository.dangling_tags.len()).sum();
    if dangling_tags > 0 {
        text += &format!("; {} without a manifest", count(dangling_tags, "tag", "tags"));
    }
    text
}
