//! What is wrong with a configuration: places in it, and what was found there.
//!
//! It knows neither the keys nor the rules of the configuration.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use super::locate;
use crate::model::sanitize;

/// Of all problems, so many are reported. To find the line of each, the text is read again.
const MOST: usize = 100;

/// What is compared with words that are known. Nothing that is longer was meant to be one.
const NAME_LENGTH: usize = 64;

/// Characters of a place that are shown.
const PATH_SHOWN: usize = 300;

/// Characters of a message that are shown.
const MESSAGE_SHOWN: usize = 2000;

/// What all regexes of a file may weigh together.
const REGEX_BYTES: usize = 32 << 20;

/// How many rules and policies are compared with those before them.
const CHECKS: usize = 200;

/// One thing that is wrong, and the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where in the document, such as `policies[0].rules[2].tags`; empty for the document itself.
    pub path: String,
    /// The line of that place, or of what should hold it, from 1; `None` if there is no text.
    pub line: Option<usize>,
    /// What is wrong and what to do, in one line.
    pub message: String,
}

/// A configuration that cannot be used, with everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file as it was named to us.
    pub file: String,
    /// At least one, in the order of their lines.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    /// One line for each problem, such as
    /// `regsweep.yaml: policies[0].rules[2].tags: line 31: what is wrong: the way out`.
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
            write!(f, "{}: ", sanitize(&self.path, PATH_SHOWN))?;
        }
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        // What stands in the file is repeated in it, and need not be fit for a terminal.
        f.write_str(&sanitize(&self.message, MESSAGE_SHOWN))
    }
}

/// A place in the document; the empty one is the document itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Path(Vec<Step>);

/// One step down from a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// To the value of a key.
    Key(String),
    /// To an element of a list, from 0.
    Index(usize),
}

impl Path {
    pub(super) fn key(&self, key: &str) -> Self {
        self.then(Step::Key(key.to_owned()))
    }

    pub(super) fn index(&self, index: usize) -> Self {
        self.then(Step::Index(index))
    }

    pub(super) fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    pub(super) fn passes(&self, key: &str) -> bool {
        self.0.iter().any(|step| matches!(step, Step::Key(name) if name == key))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if position == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// The problems found so far.
///
/// What could not even be read was cut out of the document before its meaning was looked at. Such
/// places are remembered, so that they are not reported a second time, as missing.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: Vec<(Path, String)>,
    unread: Vec<Path>,
    /// What all regexes weigh that were found so far.
    weight: usize,
    /// How many rules and policies were compared with those before them.
    checks: usize,
    /// Whether secrets, and other files that are named, are left alone.
    secretless: bool,
}

impl Findings {
    /// From now on secrets, and other files that are named, are left alone: whoever asks needs none.
    pub(super) fn need_no_secrets(&mut self) {
        self.secretless = true;
    }

    /// Whether secrets, and other files that are named, are left alone.
    pub(super) fn needs_no_secrets(&self) -> bool {
        self.secretless
    }

    /// Records a problem, unless the place was reported as unreadable already.
    pub(super) fn add(&mut self, at: &Path, message: impl Into<String>) {
        if !self.is_unread(at) {
            self.found.push((at.clone(), message.into()));
        }
    }

    /// Records that what stands here could not be read.
    pub(super) fn add_unread(&mut self, at: &Path, message: impl Into<String>) {
        self.found.push((at.clone(), message.into()));
        self.mark_unread(at.clone());
    }

    /// Keeps this place from being reported as missing.
    pub(super) fn mark_unread(&mut self, at: Path) {
        self.unread.push(at);
    }

    fn is_unread(&self, at: &Path) -> bool {
        self.unread.contains(at)
    }

    /// Whether something inside this place, or all of it, could not be read.
    pub(super) fn is_unread_within(&self, at: &Path) -> bool {
        self.unread.iter().any(|path| path.0.starts_with(&at.0))
    }

    /// Whether a problem was reported here or inside.
    pub(super) fn is_reported_within(&self, at: &Path) -> bool {
        self.is_unread_within(at) || self.found.iter().any(|(path, _)| path.0.starts_with(&at.0))
    }

    /// The keys that were written here, readable or not.
    pub(super) fn written<'a>(&self, at: &Path, keys: &[(&'a str, bool)]) -> Vec<&'a str> {
        let written = keys.iter().filter(|(key, readable)| *readable || self.is_unread(&at.key(key)));
        written.map(|(key, _)| *key).collect()
    }

    /// The value, or a problem if the key is not there.
    pub(super) fn required<T>(&mut self, value: Option<T>, at: &Path, key: &str, advice: &str) -> Option<T> {
        if value.is_none() {
            self.add(&at.key(key), format!("missing: {advice}"));
        }
        value
    }

    /// The elements of a list with their places; an element that says nothing is a problem.
    pub(super) fn elements<T>(&mut self, list: Vec<Option<T>>, at: &Path) -> Vec<(Path, T)> {
        let mut elements = Vec::with_capacity(list.len());
        for (index, element) in list.into_iter().enumerate() {
            let at = at.index(index);
            match element {
                Some(element) => elements.push((at, element)),
                None => self.add(&at, "an empty element: fill it in, or remove it"),
            }
        }
        elements
    }

    /// Reports every name that stood earlier in the list already, and what to do about it.
    pub(super) fn unique(&mut self, names: &[(Path, String)], advice: &str) {
        let mut first = HashMap::new();
        for (at, name) in names {
            match first.entry(name) {
                Entry::Vacant(entry) => drop(entry.insert(at)),
                Entry::Occupied(first) => {
                    let first = first.get();
                    self.add(at, format!("`{name}` is taken by {first} already: {advice}"));
                }
            }
        }
    }

    /// Whether there are more problems than anybody wants to read at once, or one too many regexes. To look
    /// for yet more could take for ever in a file that is all wrong.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() > MOST || self.weight > REGEX_BYTES
    }

    /// Whether there is room for one more regex of this weight.
    pub(super) fn weighs(&mut self, weight: usize) -> bool {
        self.weight = self.weight.saturating_add(weight);
        self.weight <= REGEX_BYTES
    }

    /// Whether one more rule or policy can be compared with those before it. Each comparison can take a
    /// fraction of a second, so a file with very many of them is not checked to its end.
    pub(super) fn can_check(&mut self) -> bool {
        self.checks += 1;
        self.checks <= CHECKS
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All problems with their lines in `text`.
    pub(super) fn into_error(self, file: &str, text: &str) -> ConfigError {
        let problem = |(path, message): (Path, String)| Problem {
            line: locate::line_of(text, &path),
            path: path.to_string(),
            message,
        };
        let more = self.found.len() > MOST;
        let mut problems: Vec<Problem> = self.found.into_iter().take(MOST).map(problem).collect();
        problems.sort_by_key(|problem| problem.line);
        if more {
            let message = "there are more problems: mend these first".to_owned();
            problems.push(Problem { path: String::new(), line: None, message });
        }
        ConfigError { file: file.to_owned(), problems }
    }
}

/// The candidate that was probably meant, if one is near enough.
///
/// It must begin alike: `older_than` is near `newer_than`, and the opposite.
pub(super) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if written.len() > NAME_LENGTH {
        return None;
    }
    let lower = written.to_lowercase();
    let distance = |candidate: &str| strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
    let first = lower.chars().next();
    let (distance, candidate) = candidates
        .into_iter()
        .filter(|candidate| candidate.to_lowercase().chars().next() == first)
        .map(|candidate| (distance(candidate), candidate))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= (written.chars().count() + 1) / 3).then_some(candidate)
}

/// Names in backticks, for a message.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_suggested_only_when_it_is_near() {
        let check = |written: &str, expected: Option<&str>| {
            let known = ["policies", "protect", "registries", "tags", "newer_than"];
            assert_eq!(nearest(written, known), expected, "{written}");
        };
        check("polices", Some("policies"));
        check("registry", Some("registries"));
        check("tag", Some("tags"));
        check("newerThan", Some("newer_than"));
        check("newer-than", Some("newer_than"));
        check("older_than", None);
        check("retention", None);
        check("x", None);
    }

    #[test]
    fn a_place_reads_as_in_the_design() {
        let path = Path::default().key("policies").index(0).key("rules").index(2).key("tags");
        assert_eq!(path.to_string(), "policies[0].rules[2].tags");
        assert_eq!(Path::default().to_string(), "");
    }
}
