//! Errors that end a run before anything was deleted.

use crate::{registry, state};

/// Why a registry could not be scanned at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request that every run needs has failed.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// It is not known which repositories the registry has.
    #[error("{}", no_catalog(.0))]
    NoCatalog(registry::Error),
    /// The state could not be read or written.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The scan took longer than `run_timeout`.
    #[error(
        "the registry could not be read within run_timeout ({0}), and nothing was deleted: find out why it is slow, or \
         raise run_timeout of this registry"
    )]
    Timeout(String),
    /// A stop was requested.
    #[error("the run was stopped before it had read everything, and nothing was done")]
    Stopped,
    /// The registry would not delete anything.
    #[error("nothing can be deleted: {0}")]
    NotReady(&'static str),
}

/// Why the catalog cannot be read, and what to do about it.
fn no_catalog(error: &registry::Error) -> String {
    let names = "list `repositories` of this registry in the configuration";
    match error.kind {
        registry::Kind::Unauthorized | registry::Kind::Forbidden => format!(
            "the registry does not show its catalog to this user: {names}, or give the user the right to see it, \
             where the registry has such a right ({error})"
        ),
        _ => format!("the registry has no catalog: {names} ({error})"),
    }
}

impl Error {
    /// Whether the registry has answered and accepted the credentials.
    pub fn was_reached(&self) -> bool {
        match self {
            Self::Registry(_) => false,
            Self::NoCatalog(_) | Self::State(_) | Self::Timeout(_) | Self::Stopped | Self::NotReady(_) => {
                true
            }
        }
    }

    /// A fixed identifier of the kind of error, for the label of a metric.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Registry(error) => error.kind.name(),
            Self::NoCatalog(_) => "no_catalog",
            Self::State(_) => "state",
            Self::Timeout(_) => "run_timeout",
            Self::Stopped => "stopped",
            Self::NotReady(_) => "not_ready",
        }
    }
}
