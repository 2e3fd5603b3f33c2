//! The house rules that a compiler does not know: who may use whom, and that every file says its duty.

mod guarantees;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The modules from the bottom up. A module uses only what stands on a line above its own.
const LAYERS: &[&[&str]] = &[
    &["model"],
    &["policy"],
    &["plan"],
    &["report", "config"],
    &["group"],
    &["registry", "gc", "state"],
    &["run"],
    &["metrics"],
    &["http"],
    &["daemon"],
    &["telemetry"],
    &["cli"],
    &["fuzzing"],
];

/// Above its tests, a file of this many lines is still one idea.
const LONGEST: usize = 400;

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

/// The module of the first level that a file belongs to; `None` for `lib.rs` and `main.rs`.
fn module(path: &Path) -> Option<String> {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (name != "lib" && name != "main").then(|| name.to_owned())
}

fn layer(module: &str) -> usize {
    let found = LAYERS.iter().position(|layer| layer.contains(&module));
    found.unwrap_or_else(|| panic!("{module} has no layer: give it one in LAYERS and in src/lib.rs"))
}

/// The modules of the first level that code uses, by `crate::name` or inside `crate::{…}`.
fn uses(code: &str) -> BTreeSet<String> {
    let lines = code.lines().map(|line| line.split("//").next().unwrap());
    let code: String = lines.collect::<Vec<_>>().join("\n");
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut names = BTreeSet::new();
    for (start, _) in code.match_indices("crate::") {
        let rest = &code[start + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => {
                let mut depth = 0;
                let mut item = 0;
                for (position, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => {
                            names.insert(word(list[item..position].trim()));
                            break;
                        }
                        '}' => depth -= 1,
                        ',' if depth == 0 => {
                            names.insert(word(list[item..position].trim()));
                            item = position + 1;
                        }
                        _ => {}
                    }
                }
            }
            None => drop(names.insert(word(rest))),
        }
    }
    names.remove("");
    names
}

#[test]
fn modules_use_only_what_is_below_them() {
    for (path, text) in sources("src") {
        let Some(own) = module(&path) else { continue };
        for used in uses(&text).into_iter().filter(|used| *used != own) {
            assert!(layer(&used) < layer(&own), "{} uses {used}", path.display());
        }
    }
}

#[test]
fn uses_are_found_in_every_form() {
    let code = "use crate::{a, b::{c, d}, e};\nuse crate::f::g; // crate::comment\nlet x = crate::h::i();";
    assert_eq!(uses(code), ["a", "b", "e", "f", "h"].map(str::to_owned).into());
}

#[test]
fn the_core_does_no_io_and_reads_no_clock() {
    let forbidden = ["std::fs", "std::io", "std::net", "std::env", "tokio", "reqwest", "tracing", "now()"];
    for (path, text) in sources("src") {
        let is_test = path.with_extension("").components().any(|part| part.as_os_str() == "tests");
        if module(&path).is_some_and(|module| layer(&module) <= layer("plan")) && !is_test {
            let code = text.split("#[cfg(test)]").next().unwrap();
            for word in forbidden {
                assert!(!code.contains(word), "{} contains {word}", path.display());
            }
        }
    }
}

#[test]
fn every_file_opens_with_its_duty() {
    for folder in ["src", "tests", "examples"] {
        for (path, text) in sources(folder) {
            assert!(text.starts_with("//! "), "{} does not open with //!", path.display());
        }
    }
}

#[test]
fn files_stay_small() {
    for (path, text) in sources("src") {
        let code = text.split("#[cfg(test)]").next().unwrap();
        let lines = code.lines().count();
        assert!(lines <= LONGEST || path.ends_with("tests.rs"), "{} has {lines} lines", path.display());
    }
}

#[test]
fn the_map_names_every_module() {
    let map = include_str!("../../src/lib.rs");
    for module in LAYERS.iter().flat_map(|layer| layer.iter()) {
        assert!(map.contains(&format!("[`{module}`]")), "lib.rs does not say what {module} is for");
    }
}
