//! `regsweep plan`: shows what a run would do, and why.
//!
//! It changes nothing in a registry.

use std::io::{self, BufWriter, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use comfy_table::Cell;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::args::{OutputFormat, PlanArguments};
use super::exit::Exit;
use super::filter::RepositoryFilter;
use super::output::{self, MessageKind};
use super::progress::RegistryProgress;
use super::session::{LoadedState, Session, open_registries};
use super::table::{Listing, age, bad, bytes, count, fit, good, notable};
use crate::config::Config;
use crate::model::{RepositoryName, tag_list};
use crate::plan::{Failure, Plan, Refusal, RepositoryPlan, Untag, Verdict};
use crate::report::{PlanWriter, ScanHistoryUse, Trouble};
use crate::run::{Error, Progress, ScannedPlan, scan_and_plan};

pub(super) async fn plan(config: &Config, arguments: &PlanArguments) -> anyhow::Result<Exit> {
    let LoadedState { state, state_use, error } = LoadedState::load(config, &arguments.state);
    let at = arguments.at.map(|at| at.begin(config.timezone));
    let sessions = open_registries(config, &arguments.selection, at, state.as_ref())?;
    let filter = RepositoryFilter::new(&arguments.selection.repository);
    if let Some(error) = error {
        if arguments.output.format == OutputFormat::Json {
            for session in &sessions {
                let writer = PlanWriter::new(Out::Direct(BufWriter::new(output::Out)), state_use);
                let now = session.registry_context(None).now;
                let trouble = Trouble { text: &error, kind: Some("state") };
                writer.fail(&session.registry.name, now, trouble).context(NOT_PRINTED)?;
            }
        }
        anyhow::bail!(error);
    }
    // A single document is written while it is made; several would be mixed with each other.
    let direct = sessions.len() == 1;
    let plans = sessions.iter().map(|session| scan(session, &filter, arguments, state_use, direct));
    let plans = join_all(plans).await;
    let mut exit = Exit::Success;
    let format = arguments.output.format;
    let all_read = plans.iter().all(|scanned| scanned.scanned.is_ok());
    for (session, scanned) in sessions.iter().zip(plans) {
        exit = exit.worse(print(session, scanned, format)?);
    }
    // A registry that could not be read may have a match.
    Ok(if all_read { exit.worse(filter.report_unmatched()) } else { exit })
}

const NOT_PRINTED: &str = "cannot print the plan";

/// A registry with its plan, ready to be printed.
struct Scanned {
    scanned: Result<ScannedPlan, Error>,
    printer: Printer,
    duration: Duration,
}

async fn scan(
    session: &Session<'_>,
    filter: &RepositoryFilter,
    arguments: &PlanArguments,
    state_use: ScanHistoryUse,
    direct: bool,
) -> Scanned {
    let start = Instant::now();
    let context = session.registry_context(filter.patterns());
    let printer = match arguments.output.format {
        OutputFormat::Table | OutputFormat::Wide => {
            Printer::Table(Box::new(PlanTable::new(arguments.output.format, arguments.all)))
        }
        OutputFormat::Json if direct => {
            Printer::Json(PlanWriter::new(Out::Direct(BufWriter::new(output::Out)), state_use))
        }
        OutputFormat::Json => Printer::Json(PlanWriter::new(Out::Buffered(Vec::new()), state_use)),
    };
    let progress = RegistryProgress::with_filter(&session.registry.name, filter);
    let watcher = Watcher {
        progress: &progress,
        registry: &session.registry.name,
        now: context.now,
        printer: printer.into(),
    };
    let scanned = scan_and_plan(context, &watcher, async |_| Ok(None)).await;
    let printer = watcher.printer.into_inner().unwrap_or_else(PoisonError::into_inner);
    Scanned { scanned, printer, duration: start.elapsed() }
}

/// Prepares the output of each repository while the next ones are read.
enum Printer {
    Table(Box<PlanTable>),
    Json(PlanWriter<Out>),
}

/// Where a document is written.
enum Out {
    Direct(BufWriter<output::Out>),
    Buffered(Vec<u8>),
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Direct(out) => out.write(bytes),
            Self::Buffered(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Direct(out) => out.flush(),
            Self::Buffered(_) => Ok(()),
        }
    }
}

struct Watcher<'a> {
    progress: &'a RegistryProgress<'a>,
    registry: &'a str,
    now: DateTime<Utc>,
    printer: Mutex<Printer>,
}

impl Progress for Watcher<'_> {
    fn found(&self, repository: &RepositoryName) {
        self.progress.found(repository);
    }

    fn scanning(&self, repositories: usize) {
        self.progress.scanning(repositories);
    }

    fn scanned(&self) {
        self.progress.scanned();
    }

    fn planned(&self, plan: &RepositoryPlan) {
        match &mut *self.printer.lock().unwrap_or_else(PoisonError::into_inner) {
            Printer::Table(table) => table.add(plan),
            Printer::Json(writer) => {
                // A failure here is reported when the document is completed, which then fails, too.
                let _ = writer.repository(self.registry, self.now, plan);
            }
        }
    }
}

fn print(session: &Session<'_>, scanned: Scanned, format: OutputFormat) -> anyhow::Result<Exit> {
    let Scanned { scanned, printer, duration } = scanned;
    let scanned = match scanned {
        Ok(scanned) => scanned,
        Err(error) => {
            if let Printer::Json(writer) = printer {
                let trouble = Trouble { text: &error.to_string(), kind: Some(error.kind()) };
                let name = &session.registry.name;
                complete(
                    writer.fail(name, session.registry_context(None).now, trouble).context(NOT_PRINTED)?,
                )?;
            }
            print_error!("{}: {error}", session.registry.name);
            return Ok(Exit::Failed);
        }
    };
    let plan = &scanned.plan;
    let traffic = session.reader.traffic();
    match printer {
        Printer::Json(writer) => complete(writer.end(plan).context(NOT_PRINTED)?)?,
        Printer::Table(table) => {
            if let Some(text) = table.text() {
                print_line!("{text}");
            }
            print_line!("{}", fit(&summary(plan, scanned.unclaimed), format));
            print_line!(
                "{}: read with {} in {:.1} s; this is only a plan, nothing was changed",
                plan.registry,
                count(traffic.requests, "request", "requests"),
                duration.as_secs_f64(),
            );
        }
    }
    Ok(print_problems(&plan.registry, SKIPPED, &plan.failures, &plan.refusals))
}

/// Prints a document that was buffered while others were printed.
fn complete(out: Out) -> anyhow::Result<()> {
    if let Out::Buffered(document) = out {
        output::Out.write_all(&document).context(NOT_PRINTED)?;
    }
    Ok(())
}

/// What follows from a failure to read a repository.
pub(super) const SKIPPED: &str = " was skipped";

/// Prints failures and refusals on standard error. `suffix` says what follows from a failure for its repository.
pub(super) fn print_problems(
    registry: &str,
    suffix: &str,
    failures: &[Failure],
    refusals: &[Refusal],
) -> Exit {
    for failure in failures {
        print_error!("{registry}: {}{suffix}: {}", failure.repository, failure.error);
    }
    for refusal in refusals {
        output::message(MessageKind::BareError, format_args!("refused: {registry}: {refusal}"));
    }
    match (failures.is_empty(), refusals.is_empty()) {
        (false, _) => Exit::Failed,
        (true, false) => Exit::Refused,
        (true, true) => Exit::Success,
    }
}

/// The table of a plan: what is deleted, or everything.
pub(super) struct PlanTable {
    rows: Listing,
    all: bool,
}

impl PlanTable {
    pub(super) fn new(format: OutputFormat, all: bool) -> Self {
        let headings = &["REPOSITORY", "TAGS", "DIGEST", "KIND", "AGE", "SIZE", "VERDICT", "REASON"];
        Self { rows: Listing::new(headings, format), all }
    }

    pub(super) fn add(&mut self, plan: &RepositoryPlan) {
        for planned in &plan.manifests {
            if self.all || planned.verdict == Verdict::Delete {
                let cells = vec![
                    Cell::new(tag_list(&planned.tags)),
                    Cell::new(planned.digest.short()),
                    Cell::new(planned.kind),
                    Cell::new(age(planned.age)),
                    Cell::new(bytes(planned.bytes)),
                    verdict_cell(plan, planned.verdict),
                ];
                self.rows.add(&plan.repository, cells, planned.why());
            }
        }
        for untag in &plan.untag {
            let cells = vec![
                Cell::new(&untag.tag),
                Cell::new(untag.digest.short()),
                Cell::new("tag"),
                Cell::new(""),
                Cell::new(""),
                notable(effective(plan, "untag")),
            ];
            self.rows.add(&plan.repository, cells, Untag::reason(&untag.rule));
        }
    }

    /// `None` if there are no rows.
    pub(super) fn text(self) -> Option<String> {
        self.rows.text()
    }
}

fn verdict_cell(plan: &RepositoryPlan, planned: Verdict) -> Cell {
    match planned {
        Verdict::Keep => good(planned.name()),
        Verdict::Delete if plan.intent.is_held_back() => notable(effective(plan, planned.name())),
        Verdict::Delete => bad(planned.name()),
    }
}

/// A verdict, in parentheses if the mode of the policy keeps a run from carrying it out.
fn effective(plan: &RepositoryPlan, verdict: &str) -> String {
    if plan.intent.is_held_back() { format!("({verdict})") } else { verdict.to_owned() }
}

/// The totals of a plan in one line.
pub(super) fn summary(plan: &Plan, unclaimed: usize) -> String {
    let totals = plan.totals();
    let manifests = count(totals.manifests, "manifest", "manifests");
    let repositories = count(totals.repositories, "repository", "repositories");
    let mut text = if totals.delete == 0 {
        format!("{}: nothing to delete in {repositories} with {manifests}", plan.registry)
    } else {
        let size = bytes(totals.expired_bytes);
        format!(
            "{}: {} of {manifests} in {repositories} to delete, up to {size}",
            plan.registry, totals.delete
        )
    };
    if totals.untag > 0 {
        text += &format!("; {} to remove from kept images", count(totals.untag, "tag", "tags"));
    }
    let plan_only: Vec<&RepositoryPlan> = plan
        .repositories
        .iter()
        .filter(|repository| repository.intent.is_held_back() && !repository.is_idle())
        .collect();
    if !plan_only.is_empty() {
        text += &format!(
            "; {} in which nothing is deleted, because the mode of the policy is plan",
            count(plan_only.len(), "repository", "repositories")
        );
    }
    if unclaimed > 0 {
        text += &format!("; {} that no policy claims", count(unclaimed, "repository", "repositories"));
    }
    let dangling_tags: usize =
        plan.repositories.iter().map(|repository| repository.dangling_tags.len()).sum();
    if dangling_tags > 0 {
        text += &format!("; {} without a manifest", count(dangling_tags, "tag", "tags"));
    }
    text
}
