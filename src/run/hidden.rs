//! Registries whose lists of tags leave tags out: nothing is deleted there, since a tag that is not seen
//! cannot save its manifest.
//!
//! By what such a registry is told is known to the registry's own module.

use super::{Error, Features, RegistryContext, ScannedPlan};
use crate::gc::Collector;
use crate::model::{Digest, RepositoryName, Snapshot};
use crate::plan::{Plan, RepositoryPlan};
use crate::registry::TagCompleteness;

/// So many blobs are looked for, each in a repository of its own, to see where a registry stores them.
const SAMPLES: usize = 5;

/// Some repositories in which something is to be deleted, each with a blob that it should have.
#[derive(Default)]
pub(super) struct Samples(Vec<(RepositoryName, Option<Digest>)>);

impl Samples {
    /// Takes in a repository, if it is of use.
    pub(super) fn add(&mut self, snapshot: &Snapshot, plan: &RepositoryPlan) {
        if self.0.len() < SAMPLES && !plan.held_back && !plan.is_idle() {
            let blob = snapshot.manifests.values().find_map(|one| Some(one.blobs.first()?.digest.clone()));
            self.0.push((plan.repository.clone(), blob));
        }
    }
}

/// Whether the registry hides tags, which has to be known only where something is to be deleted. Where it may, the
/// plan is refused.
pub(super) async fn refuse(
    context: RegistryContext<'_>,
    features: Features,
    samples: &Samples,
    plan: &mut Plan,
) -> Result<TagCompleteness, Error> {
    // That it deletes tags alone is no condition: a question about that may have got no answer.
    if features.referrers || features.ignores_page_size || context.registry.tags_complete {
        return Ok(TagCompleteness::Complete);
    }
    let tag_completeness = context.reader.tag_completeness(&samples.0).await?;
    if tag_completeness == TagCompleteness::PossiblyIncomplete {
        plan.refuse_for_hidden_tags();
    }
    Ok(tag_completeness)
}

/// Refuses what a registry on S3 may hide tags of, where that is not seen from outside, and what collects for it
/// sees the registry's configuration.
pub(super) async fn look_for_s3(
    context: RegistryContext<'_>,
    collector: Option<&Collector>,
    scanned: &mut ScannedPlan,
) {
    let (TagCompleteness::IncompleteOnS3, Some(collector)) = (scanned.tag_completeness, collector) else {
        return;
    };
    match collector.is_on_s3().await {
        Ok(true) => scanned.plan.refuse_for_hidden_tags(),
        Ok(false) => {}
        // It is known at other times, and must not count as elsewhere for a moment in which it is not.
        Err(error) => {
            tracing::warn!(
                registry = %context.registry.name, kind = error.kind(), %error,
                "the registry's configuration cannot be read, and nothing is deleted: if it is on S3, its lists may \
                 lack tags"
            );
            scanned.plan.refuse_for_hidden_tags();
        }
    }
}
