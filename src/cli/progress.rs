//! Progress bars on a terminal. Elsewhere nothing is drawn.
//!
//! They are drawn on standard error, never on standard output.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::filter::RepositoryFilter;
use super::output::is_json;
use crate::model::RepositoryName;
use crate::run::Progress;

/// The progress of work on one registry: first the repositories that are read, then the deletions.
pub(super) struct RegistryProgress<'a> {
    bar: ProgressBar,
    filter: Option<&'a RepositoryFilter>,
}

impl<'a> RegistryProgress<'a> {
    /// Also tells the filter which repositories exist.
    pub(super) fn with_filter(registry: &str, filter: &'a RepositoryFilter) -> Self {
        let mut progress = Self::new(registry);
        progress.filter = Some(filter);
        progress
    }

    pub(super) fn new(registry: &str) -> Self {
        // The bar is drawn on standard error, and only if that is a terminal.
        let bar = if is_json() { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        let bar = bar.with_prefix(registry.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        bar.set_message("connecting");
        Self { bar, filter: None }
    }

    fn start(&self, message: &'static str, length: usize) {
        let style = ProgressStyle::with_template("{prefix}: {msg} {wide_bar} {pos}/{len} {eta}");
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.bar.set_message(message);
        self.bar.set_length(length as u64);
        self.bar.set_position(0);
    }
}

impl Progress for RegistryProgress<'_> {
    fn found(&self, repository: &RepositoryName) {
        if let Some(filter) = self.filter {
            filter.record(repository);
        }
    }

    fn scanning(&self, repositories: usize) {
        self.start("reading repositories", repositories);
    }

    fn scanned(&self) {
        self.bar.inc(1);
    }

    fn deleting(&self, deletions: usize) {
        self.start("deleting manifests", deletions);
    }

    fn deletion_done(&self) {
        self.bar.inc(1);
    }
}

impl Drop for RegistryProgress<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
