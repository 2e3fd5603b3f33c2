//! One manifest and its content.
//!
//! It must not know media types or JSON: `registry` parses them.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::name::Digest;

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
    /// The manifest that this one refers to: its `subject` field (OCI 1.1).
    pub subject: Option<Digest>,
    /// Configuration and layers, in this order; of an index, the entries that are no manifests.
    pub blobs: Vec<Blob>,
    /// The content of its configuration and its annotations.
    pub facts: Facts,
}

impl Manifest {
    /// The digest of the configuration, if this is an image.
    pub fn config(&self) -> Option<&Digest> {
        let config = self.blobs.first().map(|blob| &blob.digest);
        config.filter(|_| self.kind == Kind::Image)
    }

    /// The tag that this manifest was pushed to remove, if it is a placeholder.
    pub fn placeholder_tag(&self) -> Option<&str> {
        let annotations = match &self.facts {
            Facts::Known { labels, .. } => labels,
            Facts::NotFetched { annotations } => annotations,
            Facts::Unknown { .. } => return None,
        };
        annotations.get(PLACEHOLDER).map(String::as_str)
    }
}

/// The annotation of a placeholder. Its value is the tag that the placeholder was pushed to remove: a registry
/// that cannot delete a tag alone deletes the manifest that the tag points to, so the placeholder is pushed
/// to the tag first.
pub const PLACEHOLDER: &str = "regsweep.untag";

/// The content of the configuration and the annotations of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Facts {
    /// Everything was read.
    Known {
        /// When it was created, as it claims; `None` if it has no such claim. Not checked: reproducible
        /// builds claim 1970.
        created: Option<DateTime<Utc>>,
        /// The labels of an image's configuration, and the manifest's annotations.
        labels: BTreeMap<String, String>,
    },
    /// The configuration was not fetched, because it was not needed.
    NotFetched {
        /// The manifest's annotations.
        annotations: BTreeMap<String, String>,
    },
    /// The configuration could not be read.
    Unknown {
        /// Why it could not be read, for people.
        why: String,
        /// Whether another request cannot succeed either.
        lasting: bool,
    },
}

impl Facts {
    /// The facts of a manifest without configuration and annotations.
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
