//! The repositories that `--repository` selects, and whether each of its patterns matched one.
//!
//! It reads no registry: the caller records which repositories exist.

use std::sync::atomic::{AtomicBool, Ordering};

use super::exit::Exit;
use crate::model::RepositoryName;
use crate::policy::{Pattern, Patterns};

/// The patterns of `--repository`.
pub(super) struct RepositoryFilter {
    patterns: Option<Patterns>,
    /// Whether a repository matched, for each pattern.
    matched: Vec<AtomicBool>,
}

impl RepositoryFilter {
    /// Without patterns every repository is selected.
    pub(super) fn new(patterns: &[Pattern]) -> Self {
        let matched = patterns.iter().map(|_| AtomicBool::new(false)).collect();
        Self { patterns: (!patterns.is_empty()).then(|| Patterns::new(patterns.to_vec())), matched }
    }

    pub(super) fn patterns(&self) -> Option<&Patterns> {
        self.patterns.as_ref()
    }

    /// Notes that the registry has this repository.
    pub(super) fn record(&self, repository: &RepositoryName) {
        for (pattern, matched) in self.each() {
            if !matched.load(Ordering::Relaxed) && pattern.matches(repository.as_str()) {
                matched.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Reports every pattern without a match, once all registries have been read.
    pub(super) fn report_unmatched(&self) -> Exit {
        let mut exit = Exit::Success;
        for (pattern, _) in self.each().filter(|(_, matched)| !matched.load(Ordering::Relaxed)) {
            print_error!(
                "no repository matches `{}`, a regular expression for the whole name: `regsweep ls` lists the repositories",
                pattern.source()
            );
            exit = Exit::Failed;
        }
        exit
    }

    fn each(&self) -> impl Iterator<Item = (&Pattern, &AtomicBool)> {
        self.patterns.iter().flat_map(Patterns::iter).zip(&self.matched)
    }
}
