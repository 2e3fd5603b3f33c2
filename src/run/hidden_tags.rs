//! Registries that leave tags out of their lists: nothing is deleted there, since a tag that is not listed cannot keep
//! its manifest.
//!
//! How such a registry is recognized is the business of [`crate::registry`].

use super::context::RegistryContext;
use super::error::Error;
use crate::gc::Collector;
use crate::model::{Digest, RepositoryName, Snapshot};
use crate::plan::{Plan, RepositoryPlan};
use crate::registry::{Features, TagCompleteness};

/// The number of blobs that are requested, each from another repository, to find out where the registry stores them.
const SAMPLES: usize = 5;

/// Some repositories in which something is deleted, each with a blob that it should have.
#[derive(Default)]
pub(super) struct Samples(Vec<(RepositoryName, Option<Digest>)>);

impl Samples {
    /// Adds a repository, if more are needed and the plan deletes something there.
    pub(super) fn add(&mut self, snapshot: &Snapshot, plan: &RepositoryPlan) {
        if self.0.len() < SAMPLES && !plan.intent.is_held_back() && !plan.is_idle() {
            let blob =
                snapshot.manifests.values().find_map(|manifest| Some(manifest.blobs.first()?.digest.clone()));
            self.0.push((plan.repository.clone(), blob));
        }
    }
}

/// Refuses the plan if the registry may hide tags, and returns what is known of that. The registry is asked only if
/// something is to be deleted.
pub(super) async fn refuse(
    context: RegistryContext<'_>,
    features: Features,
    samples: &Samples,
    plan: &mut Plan,
) -> Result<TagCompleteness, Error> {
    // Whether it deletes single tags is no condition: that question may have got no answer.
    if features.referrers || features.ignores_page_size || context.registry.tags_complete {
        return Ok(TagCompleteness::Complete);
    }
    let tag_completeness = context.reader.tag_completeness(&samples.0).await?;
    if tag_completeness == TagCompleteness::PossiblyIncomplete {
        plan.refuse_for_hidden_tags();
    }
    Ok(tag_completeness)
}

/// Refuses the plan of a registry that hides tags if it is on S3, where only its configuration tells, which the
/// collector can read.
pub(super) async fn refuse_on_s3(
    context: RegistryContext<'_>,
    collector: Option<&Collector>,
    completeness: TagCompleteness,
    plan: &mut Plan,
) {
    let (TagCompleteness::IncompleteOnS3, Some(collector)) = (completeness, collector) else { return };
    match collector.is_on_s3().await {
        Ok(true) => plan.refuse_for_hidden_tags(),
        Ok(false) => {}
        // At other times the configuration can be read, and shows S3. An error must not count as another storage.
        Err(error) => {
            tracing::warn!(
                registry = %context.registry.name, kind = error.kind(), %error,
                "the registry's configuration cannot be read, and nothing is deleted: if it is on S3, its lists may \
                 lack tags"
            );
            plan.refuse_for_hidden_tags();
        }
    }
}
