//! The banned words: `banned_words.txt` lists them with what to write instead, and a test finds every use.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Files and folders in which no banned word may stand: everything that people read, and all code.
const ROOTS: &[&str] = &[
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.toml",
    "Dockerfile",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "clippy.toml",
    "config",
    "demo",
    "docs",
    "examples",
    "fuzz/fuzz_targets",
    "fuzz/run.sh",
    "src",
    "systemd",
    "tests",
];

/// What is not to be written.
#[derive(Debug, Default)]
struct Banned {
    /// English words, in lower case, each with what to write instead.
    words: BTreeMap<String, String>,
    /// Names in the code, exactly as written.
    names: BTreeMap<String, String>,
}

impl Banned {
    fn parse(text: &str) -> Self {
        let mut banned = Self::default();
        let mut is_name = false;
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line {
                "[words]" => is_name = false,
                "[names]" => is_name = true,
                line => {
                    let (word, instead) = line.split_once(" → ").expect("`word → what to write instead`");
                    let list = if is_name { &mut banned.names } else { &mut banned.words };
                    let known = list.insert(word.to_owned(), instead.to_owned());
                    assert_eq!(known, None, "{word} is listed twice");
                }
            }
        }
        banned
    }

    /// Each banned word in a text, with the number of its line and what to write instead.
    fn find<'a>(&'a self, text: &'a str) -> Vec<(usize, &'a str, &'a str)> {
        let mut found = Vec::new();
        // States of earlier versions have old names. The lines that read them say so.
        let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.ends_with(" old name"));
        for (number, line) in lines {
            for name in line.split(|c: char| !c.is_alphanumeric() && c != '_') {
                if let Some(instead) = self.names.get(name) {
                    found.push((number, name, instead.as_str()));
                }
                for word in words(name) {
                    if let Some(instead) = self.words.get(&word.to_lowercase()) {
                        found.push((number, word, instead.as_str()));
                    }
                }
            }
        }
        found
    }
}

/// The words of a name: `RunOptions`, `run_options` and `RUN_OPTIONS` are two.
fn words(name: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for part in name.split('_') {
        let mut begin = 0;
        let letters: Vec<(usize, char)> = part.char_indices().collect();
        for pair in letters.windows(2) {
            if pair[0].1.is_lowercase() && pair[1].1.is_uppercase() {
                words.push(&part[begin..pair[1].0]);
                begin = pair[1].0;
            }
        }
        words.push(&part[begin..]);
    }
    words
}

/// The text of every file below a path; files that are no text are left out.
fn texts(path: &Path, found: &mut Vec<(PathBuf, String)>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            texts(&entry.unwrap().path(), found);
        }
    } else if let Ok(text) = std::fs::read_to_string(path) {
        found.push((path.to_owned(), text));
    }
}

/// Without the section that lists old names beside the new ones.
fn without_changed_names(text: &str) -> String {
    let mut is_inside = false;
    let lines = text.lines().map(|line| {
        if line.starts_with('#') {
            is_inside = line.contains("Changed names");
        }
        if is_inside { "" } else { line }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn no_banned_word_is_used() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = root.join("tests/it/banned_words.txt");
    let banned = Banned::parse(&std::fs::read_to_string(&list).unwrap());
    assert!(banned.words.len() > 10 && banned.names.len() > 10);
    let mut files = Vec::new();
    ROOTS.iter().for_each(|path| texts(&root.join(path), &mut files));
    let mut found = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| *path != list) {
        let text = if path.ends_with("CHANGELOG.md") { &without_changed_names(text) } else { text };
        let name = path.strip_prefix(root).unwrap().display();
        let words = banned.find(text).into_iter();
        found.extend(words.map(|(line, word, instead)| format!("{name}:{line}: {word} → {instead}")));
    }
    assert!(found.is_empty(), "{} banned words:\n{}", found.len(), found.join("\n"));
}

/// The code of one column of a table in Markdown.
fn code_in_column(page: &str, column: usize) -> Vec<&str> {
    let rows =
        page.lines().filter(|line| line.starts_with("| ")).filter_map(|line| line.split('|').nth(column));
    rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn terminology_page_names_what_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/terminology.md")).unwrap();
    let mut files = Vec::new();
    ["src", "config", "docs/metrics.md"].iter().for_each(|path| texts(&root.join(path), &mut files));
    let named = code_in_column(&page, 3);
    assert!(named.len() > 30, "{named:?}");
    for name in named {
        for part in name.split([' ', '.', ':']).filter(|part| !part.is_empty() && *part != "regsweep") {
            let part = part.trim_start_matches("--").replace('-', "_");
            let is_there = files.iter().any(|(_, text)| text.replace('-', "_").contains(&part));
            assert!(is_there, "docs/terminology.md names `{name}`, which is nowhere");
        }
    }
}

#[test]
fn banned_words_are_found_as_whole_words_only() {
    let banned = Banned::parse("# A list.\n[words]\nfoo → bar\n\n[names]\nThing → Item\n");
    let find = |text| banned.find(text).into_iter().map(|(line, word, _)| (line, word)).collect::<Vec<_>>();
    assert_eq!(find("Foo, of course.\nfood and afoo"), [(1, "Foo")]);
    assert_eq!(find("no_foo_here noFooHere FOO_TIMEOUT"), [(1, "foo"), (1, "Foo"), (1, "FOO")]);
    assert_eq!(find("let thing: Thing = Things; OtherThing"), [(1, "Thing")]);
    let list = "## Changed names\nfoo is now bar\n## Fixed\nfoo";
    assert_eq!(find(&without_changed_names(list)), [(4, "foo")]);
}
