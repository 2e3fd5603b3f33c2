//! What a registry can answer, as any bytes.

use std::collections::BTreeMap;

use reqwest::StatusCode;
use url::Url;

use super::auth::Challenge;
use super::docker_config::{DockerConfig, Place};
use super::error::Error;
use super::lists::{Catalog, TagList, Tags, understood};
use super::{link as links, wire};
use crate::model::{Digest, Facts, Kind, RepositoryName, Tag, sanitize};

/// Longer than any error may get.
const LONG: usize = 2000;

/// What is said to people is short, and fits in one line of a log or a terminal.
#[track_caller]
fn is_fit_to_be_shown(text: &str) {
    assert!(text.chars().count() < LONG, "{} characters", text.chars().count());
    assert_eq!(sanitize(text, LONG), text);
}

/// A manifest of each type.
pub fn manifest(bytes: &[u8]) {
    let digest = Digest::of(bytes);
    for media_type in
        ["", "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json"]
    {
        match wire::manifest(digest.clone(), media_type, bytes) {
            Err(message) => is_fit_to_be_shown(&message),
            Ok(manifest) => {
                assert_eq!((&manifest.digest, manifest.size), (&digest, bytes.len() as u64));
                assert!(manifest.kind == Kind::Index || !manifest.blobs.is_empty());
                assert!(manifest.kind == Kind::Index || manifest.children.is_empty());
                let named = manifest.blobs.iter().map(|blob| &blob.digest);
                for digest in named.chain(&manifest.children).chain(&manifest.subject) {
                    assert_eq!(Digest::parse(digest.as_str()).as_ref(), Ok(digest));
                }
            }
        }
    }
    if let Ok(listed) = wire::listed(wire::ACCEPT, bytes) {
        assert!(listed.len() <= bytes.len());
    }
    if let Some(stored) = wire::stored_type(None, bytes) {
        assert!(stored.len() <= bytes.len());
    }
}

/// The configuration of an image.
pub fn image_config(bytes: &[u8]) {
    match wire::image_facts(&BTreeMap::new(), bytes) {
        Facts::Known { created, labels } => {
            assert!(labels.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() <= bytes.len());
            if let Some(created) = created {
                assert_eq!(Ok(created), created.to_rfc3339().parse());
            }
        }
        Facts::Unknown { why, lasting } => {
            is_fit_to_be_shown(&why);
            assert!(lasting);
        }
        Facts::NotFetched { .. } => panic!("it was fetched"),
    }
}

/// A page of a catalog or of a list of tags.
pub fn lists(bytes: &[u8]) {
    if let Err(message) = understood::<Catalog<'_>>(bytes).map(|catalog| catalog.names().count()) {
        is_fit_to_be_shown(&message);
    }
    let Ok(page) = understood::<Tags<'_>>(bytes) else { return };
    let _ = RepositoryName::parse(page.name());
    let mut list = TagList::default();
    list.add(page);
    for tag in &list.tags {
        assert_eq!(Tag::parse(tag.as_str()).as_ref(), Ok(tag));
        is_fit_to_be_shown(tag.as_str());
        is_fit_to_be_shown(&tag.short());
    }
    list.invalid.iter().for_each(|name| is_fit_to_be_shown(name));
}

/// The `Link` headers of a page, one a line.
pub fn link(bytes: &[u8]) {
    let Ok(current) = Url::parse("https://r.example.com:5000/v2/_catalog") else { return };
    if let Ok(Some(next)) = links::next(&current, bytes.split(|byte| *byte == b'\n')) {
        let whither = |url: &Url| (url.scheme().to_owned(), url.authority().to_owned());
        assert_eq!(whither(&next), whither(&current));
    }
}

/// `WWW-Authenticate` headers, one a line.
pub fn challenge(bytes: &[u8]) {
    let Ok(headers) = std::str::from_utf8(bytes) else { return };
    if let Some(Challenge::Token { realm, service, scope }) = Challenge::choose(headers.lines()) {
        let all = realm.len() + service.map_or(0, |text| text.len()) + scope.map_or(0, |text| text.len());
        assert!(all <= 3 * headers.len());
    }
}

/// A Docker configuration file.
pub fn docker_config(bytes: &[u8]) {
    let (Ok(text), Ok(registry)) =
        (std::str::from_utf8(bytes), Url::parse("https://r.example.com:5000/team/"))
    else {
        return;
    };
    let Ok(Ok(places)) = DockerConfig::parse(text).map(|config| config.places(&registry)) else { return };
    assert!(!places.is_empty());
    for place in places {
        match place {
            Place::Helper { name, .. } => {
                assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)));
            }
            Place::Here(credentials) => drop(credentials.basic()),
        }
    }
}

/// The body of an answer that is no success.
pub fn error_body(bytes: &[u8]) {
    let Ok(url) = Url::parse("https://r.example.com/v2/") else { return };
    is_fit_to_be_shown(&Error::status("GET", &url, StatusCode::BAD_REQUEST, bytes).to_string());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(bytes in any::<Vec<u8>>()) {
            for read in [manifest, image_config, lists, link, challenge, docker_config, error_body] {
                read(&bytes);
            }
        }
    }
}
