//! Runs of the service: each told to the state, the metrics and the page.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::active_config::ActiveConfig;
use super::past;
use super::service::{Service, lock};
use crate::http::RunEntry;
use crate::run::{self, LimitMode, RunOptions, RunResult};

impl Service {
    /// Makes a run of a registry.
    pub(super) async fn run(&self, active: &ActiveConfig, name: &str, limits: LimitMode) {
        let begin = Instant::now();
        let at = (self.clock)();
        let Some(context) = active.registry_context(name, at, self) else { return };
        self.status_store.run_started(name, at);
        self.metrics.run_started(name, Some(at));
        let options = RunOptions {
            state: &self.state,
            collector: active.collector(name),
            limits,
            stop: &self.stop,
            clock: &*self.clock,
        };
        let mut end = None;
        let result = run::run(context, &options, &()).await;
        self.metrics.run_started(name, None);
        match result {
            Ok(RunResult { run, document, report, collected, taken, .. }) => {
                self.up(name, true);
                self.metrics.planned(&document);
                self.status_store.planned(document);
                self.status_store.run_ended(RunEntry { id: Some(run), ..RunEntry::of(&report, at, taken) });
                if report.interrupted {
                    self.note_for_rerun(run);
                }
                // Last: whoever sees it counted finds the rest.
                self.metrics.run_finished(&report, taken, (self.clock)());
                tracing::info!(
                    registry = name,
                    outcome = report.outcome().name(),
                    deleted = report.deleted.len(),
                    untagged = report.untagged.len(),
                    failures = report.failures.len(),
                    refusals = report.refusals.len(),
                    seconds = taken.as_secs_f64(),
                    "the run ended"
                );
                if let Some(collected) = collected {
                    end = Some(self.collection_ended(name, collected).await);
                }
            }
            // The process is about to leave, and the next one begins anew.
            Err(error @ run::Error::Stopped) => self.interrupted(name, &error, at, begin.elapsed()),
            Err(error) => {
                self.failed(name, &error, at, begin.elapsed());
                self.leave_nothing_down(name).await;
            }
        }
        past::catch_up(self, name);
        self.show_reclaimable(name);
        if let Some(attempts) = lock(&self.attempts).get_mut(name) {
            *attempts = attempts.after_run();
        }
        self.attempted(name, end);
        self.arm_next_collection(name);
    }

    fn failed(&self, name: &str, error: &run::Error, at: DateTime<Utc>, taken: Duration) {
        tracing::error!(registry = name, kind = error.kind(), %error, "the run failed, and nothing was done");
        self.up(name, error.was_reached());
        self.metrics.run_failed(name, taken, (self.clock)());
        // Without a number it has no page of its own, and is told all the same.
        let id = self.state.run_that_began(name, at).ok().flatten();
        self.status_store.run_ended(RunEntry { id, ..RunEntry::failed(name, &error.to_string(), at, taken) });
    }

    /// A run that a stop ended while it read.
    fn interrupted(&self, name: &str, error: &run::Error, at: DateTime<Utc>, taken: Duration) {
        tracing::info!(registry = name, "{error}");
        self.metrics.run_interrupted(name, taken, (self.clock)());
        let id = self.state.run_that_began(name, at).ok().flatten();
        self.status_store
            .run_ended(RunEntry { id, ..RunEntry::interrupted(name, &error.to_string(), at, taken) });
        if let Some(run) = id {
            self.note_for_rerun(run);
        }
    }
}
