//! The expected content of a registry, and what it really holds.

use std::collections::BTreeSet;

use super::image::Content;
use super::real_registry::RealRegistry;
use super::skopeo::skopeo_pull_all;
use super::store::RepositoryContent;

/// The content of a repository that holds these manifests under these tags, with everything below them.
/// An empty tag stands for no tag.
pub fn expected_content(contents: &[(&str, &Content)]) -> RepositoryContent {
    let tags = contents.iter().filter(|(tag, _)| !tag.is_empty());
    RepositoryContent {
        tags: tags.map(|(tag, content)| ((*tag).to_owned(), content.digest.clone())).collect(),
        manifests: contents
            .iter()
            .flat_map(|(_, content)| content.tree().into_iter().map(|part| part.digest.clone()))
            .collect(),
    }
}

/// Panics unless every tag can be pulled with everything below it.
pub fn assert_all_pullable(registry: &RealRegistry) {
    for (repository, held) in registry.store().contents() {
        for tag in held.tags.keys() {
            skopeo_pull_all(&format!("{}/{repository}:{tag}", registry.host()));
        }
    }
}

/// `repository@digest` of every manifest in the storage.
pub fn stored_manifests(registry: &RealRegistry) -> BTreeSet<String> {
    let named = |(repository, held): (String, RepositoryContent)| {
        held.manifests.into_iter().map(move |digest| format!("{repository}@{digest}"))
    };
    registry.store().contents().into_iter().flat_map(named).collect()
}
