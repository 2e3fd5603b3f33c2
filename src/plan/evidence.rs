//! Evidence of the age of a manifest: the sources, and what the evidence of each is worth.
//!
//! A new source is one more entry in [`SOURCES`]. It must not know rules.

use std::fmt;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::graph::Graph;
use crate::model::{Facts, FirstScan, Kind, Observation, Snapshot, duration};

/// The first public release of Docker. Reproducible builds claim 1970, 1980 or the year 1, but no image is older than
/// the first tool that made one.
const FIRST_IMAGE: (i32, u32, u32) = (2013, 3, 20);

/// A manifest that was there at the first scan may be older than that scan. If there is no other evidence of its age,
/// it is as old as the first scan once that is so long ago.
pub const MIN_OBSERVED_AGE: TimeDelta = TimeDelta::days(30);

/// One piece of evidence of the age of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// Where it comes from.
    pub source: &'static Source,
    /// Its moment. What a scan has observed can be later than the moment of the plan, and counts as that moment then.
    pub at: DateTime<Utc>,
    /// What it is worth.
    pub weight: Weight,
}

impl Evidence {
    /// It in a sentence, for a plan as of `now`.
    pub fn text(&self, now: DateTime<Utc>) -> String {
        let weight = match self.weight {
            Weight::Counts if self.at > now => "later than the moment of this plan: counts as that moment",
            Weight::Counts => "counts",
            Weight::Outdated => "does not count: later evidence does",
            Weight::TooOld => {
                "not believed: no image is that old; reproducible builds and unset clocks write such dates"
            }
            Weight::Future => "not believed: it is in the future",
            Weight::TooRecent => &format!(
                "the image may be older: counts only when it is {} ago",
                duration::exact(MIN_OBSERVED_AGE)
            ),
            Weight::Weaker => "the image may be older: better evidence counts",
        };
        format!("{} {} ({weight})", self.source.sentence, self.at.format("%Y-%m-%d %H:%M:%S UTC"))
    }
}

/// A source of evidence.
pub struct Source {
    /// Its fixed name, as in JSON.
    pub name: &'static str,
    /// What its moment means.
    pub(super) meaning: Meaning,
    /// The sentence about it, up to the moment.
    sentence: &'static str,
    /// Its moment for a manifest, if it has one.
    read: fn(&Subject<'_>) -> Option<DateTime<Utc>>,
}

/// What the moment of a source means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The manifest was created then, as it claims itself.
    Creation,
    /// The manifest, or a tag on it, was pushed at about that time.
    Push,
    /// The manifest was there then, and may have been pushed long before.
    Presence,
}

/// Every source, those of [`Meaning::Presence`] last: what they are worth depends on the others.
const SOURCES: [&Source; 4] = [Source::CREATED, Source::YOUNGEST_CHILD, Source::NOTICED, Source::FIRST_SCAN];

impl Source {
    /// The configuration of the image, or an annotation.
    pub const CREATED: &'static Self = &Self {
        name: "created",
        meaning: Meaning::Creation,
        sentence: "the image says it was created",
        read: |subject| subject.created(subject.node),
    };
    /// The youngest child of an index that does not say it itself.
    pub const YOUNGEST_CHILD: &'static Self = &Self {
        name: "youngest-child",
        meaning: Meaning::Creation,
        sentence: "its youngest child says it was created",
        read: |subject| subject.youngest_child(),
    };
    /// A scan found the manifest, or a tag on it, that was not there at the scan before.
    pub const NOTICED: &'static Self = &Self {
        name: "noticed",
        meaning: Meaning::Push,
        sentence: "regsweep saw the image, or a tag on it, appear",
        read: |subject| subject.observed(false),
    };
    /// The manifest was there at the first scan.
    pub const FIRST_SCAN: &'static Self = &Self {
        name: "first-scan",
        meaning: Meaning::Presence,
        sentence: "it was there at the first scan,",
        read: |subject| subject.observed(true),
    };
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Source {}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// What a piece of evidence is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// It is the latest, so the age counts from it.
    Counts,
    /// It is credible, and later evidence counts.
    Outdated,
    /// It is earlier than the first image: reproducible builds and clocks that were not set claim that.
    TooOld,
    /// It is in the future.
    Future,
    /// The manifest may be older than the first scan, which is not long enough ago.
    TooRecent,
    /// The manifest may be older than the first scan, and there is better evidence.
    Weaker,
}

/// The manifest whose age is in question.
struct Subject<'a> {
    snapshot: &'a Snapshot,
    graph: &'a Graph<'a>,
    node: usize,
    now: DateTime<Utc>,
}

impl Subject<'_> {
    fn created(&self, node: usize) -> Option<DateTime<Utc>> {
        match &self.graph.nodes[node].facts {
            Facts::Known { created, .. } => *created,
            Facts::NotFetched { .. } | Facts::Unknown { .. } => None,
        }
    }

    fn credible_creation(&self, node: usize) -> Option<DateTime<Utc>> {
        self.created(node).filter(|&at| claim(at, self.now) == Weight::Outdated)
    }

    fn youngest_child(&self) -> Option<DateTime<Utc>> {
        let is_index = self.graph.nodes[self.node].kind == Kind::Index;
        if !is_index || self.credible_creation(self.node).is_some() {
            return None;
        }
        let descendants = self.graph.with_descendants(self.node).filter(|&node| node != self.node);
        descendants.filter_map(|node| self.credible_creation(node)).max()
    }

    /// When scans noticed the manifest, if that was at the first scan or if it was not.
    ///
    /// All that the first scan found has exactly its moment. Any other moment is that of a later scan, even if the
    /// clock of that scan was behind.
    fn observed(&self, at_first_scan: bool) -> Option<DateTime<Utc>> {
        let Observation { noticed, .. } =
            *self.snapshot.observations.get(&self.graph.nodes[self.node].digest)?;
        let is_first = match self.snapshot.first_scan {
            FirstScan::At(first) | FirstScan::AfterLoss(first) => noticed == first,
            FirstScan::Never | FirstScan::Lost => false,
        };
        (is_first == at_first_scan).then_some(noticed)
    }

    /// What a moment is worth. `has_better` says whether other evidence is credible.
    fn weigh(&self, source: &Source, at: DateTime<Utc>, has_better: bool) -> Weight {
        // A clock that was ahead must not make anything older, so an observation of the future counts as one of now.
        // It is not corrected for good, because the present clock may be the wrong one.
        let observed = at.min(self.now);
        match source.meaning {
            Meaning::Creation => claim(at, self.now),
            Meaning::Push => claim(observed, self.now),
            Meaning::Presence if claim(observed, self.now) == Weight::TooOld => Weight::TooOld,
            Meaning::Presence if has_better => match self.snapshot.first_scan {
                // It may have been pushed at any time until the scan history was lost.
                FirstScan::AfterLoss(_) => Weight::Outdated,
                FirstScan::At(_) | FirstScan::Never | FirstScan::Lost => Weight::Weaker,
            },
            Meaning::Presence if self.now - observed < MIN_OBSERVED_AGE => Weight::TooRecent,
            Meaning::Presence => Weight::Outdated,
        }
    }
}

/// All evidence of the age of a manifest, in the order of [`SOURCES`].
pub(super) fn evidence(
    snapshot: &Snapshot,
    graph: &Graph<'_>,
    node: usize,
    now: DateTime<Utc>,
) -> Vec<Evidence> {
    let subject = Subject { snapshot, graph, node, now };
    let mut found: Vec<Evidence> = Vec::new();
    for source in SOURCES {
        if let Some(at) = (source.read)(&subject) {
            let has_better = found.iter().any(|piece| piece.weight == Weight::Outdated);
            found.push(Evidence { source, at, weight: subject.weigh(source, at, has_better) });
        }
    }
    let credible = found.iter_mut().filter(|piece| piece.weight == Weight::Outdated);
    if let Some(latest) = credible.max_by_key(|piece| piece.at.min(now)) {
        latest.weight = Weight::Counts;
    }
    found
}

/// Whether a claim is credible: then it is outdated, unless it turns out to be the latest.
fn claim(at: DateTime<Utc>, now: DateTime<Utc>) -> Weight {
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
