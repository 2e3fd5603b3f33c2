//! The two verdicts on a manifest, and how the limits count one.
//!
//! It must not know how a verdict is reached.

use serde::{Deserialize, Serialize};

/// What a plan does with a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is kept.
    Keep,
    /// It is deleted.
    Delete,
}

impl Verdict {
    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Delete => "delete",
        }
    }
}

/// How `at_least` and `max_percent` count a manifest with a tag. Both apply to the images alone and to all
/// counted manifests together: kept signatures must not make up for deleted images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// It has a tag that is not the tag of a referrer, and is no placeholder.
    Image,
    /// All its tags are those of a referrer, and one of their subjects is not in the repository.
    Referrer,
}
