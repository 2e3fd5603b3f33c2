//! What must hold before every collection, whether it begins by a schedule, after a run, at the end of a grace period
//! or by hand.

use std::fmt;

use chrono::{DateTime, Utc};

use super::context::RegistryContext;
use super::grace::held_back;
use super::journal::resolve_unanswered;
use crate::policy::Mode;
use crate::report::moment;
use crate::state::{self, State};

/// Why no collection may begin now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// The mode of the configuration is `plan`, which changes nothing anywhere.
    PlanMode,
    /// The grace period of the latest deletion, which ends at this moment.
    Grace(DateTime<Utc>),
    /// This many deletions are unanswered: it is not known whether they were done.
    Unanswered(usize),
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PlanMode => f.write_str(
                "the mode is plan, which deletes, stops and collects nothing: set `mode: enforce` to have registries \
                 collected",
            ),
            Self::Grace(until) => {
                let until = moment(*until);
                write!(f, "gc.grace holds it back until {until}, so that deletions can be undone")
            }
            Self::Unanswered(deletions) => write!(
                f,
                "deletions without an answer: {deletions}. It is not known whether they were done. Check that the registry \
                 answers: each run and each collection checks again; `regsweep history` lists them"
            ),
        }
    }
}

/// Whether the grace period holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GraceMode {
    /// No collection begins before it ends.
    Enforced,
    /// An operator has overridden it.
    Overridden,
}

/// Why no collection may begin now; `None` if one may. The registry is asked about unanswered deletions.
pub async fn blocked(
    context: RegistryContext<'_>,
    state: &State,
    grace: GraceMode,
    now: DateTime<Utc>,
) -> Result<Option<Blocked>, state::Error> {
    if context.config.mode == Mode::Plan {
        return Ok(Some(Blocked::PlanMode));
    }
    if grace == GraceMode::Enforced
        && let Some(until) = held_back(context.registry, state, now)?
    {
        return Ok(Some(Blocked::Grace(until)));
    }
    resolve_unanswered(context, state).await?;
    let open = state.unanswered(&context.registry.name)?.len();
    Ok((open > 0).then_some(Blocked::Unanswered(open)))
}
