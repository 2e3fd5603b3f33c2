//! The age of a manifest: where it is decided, from all evidence.
//!
//! The latest credible evidence counts: who promotes or rebuilds an image expects it to be as young as that. It must
//! not know where evidence comes from.

use chrono::{DateTime, Utc};

use super::evidence::{Evidence, Meaning, Weight};

/// The age of one manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Age {
    /// The moment from which the age counts; `None` if the age is unknown.
    pub(super) latest: Option<DateTime<Utc>>,
    /// When it was created, as far as that is credible: the order of manifests that one scan noticed.
    pub(super) created: Option<DateTime<Utc>>,
    /// Whether the age is only a minimum. Then only what is certainly younger is younger.
    pub(super) at_least: bool,
}

impl Age {
    /// By all evidence, at the moment of the plan.
    pub(super) fn of(evidence: &[Evidence], now: DateTime<Utc>) -> Self {
        let counts = evidence.iter().find(|one| one.weight == Weight::Counts);
        let is_creation = |one: &&Evidence| {
            one.source.meaning == Meaning::Creation && matches!(one.weight, Weight::Counts | Weight::Outdated)
        };
        Self {
            latest: counts.map(|one| one.at.min(now)),
            created: evidence.iter().find(is_creation).map(|one| one.at),
            at_least: counts.is_some_and(|one| one.source.meaning == Meaning::Presence),
        }
    }
}
