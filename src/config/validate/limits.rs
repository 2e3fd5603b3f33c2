//! The limits of a run as written → validated.
//!
//! It does not know what is counted against them.

use super::values::count;
use crate::config::diagnostics::{Findings, Path};
use crate::config::schema;
use crate::policy::Limits;

pub(crate) fn limits(written: &schema::Limits, findings: &mut Findings) -> Limits {
    let at = Path::default().key("limits");
    let default = Limits::default();
    let max_percent = match written.max_percent {
        Some(percent) => u8::try_from(percent).ok().filter(|percent| *percent <= 100).or_else(|| {
            findings.add(
                &at.key("max_percent"),
                format!("{percent} is more than 100 percent: write at most 100, which sets no limit"),
            );
            None
        }),
        None => None,
    };
    Limits {
        max_deletions: count(written.max_deletions, &at.key("max_deletions"), findings)
            .unwrap_or(default.max_deletions),
        max_percent: max_percent.unwrap_or(default.max_percent),
    }
}
