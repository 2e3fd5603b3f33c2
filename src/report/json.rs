//! The JSON forms of plans as they are printed, of runs and of collections, version 1.

use std::io::{self, Write};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::document::{FailureDocument, RefusalDocument, RepositoryDocument};
use super::{CollectionReport, Outcome, RunReport};
use crate::plan::{Plan, RepositoryPlan};

/// The version of the forms. It changes only if a field changes its meaning.
pub(super) const VERSION: u32 = 1;

/// What there was of the memory of earlier looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StateUse {
    /// It was there, and ages are judged with it.
    Used,
    /// There never was one.
    None,
    /// There was one, and it is gone or damaged: everything counts as it will after the next run has begun a new one.
    Lost,
    /// There is one, and it could not be read: ages are judged without it.
    Unreadable,
}

/// Why a registry has no more than this in its document.
#[derive(Debug, Clone, Copy)]
pub struct Trouble<'a> {
    /// For people.
    pub text: &'a str,
    /// A fixed word for the kind of failure, where there is one.
    pub kind: Option<&'a str>,
}

/// Writes a plan as `regsweep plan --output json` prints it, one repository after the other, so that
/// nobody has to hold what all of them keep. Nothing is written before the first.
pub struct PlanWriter<W> {
    out: W,
    memory: StateUse,
    begun: bool,
}

impl<W: Write> PlanWriter<W> {
    /// Begins a document.
    pub fn new(out: W, memory: StateUse) -> Self {
        Self { out, memory, begun: false }
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

    /// Completes the document with everything that is known at the end of a plan, and gives back where it
    /// was written.
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

    /// Completes the document of a registry that could not be read to its end.
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
        let (registry, now, memory) = (json!(registry), json!(moment(now)), json!(self.memory));
        write!(
            self.out,
            r#"{{"version":{VERSION},"registry":{registry},"now":{now},"memory":{memory},"repositories":["#
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

/// A run that did nothing because of this, in the same form. `run` is its number, if it came to have one.
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

/// A list as a field of the log: JSON, which is also how people read it.
pub fn listed(list: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(list).unwrap_or_default()
}

/// A moment as all forms write it: RFC 3339 in UTC, to the second.
pub fn moment(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RepositoryName;
    use crate::policy::Limits;

    #[test]
    fn a_document_that_ends_early_is_whole() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let repository = RepositoryPlan {
            repository: RepositoryName::parse("team/app").unwrap(),
            policy: "apps".into(),
            held_back: false,
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
            let mut writer = PlanWriter::new(Vec::new(), StateUse::None);
            for _ in 0..repositories {
                writer.repository("main", now, &repository).unwrap();
            }
            let document: Value =
                serde_json::from_slice(&writer.fail("main", now, trouble).unwrap()).unwrap();
            assert_eq!(document["repositories"].as_array().unwrap().len(), repositories);
            assert_eq!((&document["error"], &document["totals"]), (&json!(trouble.text), &Value::Null));
            let limits = Limits { max_deletions: 1, max_percent: 100 };
            let plan = Plan::new("main", now, Vec::new(), Vec::new(), &limits);
            let whole = PlanWriter::new(Vec::new(), StateUse::None).end(&plan).unwrap();
            let whole: Value = serde_json::from_slice(&whole).unwrap();
            let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(&document), keys(&whole));
        }
    }
}
