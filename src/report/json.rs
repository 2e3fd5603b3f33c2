//! The JSON of plans as they are printed, of runs and of collections.
//!
//! It must not know where it is written to.

use std::io::{self, Write};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::document::{FailureDocument, RefusalDocument, RepositoryDocument};
use super::format::{VERSION, moment};
use super::outcome::{CollectionReport, Outcome};
use super::run::RunReport;
use crate::plan::{Plan, RepositoryPlan};

/// What was known from earlier scans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ScanHistoryUse {
    /// The scan history was read, and ages depend on it.
    Used,
    /// There is none yet.
    None,
    /// It is lost or damaged: the plan is the one that the next run makes, which begins a new one.
    Lost,
    /// It cannot be read, so ages do not depend on it.
    Unreadable,
}

/// Why the document of a registry is incomplete.
#[derive(Debug, Clone, Copy)]
pub struct Trouble<'a> {
    /// For people.
    pub text: &'a str,
    /// The kind of failure: one of few fixed names, if it has one.
    pub kind: Option<&'a str>,
}

/// Writes a plan as `regsweep plan --output json` prints it, one repository after the other, so that the kept
/// manifests of all of them need not be in memory. Nothing is written before the first repository.
pub struct PlanWriter<W> {
    out: W,
    scan_history: ScanHistoryUse,
    begun: bool,
}

impl<W: Write> PlanWriter<W> {
    /// Begins a document.
    pub fn new(out: W, scan_history: ScanHistoryUse) -> Self {
        Self { out, scan_history, begun: false }
    }

    /// Adds a repository. They must come in the order of their names.
    pub fn repository(
        &mut self,
        registry: &str,
        now: DateTime<Utc>,
        plan: &RepositoryPlan,
    ) -> io::Result<()> {
        self.begin(registry, now)?;
        serde_json::to_writer(&mut self.out, &RepositoryDocument::of(plan))?;
        Ok(())
    }

    /// Completes the document, and returns the writer.
    pub fn end(mut self, plan: &Plan) -> io::Result<W> {
        if !self.begun {
            self.open(&plan.registry, plan.now)?;
        }
        let refusals: Vec<RefusalDocument> = plan.refusals.iter().map(RefusalDocument::of).collect();
        let failures: Vec<FailureDocument> = plan.failures.iter().map(FailureDocument::of).collect();
        writeln!(
            self.out,
            r#"],"refusals":{},"failures":{},"totals":{},"error":null,"error_kind":null}}"#,
            json!(refusals),
            json!(failures),
            json!(plan.totals())
        )?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Completes the document of a registry that could not be read completely.
    pub fn fail(mut self, registry: &str, now: DateTime<Utc>, error: Trouble<'_>) -> io::Result<W> {
        if !self.begun {
            self.open(registry, now)?;
        }
        let Trouble { text, kind } = error;
        writeln!(
            self.out,
            r#"],"refusals":[],"failures":[],"totals":null,"error":{},"error_kind":{}}}"#,
            json!(text),
            json!(kind)
        )?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn begin(&mut self, registry: &str, now: DateTime<Utc>) -> io::Result<()> {
        if self.begun { self.out.write_all(b",") } else { self.open(registry, now) }
    }

    fn open(&mut self, registry: &str, now: DateTime<Utc>) -> io::Result<()> {
        self.begun = true;
        let (registry, now) = (json!(registry), json!(moment(now)));
        let scan_history = json!(self.scan_history);
        write!(
            self.out,
            r#"{{"version":{VERSION},"registry":{registry},"now":{now},"scan_history":{scan_history},"repositories":["#
        )
    }
}

/// What a run did, as `regsweep run --output json` prints it.
pub fn run_document(
    run: i64,
    report: &RunReport,
    plan: &Plan,
    collected: Option<&CollectionReport>,
) -> Value {
    json!({
        "version": VERSION,
        "registry": report.registry,
        "run": run,
        "now": moment(report.now),
        "outcome": report.outcome(),
        "applied": report.applied,
        "cut_off": report.cut_off,
        "registry_down": report.registry_down,
        "deleted": report.deleted,
        "untagged": report.untagged,
        "skipped": report.skipped,
        "refusals": report.refusals.iter().map(RefusalDocument::of).collect::<Vec<_>>(),
        "failures": report.failures.iter().map(FailureDocument::of).collect::<Vec<_>>(),
        "totals": plan.totals(),
        "collection": collected.map(collection_document),
        "error": null,
        "error_kind": null,
    })
}

/// A run that did nothing for this reason, in the same form. `run` is its number, if it has one.
pub fn no_run_document(
    run: Option<i64>,
    registry: &str,
    now: DateTime<Utc>,
    outcome: Outcome,
    why: Trouble<'_>,
) -> Value {
    json!({
        "version": VERSION,
        "registry": registry,
        "run": run,
        "now": moment(now),
        "outcome": outcome,
        "applied": false,
        "cut_off": null,
        "registry_down": null,
        "deleted": [],
        "untagged": [],
        "skipped": [],
        "refusals": [],
        "failures": [],
        "totals": null,
        "collection": null,
        "error": why.text,
        "error_kind": why.kind,
    })
}

/// What a collection did.
pub fn collection_document(collected: &CollectionReport) -> Value {
    json!({
        "at": moment(collected.at),
        "outcome": collected.outcome,
        "seconds": collected.duration.as_secs_f64(),
        "downtime_seconds": collected.downtime.as_secs_f64(),
        "blobs": collected.blobs,
        "bytes": collected.bytes,
        "error": collected.error,
    })
}

/// A list as a field of the log, as JSON.
pub fn listed(list: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(list).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RepositoryName;
    use crate::plan::Intent;
    use crate::policy::Limits;

    #[test]
    fn plan_writer_completes_a_document_that_fails() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let repository = RepositoryPlan {
            repository: RepositoryName::parse("team/app").unwrap(),
            intent: Intent::Unclaimed,
            tags: 0,
            counted: Vec::new(),
            kept: 0,
            manifests: Vec::new(),
            untag: Vec::new(),
            dangling_tags: Vec::new(),
            expired_bytes: 0,
            referenced_bytes: 0,
        };
        let trouble = Trouble { text: "it \"went\" away", kind: Some("unavailable") };
        for repositories in 0..3 {
            let mut writer = PlanWriter::new(Vec::new(), ScanHistoryUse::None);
            for _ in 0..repositories {
                writer.repository("main", now, &repository).unwrap();
            }
            let document: Value =
                serde_json::from_slice(&writer.fail("main", now, trouble).unwrap()).unwrap();
            assert_eq!(document["repositories"].as_array().unwrap().len(), repositories);
            assert_eq!((&document["error"], &document["totals"]), (&json!(trouble.text), &Value::Null));
            let limits = Limits { max_deletions: 1, max_percent: 100 };
            let plan = Plan::new("main", now, Vec::new(), Vec::new(), &limits);
            let whole = PlanWriter::new(Vec::new(), ScanHistoryUse::None).end(&plan).unwrap();
            let whole: Value = serde_json::from_slice(&whole).unwrap();
            let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(&document), keys(&whole));
        }
    }
}
