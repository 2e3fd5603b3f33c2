//! What a registry holds: names, digests, manifests, and a repository as it stood at one moment.
//!
//! It knows nothing of rules, of HTTP, or of what should happen to anything.

mod read;
mod sanitize;
mod scan_history;

pub use sanitize::sanitize;
pub use scan_history::{FirstScan, Observation, ScanHistory};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, LazyLock};

use chrono::{DateTime, Utc};
use regex::Regex;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};

/// What one repository held when it was read.
///
/// A snapshot is only worth planning on when it is whole: every manifest that a tag or an index
/// names is either in `manifests` or, if the registry said that it has no such manifest, in
/// `absent`. [`Snapshot::gap`] names the first one that is in neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The repository that was read.
    pub repository: RepositoryName,
    /// Every tag and the manifest it points to.
    pub tags: BTreeMap<Tag, Digest>,
    /// Names that the registry lists as tags and then has no manifest for. A crash between the two
    /// steps of a deletion leaves them behind on distribution; they hold nothing.
    pub dangling_tags: BTreeSet<String>,
    /// Every manifest that was reached: from a tag, from an index, as a referrer, or by memory.
    pub manifests: BTreeMap<Digest, Arc<Manifest>>,
    /// Digests that were asked for and that the registry does not have.
    pub absent: BTreeSet<Digest>,
    /// When the repository was looked at for the first time.
    pub first_scan: FirstScan,
    /// When its manifests were noticed, as far as anybody remembers.
    pub observations: BTreeMap<Digest, Observation>,
    /// Manifests whose index or subject regsweep has deleted, and that did not go with it.
    pub leftovers: BTreeSet<Digest>,
    /// Subjects of what is here that are or once were in this repository. Others may never have been: cosign
    /// can keep signatures in a repository of their own.
    pub seen_subjects: BTreeSet<Digest>,
}

impl Snapshot {
    /// A repository in which nothing has been found yet.
    pub fn empty(repository: RepositoryName) -> Self {
        Self {
            repository,
            tags: BTreeMap::new(),
            dangling_tags: BTreeSet::new(),
            manifests: BTreeMap::new(),
            absent: BTreeSet::new(),
            first_scan: FirstScan::Never,
            observations: BTreeMap::new(),
            leftovers: BTreeSet::new(),
            seen_subjects: BTreeSet::new(),
        }
    }

    /// The first digest that something here points to and that nobody has looked at.
    ///
    /// What an unread manifest needs is unknown, so a snapshot with a gap decides no deletion.
    pub fn gap(&self) -> Option<&Digest> {
        let tagged = self.tags.values();
        let children = self.manifests.values().flat_map(|manifest| &manifest.children);
        tagged
            .chain(children)
            .find(|digest| !self.manifests.contains_key(*digest) && !self.absent.contains(*digest))
    }
}

/// One manifest and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The digest of its bytes, which is its name.
    pub digest: Digest,
    /// What it is.
    pub kind: Kind,
    /// Bytes of the manifest itself.
    pub size: u64,
    /// The manifests that an index lists, in its order. Empty for all other kinds.
    pub children: Vec<Digest>,
    /// The manifest that this one is about: its `subject` field (OCI 1.1).
    pub subject: Option<Digest>,
    /// Configuration and layers, in this order; of an index, what it lists that is no manifest.
    pub blobs: Vec<Blob>,
    /// What its configuration and its annotations say.
    pub facts: Facts,
}

impl Manifest {
    /// The configuration that would tell more about an image.
    pub fn config(&self) -> Option<&Digest> {
        let config = self.blobs.first().map(|blob| &blob.digest);
        config.filter(|_| self.kind == Kind::Image)
    }

    /// The tag that this manifest was made to remove, if it is a placeholder.
    pub fn placeholder_tag(&self) -> Option<&str> {
        let words = match &self.facts {
            Facts::Known { labels, .. } => labels,
            Facts::NotFetched { annotations } => annotations,
            Facts::Unknown { .. } => return None,
        };
        words.get(PLACEHOLDER).map(String::as_str)
    }
}

/// The annotation that a placeholder carries, with the tag that it was made to remove: a registry that
/// cannot delete a tag alone deletes it with the manifest that it points to, so that one takes it over.
pub const PLACEHOLDER: &str = "regsweep.untag";

/// What the configuration and the annotations of a manifest say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Facts {
    /// Everything there is to read has been read.
    Known {
        /// When it says that it was made; `None` where it says nothing. Not yet judged: reproducible
        /// builds claim 1970.
        created: Option<DateTime<Utc>>,
        /// The labels of an image's configuration, and the manifest's annotations.
        labels: BTreeMap<String, String>,
    },
    /// Nobody has needed the configuration yet.
    NotFetched {
        /// The manifest's annotations.
        annotations: BTreeMap<String, String>,
    },
    /// The answer could not be used.
    Unknown {
        /// Why nothing is known, for people.
        why: String,
        /// Whether asking again can never tell more.
        lasting: bool,
    },
}

impl Facts {
    /// Facts of a manifest that says nothing about itself.
    pub fn none() -> Self {
        Self::Known { created: None, labels: BTreeMap::new() }
    }
}

/// What a manifest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A container image for one platform.
    Image,
    /// A list of manifests: an OCI index or a Docker manifest list.
    Index,
    /// Anything else that is stored as a manifest: a chart, a signature, an SBOM.
    Artifact,
}

impl Kind {
    /// Every kind there is.
    pub const ALL: [Self; 3] = [Self::Image, Self::Index, Self::Artifact];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Index => "index",
            Self::Artifact => "artifact",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A configuration or a layer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Blob {
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its bytes, as the manifest declares them.
    pub size: u64,
}

/// A name that does not follow the grammar of the distribution specification.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {what}")]
pub struct InvalidName {
    what: &'static str,
    text: String,
}

impl InvalidName {
    fn new(what: &'static str, text: &str) -> Self {
        // A hostile answer can hold a name of any length; no error needs more than this of it.
        Self { what, text: text.chars().take(160).collect() }
    }
}

/// The content digest of a manifest or blob, such as `sha256:9f86d0…`.
///
/// Only the two registered algorithms exist here: a digest that cannot be verified is no name.
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

    /// Whether these bytes are the ones that this digest names.
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

    /// The first twelve hexadecimal digits: what people read in tables.
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

/// Tags that tell what they are about: the referrers tag of OCI 1.1 (`sha256-<hex>`) and what cosign
/// makes of it (`sha256-<hex>.sig`, `.att`, `.sbom`). A reference longer than 64 digits is cut there
/// by the specification, so of a sha512 digest only the beginning may be known.
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

    /// The tag for people: one that names a digest in full is cut like a digest.
    pub fn short(&self) -> String {
        let text = self.as_str();
        match self.subject() {
            Some(_) => format!("{}…{}", &text[..19], text.find('.').map_or("", |dot| &text[dot..])),
            None => text.to_owned(),
        }
    }

    /// The manifest that this tag is about, if it is the tag of a referrer.
    pub fn subject(&self) -> Option<TagSubject> {
        let found = REFERRER_TAG.captures(&self.0)?;
        let algorithm = found.get(1).or_else(|| found.get(3))?.as_str();
        let digits = found.get(2).or_else(|| found.get(4))?.as_str();
        Some(TagSubject { prefix: format!("{algorithm}:{digits}") })
    }
}

/// The manifest that a referrer's tag names: a whole digest, or the beginning of a sha512 one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TagSubject {
    prefix: String,
}

impl TagSubject {
    /// The subject's digest, where the tag has room for all of it.
    pub fn digest(&self) -> Option<Digest> {
        Digest::parse(&self.prefix).ok()
    }

    /// Whether the tag is about this manifest.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_sixty_four_or_one_hundred_twenty_eight_lower_case_digits() {
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
    fn a_digest_matches_only_its_own_bytes() {
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
    fn a_referrer_tag_names_its_subject() {
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
    fn a_tag_that_names_a_digest_is_cut_for_people() {
        let check = |text: &str, short: &str| assert_eq!(Tag::parse(text).unwrap().short(), short);
        let digits = "cd".repeat(32);
        check(&format!("sha256-{digits}.sig"), "sha256-cdcdcdcdcdcd….sig");
        check(&format!("sha512-{digits}"), "sha512-cdcdcdcdcdcd…");
        check("v1.2.3", "v1.2.3");
    }

    #[test]
    fn a_cut_sha512_tag_still_knows_its_subject() {
        let digest = Digest::parse(&format!("sha512:{}", "cd".repeat(64))).unwrap();
        let subject = Tag::parse(&format!("sha512-{}", "cd".repeat(32))).unwrap().subject().unwrap();
        assert!(subject.is(&digest));
        assert_eq!(subject.digest(), None);
    }
}
