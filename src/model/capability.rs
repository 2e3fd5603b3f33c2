//! What a registry can do, as far as a plan depends on it.
//!
//! It must not know how that is found out.

/// Whether a registry can delete one tag without its manifest and the other tags of that manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagDeletion {
    /// It can: distribution 3.x, and other registries that implement OCI 1.1.
    Supported,
    /// It cannot, or it is unknown whether it can.
    Unsupported,
}
