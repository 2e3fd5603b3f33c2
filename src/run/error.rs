//! Why nothing comes of a run as a whole.

use crate::{registry, state};

/// Why a registry could not be read at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request without which nothing can begin.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// Nobody knows which repositories there are.
    #[error("{}", no_catalog(.0))]
    NoCatalog(registry::Error),
    /// What is done could not be noted.
    #[error(transparent)]
    State(#[from] state::Error),
    /// It took too long.
    #[error(
        "the registry could not be read within run_timeout ({0}), and nothing was deleted: see why it is slow, or \
         raise run_timeout of this registry"
    )]
    Timeout(String),
    /// Somebody asked for it.
    #[error("the run was stopped before it had read everything, and nothing was done")]
    Stopped,
    /// Nothing would come of a run.
    #[error("nothing can be deleted: {0}")]
    NotReady(&'static str),
}

/// What is the matter with a catalog that cannot be had, and the way out.
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
    /// Whether the registry answered and let us in, and something else stood in the way.
    pub fn was_reached(&self) -> bool {
        match self {
            Self::Registry(_) => false,
            Self::NoCatalog(_) | Self::State(_) | Self::Timeout(_) | Self::Stopped | Self::NotReady(_) => {
                true
            }
        }
    }

    /// A fixed word for the kind of failure, fit for a metric's label.
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
