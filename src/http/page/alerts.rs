//! The alerts at the top of the page: everything that needs attention, with a link to its registry.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::format::{short, when};
use super::labels::{anchor, collection_outcome, outcome};
use crate::http::health;
use crate::http::status_store::{RegistryStatus, ServiceStatus};
use crate::policy::Mode;
use crate::report::Outcome;

/// The length of a message here; the section of the registry has all of it.
const MAX_TEXT: usize = 240;

pub(super) fn alerts(status: &ServiceStatus, now: DateTime<Utc>) -> Markup {
    let causes = health::causes(status, now);
    let stalled = health::stalled(status, now);
    let reload = status.configuration_error.as_ref().filter(|_| status.configuration.is_some());
    let only_plans =
        status.configuration.as_ref().is_some_and(|configuration| configuration.mode == Mode::Plan);
    let has_problems =
        status.registries.iter().any(|registry| run_is_bad(registry) || registry.failed_collection.is_some());
    html! {
        @if !causes.is_empty() || stalled.is_some() || reload.is_some() || has_problems || !status.unknown.is_empty() {
            section.alert role="alert" {
                h2 { "Needs attention" }
                ul {
                    @if let Some(why) = stalled { li { (why) } }
                    @for cause in &causes { li { (cause.text) } }
                    @for unknown in status.unknown.iter().filter(|registry| !registry.is_stopped) { li { (unknown) } }
                    @if let Some((at, error)) = reload {
                        li {
                            "The configuration could not be reloaded " (when(*at, now))
                            "; the previous one stays active:"
                            pre { (error) }
                        }
                    }
                    @for (position, registry) in status.registries.iter().enumerate() {
                        (last_run(registry, position, now))
                        (last_collection(registry, position, now))
                    }
                }
            }
        }
        @if only_plans {
            p.note { "The mode is plan: nothing is deleted until the configuration has " code { "mode: enforce" } "." }
        }
    }
}

fn run_is_bad(registry: &RegistryStatus) -> bool {
    registry.last_run.as_ref().is_some_and(|run| match run.outcome {
        Outcome::Failed | Outcome::Partial | Outcome::Refused | Outcome::Interrupted => true,
        Outcome::Success | Outcome::Skipped => false,
    })
}

fn last_run(registry: &RegistryStatus, position: usize, now: DateTime<Utc>) -> Markup {
    html! {
        @if let Some(run) = registry.last_run.as_ref().filter(|_| run_is_bad(registry)) {
            li {
                a href={ "#" (anchor(position)) } { (registry.name) } ": the last run, " (when(run.at, now)) ": "
                (outcome(run.outcome))
                @if let Some(first) = run.problems.first() { " " (short(first, MAX_TEXT)) }
                @if run.problems.len() > 1 { " and more" }
            }
        }
    }
}

fn last_collection(registry: &RegistryStatus, position: usize, now: DateTime<Utc>) -> Markup {
    html! {
        @if let Some(collected) = &registry.failed_collection {
            li {
                a href={ "#" (anchor(position)) } { (registry.name) } ": the last collection, " (when(collected.at, now))
                ": " (collection_outcome(collected.outcome))
                " " (short(collected.error.as_deref().unwrap_or("unknown error"), MAX_TEXT))
            }
        }
    }
}
