//! The progress of a run, so that a command can show it.

use crate::model::RepositoryName;
use crate::plan::RepositoryPlan;

/// Receives the progress of a run.
pub trait Progress: Sync {
    /// The registry has this repository, and the run was asked for it; a policy may claim it or not.
    fn found(&self, _repository: &RepositoryName) {}
    /// This many repositories are about to be scanned.
    fn scanning(&self, _repositories: usize) {}
    /// One of them was scanned.
    fn scanned(&self) {}
    /// The plan of a repository, once for each that could be read, in order.
    fn planned(&self, _plan: &RepositoryPlan) {}
    /// This many deletions are about to be sent.
    fn deleting(&self, _deletions: usize) {}
    /// One of them was sent or skipped.
    fn deletion_done(&self) {}
}

/// Shows nothing.
impl Progress for () {}
