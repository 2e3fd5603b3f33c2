//! Past runs from the state, filtered by repository.
//!
//! It must not know how they are shown.

use crate::policy::Patterns;
use crate::report::RecordedRun;
use crate::state::{self, Filter, State};

/// Past runs, the latest first. With `repositories`, only runs that deleted something in one of them, and only
/// their deletions there.
pub fn history(
    state: &State,
    filter: &Filter,
    repositories: Option<&Patterns>,
) -> Result<Vec<RecordedRun>, state::Error> {
    let mut recorded = state.history(filter)?;
    if let Some(repositories) = repositories {
        for (_, entries) in &mut recorded {
            entries.retain(|entry| repositories.matches(entry.repository.as_str()));
        }
        recorded.retain(|(_, entries)| !entries.is_empty());
    }
    Ok(recorded)
}
