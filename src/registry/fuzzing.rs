//! Fuzz targets for everything that is read from a registry or a Docker configuration.

use std::collections::BTreeMap;

use reqwest::StatusCode;
use url::Url;

use super::api::lists::{Catalog, Tags, parse_list};
use super::api::tags::TagList;
use super::api::{decode, link as links};
use super::auth::challenge::Challenge;
use super::auth::docker_config::{CredentialSource, DockerConfig};
use super::transport::error::Error;
use crate::model::{Digest, Facts, Kind, RepositoryName, Tag, sanitize};

/// No error text is longer.
const MAX_SHOWN: usize = 2000;

/// A text that is shown is short, and fits in one line of a log or a terminal.
#[track_caller]
fn assert_is_safe_to_show(text: &str) {
    assert!(text.chars().count() < MAX_SHOWN, "{} characters", text.chars().count());
    assert_eq!(sanitize(text, MAX_SHOWN), text);
}

/// A manifest of each type.
pub fn manifest(bytes: &[u8]) {
    let digest = Digest::of(bytes);
    for media_type in
        ["", "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json"]
    {
        match decode::manifest(digest.clone(), media_type, bytes) {
            Err(message) => assert_is_safe_to_show(&message),
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
    if let Ok(digests) = decode::referrer_digests(decode::ACCEPT, bytes) {
        assert!(digests.len() <= bytes.len());
    }
    if let Some(stored) = decode::stored_media_type(None, bytes) {
        assert!(stored.len() <= bytes.len());
    }
}

/// The configuration of an image.
pub fn image_config(bytes: &[u8]) {
    match decode::image_facts(&BTreeMap::new(), bytes) {
        Facts::Known { created, labels } => {
            assert!(labels.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() <= bytes.len());
            if let Some(created) = created {
                assert_eq!(Ok(created), created.to_rfc3339().parse());
            }
        }
        Facts::Unknown { why, lasting } => {
            assert_is_safe_to_show(&why);
            assert!(lasting);
        }
        Facts::NotFetched { .. } => panic!("it was fetched"),
    }
}

/// A page of a catalog or of a list of tags.
pub fn lists(bytes: &[u8]) {
    if let Err(message) = parse_list::<Catalog<'_>>(bytes).map(|catalog| catalog.repositories.0.len()) {
        assert_is_safe_to_show(&message);
    }
    let Ok(page) = parse_list::<Tags<'_>>(bytes) else { return };
    let _ = RepositoryName::parse(&page.name);
    let mut list = TagList::default();
    list.add(page);
    for tag in &list.tags {
        assert_eq!(Tag::parse(tag.as_str()).as_ref(), Ok(tag));
        assert_is_safe_to_show(tag.as_str());
        assert_is_safe_to_show(&tag.short());
    }
    list.invalid.iter().for_each(|name| assert_is_safe_to_show(name));
}

/// The `Link` headers of a page, one a line.
pub fn link(bytes: &[u8]) {
    let Ok(current) = Url::parse("https://r.example.com:5000/v2/_catalog") else { return };
    if let Ok(Some(next)) = links::next_page(&current, bytes.split(|byte| *byte == b'\n')) {
        let server = |url: &Url| (url.scheme().to_owned(), url.authority().to_owned());
        assert_eq!(server(&next), server(&current));
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
    let Ok(Ok(sources)) = DockerConfig::parse(text).map(|config| config.sources(&registry)) else { return };
    assert!(!sources.is_empty());
    for source in sources {
        match source {
            CredentialSource::Helper { name, .. } => {
                assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)));
            }
            CredentialSource::File(credentials) => drop(credentials.basic_header()),
        }
    }
}

/// The body of an error.
pub fn error_body(bytes: &[u8]) {
    let Ok(url) = Url::parse("https://r.example.com/v2/") else { return };
    assert_is_safe_to_show(&Error::status("GET", &url, StatusCode::BAD_REQUEST, bytes).to_string());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>()) {
            for read in [manifest, image_config, lists, link, challenge, docker_config, error_body] {
                read(&bytes);
            }
        }
    }
}
