//! YAML text → the configuration as written, and a problem for each unreadable key and value.
//!
//! An unreadable value is cut out of the document, and the rest is read again, until all of it is readable. It does not
//! check what the values mean.

mod size_limits;

pub(super) use size_limits::MAX_FILE_BYTES;

use serde_path_to_error::Segment;
use serde_yaml::Value;

use super::diagnostics::{ConfigError, Findings, Path, Problem, Step, line_of, nearest, quoted_list};
use super::schema;

/// The readable part of the configuration, and the problems of the rest.
pub(super) fn parse(text: &str, file: &str) -> Result<(schema::Config, Findings), ConfigError> {
    let unusable = |problem| ConfigError { file: file.to_owned(), problems: vec![problem] };
    size_limits::check(text)
        .map_err(|message| unusable(Problem { path: String::new(), line: None, message }))?;
    let mut document = document(text).map_err(|problem| unusable(*problem))?;
    if document.is_null() {
        let message = "the file is empty: write at least `registries` and `policies`".to_owned();
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
            None => findings.add_unreadable(&path, describe_mismatch(&message, &path)),
        }
        if findings.is_full() || !cut(&mut document, path.steps()) {
            return Err(findings.into_error(file, text));
        }
    }
}

/// The document, or the one problem that makes it unreadable.
fn document(text: &str) -> Result<Value, Box<Problem>> {
    serde_path_to_error::deserialize(serde_yaml::Deserializer::from_str(text)).or_else(|error| {
        let path = path(error.path());
        let message = error.inner().to_string();
        if message.starts_with("EOF while parsing") {
            return Ok(Value::Null);
        }
        let duplicate =
            message.split_once("duplicate entry with key ").and_then(|(_, rest)| rest.split('"').nth(1));
        Err(Box::new(match duplicate {
            Some(key) => {
                let path = path.key(key);
                let message = format!("duplicate key `{key}`: keep one of them");
                Problem { line: line_of(text, &path), path: path.to_string(), message }
            }
            None => Problem {
                path: String::new(),
                line: error.inner().location().map(|location| location.line()),
                message: format!("invalid YAML: {}", without_position(&message)),
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

/// Removes a key, or sets an element to null; `false` if the place does not exist.
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

/// Keys that are not strings are `?` in paths.
fn is_key(found: &Value, key: &str) -> bool {
    found.as_str().map_or(key == "?", |text| text == key)
}

/// The unknown key and the valid ones, if this is serde's message about an unknown key.
fn unknown_key(message: &str) -> Option<(&str, Vec<&str>)> {
    let mut quoted = message.strip_prefix("unknown field `")?.split('`');
    let key = quoted.next()?;
    Some((key, quoted.skip(1).step_by(2).collect()))
}

/// Reports every key without a value. A template that renders nothing after `exclude:` must not be read as an empty
/// list of exclusions.
fn add_empty_keys(value: &Value, at: &Path, findings: &mut Findings) {
    match value {
        Value::Mapping(mapping) => {
            for (key, value) in mapping {
                let at = at.key(key.as_str().unwrap_or("?"));
                if value.is_null() {
                    findings.add_unreadable(&at, "the key has no value: add a value, or remove the key");
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
        // A key with a misspelt name is not also reported as missing.
        findings.mark_unreadable(parent.key(guess));
    }
    let guess = guess.map_or_else(String::new, |guess| format!("did you mean `{guess}`? "));
    let message = format!("unknown key: {guess}valid keys are {}", quoted_list(known.iter().copied()));
    // In `password: {s3cret}` the key is the secret, so it is not shown in the path.
    let at = if holds_secret(&parent) { &parent } else { at };
    findings.add_unreadable(at, message);
    findings.mark_unreadable(parent.key(key));
}

fn holds_secret(at: &Path) -> bool {
    matches!(at.steps().last(), Some(Step::Key(key)) if ["password", "bearer", "admin_token"].contains(&key.as_str()))
}

/// serde's message about a wrong type in plain English, with the remedy if there is a simple one.
///
/// Values are repeated only if a number or a boolean was expected, and never below `auth`, because a misplaced secret or
/// URL must not appear in a log.
fn describe_mismatch(message: &str, at: &Path) -> String {
    let mismatch = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    let Some((found, expected)) = mismatch.and_then(|rest| rest.rsplit_once(", expected ")) else {
        return message.to_owned();
    };
    let expected = match expected {
        "a string" | "path string" => "a string",
        "u64" => "a whole number",
        "a boolean" => "`true` or `false`",
        "a sequence" => "a list",
        "field identifier" | "a string key" => return "the key is not a string: put it in quotes".to_owned(),
        other => other,
    };
    let (kind, value) = found.split_once(['`', '"']).unwrap_or((found, ""));
    let value = value.trim_end_matches(['`', '"']);
    let value = if at.has_key("auth") || at.has_key("admin_token") { "" } else { value };
    let is_scalar = matches!(expected, "a whole number" | "`true` or `false`");
    let found = match kind.trim() {
        "string" if is_scalar && !value.is_empty() => format!("the string \"{value}\""),
        "string" => "a string".to_owned(),
        "integer" | "floating point" | "floating point number" => format!("the number {value}"),
        "boolean" => format!("`{value}`"),
        "map" => "a mapping".to_owned(),
        "sequence" => "a list".to_owned(),
        "unit value" | "null" => "nothing".to_owned(),
        other => other.to_owned(),
    };
    let is_number = found.starts_with("the number");
    let advice = match expected {
        "a string" | "a string or a list of strings" if is_number || kind.trim() == "boolean" => {
            ": put it in quotes"
        }
        "a whole number" if value.parse::<u64>().is_ok() => ": write it without quotes",
        "a list" if found == "a string" => ": write `[…]` around it, or one element per line with `- `",
        _ => "",
    };
    format!("expected {expected}, found {}{advice}", found.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks all problems of this text that YAML and the schema find.
    fn check(text: &str, expected: &[&str]) {
        let error = match parse(text, "f") {
            Err(error) => error,
            Ok((_, findings)) => findings.into_error("f", text),
        };
        let lines: Vec<String> = error.problems.iter().map(ToString::to_string).collect();
        assert_eq!(lines, expected, "{text}");
    }

    #[test]
    fn invalid_yaml_is_one_problem_with_its_line() {
        check(
            "mode: plan\nlimits: {\n",
            &["line 3: invalid YAML: did not find expected node content, while parsing a flow node"],
        );
        check(
            "mode: 'plan\n",
            &[
                "line 2: invalid YAML: found unexpected end of stream, while scanning a quoted scalar at line 1 column 7",
            ],
        );
        check(
            "mode: plan\nlimits:\n\tmax_percent: 1\n",
            &[
                "line 3: invalid YAML: found character that cannot start any token, while scanning for the next token",
            ],
        );
        check(
            "mode: plan\n---\nmode: plan\n",
            &["invalid YAML: deserializing from YAML containing more than one document is not supported"],
        );
        check("mode: *x\n", &["line 1: invalid YAML: unknown anchor"]);
    }

    #[test]
    fn duplicate_key_is_one_problem() {
        check("mode: plan\nmode: plan\n", &["mode: line 1: duplicate key `mode`: keep one of them"]);
        check(
            "registries:\n  - name: a\n    url: b\n    name: c\n",
            &["registries[0].name: line 2: duplicate key `name`: keep one of them"],
        );
    }

    #[test]
    fn document_that_is_no_mapping_is_one_problem() {
        for text in ["", "# nothing\n", "---\n", "~"] {
            check(text, &["the file is empty: write at least `registries` and `policies`"]);
        }
        check("- a\n", &["line 1: expected a mapping, found a list"]);
        check("text", &["line 1: expected a mapping, found a string"]);
    }

    #[test]
    fn unknown_key_names_the_nearest_and_all_valid_keys() {
        check(
            "limits:\n  max_deletion: 3\n  max_bytes: 4\n",
            &[
                "limits.max_deletion: line 2: unknown key: did you mean `max_deletions`? valid keys are `max_deletions`, `max_percent`",
                "limits.max_bytes: line 3: unknown key: valid keys are `max_deletions`, `max_percent`",
            ],
        );
        check(
            "policies:\n- untagged: { older_than: 7d }\n",
            &["policies[0].untagged.older_than: line 2: unknown key: valid keys are `newer_than`"],
        );
    }

    #[test]
    fn key_that_is_no_string_does_not_hide_other_problems() {
        for key in ["1", "true", "~"] {
            check(
                &format!("{key}: x\nmode: []\n"),
                &[
                    "?: line 1: the key is not a string: put it in quotes",
                    "mode: line 2: expected a string, found a list",
                ],
            );
        }
    }

    #[test]
    fn key_without_a_value_is_a_problem() {
        let problem = |place: &str| format!("{place}: the key has no value: add a value, or remove the key");
        check("mode:\n", &[&problem("mode: line 1")]);
        check("protect:\n  # tags: x\nmode: ~\n", &[&problem("protect: line 1"), &problem("mode: line 3")]);
        check("policies:\n- name: a\n  exclude:\n", &[&problem("policies[0].exclude: line 3")]);
        check(
            "polices:\n",
            &[
                "polices: line 1: unknown key: did you mean `policies`? valid keys are `mode`, `schedule`, `timezone`, `listen`, `admin_token`, `state_dir`, `history`, `registries`, `retired`, `protect`, `limits`, `policies`",
            ],
        );
    }

    #[test]
    fn value_of_the_wrong_type_names_expected_and_found() {
        check("mode: 1\n", &["mode: line 1: expected a string, found the number 1: put it in quotes"]);
        check("mode: yes\n", &[]);
        check("mode: true\n", &["mode: line 1: expected a string, found `true`: put it in quotes"]);
        check("mode: [plan]\n", &["mode: line 1: expected a string, found a list"]);
        check("limits: 3\n", &["limits: line 1: expected a mapping, found the number 3"]);
        check(
            "registries: x\n",
            &[
                "registries: line 1: expected a list, found a string: write `[…]` around it, or one element per line with `- `",
            ],
        );
        check("registries: {a: b}\n", &["registries: line 1: expected a list, found a mapping"]);
        check(
            "limits: { max_percent: \"75\" }\n",
            &[
                "limits.max_percent: line 1: expected a whole number, found the string \"75\": write it without quotes",
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
                "registries[0].tls.insecure_skip_verify: line 1: expected `true` or `false`, found the string \"on\"",
            ],
        );
        check(
            "protect:\n  tags: 1.10\n",
            &[
                "protect.tags: line 2: expected a string or a list of strings, found the number 1.1: put it in quotes",
            ],
        );
        check(
            "protect:\n  tags: [a,\n    {b: c}]\n",
            &["protect.tags[1]: line 3: expected a string, found a mapping"],
        );
        check(
            "protect: { newer_than: 6m }\n",
            &["protect.newer_than: line 1: `6m` could be minutes or months: write `6min` or `180d`"],
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
            &[
                "policies[0].rules[0].keep.all.newest: line 1: expected a whole number, found the string \"x\"",
            ],
        );
        check(
            "policies: [{ rules: !x { a: b } }]\n",
            &["policies[0].rules: line 1: expected a list, found a mapping"],
        );
    }

    #[test]
    fn secrets_are_never_repeated() {
        let check = |auth: &str, expected: &str| {
            let text = format!("registries:\n- auth: {auth}\n");
            let Ok((_, findings)) = parse(&text, "f") else { panic!("{text}") };
            let message = findings.into_error("f", &text).to_string();
            assert!(!message.contains("hunter") && !message.contains("2468"), "{message}");
            assert!(message.contains(expected), "{message}");
        };
        let refused = "line 2: secrets are not allowed in this file: write `{ file: PATH }`, `{ env: NAME }` or `{ credential: NAME }`";
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
        check("{ basic: 'a:hunter2' }", "expected a mapping, found a string");
        check("{ basic: { username: 2468 } }", "expected a string, found the number: put it in quotes");
        check("hunter2", "expected a mapping, found a string");
    }
}
