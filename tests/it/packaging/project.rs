//! The files of the project itself: versions agree, and CONTRIBUTING.md names files and functions that exist.

use std::collections::BTreeSet;
use std::path::Path;

use super::{shipped, text};

/// The value of a key of Cargo.toml's `[package]`.
fn package(key: &str) -> String {
    let manifest = text("Cargo.toml");
    let line = manifest.lines().find_map(|line| line.strip_prefix(&format!("{key} = \""))).unwrap();
    line.trim_end_matches('"').to_owned()
}

/// The major and minor number of a version.
fn version(text: &str) -> (u32, u32) {
    let (major, rest) = text.split_once('.').unwrap();
    (major.parse().unwrap(), rest.split('.').next().unwrap().parse().unwrap())
}

#[test]
fn minimum_rust_version_is_the_same_everywhere() {
    let minimum = package("rust-version");
    assert!(text("README.md").contains(&format!("Rust ({minimum} or later)")), "README.md");
    assert!(text("CONTRIBUTING.md").contains(&format!("Rust {minimum} or later")), "CONTRIBUTING.md");
    let dockerfile = text("Dockerfile");
    let image = dockerfile.lines().find_map(|line| line.strip_prefix("FROM rust:")).unwrap();
    let tag = image.split(['-', ' ']).next().unwrap();
    // The tag `1` is the newest release.
    assert!(tag == "1" || version(tag) >= version(&minimum), "the Dockerfile builds with rust:{image}");
}

#[test]
fn changelog_has_a_section_for_the_version() {
    let heading = format!("\n## {}", package("version"));
    assert!(text("CHANGELOG.md").contains(&heading), "CHANGELOG.md has no section{heading}");
}

/// All texts between backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Whether a text between backticks is a path in the repository.
fn is_path(text: &str) -> bool {
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let has_extension = [".rs", ".md", ".toml", ".yaml", ".sh", ".txt"].iter().any(|end| text.ends_with(end));
    is_plain && (has_extension || text.ends_with('/'))
}

#[test]
fn contributing_names_files_and_functions_that_exist() {
    let guide = text("CONTRIBUTING.md");
    let mut paths = BTreeSet::new();
    for line in guide.lines() {
        let mut file = None;
        for quoted in quoted(line) {
            if is_path(quoted) {
                assert!(shipped(quoted).exists(), "CONTRIBUTING.md names {quoted}, which does not exist");
                paths.insert(quoted);
                file = Some(quoted);
            } else if let Some(function) = quoted.strip_suffix("()") {
                let file = file.unwrap_or_else(|| panic!("{quoted} is named before its file"));
                let name = function.rsplit("::").next().unwrap();
                assert!(text(file).contains(&format!("fn {name}")), "{file} has no function {quoted}");
            }
        }
    }
    let rust = paths.iter().filter(|path| Path::new(path).extension().is_some_and(|end| end == "rs"));
    assert!(rust.count() > 10, "{paths:?}");
}

#[test]
fn contributing_names_targets_that_exist() {
    let makefile = text("Makefile");
    let guide = text("CONTRIBUTING.md");
    let named = regex::Regex::new(r"(?m)(?:`|\$ )make ([a-z-]+)").unwrap();
    for target in named.captures_iter(&guide).map(|found| found[1].to_owned()) {
        assert!(makefile.contains(&format!("\n{target}:")), "CONTRIBUTING.md names make {target}");
    }
}

#[test]
fn contributing_describes_every_directory_of_the_sources() {
    let guide = text("CONTRIBUTING.md");
    for entry in std::fs::read_dir(shipped("src")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            let name = format!("`src/{}/`", entry.file_name().display());
            assert!(guide.contains(&name), "CONTRIBUTING.md does not describe {name}");
        }
    }
}
