//! Compares regsweep's history and metrics with the registry's access log and the disk.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::Soak;
use crate::access_log::{AccessLog, Who};
use crate::model::Push;
use crate::report::Guarantee;
use crate::service::PROTECTED;

/// A deletion as the journal has it.
struct Entry {
    repository: String,
    digest: String,
    /// Whether only its tags were deleted.
    tag_only: bool,
    policy: String,
    tags: Vec<String>,
    bytes: u64,
    at: DateTime<Utc>,
    answered: bool,
    open: bool,
    reasons: String,
}

impl Entry {
    /// The references of its requests.
    fn references(&self) -> &[String] {
        if self.tag_only { &self.tags } else { std::slice::from_ref(&self.digest) }
    }
}

fn entries(history: &Value) -> Vec<Entry> {
    let runs = history["runs"].as_array().into_iter().flatten();
    let mut entries: Vec<Entry> = runs
        .flat_map(|run| run["deletions"].as_array().into_iter().flatten())
        .filter_map(|entry| {
            let text = |name: &str| entry[name].as_str().map(str::to_owned);
            Some(Entry {
                repository: text("repository")?,
                digest: text("digest")?,
                tag_only: entry["what"] == "tag",
                policy: text("policy")?,
                tags: entry["tags"]
                    .as_array()?
                    .iter()
                    .filter_map(|tag| tag.as_str().map(str::to_owned))
                    .collect(),
                bytes: entry["bytes"].as_u64()?,
                at: text("at")?.parse().ok()?,
                answered: entry["answered"] == true,
                open: entry["collected"].is_null() && entry["restored"].is_null(),
                reasons: entry["reasons"].to_string(),
            })
        })
        .collect();
    entries.sort_by_key(|entry| entry.at);
    entries
}

/// Compares them while nothing else happens.
pub(crate) async fn audit(soak: &Soak) {
    let (history, metrics) = {
        let service = soak.service.lock().await;
        match (service.json("api/v1/runs?limit=1000").await, service.metrics().await) {
            (Ok(history), Ok(metrics)) => (history, metrics),
            (Err(error), _) | (_, Err(error)) => {
                return soak
                    .report
                    .violation(Guarantee::Alive, format!("the service does not answer: {error}"));
            }
        }
    };
    let access = AccessLog::read(soak);
    let entries = entries(&history);
    journal(soak, &access, &entries);
    young(soak, &access, &entries);
    let policies: BTreeSet<&str> = entries.iter().map(|entry| entry.policy.as_str()).collect();
    let check = |name: &str, label: &str, expected: u64| {
        let got = metrics.sum(name, label);
        if got != expected {
            let text = format!("{name}{{{label}}} is {got}, and should be {expected}");
            soak.report.violation(Guarantee::Counters, text);
        }
    };
    for policy in policies {
        let own = || entries.iter().filter(|entry| entry.policy == policy && entry.answered);
        let label = format!("policy=\"{policy}\"");
        check("deleted_manifests_total", &label, own().filter(|entry| !entry.tag_only).count() as u64);
        check("deleted_tags_total", &label, own().map(|entry| entry.tags.len() as u64).sum());
    }
    let sweeps = soak.host.sweeps();
    let sum =
        |cut: bool| sweeps.iter().filter(|sweep| cut || !sweep.cut).map(|sweep| sweep.bytes).sum::<u64>();
    let (sure, all) = (sum(false), sum(true));
    let reclaimed = metrics.sum("reclaimed_bytes_total", "");
    if reclaimed < sure {
        let text = format!("reclaimed_bytes_total lacks {} bytes that left the disk", sure - reclaimed);
        soak.report.violation(Guarantee::Counters, text);
    } else if reclaimed > all {
        let text = format!("reclaimed_bytes_total has {} bytes that never left the disk", reclaimed - all);
        soak.report.violation(Guarantee::Counters, text);
    }
    let open = entries.iter().filter(|one| one.open && one.answered && !one.tag_only);
    let open: u64 = open.map(|one| one.bytes).sum();
    check("reclaimable_bytes", "", open);
    soak.report.count("audits");
}

/// Each deletion of the log is in the journal once, and the other way round.
fn journal(soak: &Soak, access: &AccessLog, entries: &[Entry]) {
    let mut logged: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for one in access.deletions() {
        *logged.entry((one.repository, one.reference)).or_default() += 1;
    }
    let mut noted: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.answered) {
        for reference in entry.references() {
            *noted.entry((&entry.repository, reference)).or_default() += 1;
        }
    }
    for entry in entries.iter().filter(|entry| !entry.answered) {
        let text = format!("{}@{} is still without an answer", entry.repository, entry.digest);
        soak.report.violation(Guarantee::Journal, text);
    }
    let keys: BTreeSet<_> = logged.keys().chain(noted.keys()).copied().collect();
    for key in keys {
        let of = |map: &BTreeMap<(&str, &str), usize>| map.get(&key).copied().unwrap_or_default();
        let (log, journal) = (of(&logged), of(&noted));
        let by_others =
            access.lines.iter().any(|line| line.is(Who::Other, "DELETE", 202) && line.concerns(key.0, key.1));
        if log < journal && by_others {
            // The answer was lost; then the manifest was absent, and either client may have deleted it.
            soak.report.once("excused: deleted by another client while an answer was missing", key.1);
        } else if log < journal && access.is_half(key.0, key.1) {
            // Distribution deletes the manifest, then reads every tag, and fails on a tag that is being written.
            soak.report.once("excused: deleted by the registry, which then failed", key.1);
        } else if log < journal
            && entries.iter().any(|one| {
                (one.repository.as_str(), one.digest.as_str()) == key
                    && !one.tags.is_empty()
                    && access.lost_its_tags(key.0, key.1, &one.tags, one.at)
            })
        {
            soak.report.once("excused: its tags had moved while an answer was missing", key.1);
        } else if log > journal && access.was_pushed_again(key.0, key.1) {
            // The answer was lost, and the recheck found the manifest: it may have been pushed again.
            soak.report.once("excused: pushed again while an answer was missing", key.1);
        } else if log != journal {
            let told = soak.model.content(key.1).map(|content| access.describe(key.0, &content));
            let told = told.unwrap_or_default();
            let text = format!("{}@{}: {log} in the log, {journal} in the journal\n{told}", key.0, key.1);
            soak.report.violation(Guarantee::Journal, text);
        }
    }
}

/// Checks that nothing was deleted that was pushed a moment before.
fn young(soak: &Soak, access: &AccessLog, entries: &[Entry]) {
    for entry in entries.iter().filter(|entry| entry.answered) {
        let same = |push: &Push| {
            push.repository == entry.repository
                && push.content.digest == entry.digest
                && (!entry.tag_only || entry.tags.contains(&push.reference))
        };
        for (number, push) in access.pushes.iter().enumerate().filter(|(_, push)| same(push)) {
            let Some(at) = push.at else { continue };
            let age = entry.at - at;
            // The journal's times are whole seconds; within a second the log has the order.
            let unclear = age < TimeDelta::zero();
            if age < TimeDelta::seconds(-1)
                || age > TimeDelta::seconds(PROTECTED - 1)
                || (unclear && !access.was_deleted_after(number, entry.references()))
            {
                continue;
            }
            let tagged = soak.model.tagged(&push.repository, &push.reference);
            if access.race(number).is_some() {
                soak.report
                    .once("excused: pushed between the last scan and the deletion", &number.to_string());
            } else if access.was_unseen(number) {
                soak.report.once("excused: moved away and back between two scans", &number.to_string());
            } else if access.moved_on(number) {
                soak.report.once("excused: moved on before the next scan", &number.to_string());
            } else {
                let told = access.describe(&push.repository, &push.content);
                let text = format!(
                    "{}:{} ({}) was pushed {} and deleted {}, because {}, tagged now: {}\n{told}",
                    push.repository,
                    push.reference,
                    push.content.digest,
                    at.format("%T%.3f"),
                    entry.at.format("%T%.3f"),
                    entry.reasons,
                    tagged.is_some_and(|one| one.content.is_some()),
                );
                soak.report.violation(Guarantee::Young, text);
            }
        }
    }
}
