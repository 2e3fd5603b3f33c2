//! Images as people name them, also by what tables print of a digest.

use crate::config;
use crate::model::{Digest, RepositoryName, Tag};
use crate::state::{self, Filter, State};

/// So many hexadecimal digits are what tables print of a digest, and enough to name one.
const SHORT_DIGITS: usize = 12;
/// And so many are all.
const ALL_DIGITS: usize = 64;

/// One image of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageTarget {
    /// Where it was.
    pub repository: RepositoryName,
    /// A tag that was on it, or its digest.
    pub name: Name,
}

/// How an image is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// By a tag that is or was on it.
    Tag(Tag),
    /// By its digest.
    Digest(Digest),
}

/// Why nobody can tell which image is meant.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The text names none.
    #[error("{0}")]
    Invalid(String),
    /// Several have this name.
    #[error("{0}")]
    Ambiguous(String),
    /// None has this name.
    #[error("{0}")]
    NotFound(String),
    /// The state does not tell.
    #[error(transparent)]
    State(#[from] state::Error),
}

impl ImageTarget {
    /// The image of a run that is meant; its registry may stand before it, and is known anyway.
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

/// How people may write a registry before the name of an image: its name, or its host and port.
pub fn prefixes(registry: &config::Registry) -> [String; 2] {
    let host = registry.url.host_str().unwrap_or_default();
    let port = registry.url.port().map(|port| format!(":{port}")).unwrap_or_default();
    [format!("{}/", registry.name), format!("{host}{port}/")]
}

/// What stands for one image within its repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// By its tag, or its whole digest.
    Whole(Name),
    /// By the beginning of its digest.
    Short(String),
}

/// Reads `REPOSITORY:TAG` or `REPOSITORY@DIGEST`; `None` if it is neither.
pub fn parse_image(name: &str) -> Option<(RepositoryName, Reference)> {
    let Some((repository, digest)) = name.split_once('@') else {
        let (repository, tag) = name.split_once(':')?;
        let tag = Name::Tag(Tag::parse(tag).ok()?);
        return Some((RepositoryName::parse(repository).ok()?, Reference::Whole(tag)));
    };
    // `app:v1@sha256:…` means the digest; the tag is for people.
    let repository = repository.split_once(':').map_or(repository, |(repository, _)| repository);
    let repository = RepositoryName::parse(repository).ok()?;
    let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
    let is_digit = |one: char| one.is_ascii_digit() || ('a'..='f').contains(&one);
    if (SHORT_DIGITS..ALL_DIGITS).contains(&digits.len()) && digits.chars().all(is_digit) {
        return Some((repository, Reference::Short(digits.to_owned())));
    }
    Some((repository, Reference::Whole(Name::Digest(Digest::parse(digest).ok()?))))
}

/// What is said of a name that is none.
pub fn no_image(image: &str) -> String {
    format!(
        "{image:?} is no image: write REPOSITORY:TAG or REPOSITORY@DIGEST, of which {SHORT_DIGITS} digits are enough"
    )
}

impl Reference {
    /// The one that is meant of these digests; `None` if a short one is none of theirs. An error says between which it
    /// cannot tell.
    pub fn among<'a>(self, digests: impl Iterator<Item = &'a Digest>) -> Result<Option<Name>, String> {
        let short = match self {
            Self::Whole(name) => return Ok(Some(name)),
            Self::Short(short) => short,
        };
        let begins =
            |digest: &&Digest| digest.as_str().split(':').nth(1).is_some_and(|one| one.starts_with(&short));
        let mut found: Vec<&Digest> = digests.filter(begins).collect();
        found.sort();
        found.dedup();
        match found.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(Name::Digest((*one).clone()))),
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
    fn an_image_is_named_by_tag_or_digest() {
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
    fn a_short_digest_must_be_that_of_one_image() {
        let digests = [digest("0123456789ab0"), digest("0123456789ab1"), digest("fedcba987654")];
        let among = |short: &str| Reference::Short(short.into()).among(digests.iter().chain(&digests));
        assert_eq!(among("fedcba987654"), Ok(Some(Name::Digest(digests[2].clone()))));
        assert_eq!(among("0123456789ab1"), Ok(Some(Name::Digest(digests[1].clone()))));
        assert_eq!(among("000000000000"), Ok(None));
        let why = among("0123456789ab").unwrap_err();
        assert!(why.contains(digests[0].as_str()) && why.contains(digests[1].as_str()), "{why}");
    }
}
