//! Progress on a terminal. Where there is none, nothing is drawn.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::narrowed::Narrowed;
use super::output::is_json;
use crate::model::RepositoryName;
use crate::run::Progress;

/// The bar of one registry: first repositories that are read, then deletions.
pub(super) struct Bar<'a> {
    bar: ProgressBar,
    narrowed: Option<&'a Narrowed>,
}

impl<'a> Bar<'a> {
    /// Notes which of these there are, too.
    pub(super) fn among(registry: &str, narrowed: &'a Narrowed) -> Self {
        let mut bar = Self::new(registry);
        bar.narrowed = Some(narrowed);
        bar
    }

    pub(super) fn new(registry: &str) -> Self {
        // Draws on standard error, and only if that is a terminal.
        let bar = if is_json() { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        let bar = bar.with_prefix(registry.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        bar.set_message("reaching the registry");
        Self { bar, narrowed: None }
    }

    fn begin(&self, what: &'static str, length: usize) {
        let style = ProgressStyle::with_template("{prefix}: {msg} {wide_bar} {pos}/{len} {eta}");
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.bar.set_message(what);
        self.bar.set_length(length as u64);
        self.bar.set_position(0);
    }
}

impl Progress for Bar<'_> {
    fn found(&self, repository: &RepositoryName) {
        if let Some(narrowed) = self.narrowed {
            narrowed.found(repository);
        }
    }

    fn scanning(&self, repositories: usize) {
        self.begin("reading repositories", repositories);
    }

    fn scanned(&self) {
        self.bar.inc(1);
    }

    fn deleting(&self, deletions: usize) {
        self.begin("deleting manifests", deletions);
    }

    fn settled(&self) {
        self.bar.inc(1);
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
