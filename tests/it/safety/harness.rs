//! What the tests of guarantees share: registries with images, runs and the checks after them.

use std::collections::BTreeSet;

use crate::support::contents::expected_content;
pub(crate) use crate::support::contents::{assert_all_pullable, stored_manifests};
use crate::support::image::{Content, Image};
use crate::support::real_registry::RealRegistry;
pub(crate) use crate::support::regsweep::OLD_TAGS_EXPIRE;
use crate::support::regsweep::Regsweep;

/// Regsweep for this registry, under [`OLD_TAGS_EXPIRE`].
pub(crate) fn sweeper(registry: &RealRegistry) -> Regsweep {
    Regsweep::new(&registry.url(), OLD_TAGS_EXPIRE)
}

/// An image that is some years old, whatever day it is.
pub(crate) fn image(name: &str) -> Content {
    Image::new(name).created("2020-01-01T00:00:00Z").build()
}

/// Panics unless the repository holds these under these tags, with everything below them, and not one
/// manifest more. Without a tag stands for untagged.
pub(crate) fn assert_holds(registry: &RealRegistry, repository: &str, expected: &[(&str, &Content)]) {
    assert_eq!(registry.store().repository(repository), expected_content(expected), "{repository}");
}

/// `repository@digest` of these.
pub(crate) fn named<'a>(
    repository: &str,
    contents: impl IntoIterator<Item = &'a Content>,
) -> BTreeSet<String> {
    contents.into_iter().map(|content| format!("{repository}@{}", content.digest)).collect()
}

/// The digests that were asked to be deleted, in that order, without the questions whether deletion works.
pub(crate) fn deletions(registry: &RealRegistry) -> Vec<String> {
    let asked = registry.mutating_requests().into_iter();
    let asked = asked.filter(|logged| logged.status != 404 && !logged.path.contains("/regsweep-probe-"));
    asked.map(|logged| logged.path.rsplit('/').next().unwrap().to_owned()).collect()
}
