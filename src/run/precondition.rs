//! What must hold before a collection begins, whoever wants it: by a schedule, after a run, at the end of a grace,
//! or by hand.

use std::fmt;

use chrono::{DateTime, Utc};

use super::collect::held_back;
use super::context::RegistryContext;
use super::journal::resolve_unanswered;
use crate::policy::Mode;
use crate::report::moment;
use crate::state::{self, State};

/// Why no collection may begin now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// The mode of the configuration is `plan`, which changes nothing anywhere.
    PlanMode,
    /// The grace of the youngest deletion ends then.
    Grace(DateTime<Utc>),
    /// So many deletions got no answer, and what became of them is not known.
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
                "deletions whose answer was lost, and of which it is not known yet what became of them: {deletions}. See \
                 whether the registry answers; `regsweep history` lists them, and each run and each collection asks \
                 again"
            ),
        }
    }
}

/// Whether the grace is heeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GraceMode {
    /// It is.
    Enforced,
    /// Somebody said that it need not be.
    Overridden,
}

/// Why no collection may begin now; `None` if one may. The registry is asked about deletions that got no answer.
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
