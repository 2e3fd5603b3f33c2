//! The files of the project itself: versions agree, and CONTRIBUTING.md names files and functions that exist.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use spdx::{Expression, ParseMode};

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

#[test]
fn dependencies_have_the_sources_and_licenses_that_deny_toml_allows() {
    let rules = text("deny.toml");
    let allowed = rules.split_once("allow = [").unwrap().1.split_once(']').unwrap().0;
    let allowed: BTreeSet<&str> = allowed.split('"').skip(1).step_by(2).collect();
    // Only what is built here, which is all that has been downloaded.
    let version = Command::new("rustc").arg("-vV").output().unwrap().stdout;
    let version = String::from_utf8(version).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", host])
        .arg("--manifest-path")
        .arg(shipped("Cargo.toml"))
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages =
        metadata["packages"].as_array().unwrap().iter().filter(|package| !package["source"].is_null());
    let mut wrong = Vec::new();
    let mut count = 0;
    for package in packages {
        count += 1;
        let (name, source) = (package["name"].as_str().unwrap(), package["source"].as_str().unwrap());
        if source != "registry+https://github.com/rust-lang/crates.io-index" {
            wrong.push(format!("{name} comes from {source}"));
        }
        let license = package["license"].as_str().unwrap_or_default();
        // `MIT/Apache-2.0` is the old form of `MIT OR Apache-2.0`.
        let expression = Expression::parse_mode(license, ParseMode::LAX);
        if !expression.is_ok_and(|one| one.evaluate(|part| allowed.contains(part.to_string().as_str()))) {
            wrong.push(format!("{name} has the license {license:?}"));
        }
    }
    assert!(count > 100, "cargo metadata lists {count} dependencies");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
