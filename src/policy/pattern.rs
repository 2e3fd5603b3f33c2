//! Regular expressions that match a whole name.
//!
//! They must not know what the name stands for.

use std::fmt;

use regex::{Regex, RegexBuilder};
use regex_automata::nfa::thompson;

/// A pattern that takes more memory than this is refused. `[\w.-]{1,128}` takes half of it.
const PATTERN_BYTES: usize = 4 << 20;

/// A regular expression that matches a name from its first to its last character, or not at all.
#[derive(Clone)]
pub struct Pattern {
    source: String,
    regex: Regex,
    weight: usize,
}

/// A regular expression that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPattern(String);

impl Pattern {
    /// Compiles a regular expression in the syntax of the `regex` crate.
    pub fn parse(source: &str) -> Result<Self, InvalidPattern> {
        // Compiled alone first, so that the error shows the text that the operator wrote, and so that
        // an unbalanced parenthesis cannot escape the anchors.
        compile(source).map_err(|error| InvalidPattern(error.to_string()))?;
        // This can still fail, and must not guess: a comment that the `x` flag opened eats the end.
        let anchored = format!("\\A(?:{source})\\z");
        let regex = compile(&anchored).map_err(|_| {
            InvalidPattern("it ends in a comment: add a line break after the comment".to_owned())
        })?;
        let weight = thompson::NFA::new(&anchored).map_or(PATTERN_BYTES, |nfa| nfa.memory_usage());
        Ok(Self { source: source.to_owned(), regex, weight })
    }

    /// The expression as the operator wrote it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// About how many bytes it takes.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// Whether the whole name matches.
    pub fn matches(&self, name: &str) -> bool {
        self.regex.is_match(name)
    }

    /// Whether the expression has a group of this name.
    pub fn has_group(&self, group: &str) -> bool {
        self.regex.capture_names().flatten().any(|name| name == group)
    }

    /// The anchored expression, for those who build an automaton of it.
    pub(super) fn anchored(&self) -> &str {
        self.regex.as_str()
    }
}

fn compile(source: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(source).size_limit(PATTERN_BYTES).build()
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.source)
    }
}

/// Several patterns; a name matches if one of them does. None match nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// Patterns in the order in which they are tried.
    pub fn new(patterns: Vec<Pattern>) -> Self {
        Self(patterns)
    }

    /// Compiles all of them, or tells what is wrong with the first that cannot be.
    pub fn parse(sources: &[&str]) -> Result<Self, InvalidPattern> {
        sources.iter().map(|source| Pattern::parse(source)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The patterns in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Pattern> {
        self.0.iter()
    }

    /// Whether the whole name matches one of them.
    pub fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }

    /// The values of these groups in the first pattern that matches the whole name, empty where a
    /// group took no part; `None` if no pattern matches.
    pub fn groups(&self, name: &str, groups: &[String]) -> Option<Vec<String>> {
        if groups.is_empty() {
            // Finding captures is far slower than matching, and most rules have no groups.
            return self.matches(name).then(Vec::new);
        }
        let captures = self.0.iter().find_map(|pattern| pattern.regex.captures(name))?;
        let value = |group: &String| captures.name(group).map_or("", |found| found.as_str()).to_owned();
        Some(groups.iter().map(value).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_matches_whole_names_only() {
        let check = |source: &str, name: &str, matches: bool| {
            assert_eq!(Pattern::parse(source).unwrap().matches(name), matches, "{source} {name}");
        };
        check("v1", "v1", true);
        check("v1", "v10", false);
        check("a|ab", "ab", true);
        check("^a$", "a", true);
        check("(?i)LATEST", "latest", true);
        check("(?x) a b # both\n", "ab", true);
        check("a", "a\n", false);
    }

    #[test]
    fn pattern_that_does_not_compile_is_an_error() {
        for source in ["(", "a)b", "a)|(b", "[", "(?x) a # comment", "(?x) a #)", r"\d{100000}{100}"] {
            assert!(Pattern::parse(source).is_err(), "{source}");
        }
    }

    #[test]
    fn no_patterns_match_nothing() {
        assert!(!Patterns::default().matches(""));
    }
}
