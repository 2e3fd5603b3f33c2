//! The keep criteria: for which of the manifests that a rule evaluates together one holds, and why.
//!
//! It must not know rules or verdicts. A new keep criterion is a variant of [`Criterion`], a function here, and its
//! sentence in [`Finding`].

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use chrono_tz::Tz;
use semver::{BuildMetadata, Version};

use super::age::Age;
use super::finding::{Finding, Measure, PeriodPosition};
use crate::model::{Digest, Tag};
use crate::policy::{Criterion, Line, Period};

/// One of the manifests that a rule evaluates together.
pub(super) struct Candidate<'a> {
    pub(super) node: usize,
    pub(super) digest: &'a Digest,
    /// The tags on it that the rule claims, in natural order.
    pub(super) tags: Vec<&'a Tag>,
    pub(super) age: Age,
}

/// Sorts the youngest first. Of equal age, the one that was created later is younger, then the one whose tag
/// comes later in natural order. Those of unknown age come last, and have no rank among the newest.
pub(super) fn youngest_first(candidates: &mut [Candidate<'_>]) {
    candidates.sort_by(|a, b| {
        let by_tag = match (a.tags.last(), b.tags.last()) {
            (Some(ours), Some(theirs)) => theirs.natural_cmp(ours),
            _ => std::cmp::Ordering::Equal,
        };
        let rank = |candidate: &Candidate<'_>| Reverse((candidate.age.latest, candidate.age.created));
        rank(a).cmp(&rank(b)).then(by_tag).then_with(|| a.digest.cmp(b.digest))
    });
}

/// The semantic version in a tag. A leading `v` is allowed, and an underscore stands for the plus sign, which
/// cannot be in a tag: Helm writes it like that.
pub(super) fn version(tag: &Tag) -> Option<Version> {
    let text = tag.as_str();
    Version::parse(&text.strip_prefix('v').unwrap_or(text).replacen('_', "+", 1)).ok()
}

/// The result of the criterion for each candidate. The candidates must be in the order of [`youngest_first`].
pub(super) fn evaluate(
    criterion: &Criterion,
    candidates: &[Candidate<'_>],
    now: DateTime<Utc>,
    timezone: Tz,
) -> Vec<Finding> {
    match criterion {
        Criterion::Newest(count) => newest(*count, candidates),
        Criterion::NewerThan(limit) => newer_than(*limit, candidates, now),
        Criterion::Period(period, count) => in_periods(*period, *count, candidates, timezone),
        Criterion::Versions(count, line) => highest_versions(*count, *line, candidates),
        Criterion::All(criteria) => {
            let rows: Vec<Vec<Finding>> =
                criteria.iter().map(|criterion| evaluate(criterion, candidates, now, timezone)).collect();
            let column = |position: usize| rows.iter().map(|row| row[position].clone()).collect::<Vec<_>>();
            (0..candidates.len())
                .map(column)
                .map(|findings| Finding {
                    // An empty conjunction would hold for everything, so the configuration does not accept it.
                    holds: findings.iter().all(|finding| finding.holds),
                    measure: Measure::All(findings),
                })
                .collect()
        }
    }
}

fn newest(count: NonZeroUsize, candidates: &[Candidate<'_>]) -> Vec<Finding> {
    let of = candidates.iter().filter(|candidate| candidate.age.latest.is_some()).count();
    // A manifest whose age is only a minimum has no rank before others.
    let mut surely_younger = 0;
    let finding = |candidate: &Candidate<'_>| {
        let rank = candidate.age.latest.map(|_| surely_younger + 1);
        surely_younger += usize::from(rank.is_some() && !candidate.age.at_least);
        Finding {
            holds: rank.is_some_and(|rank| rank <= count.get()),
            measure: Measure::Newest { count: count.get(), rank, of },
        }
    };
    candidates.iter().map(finding).collect()
}

fn newer_than(limit: TimeDelta, candidates: &[Candidate<'_>], now: DateTime<Utc>) -> Vec<Finding> {
    let finding = |candidate: &Candidate<'_>| {
        let age = candidate.age.latest.map(|latest| now - latest);
        Finding { holds: age.is_some_and(|age| age < limit), measure: Measure::NewerThan { limit, age } }
    };
    candidates.iter().map(finding).collect()
}

fn in_periods(
    period: Period,
    count: NonZeroUsize,
    candidates: &[Candidate<'_>],
    timezone: Tz,
) -> Vec<Finding> {
    let observed = candidates.iter().map(|candidate| (candidate.age.latest, candidate.age.at_least));
    let mut created: Vec<(usize, Option<DateTime<Utc>>)> =
        candidates.iter().map(|candidate| candidate.age.created).enumerate().collect();
    created.sort_by_key(|(_, moment)| Reverse(*moment));
    let by_age = positions(period, count, timezone, observed);
    let by_creation = positions(period, count, timezone, created.iter().map(|(_, moment)| (*moment, false)));
    let mut found = by_age;
    // Images of several days can be observed or copied on one day, and still count as of several days.
    let mut youngest = None;
    for ((candidate, moment), position) in created.into_iter().zip(by_creation) {
        // Of those that were created at the same moment, the one that was observed later is younger.
        let ties = moment.is_some() && moment == youngest && candidates[candidate].age.at_least;
        match position {
            Some((_, PeriodPosition::Youngest)) => {
                youngest = moment;
                found[candidate] = position;
            }
            Some((label, _)) if ties => found[candidate] = Some((label, PeriodPosition::Unsure)),
            _ => {}
        }
    }
    let finding = |of: Option<(String, PeriodPosition)>| Finding {
        holds: matches!(of, Some((_, PeriodPosition::Youngest | PeriodPosition::Unsure))),
        measure: Measure::Period { period, count: count.get(), of },
    };
    found.into_iter().map(finding).collect()
}

/// The position of each moment in its period. The moments must be sorted, latest first, each with whether it is only
/// the latest possible one.
fn positions(
    period: Period,
    count: NonZeroUsize,
    timezone: Tz,
    moments: impl Iterator<Item = (Option<DateTime<Utc>>, bool)>,
) -> Vec<Option<(String, PeriodPosition)>> {
    let mut periods: Vec<(i32, u32)> = Vec::new();
    let position = |(moment, at_least): (Option<DateTime<Utc>>, bool)| {
        let (key, label) = calendar(period, moment?, timezone);
        let is_new = periods.last() != Some(&key);
        if at_least {
            let younger = periods.len() - usize::from(!is_new);
            let position =
                if younger < count.get() { PeriodPosition::Unsure } else { PeriodPosition::TooLongAgo };
            return Some((label, position));
        }
        if is_new {
            periods.push(key);
        }
        let position = match (periods.len() <= count.get(), is_new) {
            (false, _) => PeriodPosition::TooLongAgo,
            (true, true) => PeriodPosition::Youngest,
            (true, false) => PeriodPosition::Older,
        };
        Some((label, position))
    };
    moments.map(position).collect()
}

/// The period of a moment: a key that is unique to the period, and its name for people.
fn calendar(period: Period, moment: DateTime<Utc>, timezone: Tz) -> ((i32, u32), String) {
    let date = moment.with_timezone(&timezone).date_naive();
    match period {
        Period::Daily => ((date.year(), date.ordinal()), date.to_string()),
        Period::Weekly => {
            let week = date.iso_week();
            ((week.year(), week.week()), format!("{}-W{:02}", week.year(), week.week()))
        }
        Period::Monthly => ((date.year(), date.month()), format!("{}-{:02}", date.year(), date.month())),
        Period::Yearly => ((date.year(), 0), date.year().to_string()),
    }
}

fn highest_versions(count: NonZeroUsize, line: Option<Line>, candidates: &[Candidate<'_>]) -> Vec<Finding> {
    // Build metadata has no precedence, so `1.0.0` and `v1.0.0_x` are one version with one rank.
    let bare = |mut version: Version| {
        version.build = BuildMetadata::EMPTY;
        version
    };
    let versions: Vec<Vec<Version>> = candidates
        .iter()
        .map(|candidate| candidate.tags.iter().filter_map(|tag| version(tag)).map(bare).collect())
        .collect();
    let mut lines: BTreeMap<(u64, u64), BTreeSet<&Version>> = BTreeMap::new();
    for version in versions.iter().flatten() {
        lines.entry(line_of(version, line)).or_default().insert(version);
    }
    let ranks: BTreeMap<&Version, usize> = lines
        .values()
        .flat_map(|members| members.iter().rev().enumerate().map(|(above, version)| (*version, above + 1)))
        .collect();
    let finding = |own: &Vec<Version>| {
        let best = own
            .iter()
            .filter_map(|version| ranks.get(version).map(|rank| (version.clone(), *rank)))
            .min_by_key(|(_, rank)| *rank);
        Finding {
            holds: best.as_ref().is_some_and(|(_, rank)| *rank <= count.get()),
            measure: Measure::Versions { count: count.get(), line, best },
        }
    };
    versions.iter().map(finding).collect()
}

fn line_of(version: &Version, line: Option<Line>) -> (u64, u64) {
    match line {
        None => (0, 0),
        Some(Line::Major) => (version.major, 0),
        Some(Line::Minor) => (version.major, version.minor),
    }
}
