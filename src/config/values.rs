//! Values that stand in many places: names, words, numbers, regexes.
//!
//! It knows what a value may be, and not what it is for.

use super::problem::{Findings, Path, listed, nearest};
use super::written::Texts;
use crate::policy::{Mode, Pattern, Patterns};

/// `plan` or `enforce`.
pub(super) fn mode(written: Option<&str>, at: &Path, findings: &mut Findings) -> Option<Mode> {
    word(written, &[("plan", Mode::Plan), ("enforce", Mode::Enforce)], at, findings)
}

/// What one of a few words stands for.
pub(super) fn word<T: Copy>(
    written: Option<&str>,
    words: &[(&str, T)],
    at: &Path,
    findings: &mut Findings,
) -> Option<T> {
    let written = written?;
    let meaning = words.iter().find(|(word, _)| *word == written).map(|(_, meaning)| *meaning);
    if meaning.is_none() {
        let guess = nearest(written, words.iter().map(|(word, _)| *word));
        let guess = guess.map_or_else(String::new, |guess| format!("did you mean `{guess}`? "));
        let known = listed(words.iter().map(|(word, _)| *word));
        findings.add(at, format!("`{written}` means nothing here: {guess}write one of {known}"));
    }
    meaning
}

/// What a text says, or its problem.
pub(super) fn parsed<T>(
    written: Option<String>,
    at: &Path,
    findings: &mut Findings,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    parse(&written?).map_err(|message| findings.add(at, message)).ok()
}

/// A number that this machine can count to.
pub(super) fn count(written: Option<u64>, at: &Path, findings: &mut Findings) -> Option<usize> {
    let written = written?;
    let count = usize::try_from(written);
    count.map_err(|_| findings.add(at, format!("{written} is too large a number"))).ok()
}

/// The name of something, which must be there and say something.
pub(super) fn name(
    written: Option<String>,
    at: &Path,
    advice: &str,
    findings: &mut Findings,
) -> Option<String> {
    let name = findings.required(written, at, "name", advice)?;
    if name.trim().is_empty() {
        findings.add(&at.key("name"), format!("an empty name: {advice}"));
        return None;
    }
    Some(name)
}

/// The texts with their places: that of the key for a single one.
pub(super) fn texts(written: Option<Texts>, at: &Path, findings: &mut Findings) -> Vec<(Path, String)> {
    match written {
        None => Vec::new(),
        Some(Texts::One(text)) => vec![(at.clone(), text)],
        Some(Texts::Many(list)) => findings.elements(list, at),
    }
}

/// Regular expressions; `None` if one of them cannot be used, or if none are written.
pub(super) fn patterns(written: Option<Texts>, at: &Path, findings: &mut Findings) -> Option<Patterns> {
    let has_gaps = matches!(&written, Some(Texts::Many(list)) if list.iter().any(Option::is_none));
    let is_written = written.is_some();
    let mut patterns = Vec::new();
    let mut all_good = is_written && !has_gaps;
    for (at, source) in texts(written, at, findings) {
        if findings.is_full() {
            return None;
        }
        match pattern(&source) {
            Ok(pattern) if findings.weighs(pattern.weight()) => patterns.push(pattern),
            Ok(_) => {
                let message = "the regexes of this file are too large together: write `[0-9]` for `\\d` and \
                               `[A-Za-z0-9_]` for `\\w`, which are far smaller";
                findings.add(&at, message);
                all_good = false;
            }
            Err(message) => {
                findings.add(&at, message);
                all_good = false;
            }
        }
    }
    all_good.then(|| Patterns::new(patterns))
}

fn pattern(source: &str) -> Result<Pattern, String> {
    if source.is_empty() {
        return Err("an empty regex matches no name: write `.*` for all of them".to_owned());
    }
    Pattern::parse(source).map_err(|error| in_one_line(source, &error.to_string()))
}

/// The regex error without its drawing, which a line of a log has no room for.
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
            ": this is a regex, not a glob: write `.*` for any text"
        }
        _ if why.starts_with("unclosed") || why.starts_with("unopened") => {
            r": close what is open, or write `\` before a character that means itself"
        }
        _ => "",
    };
    format!("not a regex: `{}`: {why}{place}{advice}", source.replace('\n', r"\n"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_setting as check;

    #[test]
    fn a_regex_that_cannot_be_used_says_why_in_one_line() {
        check(
            "protect: { tags: 'pr-(\\d+' }",
            &[
                r"protect.tags: line 1: not a regex: `pr-(\d+`: unclosed group at character 4: close what is open, or write `\` before a character that means itself",
            ],
        );
        check(
            "protect:\n  tags:\n    - ok\n    - '*.tmp'\n    - ''\n    -\n    - '[z-a]'",
            &[
                "protect.tags[1]: line 4: not a regex: `*.tmp`: repetition operator missing expression at character 1: this is a regex, not a glob: write `.*` for any text",
                "protect.tags[2]: line 5: an empty regex matches no name: write `.*` for all of them",
                "protect.tags[3]: line 6: an empty element: fill it in, or remove it",
                "protect.tags[4]: line 7: not a regex: `[z-a]`: invalid character class range, the start must be <= the end at character 2",
            ],
        );
        check(
            "protect: { tags: \"(?x) a\\nb(\" }",
            &[
                r"protect.tags: line 1: not a regex: `(?x) a\nb(`: unclosed group: close what is open, or write `\` before a character that means itself",
            ],
        );
        check(
            "protect: { tags: '(?x) a # all' }",
            &[
                "protect.tags: line 1: not a regex: `(?x) a # all`: it ends in a comment: put a line break after it",
            ],
        );
        check(
            "protect: { tags: '\\d{10000}{1000}' }",
            &[
                r"protect.tags: line 1: not a regex: `\d{10000}{1000}`: Compiled regex exceeds size limit of 4194304 bytes",
            ],
        );
    }
}
