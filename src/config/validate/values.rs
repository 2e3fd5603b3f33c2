//! Values that several keys have in common: names, keywords, numbers, durations, time zones, regexes.
//!
//! It knows what a value may be, not what it is for.

use std::str::FromStr as _;
use std::time::Duration;

use chrono_tz::{TZ_VARIANTS, Tz};

use crate::config::diagnostics::{Findings, Path, nearest, quoted_list};
use crate::config::schema::{OneOrMany, Span};
use crate::policy::{Mode, Pattern, Patterns};

/// `plan` or `enforce`.
pub(crate) fn mode(written: Option<&str>, at: &Path, findings: &mut Findings) -> Option<Mode> {
    keyword(written, &[("plan", Mode::Plan), ("enforce", Mode::Enforce)], at, findings)
}

/// The meaning of one of a few keywords.
pub(crate) fn keyword<T: Copy>(
    written: Option<&str>,
    keywords: &[(&str, T)],
    at: &Path,
    findings: &mut Findings,
) -> Option<T> {
    let written = written?;
    let meaning = keywords.iter().find(|(keyword, _)| *keyword == written).map(|(_, meaning)| *meaning);
    if meaning.is_none() {
        let guess = nearest(written, keywords.iter().map(|(keyword, _)| *keyword));
        let guess = guess.map_or_else(String::new, |guess| format!("did you mean `{guess}`? "));
        let known = quoted_list(keywords.iter().map(|(keyword, _)| *keyword));
        findings.add(at, format!("`{written}` is not a valid value: {guess}valid values are {known}"));
    }
    meaning
}

/// Parses a value; an error is a problem.
pub(crate) fn parsed<T>(
    written: Option<String>,
    at: &Path,
    findings: &mut Findings,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    parse(&written?).map_err(|message| findings.add(at, message)).ok()
}

/// A number that fits into a `usize`.
pub(crate) fn count(written: Option<u64>, at: &Path, findings: &mut Findings) -> Option<usize> {
    let written = written?;
    let count = usize::try_from(written);
    count.map_err(|_| findings.add(at, format!("{written} is too large: the maximum is {}", usize::MAX))).ok()
}

/// A required name, which must not be blank.
pub(crate) fn name(
    written: Option<String>,
    at: &Path,
    advice: &str,
    findings: &mut Findings,
) -> Option<String> {
    let name = findings.required(written, at, "name", advice)?;
    if name.trim().is_empty() {
        findings.add(&at.key("name"), format!("the name is empty: {advice}"));
        return None;
    }
    Some(name)
}

/// All strings with their places; the place of a single string is its key.
pub(crate) fn one_or_many(
    written: Option<OneOrMany>,
    at: &Path,
    findings: &mut Findings,
) -> Vec<(Path, String)> {
    match written {
        None => Vec::new(),
        Some(OneOrMany::One(text)) => vec![(at.clone(), text)],
        Some(OneOrMany::Many(list)) => findings.elements(list, at),
    }
}

/// Compiled regexes; `None` if one of them is invalid, or if the key is missing.
pub(crate) fn patterns(written: Option<OneOrMany>, at: &Path, findings: &mut Findings) -> Option<Patterns> {
    let has_gaps = matches!(&written, Some(OneOrMany::Many(list)) if list.iter().any(Option::is_none));
    let is_written = written.is_some();
    let mut patterns = Vec::new();
    let mut all_valid = is_written && !has_gaps;
    for (at, source) in one_or_many(written, at, findings) {
        if findings.is_full() {
            return None;
        }
        match pattern(&source) {
            Ok(pattern) if findings.count_regex(pattern.weight()) => patterns.push(pattern),
            Ok(_) => {
                let message = "the compiled regexes of this file take more than 32 MiB in total: write `[0-9]` for `\\d` and \
                               `[A-Za-z0-9_]` for `\\w`, which compile to much less";
                findings.add(&at, message);
                all_valid = false;
            }
            Err(message) => {
                findings.add(&at, message);
                all_valid = false;
            }
        }
    }
    all_valid.then(|| Patterns::new(patterns))
}

fn pattern(source: &str) -> Result<Pattern, String> {
    if source.is_empty() {
        return Err("an empty regex matches no name: write `.*` to match all names".to_owned());
    }
    Pattern::parse(source).map_err(|error| in_one_line(source, &error.to_string()))
}

/// The regex error in one line, without the drawing that marks the position.
fn in_one_line(source: &str, error: &str) -> String {
    let why = error.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or(error);
    let why = why.trim_end_matches('.');
    let caret = error.lines().find(|line| line.contains('^') && line.trim_matches([' ', '^']).is_empty());
    let place = match caret.and_then(|line| line.find('^')) {
        // The drawing is indented by four, and has line numbers if the regex has several lines.
        Some(column) if !source.contains('\n') && column >= 4 => format!(" at character {}", column - 3),
        _ => String::new(),
    };
    let advice = match why {
        _ if why.starts_with("repetition operator") => {
            ": this is a regex, not a glob: write `.*` to match any text"
        }
        _ if why.starts_with("unclosed") || why.starts_with("unopened") => {
            r": close the group, or write `\` before a literal character"
        }
        _ => "",
    };
    format!("invalid regex: `{}`: {why}{place}{advice}", source.replace('\n', r"\n"))
}

/// A duration above zero.
pub(crate) fn positive_duration(
    written: Option<Span>,
    at: &Path,
    findings: &mut Findings,
) -> Option<Duration> {
    let span = written?;
    if span.is_zero() {
        findings.add(at, "0 is not allowed: write a duration above zero");
    }
    Some(span.into())
}

pub(crate) fn non_empty(written: Option<String>, at: &Path, findings: &mut Findings) -> Option<String> {
    if written.as_ref().is_some_and(String::is_empty) {
        findings.add(at, "the value is empty: add a value");
    }
    written
}

/// Reads the name of a time zone, such as `Europe/Berlin`.
pub(crate) fn timezone(text: &str) -> Result<Tz, String> {
    Tz::from_str(text).map_err(|_| {
        let names = || TZ_VARIANTS.iter().map(|zone| zone.name());
        let is_city =
            |zone: &&str| zone.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(text));
        let guess = names()
            .find(|zone| zone.eq_ignore_ascii_case(text))
            .or_else(|| names().find(is_city))
            .or_else(|| nearest(text, names()));
        match guess {
            Some(zone) => format!("`{text}` is not a time zone: did you mean `{zone}`?"),
            None => format!("`{text}` is not a time zone: write one such as `Europe/Berlin` or `UTC`"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::check_setting as check;

    #[test]
    fn regex_errors_are_one_line() {
        check(
            "protect: { tags: 'pr-(\\d+' }",
            &[
                r"protect.tags: line 1: invalid regex: `pr-(\d+`: unclosed group at character 4: close the group, or write `\` before a literal character",
            ],
        );
        check(
            "protect:\n  tags:\n    - ok\n    - '*.tmp'\n    - ''\n    -\n    - '[z-a]'",
            &[
                "protect.tags[1]: line 4: invalid regex: `*.tmp`: repetition operator missing expression at character 1: this is a regex, not a glob: write `.*` to match any text",
                "protect.tags[2]: line 5: an empty regex matches no name: write `.*` to match all names",
                "protect.tags[3]: line 6: the list element is empty: add a value, or remove it",
                "protect.tags[4]: line 7: invalid regex: `[z-a]`: invalid character class range, the start must be <= the end at character 2",
            ],
        );
        check(
            "protect: { tags: \"(?x) a\\nb(\" }",
            &[
                r"protect.tags: line 1: invalid regex: `(?x) a\nb(`: unclosed group: close the group, or write `\` before a literal character",
            ],
        );
        check(
            "protect: { tags: '(?x) a # all' }",
            &[
                "protect.tags: line 1: invalid regex: `(?x) a # all`: it ends in a comment: add a line break after the comment",
            ],
        );
        check(
            "protect: { tags: '\\d{10000}{1000}' }",
            &[
                r"protect.tags: line 1: invalid regex: `\d{10000}{1000}`: Compiled regex exceeds size limit of 4194304 bytes",
            ],
        );
    }

    #[test]
    fn timezone_errors_suggest_the_nearest_name() {
        let check = |text: &str, expected: &str| assert_eq!(timezone(text), Err(expected.to_owned()));
        assert_eq!(timezone("Europe/Berlin"), Ok(Tz::Europe__Berlin));
        assert_eq!(timezone("UTC"), Ok(Tz::UTC));
        check("Europe/Berln", "`Europe/Berln` is not a time zone: did you mean `Europe/Berlin`?");
        check("berlin", "`berlin` is not a time zone: did you mean `Europe/Berlin`?");
        check("utc", "`utc` is not a time zone: did you mean `UTC`?");
        check("nirvana", "`nirvana` is not a time zone: write one such as `Europe/Berlin` or `UTC`");
    }
}
