//! Outcomes as coloured labels, and the anchors of registries.

use maud::{Markup, html};

use crate::report::{CollectionOutcome, Outcome};

/// The anchor of the registry at this position in the configuration: its name could contain any character.
pub(super) fn anchor(position: usize) -> String {
    format!("registry-{}", position + 1)
}

pub(super) fn outcome(outcome: Outcome) -> Markup {
    let class = match outcome {
        Outcome::Success => "pill good",
        Outcome::Failed => "pill bad",
        Outcome::Partial | Outcome::Refused | Outcome::Interrupted => "pill warn",
        Outcome::Skipped => "pill",
    };
    html! { span class=(class) { (outcome.name()) } }
}

pub(super) fn collection_outcome(outcome: CollectionOutcome) -> Markup {
    let class = match outcome {
        CollectionOutcome::Success => "pill good",
        CollectionOutcome::Failed => "pill bad",
        CollectionOutcome::Skipped => "pill",
    };
    html! { span class=(class) { (outcome.name()) } }
}
