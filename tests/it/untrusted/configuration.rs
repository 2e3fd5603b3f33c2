//! Configurations that would take too much time or memory: they are refused like any invalid configuration.

use serial_test::serial;

use super::harness::assert_safe_to_show;
use crate::support::cli::Cli;

const REGISTRY: &str = "registries: [{ name: main, url: 'http://127.0.0.1:1' }]\n";

/// The error of `check`.
#[track_caller]
fn refused(text: &[u8]) -> String {
    let cli = Cli::new("");
    std::fs::write(cli.file("regsweep.yaml", ""), text).unwrap();
    let output = cli.run(&["check"]);
    assert_eq!((output.code, output.out.as_str()), (78, ""), "{}", output.err);
    assert_safe_to_show(&output);
    assert!(output.err.lines().count() <= 101, "{}", output.err.lines().count());
    output.err
}

fn list(element: &str, count: usize) -> String {
    format!("[{}]", vec![element; count].join(","))
}

#[test]
fn configuration_that_is_not_yaml_is_refused() {
    for (text, words) in [
        (" ".repeat(100 << 20).into_bytes(), "is larger than"),
        ("[".repeat(1 << 20).into_bytes(), "opening brackets"),
        ("[".repeat(9_000).into_bytes(), "recursion limit"),
        ("- ".repeat(1 << 19).into_bytes(), "recursion limit"),
        (b"mode: \0plan\n".to_vec(), "invalid YAML"),
        (b"mode: \xff\xfe\n".to_vec(), "UTF-8"),
        (b"mode: \x1b[31m\n".to_vec(), "invalid YAML"),
        (b"mode: \"\\e[31m\\u202e\"\n".to_vec(), r"\u{1b}"),
    ] {
        let output = refused(&text);
        assert!(output.contains(words), "{output}");
    }
}

#[test]
fn configuration_with_exploding_aliases_is_refused() {
    let laughs = (1..9).fold(format!("l0: &l0 {}\n", list("lol", 10)), |text, level| {
        text + &format!("l{level}: &l{level} {}\n", list(&format!("*l{}", level - 1), 10))
    });
    let output = refused(laughs.as_bytes());
    assert!(output.contains("repetition limit") || output.contains("expand to too much data"), "{output}");
    let flat = format!("protect: {{ tags: &a {} }}\npolicies: {}\n", list("x", 50_000), list("*a", 50_000));
    let output = refused(flat.as_bytes());
    assert!(output.contains("the aliases (`*name`) expand to too much data"), "{output}");
}

#[test]
fn configuration_with_thousands_of_problems_reports_some() {
    let keys: String = (0..5_000).map(|number| format!("k{number}: 1\n")).collect();
    let output = refused(keys.as_bytes());
    assert!(output.ends_with("there are more problems: fix these first\n"), "{output}");
    let names: String = (0..2_000).map(|number| format!("- {{ name: same, x{number}: 1 }}\n")).collect();
    refused(format!("{REGISTRY}policies:\n{names}").as_bytes());
    let zone = format!("timezone: {}\n", "Europe/".repeat(100_000));
    refused(format!("{zone}{REGISTRY}").as_bytes());
    refused(format!("{REGISTRY}limits: {{ max_deletions: 1{} }}\n", "0".repeat(500_000)).as_bytes());
}

fn rules(patterns: impl Iterator<Item = String>) -> String {
    let rules: String = patterns
        .enumerate()
        .map(|(number, tags)| format!("  - {{ name: r{number}, tags: '{tags}', keep: all }}\n"))
        .collect();
    format!("{REGISTRY}policies:\n- name: a\n  repositories: '.*'\n  rules:\n{rules}")
}

#[test]
#[serial(cpu)]
fn configuration_with_huge_regexes_is_refused() {
    for pattern in ["(((a{100}){100}){100})", r"\w{1000}", "((((a{9}){9}){9}){9}){9}{9}"] {
        let output = refused(rules(std::iter::once(pattern.to_owned())).as_bytes());
        assert!(output.contains("exceeds size limit"), "{output}");
    }
    let many: String = (0..500).map(|number| format!("  - '{number}\\w{{60}}'\n")).collect();
    let output = refused(format!("protect:\n  tags:\n{many}{REGISTRY}").as_bytes());
    assert!(output.contains("in total: write `[0-9]`"), "{output}");
}

#[test]
#[serial(cpu)]
fn configuration_with_many_rules_is_accepted() {
    let text = rules((0..400).map(|number| format!("(a|b)*{number}(a|b){{14}}")));
    let output = Cli::new(&text).run(&["check"]);
    assert_eq!(output.code, 0, "{}", output.err);
}
