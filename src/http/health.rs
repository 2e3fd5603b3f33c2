//! Liveness and readiness: whether the main loop runs, and what prevents the service from doing its work.
//!
//! It evaluates a status at a given time and knows nothing of HTTP.

use chrono::{DateTime, TimeDelta, Utc};

use super::history_entry::RunEntry;
use super::status_store::ServiceStatus;
use crate::model::duration;
use crate::report::Outcome;

/// The main loop has a heartbeat every second; without one for this long it counts as stalled.
const HEARTBEAT_TIMEOUT: TimeDelta = TimeDelta::seconds(60);

/// A scheduled run that has not started after this time counts as overdue.
const OVERDUE_AFTER: TimeDelta = TimeDelta::minutes(5);

/// Why the service is not ready.
pub(super) struct Cause {
    /// A fixed identifier: `not_configured`, `stopped`, `unreachable` or `overdue`.
    pub(super) cause: &'static str,
    /// The registry, if the cause concerns only one.
    pub(super) registry: Option<String>,
    /// A message for the operator.
    pub(super) text: String,
}

/// Why the main loop counts as stalled; `None` if it runs.
pub(super) fn stalled(status: &ServiceStatus, now: DateTime<Utc>) -> Option<String> {
    match status.heartbeat {
        None => Some("the main loop has not started".to_owned()),
        Some(beat) if now - beat > HEARTBEAT_TIMEOUT => {
            Some(format!("the main loop had no heartbeat for {}", duration::rough(now - beat)))
        }
        Some(_) => None,
    }
}

/// Everything that makes the service not ready; empty if it is ready.
pub(super) fn causes(status: &ServiceStatus, now: DateTime<Utc>) -> Vec<Cause> {
    let mut causes = Vec::new();
    if status.configuration.is_none() {
        let text = match &status.configuration_error {
            Some((_, error)) => format!("no configuration is active: {error}"),
            None => "no configuration is active yet".to_owned(),
        };
        causes.push(Cause { cause: "not_configured", registry: None, text });
    }
    for unknown in status.unknown.iter().filter(|unknown| unknown.is_stopped) {
        let registry = Some(unknown.name.clone());
        causes.push(Cause { cause: "stopped", registry, text: unknown.to_string() });
    }
    for registry in &status.registries {
        let name = &registry.name;
        if let Some(why) = &registry.stopped {
            let text =
                format!("registry {name} was stopped for a collection and is not running again: {why}");
            causes.push(Cause { cause: "stopped", registry: Some(name.clone()), text });
        }
        let failed = |run: &&RunEntry| run.outcome == Outcome::Failed;
        let text = match (registry.up, registry.last_run.as_ref().filter(failed)) {
            (Some(false), _) => Some(format!("registry {name} could not be reached")),
            // The run failed before a restart, and no request has succeeded since.
            (None, Some(_)) => Some(format!(
                "the last run of registry {name} failed, and the registry has not been probed since"
            )),
            (Some(true), _) | (None, None) => None,
        };
        if let Some(text) = text {
            causes.push(Cause { cause: "unreachable", registry: Some(name.clone()), text });
        }
        let late = registry.next_run.map(|next| now - next).filter(|late| *late > OVERDUE_AFTER);
        if let (Some(late), None) = (late, registry.running_since) {
            let text =
                format!("the run of registry {name} should have started {} ago", duration::rough(late));
            causes.push(Cause { cause: "overdue", registry: Some(name.clone()), text });
        }
    }
    causes
}
