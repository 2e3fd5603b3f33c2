//! Names of images as operators write them, also with the short digests that tables show.

use crate::config;
use crate::model::{Digest, RepositoryName, Tag};
use crate::state::{self, Filter, State};

/// The number of hexadecimal digits of a digest that tables show, and that are enough to name it.
const SHORT_DIGITS: usize = 12;
/// The number of hexadecimal digits of a whole digest.
const ALL_DIGITS: usize = 64;

/// One image that a run deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageTarget {
    /// Its repository.
    pub repository: RepositoryName,
    /// A tag that it had, or its digest.
    pub name: Name,
}

/// How an image is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// By a tag that it has or had.
    Tag(Tag),
    /// By its digest.
    Digest(Digest),
}

/// Why a name stands for no image, or for several.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The text is no name of an image.
    #[error("{0}")]
    Invalid(String),
    /// Several images have this name.
    #[error("{0}")]
    Ambiguous(String),
    /// No image has this name.
    #[error("{0}")]
    NotFound(String),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] state::Error),
}

impl ImageTarget {
    /// The image that the run deleted and that has this name, which may begin with the registry.
    pub fn find(
        state: &State,
        run: i64,
        registry: &config::Registry,
        image: &str,
    ) -> Result<Self, ImageError> {
        let prefixes = prefixes(registry);
        let name = prefixes.iter().find_map(|prefix| image.strip_prefix(prefix)).unwrap_or(image);
        let (repository, reference) =
            parse_image(name).ok_or_else(|| ImageError::Invalid(no_image(image)))?;
        let past = state.history(&Filter { run: Some(run), ..Filter::default() })?;
        let entries = past.iter().flat_map(|(_, entries)| entries);
        let digests = entries.filter(|entry| entry.repository == repository).map(|entry| &entry.digest);
        match reference.among(digests).map_err(ImageError::Ambiguous)? {
            Some(name) => Ok(Self { repository, name }),
            None => Err(ImageError::NotFound(format!(
                "run {run} deleted no {image}: `regsweep history {run}` shows what it did"
            ))),
        }
    }
}

/// How a registry may be written before the name of an image: by its name, or by its host and port.
pub fn prefixes(registry: &config::Registry) -> [String; 2] {
    let host = registry.url.host_str().unwrap_or_default();
    let port = registry.url.port().map(|port| format!(":{port}")).unwrap_or_default();
    [format!("{}/", registry.name), format!("{host}{port}/")]
}

/// The part of a name that stands for one image in its repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// A tag or a whole digest.
    Whole(Name),
    /// The first digits of a digest.
    Short(String),
}

/// Reads `REPOSITORY:TAG` or `REPOSITORY@DIGEST`; `None` if it is neither.
pub fn parse_image(name: &str) -> Option<(RepositoryName, Reference)> {
    let Some((repository, digest)) = name.split_once('@') else {
        let (repository, tag) = name.split_once(':')?;
        let tag = Name::Tag(Tag::parse(tag).ok()?);
        return Some((RepositoryName::parse(repository).ok()?, Reference::Whole(tag)));
    };
    // In `app:v1@sha256:…` the digest counts, and the tag is only informative.
    let repository = repository.split_once(':').map_or(repository, |(repository, _)| repository);
    let repository = RepositoryName::parse(repository).ok()?;
    let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
    let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    if (SHORT_DIGITS..ALL_DIGITS).contains(&digits.len()) && digits.chars().all(is_digit) {
        return Some((repository, Reference::Short(digits.to_owned())));
    }
    Some((repository, Reference::Whole(Name::Digest(Digest::parse(digest).ok()?))))
}

/// The message about a text that is no name of an image.
pub fn no_image(image: &str) -> String {
    format!(
        "{image:?} is no image: write REPOSITORY:TAG or REPOSITORY@DIGEST, of which {SHORT_DIGITS} digits are enough"
    )
}

impl Reference {
    /// The name among these digests; `None` if a short digest is none of them. The error names the digests if there
    /// are several.
    pub fn among<'a>(self, digests: impl Iterator<Item = &'a Digest>) -> Result<Option<Name>, String> {
        let short = match self {
            Self::Whole(name) => return Ok(Some(name)),
            Self::Short(short) => short,
        };
        let begins =
            |digest: &&Digest| digest.as_str().split(':').nth(1).is_some_and(|hex| hex.starts_with(&short));
        let mut found: Vec<&Digest> = digests.filter(begins).collect();
        found.sort();
        found.dedup();
        match found.as_slice() {
            [] => Ok(None),
            [digest] => Ok(Some(Name::Digest((*digest).clone()))),
            several => {
                let several: Vec<&str> = several.iter().map(|digest| digest.as_str()).collect();
                Err(format!("{short} can mean {}: write more of it", several.join(" or ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(begin: &str) -> Digest {
        Digest::parse(&format!("sha256:{begin:0<64}")).unwrap()
    }

    #[test]
    fn image_is_named_by_tag_or_digest() {
        let whole = digest("ab");
        assert!(matches!(parse_image("team/app:v1"), Some((_, Reference::Whole(Name::Tag(_))))));
        assert!(matches!(
            parse_image(&format!("team/app@{whole}")),
            Some((_, Reference::Whole(Name::Digest(_))))
        ));
        assert!(matches!(
            parse_image(&format!("team/app:v1@{whole}")),
            Some((_, Reference::Whole(Name::Digest(_))))
        ));
        for short in ["team/app@0123456789ab", "team/app@sha256:0123456789ab", "team/app:v1@0123456789ab"] {
            let (repository, reference) = parse_image(short).unwrap();
            assert_eq!(repository.as_str(), "team/app");
            assert_eq!(reference, Reference::Short("0123456789ab".into()), "{short}");
        }
        let wrong =
            ["team/app", "Team/app:v1", "app:", "app@sha256:abc", "app@0123456789a", "app@0123456789AB", ""];
        for wrong in wrong {
            assert!(parse_image(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn short_digest_must_be_that_of_one_image() {
        let digests = [digest("0123456789ab0"), digest("0123456789ab1"), digest("fedcba987654")];
        let among = |short: &str| Reference::Short(short.into()).among(digests.iter().chain(&digests));
        assert_eq!(among("fedcba987654"), Ok(Some(Name::Digest(digests[2].clone()))));
        assert_eq!(among("0123456789ab1"), Ok(Some(Name::Digest(digests[1].clone()))));
        assert_eq!(among("000000000000"), Ok(None));
        let why = among("0123456789ab").unwrap_err();
        assert!(why.contains(digests[0].as_str()) && why.contains(digests[1].as_str()), "{why}");
    }
}
