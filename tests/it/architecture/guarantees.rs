//! docs/guarantees.md names tests that exist.

use std::path::Path;

use syn::{Attribute, Item};

/// Whether these items have a test of this name, behind these modules in braces.
fn has_test(items: &[Item], path: &[&str]) -> bool {
    let (first, rest) = path.split_first().expect("a test has a name");
    items.iter().any(|item| match item {
        Item::Fn(function) => {
            rest.is_empty() && function.sig.ident == first && function.attrs.iter().any(is_test)
        }
        Item::Mod(module) => {
            let content = module.content.as_ref();
            !rest.is_empty()
                && module.ident == first
                && content.is_some_and(|(_, items)| has_test(items, rest))
        }
        _ => false,
    })
}

/// `#[test]` or `#[tokio::test]`.
fn is_test(attribute: &Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|last| last.ident == "test")
}

/// Why a test cannot be found by its path, such as `state::undo::what_it_shows`.
fn missing(path: &str) -> Option<String> {
    let names: Vec<&str> = path.split("::").collect();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    // The longest path that is a file has the rest.
    let files = (1..names.len())
        .rev()
        .map(|length| (length, tests.join(names[..length].join("/")).with_extension("rs")));
    let Some((length, file)) = files.into_iter().find(|(_, file)| file.is_file()) else {
        return Some(format!("{path}: there is no such module below tests/it"));
    };
    let parsed = syn::parse_file(&std::fs::read_to_string(file).unwrap()).unwrap();
    (!has_test(&parsed.items, &names[length..])).then(|| format!("{path}: there is no such test"))
}

#[test]
fn every_named_test_exists() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guarantees.md");
    let page = std::fs::read_to_string(page).unwrap();
    let quoted = page.split('`').skip(1).step_by(2);
    let named: Vec<&str> = quoted.filter(|word| word.contains("::") && *word != "module::test").collect();
    assert!(named.len() > 30, "{named:?}");
    let missing: Vec<String> = named.into_iter().filter_map(missing).collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn tests_are_found_by_their_whole_path_only() {
    let own = "architecture::guarantees::tests_are_found_by_their_whole_path_only";
    assert_eq!(missing(own), None);
    for path in [
        "guarantees::tests_are_found_by_their_whole_path_only",
        "architecture::tests_are_found_by_their_whole_path_only",
        "architecture::guarantees::has_test",
        "architecture::guarantees::another",
    ] {
        assert!(missing(path).is_some(), "{path}");
    }
}
