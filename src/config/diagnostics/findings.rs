//! The problems found so far in one configuration.
//!
//! It knows neither the keys nor the rules of the configuration.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::locate;
use super::path::Path;
use super::problem::{ConfigError, Problem};

/// The most problems that are reported. To find the line of each, the text is read again.
const MAX_PROBLEMS: usize = 100;

/// The most bytes that all compiled regexes of a file may take together.
pub(crate) const MAX_REGEX_BYTES: usize = 32 << 20;

/// The most rules and policies that are compared with those before them.
const MAX_COMPARISONS: usize = 200;

/// The problems found so far.
///
/// A value of the wrong type is cut out of the document before validation. Its path is kept as unreadable, so that
/// it is not reported a second time, as missing.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    found: Vec<(Path, String)>,
    unreadable: Vec<Path>,
    /// The size of all regexes compiled so far.
    regex_bytes: usize,
    /// How many rules and policies were compared with those before them.
    comparisons: usize,
    skips_secrets: bool,
}

impl Findings {
    /// From now on, secrets and other named files are not read.
    pub(crate) fn skip_secrets(&mut self) {
        self.skips_secrets = true;
    }

    /// Whether secrets and other named files are not read.
    pub(crate) fn skips_secrets(&self) -> bool {
        self.skips_secrets
    }

    /// Records a problem, unless the place was already reported as unreadable.
    pub(crate) fn add(&mut self, at: &Path, message: impl Into<String>) {
        if !self.is_unreadable(at) {
            self.found.push((at.clone(), message.into()));
        }
    }

    /// Records that the value at this place could not be read.
    pub(crate) fn add_unreadable(&mut self, at: &Path, message: impl Into<String>) {
        self.found.push((at.clone(), message.into()));
        self.mark_unreadable(at.clone());
    }

    /// Keeps this place from being reported as missing.
    pub(crate) fn mark_unreadable(&mut self, at: Path) {
        self.unreadable.push(at);
    }

    fn is_unreadable(&self, at: &Path) -> bool {
        self.unreadable.contains(at)
    }

    /// Whether this place, or something inside it, could not be read.
    pub(crate) fn is_unreadable_within(&self, at: &Path) -> bool {
        self.unreadable.iter().any(|path| path.is_within(at))
    }

    /// Whether a problem was reported here or inside.
    pub(crate) fn is_reported_within(&self, at: &Path) -> bool {
        self.is_unreadable_within(at) || self.found.iter().any(|(path, _)| path.is_within(at))
    }

    /// The keys that are present here, readable or not.
    pub(crate) fn present<'a>(&self, at: &Path, keys: &[(&'a str, bool)]) -> Vec<&'a str> {
        let present = keys.iter().filter(|(key, readable)| *readable || self.is_unreadable(&at.key(key)));
        present.map(|(key, _)| *key).collect()
    }

    /// The value; a missing one is a problem.
    pub(crate) fn required<T>(&mut self, value: Option<T>, at: &Path, key: &str, advice: &str) -> Option<T> {
        if value.is_none() {
            self.add(&at.key(key), format!("missing: {advice}"));
        }
        value
    }

    /// The elements of a list with their places; an empty element is a problem.
    pub(crate) fn elements<T>(&mut self, list: Vec<Option<T>>, at: &Path) -> Vec<(Path, T)> {
        let mut elements = Vec::with_capacity(list.len());
        for (index, element) in list.into_iter().enumerate() {
            let at = at.index(index);
            match element {
                Some(element) => elements.push((at, element)),
                None => self.add(&at, "the list element is empty: add a value, or remove it"),
            }
        }
        elements
    }

    /// Reports every name that is used earlier in the list, with advice.
    pub(crate) fn unique(&mut self, names: &[(Path, String)], advice: &str) {
        let mut first = HashMap::new();
        for (at, name) in names {
            match first.entry(name) {
                Entry::Vacant(entry) => drop(entry.insert(at)),
                Entry::Occupied(first) => {
                    let first = first.get();
                    self.add(at, format!("`{name}` is already used by {first}: {advice}"));
                }
            }
        }
    }

    /// Whether there are too many problems, or too many regexes, to go on: validating the rest of a file that is
    /// all wrong can take very long.
    pub(crate) fn is_full(&self) -> bool {
        self.found.len() > MAX_PROBLEMS || self.regex_bytes > MAX_REGEX_BYTES
    }

    /// Counts one more regex of this size; `false` if the total is too large.
    pub(crate) fn count_regex(&mut self, bytes: usize) -> bool {
        self.regex_bytes = self.regex_bytes.saturating_add(bytes);
        self.regex_bytes <= MAX_REGEX_BYTES
    }

    /// Counts one more comparison of a rule or policy with those before it; `false` if there were too many. One can
    /// take a fraction of a second, so a file with very many rules is not compared to its end.
    pub(crate) fn count_comparison(&mut self) -> bool {
        self.comparisons += 1;
        self.comparisons <= MAX_COMPARISONS
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All problems with their lines in `text`.
    pub(crate) fn into_error(self, file: &str, text: &str) -> ConfigError {
        let problem = |(path, message): (Path, String)| Problem {
            line: locate::line_of(text, &path),
            path: path.to_string(),
            message,
        };
        let more = self.found.len() > MAX_PROBLEMS;
        let mut problems: Vec<Problem> = self.found.into_iter().take(MAX_PROBLEMS).map(problem).collect();
        problems.sort_by_key(|problem| problem.line);
        if more {
            let message = "there are more problems: fix these first".to_owned();
            problems.push(Problem { path: String::new(), line: None, message });
        }
        ConfigError { file: file.to_owned(), problems }
    }
}
