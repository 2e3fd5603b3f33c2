//! The HTTP API of a registry: what can be read, and, by types of their own, what can be deleted and restored.
//!
//! It knows the distribution specification and the differences between registries. It knows no policy and decides
//! nothing. Code that has only a [`Reader`] cannot change a registry.
//!
//! The modules, lowest first: `transport` sends HTTP requests, `auth` authenticates them, `api` has one file for each
//! part of the API.

mod api;
mod auth;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod lock;
mod transport;

pub use api::decode::read_manifest;
pub use api::delete::{Deleter, Deletion, DeletionSupport};
pub use api::features::Features;
pub use api::manifests::{Reference, Resolved, TagTarget};
pub use api::placeholder::{Placeholder, PlaceholderError};
pub use api::raw::RawManifest;
pub use api::reader::{Probe, Reader};
pub use api::restore::{Restore, Restorer};
pub use api::tag_completeness::TagCompleteness;
pub use api::tags::TagList;
pub use transport::error::{Error, Kind};
pub use transport::http::Traffic;
pub use transport::observer::Observer;
pub use transport::retry::Retry;
