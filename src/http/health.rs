//! Whether the service is alive, and whether it is in a state to do its work.
//!
//! It judges what the status_store says as of a moment, and knows nothing of HTTP.

use chrono::{DateTime, TimeDelta, Utc};

use super::entry::Run;
use super::status_store::State;
use crate::model::duration;
use crate::report::Outcome;

/// The loop beats far more often than this.
const HEARTBEAT: TimeDelta = TimeDelta::seconds(60);

/// A run that has not begun by then is not going to.
const GRACE: TimeDelta = TimeDelta::minutes(5);

/// Why the service is not ready.
pub(super) struct Cause {
    /// A fixed word: `not_configured`, `stopped`, `unreachable` or `overdue`.
    pub(super) cause: &'static str,
    /// The registry that it is about.
    pub(super) registry: Option<String>,
    /// For people.
    pub(super) text: String,
}

/// Why the loop counts as dead; `None` if it answers.
pub(super) fn stalled(state: &State, now: DateTime<Utc>) -> Option<String> {
    match state.heartbeat {
        None => Some("the loop has not begun".to_owned()),
        Some(beat) if now - beat > HEARTBEAT => {
            Some(format!("the loop has not answered for {}", duration::rough(now - beat)))
        }
        Some(_) => None,
    }
}

/// Everything that stands in the way; empty if the service is ready.
pub(super) fn causes(state: &State, now: DateTime<Utc>) -> Vec<Cause> {
    let mut causes = Vec::new();
    if state.configuration.is_none() {
        let text = match &state.configuration_error {
            Some((_, error)) => format!("no configuration is in force: {error}"),
            None => "no configuration is in force yet".to_owned(),
        };
        causes.push(Cause { cause: "not_configured", registry: None, text });
    }
    for unknown in state.unknown.iter().filter(|unknown| unknown.is_stopped) {
        let registry = Some(unknown.name.clone());
        causes.push(Cause { cause: "stopped", registry, text: unknown.to_string() });
    }
    for registry in &state.registries {
        let name = &registry.name;
        if let Some(why) = &registry.stopped {
            let text = format!("registry {name} was stopped for a collection and is not back yet: {why}");
            causes.push(Cause { cause: "stopped", registry: Some(name.clone()), text });
        }
        let failed = |run: &&Run| run.outcome == Outcome::Failed;
        let text = match (registry.up, registry.last_run.as_ref().filter(failed)) {
            (Some(false), _) => Some(format!("registry {name} could not be reached")),
            // Before a restart. Where nobody has asked it since, nothing speaks for it.
            (None, Some(_)) => {
                Some(format!("the last run of registry {name} failed, and it has not been asked since"))
            }
            (Some(true), _) | (None, None) => None,
        };
        if let Some(text) = text {
            causes.push(Cause { cause: "unreachable", registry: Some(name.clone()), text });
        }
        let late = registry.next_run.map(|next| now - next).filter(|late| *late > GRACE);
        if let (Some(late), None) = (late, registry.running_since) {
            let text = format!("the run of {name} should have begun {} ago", duration::rough(late));
            causes.push(Cause { cause: "overdue", registry: Some(name.clone()), text });
        }
    }
    causes
}
