//! What a collection did to a registry that is to be restored.
//!
//! It does not know how a registry is restored.

/// What was done to a registry since it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Whether it was asked to stop.
    pub(crate) stopped: bool,
    /// Whether a sweep was begun, after which a registry that ran meanwhile has to forget what it remembers.
    pub(crate) swept: bool,
}
