//! What the tests start from and what they look at afterwards.

use std::collections::BTreeSet;

use crate::support::image::{Content, Image};
pub(crate) use crate::support::regsweep::OLD_GOES;
use crate::support::regsweep::Regsweep;
use crate::support::server::RealRegistry;
use crate::support::skopeo::skopeo_pull_whole;
use crate::support::store::Held;

/// Regsweep for this registry, under [`OLD_GOES`].
pub(crate) fn sweeper(registry: &RealRegistry) -> Regsweep {
    Regsweep::new(&registry.url(), OLD_GOES)
}

/// An image that is some years old, whatever day it is.
pub(crate) fn image(name: &str) -> Content {
    Image::new(name).created("2020-01-01T00:00:00Z").build()
}

/// Panics unless the repository holds these under these tags, with everything below them, and not one
/// manifest more. Without a tag stands for untagged.
pub(crate) fn assert_holds(registry: &RealRegistry, repository: &str, expected: &[(&str, &Content)]) {
    assert_eq!(registry.store().repository(repository), held(expected), "{repository}");
}

fn held(contents: &[(&str, &Content)]) -> Held {
    let tags = contents.iter().filter(|(tag, _)| !tag.is_empty());
    Held {
        tags: tags.map(|(tag, content)| ((*tag).to_owned(), content.digest.clone())).collect(),
        manifests: contents
            .iter()
            .flat_map(|(_, content)| content.tree().into_iter().map(|part| part.digest.clone()))
            .collect(),
    }
}

/// Panics unless everything that still has a tag can be pulled with everything below it.
pub(crate) fn assert_whole(registry: &RealRegistry) {
    for (repository, held) in registry.store().contents() {
        for tag in held.tags.keys() {
            skopeo_pull_whole(&format!("{}/{repository}:{tag}", registry.host()));
        }
    }
}

/// `repository@digest` of every manifest in the storage.
pub(crate) fn manifests(registry: &RealRegistry) -> BTreeSet<String> {
    let contents = registry.store().contents().into_iter();
    let named = |(repository, held): (String, Held)| {
        held.manifests.into_iter().map(move |digest| format!("{repository}@{digest}"))
    };
    contents.flat_map(named).collect()
}

/// `repository@digest` of these.
pub(crate) fn named<'a>(
    repository: &str,
    contents: impl IntoIterator<Item = &'a Content>,
) -> BTreeSet<String> {
    contents.into_iter().map(|content| format!("{repository}@{}", content.digest)).collect()
}

/// The digests that were asked to be deleted, in that order, without the question whether deletion works.
pub(crate) fn deletions(registry: &RealRegistry) -> Vec<String> {
    let asked = registry.mutating_requests().into_iter().filter(|logged| logged.status != 404);
    asked.map(|logged| logged.path.rsplit('/').next().unwrap().to_owned()).collect()
}
