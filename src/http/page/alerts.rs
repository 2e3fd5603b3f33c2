//! What the page begins with: everything that somebody has to look at, of all registries, with the way to each.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::format::{short, when};
use super::{anchor, collection_outcome, outcome};
use crate::http::health;
use crate::http::status_store::{Registry, State};
use crate::policy::Mode;
use crate::report::Outcome;

/// Of a text that stands in full with its registry, this much.
const TEXT: usize = 240;

pub(super) fn alerts(state: &State, now: DateTime<Utc>) -> Markup {
    let causes = health::causes(state, now);
    let stalled = health::stalled(state, now);
    let reload = state.configuration_error.as_ref().filter(|_| state.configuration.is_some());
    let only_plans =
        state.configuration.as_ref().is_some_and(|configuration| configuration.mode == Mode::Plan);
    let troubled =
        state.registries.iter().any(|registry| run_is_bad(registry) || registry.failed_collection.is_some());
    html! {
        @if !causes.is_empty() || stalled.is_some() || reload.is_some() || troubled || !state.unknown.is_empty() {
            section.trouble role="alert" {
                h2 { "Needs attention" }
                ul {
                    @if let Some(why) = stalled { li { (why) } }
                    @for cause in &causes { li { (cause.text) } }
                    @for unknown in state.unknown.iter().filter(|one| !one.is_stopped) { li { (unknown) } }
                    @if let Some((at, error)) = reload {
                        li {
                            "The configuration could not be reloaded " (when(*at, now))
                            ", so the one before it stays in force:"
                            pre { (error) }
                        }
                    }
                    @for (place, registry) in state.registries.iter().enumerate() {
                        (last_run(registry, place, now))
                        (last_collection(registry, place, now))
                    }
                }
            }
        }
        @if only_plans {
            p.note { "The mode is plan: nothing is deleted until the configuration says " code { "mode: enforce" } "." }
        }
    }
}

fn run_is_bad(registry: &Registry) -> bool {
    registry.last_run.as_ref().is_some_and(|run| match run.outcome {
        Outcome::Failed | Outcome::Partial | Outcome::Refused | Outcome::Interrupted => true,
        Outcome::Success | Outcome::Skipped => false,
    })
}

fn last_run(registry: &Registry, place: usize, now: DateTime<Utc>) -> Markup {
    html! {
        @if let Some(run) = registry.last_run.as_ref().filter(|_| run_is_bad(registry)) {
            li {
                a href={ "#" (anchor(place)) } { (registry.name) } ": the last run, " (when(run.at, now)) ": "
                (outcome(run.outcome))
                @if let Some(first) = run.problems.first() { " " (short(first, TEXT)) }
                @if run.problems.len() > 1 { " and more" }
            }
        }
    }
}

fn last_collection(registry: &Registry, place: usize, now: DateTime<Utc>) -> Markup {
    html! {
        @if let Some(collected) = &registry.failed_collection {
            li {
                a href={ "#" (anchor(place)) } { (registry.name) } ": the last collection, " (when(collected.at, now))
                ": " (collection_outcome(collected.outcome))
                " " (short(collected.error.as_deref().unwrap_or("no reason is known"), TEXT))
            }
        }
    }
}
