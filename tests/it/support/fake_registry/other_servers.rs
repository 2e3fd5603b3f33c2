//! Deletion on servers other than distribution.
//!
//! zot, Harbor and GitLab behave as their sources say; none of them could be run here. A comment marks what is
//! assumed.

use serde_json::{Value, json};

use super::answer::{error, error_saying, is_digest};
use super::manifests::{unknown_revision, unknown_tag};
use super::state::{Personality, Repository, State};
use super::wire::Canned;

pub(super) fn delete(state: &mut State, name: &str, reference: &str) -> Canned {
    let personality = state.settings.personality;
    if !state.settings.delete || matches!(personality, Personality::DockerHub | Personality::Ghcr) {
        return error(personality, 405, "UNSUPPORTED", None);
    }
    // Harbor checks the form of the reference first.
    if personality == Personality::Harbor && !is_digest(reference) {
        let message = format!("unsupported digest {reference}: invalid checksum digest format");
        return error_saying(personality, 400, "UNSUPPORTED", &message, None);
    }
    let settings = state.settings.clone();
    let Some(repository) = state.repositories.get_mut(name) else {
        return match personality {
            Personality::Zot => error(personality, 400, "NAME_UNKNOWN", Some(json!({ "name": name }))),
            Personality::Harbor => unknown_tag(personality, name, reference),
            _ => error(personality, 404, "NAME_UNKNOWN", Some(json!({ "name": name }))),
        };
    };
    if !is_digest(reference) {
        return match repository.tags.remove(reference) {
            Some(_) => Canned::status(202),
            None => unknown_tag(personality, name, reference),
        };
    }
    if !repository.manifests.contains_key(reference) {
        return unknown_revision(personality, name, reference);
    }
    let tags: Vec<&String> =
        repository.tags.iter().filter(|(_, digest)| *digest == reference).map(|(tag, _)| tag).collect();
    let detail = Some(json!({ "reference": reference }));
    match personality {
        // With the permission `detectManifestCollision` a user must not delete several tags at once.
        Personality::Zot if settings.one_tag_only && tags.len() > 1 => {
            error(personality, 409, "MANIFEST_INVALID", detail)
        }
        Personality::Zot if is_listed(repository, reference) => error(personality, 405, "DENIED", detail),
        Personality::Harbor if is_listed(repository, reference) => {
            let message = "the deleting artifact is referenced by others";
            error_saying(personality, 412, "VIOLATE_FOREIGN_KEY_CONSTRAINT", message, None)
        }
        Personality::Harbor if tags.iter().any(|tag| settings.immutable.contains(*tag)) => {
            let message = "the artifact has a tag that is configured as immutable";
            error_saying(personality, 412, "PRECONDITION", message, None)
        }
        // The code is GitLab's, its status assumed.
        Personality::GitLab if is_listed(repository, reference) => {
            error(personality, 409, "MANIFEST_REFERENCED_IN_LIST", None)
        }
        _ => {
            let with_children = matches!(personality, Personality::Zot | Personality::Harbor);
            take(repository, reference, with_children, personality == Personality::Harbor);
            Canned::status(202)
        }
    }
}

/// Removes a manifest with its tags; its children too, unless they have tags or other parents; and what
/// refers to it, by its subject or (assumed) by the name of its tag.
fn take(repository: &mut Repository, digest: &str, children: bool, referrers: bool) {
    let manifest = repository.manifests.remove(digest).map(|(_, bytes)| parse(&bytes)).unwrap_or_default();
    repository.tags.retain(|_, tagged| tagged != digest);
    for child in listed(&manifest).filter(|_| children) {
        let needed = is_listed(repository, &child) || repository.tags.values().any(|tagged| *tagged == child);
        if !needed && repository.manifests.contains_key(&child) {
            take(repository, &child, children, referrers);
        }
    }
    if referrers {
        let prefix = digest.replace(':', "-");
        let by_subject =
            repository.manifests.iter().filter(|(_, (_, bytes))| parse(bytes)["subject"]["digest"] == digest);
        let by_tag = repository.tags.iter().filter(|(tag, _)| tag.starts_with(&prefix));
        let found = by_subject.map(|(found, _)| found).chain(by_tag.map(|(_, found)| found));
        for referrer in found.cloned().collect::<Vec<_>>() {
            take(repository, &referrer, children, referrers);
        }
    }
}

/// Whether an index in the repository lists this manifest.
fn is_listed(repository: &Repository, digest: &str) -> bool {
    repository.manifests.values().any(|(_, bytes)| listed(&parse(bytes)).any(|child| child == digest))
}

fn listed(manifest: &Value) -> impl Iterator<Item = String> {
    let children = manifest["manifests"].as_array().cloned().unwrap_or_default();
    children.into_iter().filter_map(|child| child["digest"].as_str().map(str::to_owned))
}

fn parse(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_default()
}
