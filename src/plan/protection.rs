//! Protections of the content of a manifest: its age, its labels, and that what is unknown is kept.
//!
//! It must not know rules. Protected tags are handled where tags are.

use chrono::{DateTime, Utc};

use super::context::PlanContext;
use super::evaluation::Evaluation;
use super::graph::Graph;
use super::reason::Reason;
use crate::model::Facts;

/// Keeps a manifest that is too young, has a protected label, or is not known well enough.
pub(super) fn protect(
    graph: &Graph<'_>,
    node: usize,
    latest: Option<DateTime<Utc>>,
    context: &PlanContext<'_>,
    evaluation: &mut Evaluation<'_>,
) {
    // The content of a manifest is read only if something expires it; otherwise, that it is unknown is no reason.
    let has_expired = evaluation.expired || !evaluation.expired_tags.is_empty();
    protect_content(graph, node, has_expired, context, evaluation);
    match latest.map(|latest| context.now - latest) {
        None if has_expired => evaluation.protect_by(Reason::AgeUnknown),
        Some(age) if age < context.protect.newer_than => {
            evaluation.protect_by(Reason::ProtectedAge { age, limit: context.protect.newer_than });
        }
        None | Some(_) => {}
    }
}

/// Keeps a manifest that has a protected label, or may have one.
pub(super) fn protect_content(
    graph: &Graph<'_>,
    node: usize,
    has_expired: bool,
    context: &PlanContext<'_>,
    evaluation: &mut Evaluation<'_>,
) {
    for member in graph.with_descendants(node) {
        match &graph.nodes[member].facts {
            Facts::Unknown { why, .. } if has_expired => {
                evaluation.protect_by(Reason::Unread { why: why.clone() })
            }
            Facts::NotFetched { .. } if has_expired => {
                evaluation.protect_by(Reason::Unread { why: "its configuration was not fetched".to_owned() });
            }
            Facts::Unknown { .. } | Facts::NotFetched { .. } => {}
            Facts::Known { labels, .. } => {
                let found = context.protect.labels.iter().filter(|label| match &label.value {
                    Some(value) => labels.get(&label.key) == Some(value),
                    None => labels.contains_key(&label.key),
                });
                for label in found {
                    evaluation.protect_by(Reason::ProtectedLabel { label: label.clone() });
                }
            }
        }
    }
}
