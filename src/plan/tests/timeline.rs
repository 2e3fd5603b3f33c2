//! A repository that is scanned again and again, with the scan history that results.

use super::*;
use crate::model::ScanHistory;
use crate::plan::{Source, Weight};

/// A repository that is scanned on some days. Days are counted from an arbitrary one.
pub(super) struct Timeline {
    pub(super) history: ScanHistory,
    pub(super) repository: TestRepository,
    pub(super) input: PlanInput,
}

pub(super) fn day(day: i64) -> DateTime<Utc> {
    ago(-24 * day)
}

impl Timeline {
    pub(super) fn new(input: PlanInput) -> Self {
        Self { history: ScanHistory::default(), repository: TestRepository::new(), input }
    }

    /// A client pushes an image with a creation date, or without one.
    pub(super) fn push(&mut self, name: &str, made: Option<DateTime<Utc>>, tags: &[&str]) {
        let repository = std::mem::replace(&mut self.repository, TestRepository::new());
        self.repository = repository.add(name, Kind::Image, made, tags);
    }

    pub(super) fn untag(&mut self, tag: &str) {
        self.repository.snapshot.tags.remove(&Tag::parse(tag).unwrap());
    }

    /// Scans, and returns the names of what the plan deletes.
    pub(super) fn scan(&mut self, on: i64) -> Vec<String> {
        let plan = self.plan(on);
        let mut names: Vec<String> =
            plan.deletions().map(|planned| self.repository.names[&planned.digest].clone()).collect();
        names.sort();
        names
    }

    pub(super) fn plan(&mut self, on: i64) -> RepositoryPlan {
        self.history = self.history.record(&mut self.repository.snapshot, day(on));
        self.input.plan_at(&self.repository.snapshot, day(on))
    }

    pub(super) fn evidence(&mut self, on: i64, name: &str) -> Vec<(&'static Source, Weight)> {
        let plan = self.plan(on);
        let planned = plan.manifests.iter().find(|planned| planned.digest == digest(name)).unwrap();
        planned.evidence.iter().map(|piece| (piece.source, piece.weight)).collect()
    }
}

/// Keeps what is younger than ten days.
pub(super) fn ten_days() -> Timeline {
    Timeline::new(all(vec![newer_than(240)]))
}
