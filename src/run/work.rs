//! One repository in which a run deletes, and everything that it needs for that.
//!
//! It is data for [`super::apply_repository`], [`super::recheck`] and [`super::send`], and does nothing itself.

use super::context::RegistryContext;
use super::journal::Journal;
use super::progress::Progress;
use super::stop::StopCondition;
use crate::model::{Digest, Kind};
use crate::plan::RepositoryPlan;
use crate::registry::{Deleter, Features};
use crate::state::NewJournalEntry;

/// The number of repositories in which a run deletes at the same time. Within one, deletions are sent one after the
/// other: each makes distribution read every tag there, and parents must be gone before their children.
pub(super) const CONCURRENT_REPOSITORIES: usize = 4;

/// One repository and what is to be done there.
pub(super) struct RepositoryWork<'a> {
    pub(super) context: RegistryContext<'a>,
    /// The plan that could have been printed first.
    pub(super) planned: &'a RepositoryPlan,
    pub(super) features: Features,
    pub(super) deleter: &'a Deleter,
    pub(super) journal: Journal<'a>,
    pub(super) stop: &'a StopCondition<'a>,
    pub(super) progress: &'a dyn Progress,
}

impl RepositoryWork<'_> {
    /// A journal entry about a manifest, without the facts that only its deletion has.
    pub(super) fn new_entry(&self, digest: &Digest, kind: Kind) -> NewJournalEntry {
        NewJournalEntry {
            repository: self.planned.repository.clone(),
            digest: digest.clone(),
            tags: Vec::new(),
            tag_only: false,
            kind,
            media_type: String::new(),
            body: Vec::new(),
            policy: self.planned.intent.policy_name().to_owned(),
            rules: Vec::new(),
            reasons: Vec::new(),
            bytes: 0,
            dependents: Vec::new(),
        }
    }
}
