//! What the unit tests of the state start from.

use chrono::{DateTime, Utc};

use super::{NewJournalEntry, State};
use crate::model::{Digest, Kind, RepositoryName, Tag};

pub(super) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

pub(super) fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

pub(super) fn tag(text: &str) -> Tag {
    Tag::parse(text).unwrap()
}

pub(super) fn name() -> RepositoryName {
    RepositoryName::parse("team/app").unwrap()
}

pub(super) fn open() -> (tempfile::TempDir, State) {
    let directory = tempfile::tempdir().unwrap();
    let state = State::open(directory.path()).unwrap();
    (directory, state)
}

/// A deletion in `team/app`.
pub(super) fn new_entry(digest: &str, tags: &[&str], bytes: u64) -> NewJournalEntry {
    NewJournalEntry {
        repository: name(),
        digest: self::digest(digest),
        tags: tags.iter().map(|word| tag(word)).collect(),
        tag_only: false,
        kind: Kind::Image,
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        body: digest.as_bytes().to_vec(),
        policy: "apps".into(),
        rules: vec!["old".into()],
        reasons: vec!["older than 30 days".into()],
        bytes,
        dependents: Vec::new(),
    }
}
