//! Images as people name them, also by what tables print of a digest.

use anyhow::Context as _;

use super::session::Usage;
use crate::engine::Name;
use crate::model::{Digest, RepositoryName, Tag};

/// So many hexadecimal digits are what tables print of a digest, and enough to name one.
const ENOUGH: usize = 12;
/// And so many are all.
const ALL: usize = 64;

/// How an image is named within its repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reference {
    /// By its tag, or its whole digest.
    Whole(Name),
    /// By the beginning of its digest.
    Short(String),
}

/// Reads `REPOSITORY:TAG` or `REPOSITORY@DIGEST`.
pub(super) fn parse(name: &str) -> anyhow::Result<(RepositoryName, Reference)> {
    if let Some((repository, digest)) = name.split_once('@') {
        // `app:v1@sha256:…` means the digest; the tag is for people.
        let repository = repository.split_once(':').map_or(repository, |(repository, _)| repository);
        let repository = RepositoryName::parse(repository)?;
        let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
        let is_digit = |one: char| one.is_ascii_digit() || ('a'..='f').contains(&one);
        if (ENOUGH..ALL).contains(&digits.len()) && digits.chars().all(is_digit) {
            return Ok((repository, Reference::Short(digits.to_owned())));
        }
        return Ok((repository, Reference::Whole(Name::Digest(Digest::parse(digest)?))));
    }
    let (repository, tag) = name.split_once(':').context("no tag")?;
    Ok((RepositoryName::parse(repository)?, Reference::Whole(Name::Tag(Tag::parse(tag)?))))
}

/// What is said of a name that is none.
pub(super) fn no_image(image: &str) -> Usage {
    Usage(format!(
        "{image:?} is no image: write REPOSITORY:TAG or REPOSITORY@DIGEST, of which {ENOUGH} digits are enough"
    ))
}

impl Reference {
    /// The one that is meant of these digests; `None` if a short one is none of theirs. An error says between which it
    /// cannot tell.
    pub(super) fn among<'a>(self, digests: impl Iterator<Item = &'a Digest>) -> Result<Option<Name>, String> {
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
        assert!(matches!(parse("team/app:v1"), Ok((_, Reference::Whole(Name::Tag(_))))));
        assert!(matches!(parse(&format!("team/app@{whole}")), Ok((_, Reference::Whole(Name::Digest(_))))));
        assert!(matches!(parse(&format!("team/app:v1@{whole}")), Ok((_, Reference::Whole(Name::Digest(_))))));
        for short in ["team/app@0123456789ab", "team/app@sha256:0123456789ab", "team/app:v1@0123456789ab"] {
            let (repository, reference) = parse(short).unwrap();
            assert_eq!(repository.as_str(), "team/app");
            assert_eq!(reference, Reference::Short("0123456789ab".into()), "{short}");
        }
        let wrong =
            ["team/app", "Team/app:v1", "app:", "app@sha256:abc", "app@0123456789a", "app@0123456789AB", ""];
        for wrong in wrong {
            assert!(parse(wrong).is_err(), "{wrong}");
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
