//! The JSON forms of plans as they are printed, of runs and of collections, version 1.

use std::io::{self, Write};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::document::{FailureDocument, RefusalDocument, RepositoryDocument};
use super::{Collected, RunReport};
use crate::plan::{Plan, RepositoryPlan};

/// The version of the forms. It changes only if a field changes its meaning.
const VERSION: u32 = 1;

/// Writes a plan as `regsweep plan --output json` prints it, one repository after the other, so that
/// nobody has to hold what all of them keep. Nothing is written before the first.
pub struct PlanWriter<W> {
    out: W,
    begun: bool,
}

impl<W: Write> PlanWriter<W> {
    /// Begins a document.
    pub fn new(out: W) -> Self {
        Self { out, begun: false }
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
            r#"],"refusals":{},"failures":{},"totals":{}}}"#,
            json!(refusals),
            json!(failures),
            json!(plan.totals())
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
        write!(self.out, r#"{{"version":{VERSION},"registry":{registry},"now":{now},"repositories":["#)
    }
}

/// What a run did, as `regsweep run --output json` prints it.
pub fn run_document(report: &RunReport, plan: &Plan, collected: Option<&Collected>) -> Value {
    json!({
        "version": VERSION,
        "registry": report.registry,
        "now": moment(report.now),
        "outcome": report.outcome(),
        "applied": report.applied,
        "cut_off": report.cut_off,
        "registry_down": report.registry_down,
        "deleted": report.deleted,
        "untagged": report.untagged,
        "spared": report.spared,
        "refusals": report.refusals.iter().map(RefusalDocument::of).collect::<Vec<_>>(),
        "failures": report.failures.iter().map(FailureDocument::of).collect::<Vec<_>>(),
        "totals": plan.totals(),
        "collection": collected.map(collection_document),
    })
}

/// What a collection did.
pub fn collection_document(collected: &Collected) -> Value {
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

/// A moment as all forms write it: RFC 3339 in UTC, to the second.
pub fn moment(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Secs, true)
}
