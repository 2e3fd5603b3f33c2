//! Routes requests, and forms answers and errors.

use serde_json::{Value, json};

use super::state::{Personality, State};
use super::wire::{Canned, Request};
use super::{auth, lists, manifests};

/// What a path under `/v2/` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Base,
    Catalog,
    Tags { name: &'a str },
    Manifest { name: &'a str, reference: &'a str },
    Blob { name: &'a str, digest: &'a str },
    Referrers { name: &'a str, digest: &'a str },
}

impl<'a> Route<'a> {
    fn of(path: &'a str, personality: Personality) -> Option<Self> {
        let rest = path.strip_prefix("/v2/")?;
        let (route, name) = if rest.is_empty() {
            return Some(Self::Base);
        } else if rest == "_catalog" {
            return Some(Self::Catalog);
        } else if let Some(name) = rest.strip_suffix("/tags/list") {
            (Self::Tags { name }, name)
        } else if let Some((name, reference)) = rest.rsplit_once("/manifests/") {
            (Self::Manifest { name, reference }, name)
        } else if let Some((name, digest)) = rest.rsplit_once("/blobs/") {
            (Self::Blob { name, digest }, name)
        } else if let Some((name, digest)) = rest.rsplit_once("/referrers/") {
            if !personality.has_referrers() {
                return None;
            }
            (Self::Referrers { name, digest }, name)
        } else {
            return None;
        };
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
        name.chars().all(letter).then_some(route)
    }

    fn methods(&self, readonly: bool) -> &'static [&'static str] {
        match self {
            Self::Base | Self::Catalog | Self::Tags { .. } | Self::Referrers { .. } => &["GET"],
            Self::Manifest { .. } | Self::Blob { .. } if readonly => &["GET", "HEAD"],
            Self::Manifest { .. } => &["DELETE", "GET", "HEAD", "PUT"],
            Self::Blob { .. } => &["DELETE", "GET", "HEAD"],
        }
    }
}

/// The answer to a request. Its path may be outside the registry's prefix.
pub(super) fn answer(state: &mut State, request: &Request, below_prefix: bool) -> Canned {
    let personality = state.settings.personality;
    if request.path == "/token" {
        return auth::token(state, request);
    }
    if let Some(digest) = request.path.strip_prefix("/store/") {
        return stored(state, digest);
    }
    if request.path == "/" {
        return Canned::status(200).header("cache-control", "no-cache");
    }
    let reply = if below_prefix { route(state, request) } else { no_such_page() };
    match personality {
        Personality::Oci11 | Personality::Zot => reply,
        _ => reply.header("docker-distribution-api-version", "registry/2.0"),
    }
}

fn route(state: &mut State, request: &Request) -> Canned {
    let personality = state.settings.personality;
    if request.path == "/v2" {
        let location = format!("{}/v2/", state.settings.prefix);
        let body = format!("<a href=\"{location}\">Moved Permanently</a>.\n\n");
        let reply = Canned::status(301).header("content-type", "text/html; charset=utf-8");
        return reply.header("location", location).body(body);
    }
    let Some(route) = Route::of(&request.path, personality) else { return no_such_page() };
    if let Some(refusal) = auth::refuse(state, request, &route) {
        return refusal;
    }
    if route == Route::Base {
        // For every method.
        return json_reply(personality, 200, "{}");
    }
    let methods = route.methods(state.settings.readonly);
    let method = request.method.as_str();
    if method == "OPTIONS" {
        return Canned::status(200).header("allow", methods.join(", "));
    }
    if !methods.contains(&method) {
        let reply = Canned::status(405).header("allow", methods.join(", "));
        return plain(reply, "Method not allowed\n");
    }
    match route {
        Route::Base => no_such_page(),
        Route::Catalog if !personality.has_catalog() => no_such_page(),
        Route::Catalog => lists::catalog(state, request),
        Route::Tags { name } => lists::tags(state, request, name),
        Route::Referrers { name, digest } => lists::referrers(state, request, name, digest),
        Route::Blob { name, digest } if method == "DELETE" => delete_blob(state, name, digest),
        Route::Blob { name, digest } => blob(state, request, name, digest),
        Route::Manifest { name, reference } => match method {
            "DELETE" => manifests::delete(state, name, reference),
            "PUT" => manifests::put(state, request, name, reference),
            _ => manifests::get(state, request, name, reference),
        },
    }
}

/// A blob as an object store answers with it, to a client that was redirected there.
fn stored(state: &State, digest: &str) -> Canned {
    let found = state.repositories.values().find_map(|repository| repository.blobs.get(digest));
    match found {
        Some(bytes) => Canned::status(200).header("content-type", "binary/octet-stream").body(bytes.clone()),
        None => Canned::status(404).body("<Error><Code>NoSuchKey</Code></Error>"),
    }
}

fn blob(state: &State, request: &Request, name: &str, digest: &str) -> Canned {
    let personality = state.settings.personality;
    if !is_digest(digest) {
        return error(personality, 400, "DIGEST_INVALID", Some(json!({})));
    }
    let repository = state.repositories.get(name);
    let found = repository.and_then(|repository| {
        // 3.x keeps manifests and blobs of a repository in one cache, and answers HEAD from it.
        let manifest = || match (personality, request.method.as_str()) {
            (Personality::V3_0 | Personality::V3_1, "HEAD") => repository.manifests.get(digest),
            _ => None,
        };
        repository.blobs.get(digest).or_else(|| manifest().map(|(_, bytes)| bytes))
    });
    let Some(bytes) = found else {
        return error(personality, 404, "BLOB_UNKNOWN", Some(digest.into()));
    };
    if !state.settings.redirect.is_empty() {
        let target = format!("{}{digest}?X-Amz-Signature=fake", state.settings.redirect);
        return Canned::status(307).header("location", target).header("docker-content-digest", digest);
    }
    let mut reply = Canned::status(200)
        .header("docker-content-digest", digest)
        .header("etag", format!("\"{digest}\""))
        .header("cache-control", "max-age=31536000");
    if request.header("if-none-match") == Some(&format!("\"{digest}\"")) {
        reply.status = 304;
        return reply;
    }
    let reply = reply.header("content-type", "application/octet-stream");
    match request.header("range") {
        Some(range) => part(reply, range, bytes),
        None => reply.header("accept-ranges", "bytes").body(bytes.clone()),
    }
}

/// What Go makes of `Range`, where it names one range.
fn part(mut reply: Canned, range: &str, bytes: &[u8]) -> Canned {
    let length = bytes.len();
    let number = |text: &str| text.parse::<usize>().ok();
    let range = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let is_suffix = range.is_some_and(|(first, _)| first.is_empty());
    let (first, end) = match range.map(|(first, last)| (number(first), number(last))) {
        Some((None, Some(count))) if is_suffix => (length.saturating_sub(count), length),
        Some((Some(first), None)) => (first, length),
        Some((Some(first), Some(last))) if first <= last => (first, length.min(last + 1)),
        _ => return beyond(reply, "invalid range\n", length),
    };
    // The last bytes of nothing are no error, and run from 0 to -1.
    let fits = first < length || length == 0 && is_suffix;
    if !fits {
        reply.set_header("content-range", format!("bytes */{length}"));
        return beyond(reply, "invalid range: failed to overlap\n", length);
    }
    reply.status = 206;
    reply.set_header("accept-ranges", "bytes");
    reply.set_header("content-range", format!("bytes {first}-{}/{length}", end as i64 - 1));
    reply.body(&bytes[first..end])
}

/// The refusal of a range. It announces the blob's length, and then breaks off.
fn beyond(mut reply: Canned, text: &str, length: usize) -> Canned {
    reply.status = 416;
    let sent = text.len().min(length);
    plain(reply, text).header("content-length", length.to_string()).cut_after(sent)
}

fn delete_blob(state: &mut State, name: &str, digest: &str) -> Canned {
    let personality = state.settings.personality;
    if !state.settings.delete {
        return error(personality, 405, "UNSUPPORTED", None);
    }
    let repository = state.repositories.get_mut(name);
    match repository.and_then(|repository| repository.blobs.remove(digest)) {
        Some(_) => Canned::status(202),
        None => error(personality, 404, "BLOB_UNKNOWN", None),
    }
}

pub(super) fn is_digest(reference: &str) -> bool {
    let hex = reference.strip_prefix("sha256:").unwrap_or_default();
    hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// What Go's router answers where there is nothing.
fn no_such_page() -> Canned {
    plain(Canned::status(404), "404 page not found\n")
}

fn plain(reply: Canned, text: &str) -> Canned {
    let reply = reply.header("content-type", "text/plain; charset=utf-8");
    reply.header("x-content-type-options", "nosniff").body(text)
}

/// JSON with the content type that this server gives it.
pub(super) fn json_reply(personality: Personality, status: u16, body: impl Into<Vec<u8>>) -> Canned {
    let content_type = match personality {
        Personality::V2_8 | Personality::Harbor | Personality::GitLab => "application/json; charset=utf-8",
        _ => "application/json",
    };
    Canned::status(status).header("content-type", content_type).body(body)
}

/// An error in the format of the distribution specification.
pub(super) fn error(
    personality: Personality,
    status: u16,
    code: &'static str,
    detail: Option<Value>,
) -> Canned {
    error_saying(personality, status, code, message(code), detail)
}

/// Several errors of one code.
pub(super) fn errors(
    personality: Personality,
    status: u16,
    code: &'static str,
    details: Vec<Value>,
) -> Canned {
    let one = |detail: &Value| json!({ "code": code, "message": message(code), "detail": detail });
    let errors: Vec<Value> = details.iter().map(one).collect();
    json_reply(personality, status, format!("{}\n", json!({ "errors": errors })))
}

/// An error with a message that is not the usual one of its code.
pub(super) fn error_saying(
    personality: Personality,
    status: u16,
    code: &'static str,
    message: &str,
    detail: Option<Value>,
) -> Canned {
    let mut one = json!({ "code": code, "message": message });
    if let Some(detail) = detail {
        one["detail"] = detail;
    }
    json_reply(personality, status, format!("{}\n", json!({ "errors": [one] })))
}

fn message(code: &str) -> &'static str {
    match code {
        "BLOB_UNKNOWN" => "blob unknown to registry",
        "DENIED" => "requested access to the resource is denied",
        "DIGEST_INVALID" => "provided digest did not match uploaded content",
        "MANIFEST_REFERENCED_IN_LIST" => "manifest referenced by a manifest list",
        "MANIFEST_BLOB_UNKNOWN" => "blob unknown to registry",
        "MANIFEST_INVALID" => "manifest invalid",
        "MANIFEST_UNKNOWN" => "manifest unknown",
        "NAME_UNKNOWN" => "repository name not known to registry",
        "PAGINATION_NUMBER_INVALID" => "invalid number of results requested",
        "UNAUTHORIZED" => "authentication required",
        "UNSUPPORTED" => "The operation is unsupported.",
        _ => "unknown error",
    }
}
