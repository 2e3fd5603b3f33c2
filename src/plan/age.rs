//! How old each manifest is, as far as anybody can believe the evidence.
//!
//! It judges evidence and knows no rules. The latest believable evidence of life counts: a person who
//! promotes or rebuilds an image expects it to be as old as that.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::graph::Graph;
use crate::model::{Facts, FirstScan, Kind, Snapshot};

/// The first public release of Docker. Reproducible builds claim 1970, 1980 or the year 1; no image
/// is truly older than the tool that made the first one.
const FIRST_IMAGE: (i32, u32, u32) = (2013, 3, 20);

/// Of something that was there at the first look and says nothing believable of itself, nobody knows
/// more than that it is at least as old as that look. After this long, that is enough to judge by.
pub const MIN_OBSERVED_AGE: TimeDelta = TimeDelta::days(30);

/// The age of one manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Age {
    /// The latest believable evidence of life; `None` where there is none.
    pub(super) latest: Option<DateTime<Utc>>,
    /// When it was made, for those that were noticed by the same look.
    pub(super) created: Option<DateTime<Utc>>,
    /// Whether all that is known is that it is at least this old. Then nothing is younger for it than what
    /// surely is.
    pub(super) at_least: bool,
}

/// One thing that tells how old a manifest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// What tells it.
    pub source: Source,
    /// The moment that it tells. One that a look noticed can be after the moment of the plan, and counts like that.
    pub at: DateTime<Utc>,
    /// What it is worth.
    pub weight: Weight,
}

/// What tells how old a manifest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The image's configuration, or an annotation.
    Created,
    /// The youngest manifest below an index that does not say it itself.
    YoungestChild,
    /// A look noticed that it, or a tag on it, had been pushed since the look before.
    Noticed,
    /// It was there already at the first look.
    FirstScan,
}

/// What a piece of evidence is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// It is the latest, so the age is counted from it.
    Counts,
    /// Something later counts.
    Outdated,
    /// It is before the first image there was, as reproducible builds and clocks that were not set claim.
    TooOld,
    /// It is in the future.
    Future,
    /// It may be much older than the first look, and that was not long enough ago.
    TooRecent,
    /// It may be much older than the first look, and something better is known.
    Weaker,
}

/// How old a manifest is at this moment by all that tells it.
pub(super) fn age(evidence: &[Evidence], now: DateTime<Utc>) -> Age {
    let counts = evidence.iter().find(|one| one.weight == Weight::Counts);
    let made = |one: &&Evidence| {
        matches!(one.source, Source::Created | Source::YoungestChild)
            && matches!(one.weight, Weight::Counts | Weight::Outdated)
    };
    Age {
        latest: counts.map(|one| one.at.min(now)),
        created: evidence.iter().find(made).map(|one| one.at),
        at_least: counts.is_some_and(|one| one.source == Source::FirstScan),
    }
}

/// Everything that tells how old a manifest is, and what each is worth.
pub(super) fn evidence(
    snapshot: &Snapshot,
    graph: &Graph<'_>,
    node: usize,
    now: DateTime<Utc>,
) -> Vec<Evidence> {
    let mut found = Vec::new();
    let made = |node: usize| match &graph.nodes[node].facts {
        Facts::Known { created, .. } => *created,
        Facts::NotFetched { .. } | Facts::Unknown { .. } => None,
    };
    if let Some(at) = made(node) {
        found.push(Evidence { source: Source::Created, at, weight: believe(at, now) });
    }
    let speaks = found.iter().any(|one| one.weight == Weight::Outdated);
    if graph.nodes[node].kind == Kind::Index && !speaks {
        let below = graph.with_descendants(node).filter(|&member| member != node).filter_map(made);
        let youngest = below.filter(|&at| believe(at, now) == Weight::Outdated).max();
        found.extend(youngest.map(|at| Evidence {
            source: Source::YoungestChild,
            at,
            weight: Weight::Outdated,
        }));
    }
    if let Some(observation) = snapshot.observations.get(&graph.nodes[node].digest) {
        // A clock that was ahead for a while must not make anything older than it is: what is remembered of
        // the future is of the present. It is not lowered for good, since it may be today's clock that is wrong.
        let at = observation.noticed.min(now);
        let known = found.iter().any(|one| one.weight == Weight::Outdated);
        let (source, weight) = match snapshot.first_scan {
            // All that the first look found has the moment of that look. Whatever has another one was noticed
            // by a later look, even if its clock said that it was earlier.
            FirstScan::At(first) | FirstScan::AfterLoss(first) if observation.noticed == first => {
                let weight = match (known, snapshot.first_scan) {
                    // It may have been pushed at any time until the memory was lost.
                    (true, FirstScan::AfterLoss(_)) => Weight::Outdated,
                    (true, _) => Weight::Weaker,
                    (false, _) if now - at < MIN_OBSERVED_AGE => Weight::TooRecent,
                    (false, _) => Weight::Outdated,
                };
                (Source::FirstScan, weight)
            }
            _ => (Source::Noticed, Weight::Outdated),
        };
        // A clock that had not been set yet tells nothing, like an image that says the same.
        let weight = if believe(at, now) == Weight::TooOld { Weight::TooOld } else { weight };
        // As it was noticed: a plan for the past does not make it a find of then.
        found.push(Evidence { source, at: observation.noticed, weight });
    }
    let candidates = found.iter_mut().filter(|one| one.weight == Weight::Outdated);
    if let Some(latest) = candidates.max_by_key(|one| one.at.min(now)) {
        latest.weight = Weight::Counts;
    }
    found
}

/// Whether a claim can be believed: then it is outdated, until it turns out to be the latest.
fn believe(at: DateTime<Utc>, now: DateTime<Utc>) -> Weight {
    let (year, month, day) = FIRST_IMAGE;
    let first = NaiveDate::from_ymd_opt(year, month, day).map(|date| date.and_time(NaiveTime::MIN).and_utc());
    if first.is_none_or(|first| at < first) {
        Weight::TooOld
    } else if at > now {
        Weight::Future
    } else {
        Weight::Outdated
    }
}
