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
    Period { period: Period, count: usize, of: Option<(String, PeriodPosition)> },
    Versions { count: usize, line: Option<Line>, best: Option<(Version, usize)> },
    All(Vec<Finding>),
}

/// The position of a manifest in its calendar period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PeriodPosition {
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
                write!(f, "it ranks {rank} of {of} by age (newest: {count})")
            }
            Measure::Newest { count, rank: None, .. } => write!(f, "its age is unknown (newest: {count})"),
            Measure::NewerThan { limit, age: Some(age) } => {
                let (limit, age) = (duration::exact(*limit), duration::rough(*age));
                write!(f, "it is {age} old (newer_than: {limit})")
            }
            Measure::NewerThan { limit, age: None } => {
                write!(f, "its age is unknown (newer_than: {})", duration::exact(*limit))
            }
            Measure::Period { period, count, of } => {
                match of {
                    Some((label, PeriodPosition::Youngest)) => {
                        write!(f, "it is the youngest image of {label}")?
                    }
                    Some((label, PeriodPosition::Older)) => write!(f, "{label} has a younger image")?,
                    Some((label, PeriodPosition::TooLongAgo)) => {
                        write!(f, "{label} is outside {}", last_with_images(*period, *count))?;
                    }
                    Some((label, PeriodPosition::Unsure)) => {
                        write!(f, "it is from {label} or earlier, and too few images are certainly younger")?;
                    }
                    None => f.write_str("its age is unknown")?,
                }
                write!(f, " ({}: {count})", period.name())
            }
            Measure::Versions { count, line, best } => {
                match best {
                    Some((version, rank)) => write!(f, "{version} ranks {rank} among the versions")?,
                    None => f.write_str("it has no semantic version")?,
                }
                match line {
                    Some(line) if best.is_some() => {
                        write!(f, " of its {line} line (versions: {{newest: {count}, per: {line}}})")
                    }
                    Some(line) => write!(f, " (versions: {{newest: {count}, per: {line}}})"),
                    None => write!(f, " (versions: {{newest: {count}}})"),
                }
            }
            Measure::All(findings) => {
                f.write_str(if self.holds { "all of these hold" } else { "not all of these hold" })?;
                for (position, finding) in findings.iter().enumerate() {
                    write!(f, "{} {finding}", if position == 0 { ":" } else { ", and" })?;
                }
                Ok(())
            }
        }
    }
}

/// The last periods that have images: `the last 7 days that have images`.
fn last_with_images(period: Period, count: usize) -> String {
    let unit = match period {
        Period::Daily => "day",
        Period::Weekly => "week",
        Period::Monthly => "month",
        Period::Yearly => "year",
    };
    match count {
        1 => format!("the last {unit} that has images"),
        _ => format!("the last {count} {unit}s that have images"),
    }
}
