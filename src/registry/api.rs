//! The registry API: what can be read, and, by types of their own, what can be deleted and restored.
//!
//! It knows the distribution specification and the differences between registries. It knows no policy.

pub(super) mod blobs;
mod catalog;
mod client;
pub(super) mod decode;
pub(super) mod delete;
pub(super) mod features;
pub(super) mod link;
pub(super) mod lists;
pub(super) mod manifests;
mod not_found;
mod pages;
pub(super) mod placeholder;
mod product;
pub(super) mod raw;
pub(super) mod reader;
mod referrers;
pub(super) mod restore;
pub(super) mod tag_completeness;
pub(super) mod tags;
