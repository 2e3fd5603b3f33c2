//! The repositories that a command is narrowed down to, and whether there are such.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Exit;
use crate::model::RepositoryName;
use crate::policy::{Pattern, Patterns};

/// What `--repository` says.
pub(super) struct Narrowed {
    only: Option<Patterns>,
    /// Whether a repository was found for each pattern.
    found: Vec<AtomicBool>,
}

impl Narrowed {
    /// To these; none at all means that it is not narrowed down.
    pub(super) fn to(patterns: &[Pattern]) -> Self {
        let only = (!patterns.is_empty()).then(|| Patterns::new(patterns.to_vec()));
        Self { only, found: patterns.iter().map(|_| AtomicBool::new(false)).collect() }
    }

    pub(super) fn only(&self) -> Option<&Patterns> {
        self.only.as_ref()
    }

    /// There is this repository.
    pub(super) fn found(&self, repository: &RepositoryName) {
        let patterns = self.only.iter().flat_map(Patterns::iter);
        for (pattern, found) in patterns.zip(&self.found) {
            if !found.load(Ordering::Relaxed) && pattern.matches(repository.as_str()) {
                found.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Names what nothing was found for, once everything has been looked through.
    pub(super) fn complain(&self) -> Exit {
        let patterns = self.only.iter().flat_map(Patterns::iter);
        let mut exit = Exit::Done;
        for (pattern, found) in patterns.zip(&self.found) {
            if !found.load(Ordering::Relaxed) {
                print_error!(
                    "no repository matches `{}`, which is a regex for the whole name: `regsweep ls` shows which there are",
                    pattern.source()
                );
                exit = Exit::Failed;
            }
        }
        exit
    }
}
