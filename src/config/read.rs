//! YAML text → the configuration as written, with every key and value that cannot be read.
//!
//! What cannot be read is cut out of the document and the rest is read again, until all of it can be.
//! It does not judge what the values mean.

use serde_path_to_error::Segment;
use serde_yaml::Value;

use super::bounds;
use super::locate;
use super::problem::{ConfigError, Findings, Path, Problem, Step, listed, nearest};
use super::written;

/// What could be read, and what could not.
pub(super) fn read(text: &str, file: &str) -> Result<(written::Config, Findings), ConfigError> {
    let unusable = |problem| ConfigError { file: file.to_owned(), problems: vec![problem] };
    bounds::check(text).map_err(|message| unusable(Problem { path: String::new(), line: None, message }))?;
    let mut document = document(text).map_err(|problem| unusable(*problem))?;
    if document.is_null() {
        let message = "there is nothing in this file: write at least `registries` and `policies`".to_owned();
        return Err(unusable(Problem { path: String::new(), line: None, message }));
    }
    let mut findings = Findings::default();
    loop {
        let error = match serde_path_to_error::deserialize(&document) {
            Ok(written) => {
                add_empty_keys(&document, &Path::default(), &mut findings);
                let readable = !findings.is_full();
                return if readable { Ok((written, findings)) } else { Err(findings.into_error(file, text)) };
            }
            Err(error) => error,
        };
        let path = path(error.path());
        let message = error.inner().to_string();
        match unknown_key(&message) {
            Some((key, known)) => add_unknown_key(&mut findings, &path, key, &known),
            None => findings.add_unread(&path, in_words(&message, &path)),
        }
        if findings.is_full() || !cut(&mut document, path.steps()) {
            return Err(findings.into_error(file, text));
        }
    }
}

/// The document, or the one problem that keeps it from being read at all.
fn document(text: &str) -> Result<Value, Box<Problem>> {
    serde_path_to_error::deserialize(serde_yaml::Deserializer::from_str(text)).or_else(|error| {
        let path = path(error.path());
        let message = error.inner().to_string();
        if message.starts_with("EOF while parsing") {
            return Ok(Value::Null);
        }
        let twice =
            message.split_once("duplicate entry with key ").and_then(|(_, rest)| rest.split('"').nth(1));
        Err(Box::new(match twice {
            Some(key) => {
                let path = path.key(key);
                let message = format!("the key `{key}` is here twice: keep one of them");
                Problem { line: locate::line_of(text, &path), path: path.to_string(), message }
            }
            None => Problem {
                path: String::new(),
                line: error.inner().location().map(|location| location.line()),
                message: format!("not valid YAML: {}", without_position(&message)),
            },
        }))
    })
}

/// The message without its first position, which is shown as the line of the problem.
fn without_position(message: &str) -> String {
    let Some((before, rest)) = message.split_once(" at line ") else {
        return message.to_owned();
    };
    let after =
        rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').trim_start_matches("column ");
    format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
}

fn path(found: &serde_path_to_error::Path) -> Path {
    let step = |segment: &Segment| match segment {
        Segment::Seq { index } => Step::Index(*index),
        Segment::Map { key } | Segment::Enum { variant: key } => Step::Key(key.clone()),
        Segment::Unknown => Step::Key("?".to_owned()),
    };
    found.iter().map(step).fold(Path::default(), |path, step| path.then(step))
}

/// Removes a key or blanks an element; `false` if there is no such place.
fn cut(document: &mut Value, steps: &[Step]) -> bool {
    let Some((last, parents)) = steps.split_last() else {
        return false;
    };
    let mut parent = document;
    for step in parents {
        let child = match step {
            Step::Key(key) => parent.get_mut(key.as_str()),
            Step::Index(index) => parent.get_mut(*index),
        };
        match child {
            Some(child) => parent = child,
            None => return false,
        }
    }
    match last {
        Step::Key(key) => parent.as_mapping_mut().is_some_and(|mapping| {
            let size = mapping.len();
            mapping.retain(|found, _| !is_key(found, key));
            mapping.len() < size
        }),
        Step::Index(index) => match parent.get_mut(*index) {
            Some(element) if !element.is_null() => {
                *element = Value::Null;
                true
            }
            _ => false,
        },
    }
}

/// Keys that are no texts are written as `?` in paths.
fn is_key(found: &Value, key: &str) -> bool {
    found.as_str().map_or(key == "?", |text| text == key)
}

/// The unknown key and the known ones, if that is what serde's message says.
fn unknown_key(message: &str) -> Option<(&str, Vec<&str>)> {
    let mut quoted = message.strip_prefix("unknown field `")?.split('`');
    let key = quoted.next()?;
    Some((key, quoted.skip(1).step_by(2).collect()))
}

/// Reports every key without a value. A template that rendered nothing after `exclude:` must not pass
/// for the wish to exclude nothing.
fn add_empty_keys(value: &Value, at: &Path, findings: &mut Findings) {
    match value {
        Value::Mapping(mapping) => {
            for (key, value) in mapping {
                let at = at.key(key.as_str().unwrap_or("?"));
                if value.is_null() {
                    findings
                        .add_unread(&at, "there is nothing after this key: fill it in, or remove the key");
                }
                add_empty_keys(value, &at, findings);
            }
        }
        Value::Sequence(list) => {
            for (index, value) in list.iter().enumerate() {
                add_empty_keys(value, &at.index(index), findings);
            }
        }
        _ => {}
    }
}

fn add_unknown_key(findings: &mut Findings, at: &Path, key: &str, known: &[&str]) {
    let steps = at.steps();
    let parent = steps
        .iter()
        .take(steps.len().saturating_sub(1))
        .cloned()
        .fold(Path::default(), |path, step| path.then(step));
    let guess = nearest(key, known.iter().copied());
    if let Some(guess) = guess {
        // What is there under a misspelt name is not missing.
        findings.mark_unread(parent.key(guess));
    }
    let guess = guess.map_or_else(String::new, |guess| format!("did you mean `{guess}`? "));
    let message = format!("unknown key: {guess}the keys here are {}", listed(known.iter().copied()));
    // `password: {s3cret}` has the secret as its key.
    let at = if holds_secret(&parent) { &parent } else { at };
    findings.add_unread(at, message);
    findings.mark_unread(parent.key(key));
}

fn holds_secret(at: &Path) -> bool {
    matches!(at.steps().last(), Some(Step::Key(key)) if ["password", "bearer", "admin_token"].contains(&key.as_str()))
}

/// serde's message in words for people, with the way out where there is a simple one.
///
/// A value is repeated only where a number or a truth was expected, and nothing that stands under
/// `auth`: a secret or a URL in the wrong place must not end up in a log.
fn in_words(message: &str, at: &Path) -> String {
    let mismatch = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    let Some((found, expected)) = mismatch.and_then(|rest| rest.rsplit_once(", expected ")) else {
        return message.to_owned();
    };
    let expected = match expected {
        "a string" | "path string" => "a text",
        "u64" => "a whole number",
        "a boolean" => "`true` or `false`",
        "a sequence" => "a list",
        "field identifier" | "a string key" => return "not a key: keys are texts".to_owned(),
        other => other,
    };
    let (kind, value) = found.split_once(['`', '"']).unwrap_or((found, ""));
    let value = value.trim_end_matches(['`', '"']);
    let value = if at.passes("auth") || at.passes("admin_token") { "" } else { value };
    let is_scalar = matches!(expected, "a whole number" | "`true` or `false`");
    let found = match kind.trim() {
        "string" if is_scalar && !value.is_empty() => format!("the text \"{value}\""),
        "string" => "a text".to_owned(),
        "integer" | "floating point" | "floating point number" => format!("the number {value}"),
        "boolean" => format!("`{value}`"),
        "map" => "a mapping".to_owned(),
        "sequence" => "a list".to_owned(),
        "unit value" | "null" => "nothing".to_owned(),
        other => other.to_owned(),
    };
    let is_number = found.starts_with("the number");
    let advice = match expected {
        "a text" | "a text or a list of texts" if is_number || kind.trim() == "boolean" => {
            ": put it in quotes"
        }
        "a whole number" if value.parse::<u64>().is_ok() => ": write it without quotes",
        "a list" if found == "a text" => ": write `[…]` around it, or one element per line with `- `",
        _ => "",
    };
    format!("expected {expected}, found {}{advice}", found.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that cannot be read in this text.
    fn check(text: &str, expected: &[&str]) {
        let error = match read(text, "f") {
            Err(error) => error,
            Ok((_, findings)) => findings.into_error("f", text),
        };
        let lines: Vec<String> = error.problems.iter().map(ToString::to_string).collect();
        assert_eq!(lines, expected, "{text}");
    }

    #[test]
    fn what_is_no_yaml_is_one_problem_with_its_line() {
        check(
            "mode: plan\nlimits: {\n",
            &["line 3: not valid YAML: did not find expected node content, while parsing a flow node"],
        );
        check(
            "mode: 'plan\n",
            &[
                "line 2: not valid YAML: found unexpected end of stream, while scanning a quoted scalar at line 1 column 7",
            ],
        );
        check(
            "mode: plan\nlimits:\n\tmax_percent: 1\n",
            &[
                "line 3: not valid YAML: found character that cannot start any token, while scanning for the next token",
            ],
        );
        check(
            "mode: plan\n---\nmode: plan\n",
            &["not valid YAML: deserializing from YAML containing more than one document is not supported"],
        );
        check("mode: *x\n", &["line 1: not valid YAML: unknown anchor"]);
    }

    #[test]
    fn a_key_that_is_there_twice_is_one_problem() {
        check("mode: plan\nmode: plan\n", &["mode: line 1: the key `mode` is here twice: keep one of them"]);
        check(
            "registries:\n  - name: a\n    url: b\n    name: c\n",
            &["registries[0].name: line 2: the key `name` is here twice: keep one of them"],
        );
    }

    #[test]
    fn a_document_that_is_no_mapping_is_one_problem() {
        for text in ["", "# nothing\n", "---\n", "~"] {
            check(text, &["there is nothing in this file: write at least `registries` and `policies`"]);
        }
        check("- a\n", &["line 1: expected a mapping, found a list"]);
        check("text", &["line 1: expected a mapping, found a text"]);
    }

    #[test]
    fn an_unknown_key_is_answered_with_the_nearest_and_all_that_there_are() {
        check(
            "limits:\n  max_deletion: 3\n  max_bytes: 4\n",
            &[
                "limits.max_deletion: line 2: unknown key: did you mean `max_deletions`? the keys here are `max_deletions`, `max_percent`",
                "limits.max_bytes: line 3: unknown key: the keys here are `max_deletions`, `max_percent`",
            ],
        );
        check(
            "policies:\n- untagged: { older_than: 7d }\n",
            &["policies[0].untagged.older_than: line 2: unknown key: the keys here are `newer_than`"],
        );
    }

    #[test]
    fn a_key_that_is_no_text_does_not_hide_other_problems() {
        for key in ["1", "true", "~"] {
            check(
                &format!("{key}: x\nmode: []\n"),
                &["?: line 1: not a key: keys are texts", "mode: line 2: expected a text, found a list"],
            );
        }
    }

    #[test]
    fn a_key_without_a_value_is_no_default() {
        let problem =
            |place: &str| format!("{place}: there is nothing after this key: fill it in, or remove the key");
        check("mode:\n", &[&problem("mode: line 1")]);
        check("protect:\n  # tags: x\nmode: ~\n", &[&problem("protect: line 1"), &problem("mode: line 3")]);
        check("policies:\n- name: a\n  exclude:\n", &[&problem("policies[0].exclude: line 3")]);
        check(
            "polices:\n",
            &[
                "polices: line 1: unknown key: did you mean `policies`? the keys here are `mode`, `schedule`, `timezone`, `listen`, `admin_token`, `state_dir`, `history`, `registries`, `retired`, `protect`, `limits`, `policies`",
            ],
        );
    }

    #[test]
    fn a_value_of_the_wrong_kind_says_what_was_expected_and_found() {
        check("mode: 1\n", &["mode: line 1: expected a text, found the number 1: put it in quotes"]);
        check("mode: yes\n", &[]);
        check("mode: true\n", &["mode: line 1: expected a text, found `true`: put it in quotes"]);
        check("mode: [plan]\n", &["mode: line 1: expected a text, found a list"]);
        check("limits: 3\n", &["limits: line 1: expected a mapping, found the number 3"]);
        check(
            "registries: x\n",
            &[
                "registries: line 1: expected a list, found a text: write `[…]` around it, or one element per line with `- `",
            ],
        );
        check("registries: {a: b}\n", &["registries: line 1: expected a list, found a mapping"]);
        check(
            "limits: { max_percent: \"75\" }\n",
            &[
                "limits.max_percent: line 1: expected a whole number, found the text \"75\": write it without quotes",
            ],
        );
        check(
            "limits: { max_percent: 7.5 }\n",
            &["limits.max_percent: line 1: expected a whole number, found the number 7.5"],
        );
        check(
            "limits: { max_percent: -1 }\n",
            &["limits.max_percent: line 1: expected a whole number, found the number -1"],
        );
        check(
            "registries: [{ tls: { insecure_skip_verify: 'on' } }]\n",
            &[
                "registries[0].tls.insecure_skip_verify: line 1: expected `true` or `false`, found the text \"on\"",
            ],
        );
        check(
            "protect:\n  tags: 1.10\n",
            &[
                "protect.tags: line 2: expected a text or a list of texts, found the number 1.1: put it in quotes",
            ],
        );
        check(
            "protect:\n  tags: [a,\n    {b: c}]\n",
            &["protect.tags[1]: line 3: expected a text, found a mapping"],
        );
        check(
            "protect: { newer_than: 6m }\n",
            &["protect.newer_than: line 1: `6m` could mean minutes or months: write `6min` or `180d`"],
        );
        check(
            "protect: { newer_than: 30 }\n",
            &["protect.newer_than: line 1: `30` has no unit: write `30s`, or min, h, d or w"],
        );
        check(
            "protect: { newer_than: [] }\n",
            &["protect.newer_than: line 1: expected a duration such as `14d`, found a list"],
        );
        check(
            "registries: [{ gc: { min_reclaimable: 1GB } }]\n",
            &[
                "registries[0].gc.min_reclaimable: line 1: `1GB` is not a size: write a whole number and B, KiB, MiB, GiB or TiB, such as `500MiB`, or `0`",
            ],
        );
        check("registries: [{ gc: { min_reclaimable: 0 } }]\n", &[]);
        check(
            "policies: [{ rules: [{ keep: 3 }] }]\n",
            &[
                "policies[0].rules[0].keep: line 1: expected `all`, `none` or criteria such as `{ newest: 5 }`, found the number 3",
            ],
        );
        check(
            "policies: [{ rules: [{ keep: { versions: 3 } }] }]\n",
            &[
                "policies[0].rules[0].keep.versions: line 1: expected a mapping such as `{ newest: 3 }`, found the number 3",
            ],
        );
        check(
            "policies: [{ rules: [{ keep: { all: { newest: x } } }] }]\n",
            &["policies[0].rules[0].keep.all.newest: line 1: expected a whole number, found the text \"x\""],
        );
        check(
            "policies: [{ rules: !x { a: b } }]\n",
            &["policies[0].rules: line 1: expected a list, found a mapping"],
        );
    }

    #[test]
    fn no_secret_is_repeated() {
        let check = |auth: &str, expected: &str| {
            let text = format!("registries:\n- auth: {auth}\n");
            let Ok((_, findings)) = read(&text, "f") else { panic!("{text}") };
            let message = findings.into_error("f", &text).to_string();
            assert!(!message.contains("hunter") && !message.contains("2468"), "{message}");
            assert!(message.contains(expected), "{message}");
        };
        let refused = "line 2: a secret does not belong in this file: write `{ file: PATH }`, `{ env: NAME }` or `{ credential: NAME }`";
        check("{ bearer: hunter2 }", refused);
        check("{ basic: { username: a, password: hunter2 } }", refused);
        check("{ basic: { username: a, password: 2468 } }", refused);
        check("{ basic: { username: a, password: -24.68 } }", refused);
        check("{ basic: { username: a, password: [hunter2] } }", "found a list");
        check(
            "{ basic: { username: a, password: { hunter2 } } }",
            "auth.basic.password: line 2: unknown key",
        );
        check("{ basic: { username: a, password: !hunter2 hunter2 } }", "");
        check("{ basic: { username: a, password: { value: hunter2 } } }", "unknown key");
        check("{ basic: 'a:hunter2' }", "expected a mapping, found a text");
        check("{ basic: { username: 2468 } }", "expected a text, found the number: put it in quotes");
        check("hunter2", "expected a mapping, found a text");
    }
}
