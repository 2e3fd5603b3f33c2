//! One criterion, held against the manifests that one rule judges together.
//!
//! It decides nothing: it finds what holds and by how much, and others count the findings.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroUsize;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use chrono_tz::Tz;
use semver::{BuildMetadata, Version};

use super::age::Age;
use super::graph::natural;
use super::span;
use crate::model::{Digest, Tag};
use crate::policy::{Criterion, Line, Period};

/// One manifest of the set that a rule judges.
pub(super) struct Candidate<'a> {
    pub(super) node: usize,
    pub(super) digest: &'a Digest,
    /// The tags on it that the rule claims, in natural order.
    pub(super) tags: Vec<&'a Tag>,
    pub(super) age: Age,
}

/// What a criterion says of one manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether the criterion keeps it.
    pub holds: bool,
    measure: Measure,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Measure {
    Newest { count: usize, rank: Option<usize>, of: usize },
    NewerThan { limit: TimeDelta, age: Option<TimeDelta> },
    Period { period: Period, count: usize, of: Option<(String, Place)> },
    Versions { count: usize, line: Option<Line>, best: Option<(Version, usize)> },
    All(Vec<Finding>),
}

/// Where a manifest stands in its calendar period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Youngest,
    Older,
    TooLongAgo,
    /// It may be of an earlier period, and nothing surely younger takes its place.
    Unsure,
}

impl Finding {
    /// The key of the criterion in the configuration, with dashes: a fixed word.
    pub fn code(&self) -> &'static str {
        match &self.measure {
            Measure::Newest { .. } => "newest",
            Measure::NewerThan { .. } => "newer-than",
            Measure::Period { period, .. } => period.name(),
            Measure::Versions { .. } => "versions",
            Measure::All(_) => "all",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.measure {
            Measure::Newest { count, rank: Some(rank), of } => {
                write!(f, "newest {count}: it is number {rank} of {of}")
            }
            Measure::Newest { count, rank: None, .. } => write!(f, "newest {count}: its age is unknown"),
            Measure::NewerThan { limit, age: Some(age) } => {
                write!(f, "newer than {}: it is {} old", span::exact(*limit), span::rough(*age))
            }
            Measure::NewerThan { limit, age: None } => {
                write!(f, "newer than {}: its age is unknown", span::exact(*limit))
            }
            Measure::Period { period, count, of: Some((label, place)) } => {
                let place = match place {
                    Place::Youngest => "it is the youngest of",
                    Place::Older => "there is a younger one of",
                    Place::TooLongAgo => "too long ago is",
                    Place::Unsure => "nothing surely younger stands before",
                };
                write!(f, "{} {count}: {place} {label}", period.name())
            }
            Measure::Period { period, count, of: None } => {
                write!(f, "{} {count}: its age is unknown", period.name())
            }
            Measure::Versions { count, line, best } => {
                write!(f, "versions newest {count}")?;
                if let Some(line) = line {
                    write!(f, " per {line}")?;
                }
                match best {
                    Some((version, rank)) => write!(f, ": {version} is number {rank}"),
                    None => f.write_str(": it has no version"),
                }
            }
            Measure::All(findings) => {
                f.write_str("all of (")?;
                for (position, finding) in findings.iter().enumerate() {
                    write!(f, "{}{finding}", if position == 0 { "" } else { "; " })?;
                }
                f.write_str(")")
            }
        }
    }
}

/// Puts the youngest first. Of equal age, the one that was made later is younger, then the one whose tag
/// comes later in natural order; those of unknown age come last, and take no place among the newest.
pub(super) fn youngest_first(candidates: &mut [Candidate<'_>]) {
    candidates.sort_by(|a, b| {
        let by_tag = match (a.tags.last(), b.tags.last()) {
            (Some(ours), Some(theirs)) => natural(theirs, ours),
            _ => std::cmp::Ordering::Equal,
        };
        let rank = |one: &Candidate<'_>| Reverse((one.age.latest, one.age.made));
        rank(a).cmp(&rank(b)).then(by_tag).then_with(|| a.digest.cmp(b.digest))
    });
}

/// The version that a tag stands for. A leading `v` is allowed, and an underscore stands for the plus
/// sign that a tag cannot hold, as Helm writes it.
pub(super) fn version(tag: &Tag) -> Option<Version> {
    let text = tag.as_str();
    Version::parse(&text.strip_prefix('v').unwrap_or(text).replacen('_', "+", 1)).ok()
}

/// What the criterion says of each candidate. The candidates must be in the order of
/// [`youngest_first`].
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
                criteria.iter().map(|one| evaluate(one, candidates, now, timezone)).collect();
            let column = |position: usize| rows.iter().map(|row| row[position].clone()).collect::<Vec<_>>();
            (0..candidates.len())
                .map(column)
                .map(|findings| Finding {
                    // An empty conjunction would hold for everything; the configuration refuses it.
                    holds: findings.iter().all(|finding| finding.holds),
                    measure: Measure::All(findings),
                })
                .collect()
        }
    }
}

fn newest(count: NonZeroUsize, candidates: &[Candidate<'_>]) -> Vec<Finding> {
    let of = candidates.iter().filter(|candidate| candidate.age.latest.is_some()).count();
    // What may be much older than it seems takes no place from any other.
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
    let noticed = candidates.iter().map(|candidate| (candidate.age.latest, candidate.age.at_least));
    let mut made: Vec<(usize, Option<DateTime<Utc>>)> =
        candidates.iter().map(|candidate| candidate.age.made).enumerate().collect();
    made.sort_by_key(|(_, moment)| Reverse(*moment));
    let by_age = places(period, count, timezone, noticed);
    let by_making = places(period, count, timezone, made.iter().map(|(_, moment)| (*moment, false)));
    let mut found = by_age;
    // Several days' images can be noticed on one day, or copied on one, and are still of several days.
    let mut youngest = None;
    for ((candidate, moment), place) in made.into_iter().zip(by_making) {
        // Of those that were made at one moment, the look that noticed them tells the younger, if it can.
        let ties = moment.is_some() && moment == youngest && candidates[candidate].age.at_least;
        match place {
            Some((_, Place::Youngest)) => {
                youngest = moment;
                found[candidate] = place;
            }
            Some((label, _)) if ties => found[candidate] = Some((label, Place::Unsure)),
            _ => {}
        }
    }
    let finding = |of: Option<(String, Place)>| Finding {
        holds: matches!(of, Some((_, Place::Youngest | Place::Unsure))),
        measure: Measure::Period { period, count: count.get(), of },
    };
    found.into_iter().map(finding).collect()
}

/// The place of each moment in its period. They come youngest first, each with whether it may be much
/// earlier than it seems.
fn places(
    period: Period,
    count: NonZeroUsize,
    timezone: Tz,
    moments: impl Iterator<Item = (Option<DateTime<Utc>>, bool)>,
) -> Vec<Option<(String, Place)>> {
    let mut periods: Vec<(i32, u32)> = Vec::new();
    let place = |(moment, at_least): (Option<DateTime<Utc>>, bool)| {
        let (key, label) = calendar(period, moment?, timezone);
        let is_new = periods.last() != Some(&key);
        if at_least {
            let younger = periods.len() - usize::from(!is_new);
            let place = if younger < count.get() { Place::Unsure } else { Place::TooLongAgo };
            return Some((label, place));
        }
        if is_new {
            periods.push(key);
        }
        let place = match (periods.len() <= count.get(), is_new) {
            (false, _) => Place::TooLongAgo,
            (true, true) => Place::Youngest,
            (true, false) => Place::Older,
        };
        Some((label, place))
    };
    moments.map(place).collect()
}

/// The period that a moment lies in: a key that tells periods apart, and a name for people.
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
    // Build metadata has no precedence, so `1.0.0` and `v1.0.0_x` are one version and share a place.
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
