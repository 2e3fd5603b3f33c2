//! Names of repositories, tags and manifests: only what follows the grammar of the specification.
//!
//! It must not know what a name is used for.

use std::fmt;
use std::sync::{Arc, LazyLock};

use regex::Regex;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};

/// A name that does not follow the grammar of the distribution specification.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {what}")]
pub struct InvalidName {
    what: &'static str,
    text: String,
}

impl InvalidName {
    fn new(what: &'static str, text: &str) -> Self {
        // A hostile answer can contain a name of any length; an error quotes only its beginning.
        Self { what, text: text.chars().take(160).collect() }
    }
}

/// The content digest of a manifest or blob, such as `sha256:9f86d0…`.
///
/// Only the two registered algorithms are accepted: other digests could not be verified.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(Arc<str>);

impl Digest {
    /// Reads `sha256:` with 64 or `sha512:` with 128 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let hex_digits = match text.split_once(':') {
            Some(("sha256", hex)) if hex.len() == 64 => hex,
            Some(("sha512", hex)) if hex.len() == 128 => hex,
            _ => return Err(InvalidName::new("digest", text)),
        };
        if hex_digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName::new("digest", text))
        }
    }

    /// The `sha256` digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(format!("sha256:{}", hex(&Sha256::digest(bytes))).into())
    }

    /// Whether this is the digest of these bytes.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        let (algorithm, expected) = self.0.split_once(':').unwrap_or_default();
        let actual = match algorithm {
            "sha512" => hex(&Sha512::digest(bytes)),
            _ => hex(&Sha256::digest(bytes)),
        };
        actual == expected
    }

    /// The whole digest.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve hexadecimal digits, for tables.
    pub fn short(&self) -> &str {
        let start = self.0.find(':').map_or(0, |colon| colon + 1);
        &self.0[start..start + 12]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The name of a repository, such as `team/app`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct RepositoryName(Box<str>);

/// The grammar of the distribution specification (`<name>` in "Pulling manifests").
static REPOSITORY_NAME: LazyLock<Regex> = LazyLock::new(|| {
    let part = "[a-z0-9]+(?:(?:[.]|_|__|-+)[a-z0-9]+)*";
    grammar(&format!("{part}(?:/{part})*"))
});

/// The grammar of the distribution specification (`<reference>` as a tag).
static TAG: LazyLock<Regex> = LazyLock::new(|| grammar("[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"));

/// Tags of referrers: the referrers tag of OCI 1.1 (`sha256-<hex>`) and those of cosign
/// (`sha256-<hex>.sig`, `.att`, `.sbom`). The specification cuts a reference after 64 digits, so such a tag
/// may contain only the beginning of a sha512 digest.
static REFERRER_TAG: LazyLock<Regex> = LazyLock::new(|| {
    grammar(
        "(sha256)-([0-9a-f]{64})(?:[.][A-Za-z0-9._-]+)?|(sha512)-([0-9a-f]{64,128})(?:[.][A-Za-z0-9._-]+)?",
    )
});

#[expect(clippy::expect_used, reason = "the grammars are constants, and every test uses them")]
fn grammar(pattern: &str) -> Regex {
    Regex::new(&format!(r"\A(?:{pattern})\z")).expect("the grammar is a valid regex")
}

impl RepositoryName {
    /// Reads a name by the grammar of the distribution specification.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        if text.len() <= 255 && REPOSITORY_NAME.is_match(text) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName::new("repository name", text))
        }
    }

    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A tag, such as `v1.2.3`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Tag(Box<str>);

impl Tag {
    /// Reads a tag by the grammar of the distribution specification.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        if TAG.is_match(text) { Ok(Self(text.into())) } else { Err(InvalidName::new("tag", text)) }
    }

    /// The tag as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag for tables: a tag of a referrer is cut like a digest.
    pub fn short(&self) -> String {
        let text = self.as_str();
        match self.subject() {
            Some(_) => format!("{}…{}", &text[..19], text.find('.').map_or("", |dot| &text[dot..])),
            None => text.to_owned(),
        }
    }

    /// Compares in natural order: `v9` comes before `v10`.
    pub fn natural_cmp(&self, other: &Self) -> std::cmp::Ordering {
        alphanumeric_sort::compare_str(self.as_str(), other.as_str()).then_with(|| self.cmp(other))
    }

    /// The manifest that this tag refers to, if it is the tag of a referrer.
    pub fn subject(&self) -> Option<TagSubject> {
        let found = REFERRER_TAG.captures(&self.0)?;
        let algorithm = found.get(1).or_else(|| found.get(3))?.as_str();
        let digits = found.get(2).or_else(|| found.get(4))?.as_str();
        Some(TagSubject { prefix: format!("{algorithm}:{digits}") })
    }
}

/// The subject that the tag of a referrer names: a whole digest, or the beginning of a sha512 digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TagSubject {
    prefix: String,
}

impl TagSubject {
    /// The digest of the subject, if the tag contains all of it.
    pub fn digest(&self) -> Option<Digest> {
        Digest::parse(&self.prefix).ok()
    }

    /// Whether this manifest is the subject.
    pub fn is(&self, digest: &Digest) -> bool {
        digest.as_str().starts_with(&self.prefix)
    }
}

impl fmt::Display for TagSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.prefix)
    }
}

macro_rules! text_name {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_name!(RepositoryName);
text_name!(Tag);

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Names are parsed by their grammar also where they are read from JSON.
macro_rules! deserialize_by_grammar {
    ($name:ident) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }
    };
}

deserialize_by_grammar!(Digest);
deserialize_by_grammar!(RepositoryName);
deserialize_by_grammar!(Tag);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_has_64_or_128_lower_case_digits() {
        let check = |text: &str, valid: bool| assert_eq!(Digest::parse(text).is_ok(), valid, "{text}");
        check(&format!("sha256:{}", "a0".repeat(32)), true);
        check(&format!("sha512:{}", "a0".repeat(64)), true);
        check(&format!("sha256:{}", "A0".repeat(32)), false);
        check(&format!("sha256:{}", "a0".repeat(31)), false);
        check(&format!("md5:{}", "a0".repeat(32)), false);
        check(&"a0".repeat(32), false);
        check("", false);
    }

    #[test]
    fn digest_matches_only_its_own_bytes() {
        let digest = Digest::of(b"manifest");
        assert!(digest.matches(b"manifest"));
        assert!(!digest.matches(b"manifesto"));
        let long = Digest::parse(&format!("sha512:{}", hex(&Sha512::digest(b"x")))).unwrap();
        assert!(long.matches(b"x"));
    }

    #[test]
    fn repository_names_follow_the_grammar() {
        let check = |text: &str, valid: bool| {
            assert_eq!(RepositoryName::parse(text).is_ok(), valid, "{text:?}");
        };
        check("app", true);
        check("team/app", true);
        check("a/b-c/d__e/f.g", true);
        check("Team/app", false);
        check("team//app", false);
        check("../etc", false);
        check("app\n", false);
        check("", false);
        check(&"a".repeat(256), false);
    }

    #[test]
    fn tags_follow_the_grammar() {
        let check = |text: &str, valid: bool| assert_eq!(Tag::parse(text).is_ok(), valid, "{text:?}");
        check("v1.2.3", true);
        check("_x", true);
        check(".DS_Store", false);
        check("a b", false);
        check("a\u{1b}[31m", false);
        check(&"t".repeat(128), true);
        check(&"t".repeat(129), false);
    }

    #[test]
    fn referrer_tag_names_its_subject() {
        let digits = "ab".repeat(32);
        let digest = Digest::parse(&format!("sha256:{digits}")).unwrap();
        for suffix in ["", ".sig", ".att", ".sbom", ".cosign.bundle"] {
            let subject = Tag::parse(&format!("sha256-{digits}{suffix}")).unwrap().subject().unwrap();
            assert_eq!(subject.digest().as_ref(), Some(&digest), "{suffix}");
            assert!(subject.is(&digest));
        }
        for ordinary in ["sha256-abc", "v1", &format!("sha256-{digits}-x"), &format!("x-sha256-{digits}")] {
            assert!(Tag::parse(ordinary).unwrap().subject().is_none(), "{ordinary}");
        }
    }

    #[test]
    fn referrer_tag_is_cut_in_tables() {
        let check = |text: &str, short: &str| assert_eq!(Tag::parse(text).unwrap().short(), short);
        let digits = "cd".repeat(32);
        check(&format!("sha256-{digits}.sig"), "sha256-cdcdcdcdcdcd….sig");
        check(&format!("sha512-{digits}"), "sha512-cdcdcdcdcdcd…");
        check("v1.2.3", "v1.2.3");
    }

    #[test]
    fn referrer_tag_with_half_a_sha512_digest_has_a_subject() {
        let digest = Digest::parse(&format!("sha512:{}", "cd".repeat(64))).unwrap();
        let subject = Tag::parse(&format!("sha512-{}", "cd".repeat(32))).unwrap().subject().unwrap();
        assert!(subject.is(&digest));
        assert_eq!(subject.digest(), None);
    }

    #[test]
    fn names_in_json_are_parsed_by_their_grammar() {
        let digest = Digest::of(b"a");
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
        assert_eq!(serde_json::from_str::<Tag>("\"v1\"").unwrap().as_str(), "v1");
        assert!(serde_json::from_str::<Tag>("\"<b>\"").is_err());
        assert!(serde_json::from_str::<RepositoryName>("\"Team\"").is_err());
    }
}
