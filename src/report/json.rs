//! The JSON forms of plans and runs, version 1.
//!
//! They say in full what the tables for people abridge.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::{Collected, RunReport};
use crate::plan::{Failure, Plan, Planned, Refusal, RepositoryPlan};

/// The version of the forms. It changes only if a field changes its meaning.
const VERSION: u32 = 1;

/// A plan as `regsweep plan --output json` prints it.
pub fn plan_document(plan: &Plan) -> Value {
    json!({
        "version": VERSION,
        "registry": plan.registry,
        "now": moment(plan.now),
        "repositories": plan.repositories.iter().map(repository).collect::<Vec<_>>(),
        "refusals": plan.refusals.iter().map(refusal).collect::<Vec<_>>(),
        "failures": plan.failures.iter().map(failure).collect::<Vec<_>>(),
        "totals": plan.totals(),
    })
}

/// What a run did, as `regsweep run --output json` prints it.
pub fn run_document(report: &RunReport, plan: &Plan, collected: Option<&Collected>) -> Value {
    json!({
        "version": VERSION,
        "registry": report.registry,
        "now": moment(report.now),
        "outcome": report.outcome(),
        "applied": report.applied,
        "deleted": report.deleted,
        "untagged": report.untagged,
        "spared": report.spared,
        "refusals": report.refusals.iter().map(refusal).collect::<Vec<_>>(),
        "failures": report.failures.iter().map(failure).collect::<Vec<_>>(),
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

fn repository(plan: &RepositoryPlan) -> Value {
    let manifests = plan.manifests.iter().map(|planned| manifest_document(planned, &plan.policy));
    json!({
        "repository": plan.repository,
        "policy": plan.policy,
        "held_back": plan.held_back,
        "tags": plan.tags,
        "expired_bytes": plan.expired_bytes,
        "referenced_bytes": plan.referenced_bytes,
        "manifests": manifests.collect::<Vec<_>>(),
        "untag": plan.untag,
        "ghosts": plan.ghosts,
    })
}

/// One manifest with its verdict.
pub fn manifest_document(planned: &Planned, policy: &str) -> Value {
    let reasons = planned.reasons.iter();
    let reasons = reasons.map(|reason| json!({ "code": reason.code(), "text": reason.to_string() }));
    json!({
        "digest": planned.digest,
        "tags": planned.tags,
        "kind": planned.kind,
        "created": planned.created.map(moment),
        "age_seconds": planned.age.map(|age| age.num_seconds()),
        "bytes": planned.bytes,
        "verdict": planned.verdict,
        "policy": policy,
        "rules": planned.rules,
        "reasons": reasons.collect::<Vec<_>>(),
    })
}

fn refusal(refusal: &Refusal) -> Value {
    json!({
        "limit": refusal.limit,
        "repository": refusal.repository,
        "deletions": refusal.deletions,
        "of": refusal.of,
        "allowed": refusal.allowed,
        "text": refusal.to_string(),
    })
}

fn failure(failure: &Failure) -> Value {
    json!({ "repository": failure.repository, "kind": failure.kind, "error": failure.error })
}

fn moment(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Secs, true)
}
