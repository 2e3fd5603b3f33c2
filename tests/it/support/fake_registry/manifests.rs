//! Manifests: reading, writing and deleting them.

use serde_json::{Value, json};

use super::super::image::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, digest};
use super::answer::{error, error_saying, errors, is_digest};
use super::other_servers;
use super::state::{Personality, Repository, State};
use super::wire::{Canned, Request};

/// GET and HEAD, in the order of `GetManifest`: the tag, then the condition, then the manifest, then
/// whether the client takes its type.
pub(super) fn get(state: &State, request: &Request, name: &str, reference: &str) -> Canned {
    let personality = state.settings.personality;
    let by_tag = !is_digest(reference);
    if by_tag && reference.contains(':') {
        return malformed(personality, name, reference);
    }
    let Some(repository) = state.repositories.get(name) else {
        return if by_tag || !personality.is_distribution() {
            unknown_tag(personality, name, reference)
        } else {
            unknown_revision(personality, name, reference)
        };
    };
    let digest = if by_tag {
        match repository.tags.get(reference) {
            Some(digest) => digest,
            None => return unknown_tag(personality, name, reference),
        }
    } else {
        reference
    };
    if personality == Personality::Harbor && !repository.manifests.contains_key(digest) {
        return unknown_revision(personality, name, digest);
    }
    let condition = request.header("if-none-match");
    if condition.is_some_and(|etag| etag == digest || etag == format!("\"{digest}\"")) {
        return Canned::status(304);
    }
    let Some((media_type, bytes)) = repository.manifests.get(digest) else {
        if let (Personality::V2_8, Some(blob)) = (personality, repository.blobs.get(digest)) {
            // It finds the blob, and cannot read it as a manifest: it is no JSON, or one of another kind.
            let why = if blob.starts_with(b"{") { json!({}) } else { json!({ "Offset": 1 }) };
            return error(personality, 500, "UNKNOWN", Some(why));
        }
        return unknown_revision(personality, name, digest);
    };
    let accepted = accepted(request);
    let takes = |wanted: &str| accepted.iter().any(|one| one == wanted);
    let refusal = match (personality, media_type.as_str()) {
        (other, _) if !other.is_distribution() => None,
        (_, OCI_MANIFEST) if !takes(OCI_MANIFEST) => {
            Some("OCI manifest found, but accept header does not support OCI manifests")
        }
        (Personality::V2_8, OCI_INDEX) if !takes(OCI_INDEX) => {
            Some("OCI index found, but accept header does not support OCI indexes")
        }
        _ => None,
    };
    if let Some(message) = refusal {
        return error_saying(personality, 404, "MANIFEST_UNKNOWN", message, None);
    }
    let is_2_8 = personality == Personality::V2_8;
    match media_type.as_str() {
        // 2.8 would convert it to schema 1, which it cannot do for the images of these tests.
        DOCKER_MANIFEST if by_tag && is_2_8 && !takes(DOCKER_MANIFEST) => no_schema1(personality),
        DOCKER_LIST if by_tag && personality.is_distribution() && !takes(DOCKER_LIST) => {
            let child = for_linux(bytes).and_then(|child| Some((repository.manifests.get(&child)?, child)));
            match child {
                None => error(personality, 404, "MANIFEST_UNKNOWN", None),
                Some(_) if !takes(DOCKER_MANIFEST) => no_schema1(personality),
                Some(((media_type, bytes), child)) => found(&child, media_type, bytes),
            }
        }
        _ => found(digest, media_type, bytes),
    }
}

fn found(digest: &str, media_type: &str, bytes: &[u8]) -> Canned {
    Canned::status(200)
        .header("content-type", media_type)
        .header("docker-content-digest", digest)
        .header("etag", format!("\"{digest}\""))
        .body(bytes)
}

fn accepted(request: &Request) -> Vec<String> {
    let headers = request.headers.get_all("accept").iter().filter_map(|value| value.to_str().ok());
    let types = headers.flat_map(|value| value.split(','));
    types.map(|one| one.split(';').next().unwrap_or_default().trim().to_owned()).collect()
}

/// The answer to a client that accepts no manifest lists.
fn for_linux(list: &[u8]) -> Option<String> {
    let list: Value = serde_json::from_slice(list).ok()?;
    let children = list["manifests"].as_array()?;
    let platform = json!({ "os": "linux", "architecture": "amd64" });
    let child = children.iter().find(|child| child["platform"] == platform)?;
    child["digest"].as_str().map(str::to_owned)
}

pub(super) fn delete(state: &mut State, name: &str, reference: &str) -> Canned {
    let personality = state.settings.personality;
    if !personality.is_distribution() {
        return other_servers::delete(state, name, reference);
    }
    let by_tag = !is_digest(reference);
    let may = state.settings.delete || (by_tag && personality == Personality::V3_0);
    if !may {
        return error(personality, 405, "UNSUPPORTED", None);
    }
    let repository = state.repositories.get_mut(name);
    if by_tag {
        if personality == Personality::V2_8 {
            return error(personality, 400, "DIGEST_INVALID", None);
        }
        if reference.contains(':') {
            return malformed(personality, name, reference);
        }
        return match repository.and_then(|repository| repository.tags.remove(reference)) {
            Some(_) => Canned::status(202),
            None => unknown_tag(personality, name, reference),
        };
    }
    let Some(repository) = repository else { return error(personality, 404, "MANIFEST_UNKNOWN", None) };
    // 2.8 looks for the digest among the layers too.
    let mut layer = || personality == Personality::V2_8 && repository.blobs.remove(reference).is_some();
    if repository.manifests.remove(reference).is_some() || layer() {
        repository.tags.retain(|_, digest| digest != reference);
        Canned::status(202)
    } else {
        error(personality, 404, "MANIFEST_UNKNOWN", None)
    }
}

/// Stores a manifest whose parts exist, in the order of `PutManifest`: the type, the digest, the parts,
/// the manifest, the tag.
pub(super) fn put(state: &mut State, request: &Request, name: &str, reference: &str) -> Canned {
    let personality = state.settings.personality;
    let media_type = request.header("content-type").unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    let manifest = match understand(media_type, &request.body) {
        Ok(manifest) => manifest,
        Err(detail) => return error(personality, 400, "MANIFEST_INVALID", Some(detail)),
    };
    let actual = digest(&request.body);
    if is_digest(reference) && reference != actual {
        return error(personality, 400, "DIGEST_INVALID", None);
    }
    let missing = missing(state.repositories.get(name), &manifest);
    if !missing.is_empty() {
        return errors(personality, 400, "MANIFEST_BLOB_UNKNOWN", missing);
    }
    let repository = state.repositories.entry(name.into()).or_default();
    repository.manifests.insert(actual.clone(), (media_type.to_owned(), request.body.to_vec()));
    if !is_digest(reference) {
        if reference.contains(':') {
            let entry = format!("index/{}/link", actual.replace(':', "/"));
            return malformed_at(personality, name, reference, &entry);
        }
        state.tag(name, reference, &actual);
    }
    let location =
        format!("http://{}{}/v2/{name}/manifests/{actual}", state.settings.host, state.settings.prefix);
    Canned::status(201).header("location", location).header("docker-content-digest", actual)
}

/// A manifest of that type; `Err` is the detail of the refusal.
fn understand(media_type: &str, body: &[u8]) -> Result<Value, Value> {
    if ![OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST].contains(&media_type) {
        return Err(json!({}));
    }
    let manifest: Value = serde_json::from_slice(body).map_err(|_| json!({ "Offset": body.len() }))?;
    let may_be_silent = [OCI_MANIFEST, OCI_INDEX].contains(&media_type);
    match manifest["mediaType"].as_str() {
        Some(own) if own == media_type => Ok(manifest),
        None if may_be_silent => Ok(manifest),
        _ => Err(json!({})),
    }
}

/// The parts of a manifest that the repository does not have, in the manifest's order. The subject is no
/// part.
fn missing(repository: Option<&Repository>, manifest: &Value) -> Vec<Value> {
    let listed = |list: &str| manifest[list].as_array().cloned().unwrap_or_default();
    let lacks = |part: &Value, manifests: bool| {
        let has = |held: &Repository, digest: &str| match manifests {
            true => held.manifests.contains_key(digest),
            false => held.blobs.contains_key(digest),
        };
        !part["digest"].as_str().is_some_and(|digest| repository.is_some_and(|held| has(held, digest)))
    };
    let blobs = manifest.get("config").cloned().into_iter().chain(listed("layers"));
    let children = listed("manifests").into_iter().filter(|part| lacks(part, true));
    let missing = blobs.filter(|part| lacks(part, false)).chain(children);
    missing.map(|part| part["digest"].clone()).collect()
}

pub(super) fn unknown_tag(personality: Personality, name: &str, tag: &str) -> Canned {
    let detail = match personality {
        Personality::V2_8 => json!({ "Tag": tag }),
        Personality::V3_0 | Personality::V3_1 => format!("unknown tag={tag}").into(),
        Personality::Harbor => return not_found(name, tag),
        _ => json!({ "name": name, "reference": tag }),
    };
    error(personality, 404, "MANIFEST_UNKNOWN", Some(detail))
}

pub(super) fn unknown_revision(personality: Personality, name: &str, digest: &str) -> Canned {
    let detail = match personality {
        Personality::V2_8 => json!({ "Name": name, "Revision": digest }),
        Personality::V3_0 | Personality::V3_1 => {
            format!("unknown manifest name={name} revision={digest}").into()
        }
        Personality::Harbor => return not_found(name, digest),
        _ => json!({ "name": name, "reference": digest }),
    };
    error(personality, 404, "MANIFEST_UNKNOWN", Some(detail))
}

/// Harbor has a code of its own for everything that is not there.
fn not_found(name: &str, reference: &str) -> Canned {
    let message = format!("artifact {name}:{reference} not found");
    error_saying(Personality::Harbor, 404, "NOT_FOUND", &message, None)
}

/// An invalid digest is looked up as a tag, whose name the storage rejects.
fn malformed(personality: Personality, name: &str, reference: &str) -> Canned {
    if !personality.is_distribution() {
        return unknown_tag(personality, name, reference);
    }
    malformed_at(personality, name, reference, "current/link")
}

fn malformed_at(personality: Personality, name: &str, reference: &str, entry: &str) -> Canned {
    let path = format!("/docker/registry/v2/repositories/{name}/_manifests/tags/{reference}/{entry}");
    let detail = json!({ "Path": path, "DriverName": "filesystem" });
    error(personality, 500, "UNKNOWN", Some(detail))
}

fn no_schema1(personality: Personality) -> Canned {
    match personality {
        Personality::V2_8 => error(personality, 400, "MANIFEST_INVALID", Some(json!({}))),
        _ => {
            let message = "Schema 2 manifest not supported by client";
            error_saying(personality, 400, "MANIFEST_INVALID", message, None)
        }
    }
}
