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
        let counts = evidence.iter().find(|piece| piece.weight == Weight::Counts);
        let is_creation = |piece: &&Evidence| {
            piece.source.meaning == Meaning::Creation
                && matches!(piece.weight, Weight::Counts | Weight::Outdated)
        };
        Self {
            latest: counts.map(|piece| piece.at.min(now)),
            created: evidence.iter().find(is_creation).map(|piece| piece.at),
            at_least: counts.is_some_and(|piece| piece.source.meaning == Meaning::Presence),
        }
    }
}
