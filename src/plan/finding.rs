//! The result of a criterion for one manifest, with the sentence that explains it.
//!
//! It must not know how the result was found.

use std::fmt;

use chrono::TimeDelta;
use semver::Version;

use crate::model::duration;
use crate::policy::{Line, Period};

/// The result of a criterion for one manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether the criterion keeps it.
    pub holds: bool,
    pub(super) measure: Measure,
}

/// What the result is based on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Measure {
    Newest { count: usize, rank: Option<usize>, of: usize },
    NewerThan { limit: TimeDelta, age: Option<TimeDelta> },
    Period { period: Period, count: usize, of: Option<(String, Place)> },
    Versions { count: usize, line: Option<Line>, best: Option<(Version, usize)> },
    All(Vec<Finding>),
}

/// The place of a manifest in its calendar period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The youngest of one of the last periods that have images.
    Youngest,
    /// Another manifest of that period is younger.
    Older,
    /// More periods than the criterion counts are later.
    TooLongAgo,
    /// It may be from an earlier period, but too few manifests are certainly younger.
    Unsure,
}

impl Finding {
    /// The key of the criterion in the configuration, with dashes.
    pub fn code(&self) -> &'static str {
        match &self.measure {
            Measure::Newest { .. } => "newest",
            Measure::NewerThan { .. } => "newer-than",
            Measure::Period { period, .. } => period.name(),
            Measure::Versions { .. } => "versions",
            Measure::All(_) => "all",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.measure {
            Measure::Newest { count, rank: Some(rank), of } => {
                write!(f, "newest {count}: it is number {rank} of {of}")
            }
            Measure::Newest { count, rank: None, .. } => write!(f, "newest {count}: its age is unknown"),
            Measure::NewerThan { limit, age: Some(age) } => {
                write!(f, "newer than {}: it is {} old", duration::exact(*limit), duration::rough(*age))
            }
            Measure::NewerThan { limit, age: None } => {
                write!(f, "newer than {}: its age is unknown", duration::exact(*limit))
            }
            Measure::Period { period, count, of: Some((label, place)) } => {
                let place = match place {
                    Place::Youngest => "it is the youngest of",
                    Place::Older => "there is a younger one of",
                    Place::TooLongAgo => "too long ago is",
                    Place::Unsure => "nothing surely younger stands before",
                };
                write!(f, "{} {count}: {place} {label}", period.name())
            }
            Measure::Period { period, count, of: None } => {
                write!(f, "{} {count}: its age is unknown", period.name())
            }
            Measure::Versions { count, line, best } => {
                write!(f, "versions newest {count}")?;
                if let Some(line) = line {
                    write!(f, " per {line}")?;
                }
                match best {
                    Some((version, rank)) => write!(f, ": {version} is number {rank}"),
                    None => f.write_str(": it has no version"),
                }
            }
            Measure::All(findings) => {
                f.write_str("all of (")?;
                for (position, finding) in findings.iter().enumerate() {
                    write!(f, "{}{finding}", if position == 0 { "" } else { "; " })?;
                }
                f.write_str(")")
            }
        }
    }
}
