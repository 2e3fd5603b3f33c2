//! The right that a request needs, as the distribution token specification writes it.

/// A scope of the token specification.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Scope(String);

impl Scope {
    /// No particular right: for `/v2/` itself.
    pub(crate) fn none() -> Self {
        Self(String::new())
    }

    pub(crate) fn catalog() -> Self {
        Self("registry:catalog:*".to_owned())
    }

    pub(crate) fn pull(repository: &str) -> Self {
        Self(format!("repository:{repository}:pull"))
    }

    pub(crate) fn push(repository: &str) -> Self {
        Self(format!("repository:{repository}:pull,push"))
    }

    pub(crate) fn delete(repository: &str) -> Self {
        Self(format!("repository:{repository}:pull,delete"))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}
