//! What a registry holds: names, digests, manifests, and a repository as it was at one moment.
//!
//! It must not know rules, HTTP, or what happens to anything.

mod capability;
pub mod duration;
mod manifest;
mod name;
mod observation;
mod sanitize;
mod scan_history;
mod snapshot;
mod tag_list;

pub use capability::TagDeletion;
pub use manifest::{Blob, Facts, Kind, Manifest, PLACEHOLDER};
pub use name::{Digest, InvalidName, RepositoryName, Tag, TagSubject};
pub use observation::{FirstScan, Observation};
pub use sanitize::sanitize;
pub use scan_history::ScanHistory;
pub use snapshot::Snapshot;
pub use tag_list::tag_list;
