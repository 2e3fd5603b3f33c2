//! One problem of a configuration, and the error that carries all of them.
//!
//! It knows neither the keys nor the rules of the configuration.

use std::fmt;

use crate::model::sanitize;

/// The most characters of a path that are displayed.
const MAX_PATH_CHARS: usize = 300;

/// The most characters of a message that are displayed.
const MAX_MESSAGE_CHARS: usize = 2000;

/// One problem, and how to fix it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The place in the document, such as `policies[0].rules[2].tags`; empty for the document itself.
    pub path: String,
    /// The line of that place, or of the place that should contain it, from 1; `None` without a text.
    pub line: Option<usize>,
    /// The problem and how to fix it, in one line.
    pub message: String,
}

/// An invalid configuration, with all its problems.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file as the caller named it.
    pub file: String,
    /// At least one, ordered by line.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    /// One line for each problem, such as
    /// `regsweep.yaml: policies[0].rules[2].tags: line 31: the problem: how to fix it`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}: {problem}", self.file)?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", sanitize(&self.path, MAX_PATH_CHARS))?;
        }
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        // A message repeats parts of the file, which may hold terminal escapes.
        f.write_str(&sanitize(&self.message, MAX_MESSAGE_CHARS))
    }
}
