//! The catalog, the tags of a repository and the referrers of a manifest, page by page.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::image::OCI_INDEX;
use super::answer::{error, error_saying, is_digest, json_reply};
use super::state::{Links, Personality, State};
use super::wire::{Canned, Request};

/// `catalog.go`: at most 100 entries where the request does not say, and an error above the maximum.
pub(super) fn catalog(state: &State, request: &Request) -> Canned {
    let personality = state.settings.personality;
    let most = state.settings.max_entries;
    let entries = match request.query("n").map(|n| (n, n.parse::<i64>())) {
        None => most.min(100),
        Some((_, Ok(n))) if n >= 0 && personality == Personality::Harbor => n as usize,
        Some((_, Err(_) | Ok(_))) if personality == Personality::Harbor => return bad_request("n"),
        Some((_, Ok(n))) if n > most as i64 => {
            return error(personality, 400, "PAGINATION_NUMBER_INVALID", Some(json!({ "n": n })));
        }
        Some((_, Ok(n))) if n >= 0 => n as usize,
        Some(_) if matches!(personality, Personality::V2_8 | Personality::GitLab) => most.min(100),
        Some((n, _)) => {
            return error(personality, 400, "PAGINATION_NUMBER_INVALID", Some(json!({ "n": n })));
        }
    };
    let names = walk_order(state);
    let last = request.query("last").unwrap_or_default();
    if personality == Personality::Harbor && !last.is_empty() && !names.contains(&last) {
        return bad_request("last");
    }
    let after = |name: &&&str| last.is_empty() || path_order(name) > path_order(last);
    let page: Vec<&str> = names.iter().filter(after).take(entries).copied().collect();
    let reply = listed(personality, json!({ "repositories": page }));
    let Some(&end) = page.last().filter(|_| page.len() == entries) else { return reply };
    match beyond(&names, end, last) {
        Beyond::Nothing => reply,
        Beyond::More => linked(state, request, reply, entries, end),
        Beyond::Parent => match personality {
            Personality::V2_8 => reply,
            // An index out of range: the connection is closed without an answer.
            Personality::V3_0 | Personality::V3_1 => Canned::dropped(),
            _ => linked(state, request, reply, entries, end),
        },
    }
}

/// What the walk over the storage meets after the entry that fills a page.
enum Beyond {
    /// Nothing more: there is no link.
    Nothing,
    /// The folder of another repository, where it notices that the page is full, and links.
    More,
    /// A repository above this one, of which it has seen the folder before. It adds that to the full
    /// page, which 2.8 survives without ever noticing that the page is full, so without a link.
    Parent,
}

fn beyond(names: &[&str], end: &str, last: &str) -> Beyond {
    for name in names.iter().skip_while(|name| **name != end).skip(1) {
        let is_parent = end.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
        if !is_parent {
            return Beyond::More;
        }
        if last.is_empty() || path_order(name) > path_order(last) {
            return Beyond::Parent;
        }
    }
    Beyond::Nothing
}

/// The order of a walk: a repository is seen at its `_manifests` (`_layers`), between its children.
fn walk_order(state: &State) -> Vec<&str> {
    let personality = state.settings.personality;
    let listed = state.repositories.iter().filter(|(_, repository)| match personality {
        Personality::V2_8 => repository.had_blobs,
        _ => true,
    });
    let mut names: Vec<&str> = listed.map(|(name, _)| name.as_str()).collect();
    if personality.is_distribution() {
        names.sort_by_key(|name| name.split('/').chain(["_"]).collect::<Vec<_>>());
    }
    names
}

/// The order in which `last` is compared: a slash comes before everything else.
fn path_order(name: &str) -> Vec<u8> {
    name.bytes().map(|byte| if byte == b'/' { 0 } else { byte }).collect()
}

pub(super) fn tags(state: &State, request: &Request, name: &str) -> Canned {
    let personality = state.settings.personality;
    let known = state.repositories.get(name).filter(|known| known.was_tagged);
    let Some(repository) = known else {
        let status = if personality == Personality::Zot { 400 } else { 404 };
        if personality == Personality::Harbor {
            let message = format!("repository {name} not found");
            return error_saying(personality, 404, "NOT_FOUND", &message, None);
        }
        return error(personality, status, "NAME_UNKNOWN", Some(json!({ "name": name })));
    };
    let mut tags: Vec<&str> = repository.tags.keys().map(String::as_str).collect();
    if state.settings.hides_tags {
        let all = tags.clone();
        tags.retain(|tag| !all.iter().any(|other| other != tag && tag.starts_with(other)));
    }
    let body = |tags: Value| listed(personality, json!({ "name": name, "tags": tags }));
    let or_null = |tags: Vec<&str>| if tags.is_empty() { Value::Null } else { json!(tags) };
    if personality == Personality::V2_8 {
        // The order of a directory, which is none.
        tags.sort_by_key(|tag| Sha256::digest(tag));
        return body(or_null(tags));
    }
    let entries = match request.query("n").map(|n| (n, n.parse::<usize>())) {
        None => None,
        Some((_, Ok(n))) => Some(n),
        Some((n, Err(_))) => {
            return error(personality, 400, "PAGINATION_NUMBER_INVALID", Some(json!({ "n": n })));
        }
    };
    let last = request.query("last").filter(|last| !last.is_empty());
    match personality {
        Personality::V2_8 | Personality::V3_0 => {
            if let Some(last) = last {
                // Meant to skip `last` itself; skips another tag where `last` is gone.
                let found = tags.partition_point(|tag| *tag < last);
                tags.drain(..(found + 1).min(tags.len()));
            }
            let entries = entries.unwrap_or(tags.len());
            let more = entries > 0 && entries < tags.len();
            tags.truncate(entries);
            let reply = body(json!(tags));
            if more { linked(state, request, reply, entries, tags[entries - 1]) } else { reply }
        }
        Personality::V3_1 => {
            tags.retain(|tag| last.is_none_or(|last| *tag > last));
            let entries = entries.map(|entries| entries.min(1000));
            tags.truncate(entries.unwrap_or(tags.len()));
            let end = tags.last().copied().filter(|_| Some(tags.len()) == entries);
            let reply = body(or_null(tags));
            match (end, entries) {
                (Some(end), Some(entries)) => linked(state, request, reply, entries, end),
                _ => reply,
            }
        }
        _ => {
            match last {
                Some(last) if !tags.contains(&last) && personality == Personality::Zot => {
                    return Canned::status(404);
                }
                Some(last) if !tags.contains(&last) && personality == Personality::Harbor => {
                    return bad_request("last");
                }
                Some(last) => tags.retain(|tag| *tag > last),
                None => {}
            }
            let entries = entries.unwrap_or(tags.len());
            let more = entries > 0 && entries < tags.len();
            tags.truncate(entries);
            let reply = body(json!(tags));
            if more { linked(state, request, reply, entries, tags[entries - 1]) } else { reply }
        }
    }
}

/// An index of what has this manifest as its subject, which need not exist.
pub(super) fn referrers(state: &State, request: &Request, name: &str, digest: &str) -> Canned {
    let personality = state.settings.personality;
    if !is_digest(digest) {
        return error(personality, 400, "DIGEST_INVALID", Some(json!({ "digest": digest })));
    }
    let known = state.repositories.get(name).is_some_and(|held| held.manifests.contains_key(digest));
    if personality == Personality::Harbor && !known {
        return Canned::status(200).header("content-type", OCI_INDEX).body("{}\n");
    }
    let wanted = request.query("artifactType");
    let mut found = Vec::new();
    let manifests = state.repositories.get(name).map(|repository| repository.manifests.iter());
    for (referrer, (media_type, bytes)) in manifests.into_iter().flatten() {
        let manifest: Value = serde_json::from_slice(bytes).unwrap_or_default();
        if manifest["subject"]["digest"] != digest {
            continue;
        }
        let stated = manifest["artifactType"].as_str().or(manifest["config"]["mediaType"].as_str());
        if wanted.is_some() && wanted != stated {
            continue;
        }
        let mut entry = json!({ "mediaType": media_type, "digest": referrer, "size": bytes.len() });
        if let Some(stated) = stated {
            entry["artifactType"] = stated.into();
        }
        if !manifest["annotations"].is_null() {
            entry["annotations"] = manifest["annotations"].clone();
        }
        found.push(entry);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found });
    let reply = Canned::status(200).header("content-type", OCI_INDEX).body(index.to_string());
    if wanted.is_some() { reply.header("oci-filters-applied", "artifactType") } else { reply }
}

/// Harbor takes no page that it has not offered.
fn bad_request(parameter: &str) -> Canned {
    let message = format!("the parameter {parameter} is invalid");
    error_saying(Personality::Harbor, 400, "BAD_REQUEST", &message, None)
}

fn listed(personality: Personality, list: Value) -> Canned {
    json_reply(personality, 200, format!("{list}\n"))
}

fn linked(state: &State, request: &Request, reply: Canned, entries: usize, last: &str) -> Canned {
    let settings = &state.settings;
    let host = match &settings.links {
        Links::Relative => String::new(),
        Links::Absolute => format!("http://{}", settings.host),
        Links::To(host) => host.clone(),
    };
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let query = query.append_pair("last", last).append_pair("n", &entries.to_string()).finish();
    let url = format!("{host}{}{}?{query}", settings.prefix, request.path);
    reply.header("link", format!("<{url}>; rel=\"next\""))
}
