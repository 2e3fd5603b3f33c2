//! The HTTP API of a registry: what can be read, and, in types of their own, what can be deleted and
//! put back.
//!
//! It knows the distribution specification and where servers depart from it. It knows no policy and
//! decides nothing. Whoever holds only a [`Reader`] cannot change a registry.

mod answer;
mod auth;
mod circuit;
mod connect;
mod delete;
mod docker_config;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod helper;
mod hidden;
mod keychain;
mod link;
mod lists;
mod observe;
mod pace;
mod placeholder;
mod product;
mod read;
mod restore;
mod stored;
mod token;
mod transport;
mod wire;

pub use delete::{Deleter, Deletion, DeletionSupport};
pub use error::{Error, Kind};
pub use hidden::TagCompleteness;
pub use lists::TagList;
pub use observe::Observer;
pub use placeholder::{Placeholder, PlaceholderError};
pub use read::{Features, Probe, Reader, Reference, Resolved, TagTarget};
pub use restore::{Restore, Restorer};
pub use stored::RawManifest;
pub use transport::{Retry, Traffic};
pub use wire::read_manifest;
