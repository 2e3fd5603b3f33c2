//! Policies and their rules as written → validated.
//!
//! It knows of registries only what they are called, and nothing of what they hold.

use std::num::NonZeroUsize;

use chrono::TimeDelta;

use super::problem::{Findings, Path, listed, nearest};
use super::quantity::Span;
use super::values::{count, mode, name, patterns, texts, word};
use super::written::{self, List, Texts};
use crate::policy::{Criterion, Keep, Line, Mode, Patterns, Period, Policy, Rule, Untagging};

/// Validates all of them. `registries` are the names of all registries, if they are known.
pub(super) fn policies(
    written: Option<List<written::Policy>>,
    registries: Option<&[String]>,
    findings: &mut Findings,
) -> Vec<Policy> {
    let at = Path::default().key("policies");
    let advice =
        "without one nothing is ever deleted: write at least one with `name`, `repositories` and `rules`";
    let Some(written) = findings.required(written, &Path::default(), "policies", advice) else {
        return Vec::new();
    };
    if written.is_empty() {
        findings.add(&at, format!("there are none: {advice}"));
    }
    let mut names = Vec::new();
    let mut policies: Vec<Policy> = Vec::new();
    for (at, written) in findings.elements(written, &at) {
        if findings.is_full() {
            break;
        }
        names.extend(written.name.clone().map(|name| (at.key("name"), name)));
        let Some(policy) = policy(written, registries, &at, findings) else {
            continue;
        };
        let shadow =
            findings.can_check().then(|| takers(&policies, |earlier| policy.is_shadowed_by(earlier)));
        if let Some(Some(takers)) = shadow {
            let takers = listed(takers.iter().map(|policy| policy.name.as_str()));
            findings.add(
                &at,
                format!("it never claims a repository, all are claimed by {takers} before it: move it up, or remove it"),
            );
        }
        policies.push(policy);
    }
    findings.unique(&names, "give each its own name");
    policies
}

/// `None` only where it cannot be told which repositories it claims.
fn policy(
    written: written::Policy,
    registries: Option<&[String]>,
    at: &Path,
    findings: &mut Findings,
) -> Option<Policy> {
    let name = name(written.name, at, "give it one, for plans and metrics", findings);
    let registries = written.registries.map(|texts| {
        let at = at.key("registries");
        let names = self::texts(Some(texts), &at, findings);
        if names.is_empty() && !findings.is_unread_within(&at) {
            findings.add(&at, "there are none: leave it out for all registries");
        }
        names.into_iter().map(|(at, name)| known(name, registries, &at, findings)).collect()
    });
    let advice = "write regexes that match whole names, such as `'team/.*'`, or `'.*'` for all";
    let repositories = required_patterns(written.repositories, at, "repositories", advice, findings);
    let exclude = patterns(written.exclude, &at.key("exclude"), findings);
    let does_nothing = written.rules.as_ref().is_none_or(Vec::is_empty) && written.untagged.is_none();
    let unread = ["rules", "untagged"].iter().any(|key| findings.is_unread_within(&at.key(key)));
    if does_nothing && !unread {
        findings.add(at, "this policy does nothing: write `rules`, `untagged` or both, or remove it");
    }
    let mode = mode(written.mode.as_deref(), &at.key("mode"), findings);
    let untagged = written.untagged.and_then(|untagged| {
        let at = at.key("untagged");
        let advice = "write from what age manifests without tags expire, such as `7d`";
        let span = findings.required(untagged.newer_than, &at, "newer_than", advice)?;
        if span.is_zero() {
            findings.add(
                &at.key("newer_than"),
                "0 would delete what is being pushed: write a duration above zero",
            );
        }
        Some(span.into())
    });
    let methods = [("native", Untagging::Native), ("always", Untagging::Always), ("never", Untagging::Never)];
    let untag = word(written.untag.as_deref(), &methods, &at.key("untag"), findings);
    Some(Policy {
        // Without a name it is called by its place in what is said of the policies after it.
        name: name.unwrap_or_else(|| at.to_string()),
        registries,
        repositories: repositories?,
        exclude: exclude.unwrap_or_default(),
        mode: mode.unwrap_or(Mode::Enforce),
        rules: rules(written.rules.unwrap_or_default(), &at.key("rules"), findings),
        untagged,
        untag: untag.unwrap_or_default(),
    })
}

fn known(name: String, registries: Option<&[String]>, at: &Path, findings: &mut Findings) -> String {
    if let Some(registries) = registries
        && !registries.contains(&name)
    {
        let names = || registries.iter().map(String::as_str);
        let guess =
            nearest(&name, names()).map_or_else(String::new, |guess| format!("did you mean `{guess}`? "));
        findings.add(at, format!("there is no registry `{name}`: {guess}there are {}", listed(names())));
    }
    name
}

fn required_patterns(
    written: Option<Texts>,
    at: &Path,
    key: &str,
    advice: &str,
    findings: &mut Findings,
) -> Option<Patterns> {
    let written = findings.required(written, at, key, advice)?;
    let patterns = patterns(Some(written), &at.key(key), findings)?;
    if patterns.is_empty() {
        findings.add(&at.key(key), format!("there are none: {advice}"));
        return None;
    }
    Some(patterns)
}

fn rules(written: List<written::Rule>, at: &Path, findings: &mut Findings) -> Vec<Rule> {
    let mut names = Vec::new();
    let mut rules: Vec<Rule> = Vec::new();
    for (at, written) in findings.elements(written, at) {
        if findings.is_full() {
            break;
        }
        names.extend(written.name.clone().map(|name| (at.key("name"), name)));
        let Some(rule) = rule(written, &at, findings) else {
            continue;
        };
        let shadow = findings.can_check().then(|| takers(&rules, |earlier| rule.is_shadowed_by(earlier)));
        if let Some(Some(takers)) = shadow {
            let takers = listed(takers.iter().map(|rule| rule.name.as_str()));
            findings.add(
                &at,
                format!(
                    "it never claims a tag, all are claimed by {takers} before it: move it up, or remove it"
                ),
            );
        }
        rules.push(rule);
    }
    findings.unique(&names, "give each its own name");
    rules
}

/// `None` only where it cannot be told which tags it claims.
fn rule(written: written::Rule, at: &Path, findings: &mut Findings) -> Option<Rule> {
    let name = name(written.name, at, "give it one, for the reasons that plans show", findings);
    let advice = r"write regexes that match whole tags, such as `'pr-\d+'`, or `'.*'` for all";
    let tags = required_patterns(written.tags, at, "tags", advice, findings);
    let group_by = texts(written.group_by, &at.key("group_by"), findings);
    if let Some(tags) = &tags {
        groups(&group_by, tags, findings);
    }
    let keep = findings.required(written.keep, at, "keep", KEEP_ADVICE);
    let keep = keep.and_then(|keep| self::keep(keep, &at.key("keep"), findings));
    Some(Rule {
        name: name.unwrap_or_else(|| at.to_string()),
        tags: tags?,
        group_by: group_by.into_iter().map(|(_, group)| group).collect(),
        // A rule whose criteria cannot be used still takes its tags from the rules after it.
        keep: keep.unwrap_or(Keep::Everything),
    })
}

fn groups(group_by: &[(Path, String)], tags: &Patterns, findings: &mut Findings) {
    for (at, group) in group_by {
        let without: Vec<&str> =
            tags.iter().filter(|tag| !tag.has_group(group)).map(|tag| tag.source()).collect();
        if !without.is_empty() {
            let without = listed(without);
            findings
                .add(at, format!("there is no group `{group}` in {without}: write `(?<{group}>…)` in it"));
        }
    }
}

const KEEP_ADVICE: &str = "write `keep: all`, `keep: none` or criteria such as `keep: { newest: 5 }`";

fn keep(written: written::Keep, at: &Path, findings: &mut Findings) -> Option<Keep> {
    match written {
        written::Keep::Word(word) => match word.as_str() {
            "all" => Some(Keep::Everything),
            "none" => Some(Keep::Nothing),
            _ => {
                findings.add(at, format!("`{word}` is no criterion: {KEEP_ADVICE}"));
                None
            }
        },
        written::Keep::Criteria(criteria) => self::criteria(*criteria, at, findings).map(Keep::Any),
    }
}

fn criteria(mut written: written::Criteria, at: &Path, findings: &mut Findings) -> Option<Vec<Criterion>> {
    let all = written.all.take();
    let mut criteria = simple_criteria(written, at, findings);
    if let Some(mut all) = all {
        let at = at.key("all");
        if all.all.take().is_some() {
            findings.add(
                &at.key("all"),
                "`all` stands inside `all` already: write its criteria beside the others",
            );
        }
        let inner = simple_criteria(*all, &at, findings);
        if inner.is_empty() && !findings.is_reported_within(&at) {
            findings.add(
                &at,
                "it is empty: write the criteria that must all hold, such as `{ newest: 5, newer_than: 7d }`",
            );
        }
        criteria.push(Criterion::All(inner));
    }
    if criteria.is_empty() {
        if !findings.is_reported_within(at) {
            findings.add(at, format!("it is empty: {KEEP_ADVICE}"));
        }
        return None;
    }
    Some(criteria)
}

/// All criteria but `all`.
fn simple_criteria(written: written::Criteria, at: &Path, findings: &mut Findings) -> Vec<Criterion> {
    let mut criteria = Vec::new();
    criteria.extend(positive(written.newest, &at.key("newest"), findings).map(Criterion::Newest));
    criteria.extend(age(written.newer_than, &at.key("newer_than"), findings).map(Criterion::NewerThan));
    for (period, count) in [
        (Period::Daily, written.daily),
        (Period::Weekly, written.weekly),
        (Period::Monthly, written.monthly),
        (Period::Yearly, written.yearly),
    ] {
        let count = positive(count, &at.key(period.name()), findings);
        criteria.extend(count.map(|count| Criterion::Period(period, count)));
    }
    if let Some(versions) = written.versions {
        let at = at.key("versions");
        let newest = findings.required(versions.newest, &at, "newest", "write how many versions to keep");
        let newest = positive(newest, &at.key("newest"), findings);
        let lines = [("major", Line::Major), ("minor", Line::Minor)];
        let per = word(versions.per.as_deref(), &lines, &at.key("per"), findings);
        criteria.extend(newest.map(|newest| Criterion::Versions(newest, per)));
    }
    criteria
}

fn positive(written: Option<u64>, at: &Path, findings: &mut Findings) -> Option<NonZeroUsize> {
    let count = count(written, at, findings)?;
    let positive = NonZeroUsize::new(count);
    if positive.is_none() {
        findings.add(at, "0 keeps nothing: leave it out, or write `keep: none` to keep nothing at all");
    }
    positive
}

fn age(written: Option<Span>, at: &Path, findings: &mut Findings) -> Option<TimeDelta> {
    let span = written?;
    if span.is_zero() {
        findings.add(at, "0 keeps nothing: leave it out, or write `keep: none` to keep nothing at all");
        return None;
    }
    Some(span.into())
}

/// The earlier ones that leave nothing over, without those that do not matter; `None` if something
/// is left.
fn takers<T: Clone>(earlier: &[T], is_shadowed_by: impl Fn(&[T]) -> bool) -> Option<Vec<T>> {
    if !is_shadowed_by(earlier) {
        return None;
    }
    let mut takers = earlier.to_vec();
    for index in (0..earlier.len()).rev() {
        let mut fewer = takers.clone();
        fewer.remove(index);
        if is_shadowed_by(&fewer) {
            takers = fewer;
        }
    }
    Some(takers)
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::super::tests::{self, REGISTRIES};
    use super::*;

    /// What is said of the policies in this text.
    #[track_caller]
    fn check(policies: &str, expected: &[&str]) {
        tests::check(&format!("{REGISTRIES}{policies}\n"), expected);
    }

    fn rules(rules: &str) -> String {
        format!("policies:\n- name: p\n  repositories: '.*'\n  rules:\n{rules}")
    }

    /// What is said of these rules, which begin on line 6.
    #[track_caller]
    fn check_rules(written: &str, expected: &[&str]) {
        check(&rules(written), expected);
    }

    /// What is said of what one rule keeps.
    #[track_caller]
    fn check_keep(keep: &str, expected: &[&str]) {
        check_rules(&format!("  - {{ name: r, tags: '.*', keep: {keep} }}"), expected);
    }

    #[test]
    fn there_is_at_least_one_policy() {
        check(
            "",
            &[
                "policies: line 1: missing: without one nothing is ever deleted: write at least one with `name`, `repositories` and `rules`",
            ],
        );
        check(
            "policies: []",
            &[
                "policies: line 2: there are none: without one nothing is ever deleted: write at least one with `name`, `repositories` and `rules`",
            ],
        );
    }

    #[test]
    fn a_policy_says_what_it_claims_and_does_something() {
        check(
            "policies: [{}]",
            &[
                "policies[0].name: line 2: missing: give it one, for plans and metrics",
                "policies[0].repositories: line 2: missing: write regexes that match whole names, such as `'team/.*'`, or `'.*'` for all",
                "policies[0]: line 2: this policy does nothing: write `rules`, `untagged` or both, or remove it",
            ],
        );
        check(
            "policies: [{ name: p, repositories: [], untagged: {} }]",
            &[
                "policies[0].repositories: line 2: there are none: write regexes that match whole names, such as `'team/.*'`, or `'.*'` for all",
                "policies[0].untagged.newer_than: line 2: missing: write from what age manifests without tags expire, such as `7d`",
            ],
        );
        check(
            "policies: [{ name: p, repositories: '.*', rules: [] }]",
            &[
                "policies[0]: line 2: this policy does nothing: write `rules`, `untagged` or both, or remove it",
            ],
        );
        check(
            "policies: [{ name: p, repositories: '.*', untagged: { newer_than: 0s } }]",
            &[
                "policies[0].untagged.newer_than: line 2: 0 would delete what is being pushed: write a duration above zero",
            ],
        );
        check("policies: [{ name: p, repositories: '.*', untagged: { newer_than: 7d } }]", &[]);
        check(
            "policies: [{ name: p, repositories: 'a(', exclude: ['b('], untagged: { newer_than: 7d } }]",
            &[
                r"policies[0].repositories: line 2: not a regex: `a(`: unclosed group at character 2: close what is open, or write `\` before a character that means itself",
                r"policies[0].exclude[0]: line 2: not a regex: `b(`: unclosed group at character 2: close what is open, or write `\` before a character that means itself",
            ],
        );
        check(
            "policies: [{ name: p, repositories: '.*', mode: plam, untagged: { newer_than: 7d } }]",
            &[
                "policies[0].mode: line 2: `plam` means nothing here: did you mean `plan`? write one of `plan`, `enforce`",
            ],
        );
        check(
            "policies: [{ name: p, repositories: '.*', untag: allways, untagged: { newer_than: 7d } }]",
            &[
                "policies[0].untag: line 2: `allways` means nothing here: did you mean `always`? write one of `native`, `always`, `never`",
            ],
        );
        check(
            "policies: [{ name: p, repositories: '.*', rules: x }]",
            &[
                "policies[0].rules: line 2: expected a list, found a text: write `[…]` around it, or one element per line with `- `",
            ],
        );
    }

    #[test]
    fn a_policy_names_registries_that_there_are() {
        let check = |registries: &str, expected: &[&str]| {
            check(
                &format!(
                    "policies: [{{ name: p, registries: {registries}, repositories: '.*', untagged: {{ newer_than: 7d }} }}]"
                ),
                expected,
            );
        };
        check("[main]", &[]);
        check("main", &[]);
        check(
            "[mian, other]",
            &[
                "policies[0].registries[0]: line 2: there is no registry `mian`: did you mean `main`? there are `main`",
                "policies[0].registries[1]: line 2: there is no registry `other`: there are `main`",
            ],
        );
        check("[]", &["policies[0].registries: line 2: there are none: leave it out for all registries"]);
    }

    #[test]
    fn a_name_is_given_once() {
        check(
            "policies:\n- { name: p, repositories: 'a', untagged: { newer_than: 7d } }\n- { name: p, repositories: 'b', untagged: { newer_than: 7d } }",
            &["policies[1].name: line 4: `p` is taken by policies[0].name already: give each its own name"],
        );
        check_rules(
            "  - { name: r, tags: 'a', keep: all }\n  - { name: r, tags: 'b', keep: all }",
            &[
                "policies[0].rules[1].name: line 7: `r` is taken by policies[0].rules[0].name already: give each its own name",
            ],
        );
    }

    #[test]
    fn a_policy_that_is_never_reached_names_those_before_it() {
        check(
            "policies:\n- { name: a, repositories: 'team/.*', untagged: { newer_than: 7d } }\n- { name: b, repositories: 'x', untagged: { newer_than: 7d } }\n- { name: c, repositories: 'team/app', untagged: { newer_than: 7d } }",
            &[
                "policies[2]: line 5: it never claims a repository, all are claimed by `a` before it: move it up, or remove it",
            ],
        );
    }

    #[test]
    fn a_rule_that_is_never_reached_names_those_before_it() {
        check_rules(
            "  - { name: all, tags: '.*', keep: all }\n  - { name: v, tags: 'v.*', keep: all }",
            &[
                "policies[0].rules[1]: line 7: it never claims a tag, all are claimed by `all` before it: move it up, or remove it",
            ],
        );
        check_rules(
            "  - { name: x, tags: 'x', keep: all }\n  - { name: v, tags: 'v\\d+', keep: all }\n  - { name: w, tags: 'w\\d+', keep: all }\n  - { name: vw, tags: ['[vw]\\d+'], keep: all }",
            &[
                "policies[0].rules[3]: line 9: it never claims a tag, all are claimed by `v`, `w` before it: move it up, or remove it",
            ],
        );
        // The rule that takes all has a problem of its own.
        check_rules(
            "  - { tags: '.*', keep: { newest: 0 } }\n  - { name: v, tags: 'v.*', keep: all }",
            &[
                "policies[0].rules[0].name: line 6: missing: give it one, for the reasons that plans show",
                "policies[0].rules[0].keep.newest: line 6: 0 keeps nothing: leave it out, or write `keep: none` to keep nothing at all",
                "policies[0].rules[1]: line 7: it never claims a tag, all are claimed by `policies[0].rules[0]` before it: move it up, or remove it",
            ],
        );
    }

    #[test]
    fn a_rule_has_a_name_tags_and_something_to_keep() {
        check_rules(
            "  - {}",
            &[
                "policies[0].rules[0].name: line 6: missing: give it one, for the reasons that plans show",
                r"policies[0].rules[0].tags: line 6: missing: write regexes that match whole tags, such as `'pr-\d+'`, or `'.*'` for all",
                "policies[0].rules[0].keep: line 6: missing: write `keep: all`, `keep: none` or criteria such as `keep: { newest: 5 }`",
            ],
        );
        check_rules("  -", &["policies[0].rules[0]: line 6: an empty element: fill it in, or remove it"]);
        check_rules(
            "  - { name: r, tags: [], keep: all }",
            &[
                r"policies[0].rules[0].tags: line 6: there are none: write regexes that match whole tags, such as `'pr-\d+'`, or `'.*'` for all",
            ],
        );
        check_rules(
            "  - name: r\n    tags:\n    - 'a'\n    - 'a('\n    keep: all",
            &[
                r"policies[0].rules[0].tags[1]: line 9: not a regex: `a(`: unclosed group at character 2: close what is open, or write `\` before a character that means itself",
            ],
        );
    }

    #[test]
    fn a_group_is_in_every_regex_of_the_rule() {
        check_rules("  - { name: r, tags: '(?<b>.)', group_by: b, keep: all }", &[]);
        check_rules(
            "  - { name: r, tags: ['(?<b>.)', 'n-.*', 'm-(.*)'], group_by: [b], keep: all }",
            &[
                "policies[0].rules[0].group_by[0]: line 6: there is no group `b` in `n-.*`, `m-(.*)`: write `(?<b>…)` in it",
            ],
        );
    }

    #[test]
    fn what_is_kept_is_said_in_words_or_in_criteria() {
        check_keep("all", &[]);
        check_keep("none", &[]);
        check_keep(
            "",
            &[
                "policies[0].rules[0].keep: line 6: there is nothing after this key: fill it in, or remove the key",
            ],
        );
        check_keep(
            "{}",
            &[
                "policies[0].rules[0].keep: line 6: it is empty: write `keep: all`, `keep: none` or criteria such as `keep: { newest: 5 }`",
            ],
        );
        check_keep(
            "14d",
            &[
                "policies[0].rules[0].keep: line 6: `14d` is no criterion: write `keep: all`, `keep: none` or criteria such as `keep: { newest: 5 }`",
            ],
        );
        check_keep(
            "{ newest: 0, daily: 0, newer_than: 0s, versions: { newest: 0 } }",
            &[
                "policies[0].rules[0].keep.newest: line 6: 0 keeps nothing: leave it out, or write `keep: none` to keep nothing at all",
                "policies[0].rules[0].keep.newer_than: line 6: 0 keeps nothing: leave it out, or write `keep: none` to keep nothing at all",
                "policies[0].rules[0].keep.daily: line 6: 0 keeps nothing: leave it out, or write `keep: none` to keep nothing at all",
                "policies[0].rules[0].keep.versions.newest: line 6: 0 keeps nothing: leave it out, or write `keep: none` to keep nothing at all",
            ],
        );
        check_keep(
            "{ versions: {} }",
            &["policies[0].rules[0].keep.versions.newest: line 6: missing: write how many versions to keep"],
        );
        check_keep(
            "{ versions: { newest: 3, per: patch } }",
            &[
                "policies[0].rules[0].keep.versions.per: line 6: `patch` means nothing here: write one of `major`, `minor`",
            ],
        );
        check_keep(
            "{ all: {} }",
            &[
                "policies[0].rules[0].keep.all: line 6: it is empty: write the criteria that must all hold, such as `{ newest: 5, newer_than: 7d }`",
            ],
        );
        check_keep(
            "{ all: { all: { newest: 3 } } }",
            &[
                "policies[0].rules[0].keep.all.all: line 6: `all` stands inside `all` already: write its criteria beside the others",
            ],
        );
        check_keep(
            "{ all: { all: { newest: 3 }, newest: 3 } }",
            &[
                "policies[0].rules[0].keep.all.all: line 6: `all` stands inside `all` already: write its criteria beside the others",
            ],
        );
        check_keep(
            "{ newset: 3 }",
            &[
                "policies[0].rules[0].keep.newset: line 6: unknown key: did you mean `newest`? the keys here are `newest`, `newer_than`, `daily`, `weekly`, `monthly`, `yearly`, `versions`, `all`",
            ],
        );
        check_keep(
            "{ newest: three }",
            &[r#"policies[0].rules[0].keep.newest: line 6: expected a whole number, found the text "three""#],
        );
    }

    #[test]
    fn criteria_are_read_in_a_fixed_order() {
        let text = rules(
            "  - { name: r, tags: '.*', keep: { all: { daily: 1, newest: 2 }, versions: { newest: 3, per: minor }, yearly: 4, monthly: 5, weekly: 6, newer_than: 1h } }",
        );
        let config = parse(&format!("{REGISTRIES}{text}"), "f", &tests::env).unwrap();
        let n = |number| NonZeroUsize::new(number).unwrap();
        let expected = Keep::Any(vec![
            Criterion::NewerThan(TimeDelta::hours(1)),
            Criterion::Period(Period::Weekly, n(6)),
            Criterion::Period(Period::Monthly, n(5)),
            Criterion::Period(Period::Yearly, n(4)),
            Criterion::Versions(n(3), Some(Line::Minor)),
            Criterion::All(vec![Criterion::Newest(n(2)), Criterion::Period(Period::Daily, n(1))]),
        ]);
        assert_eq!(config.policies[0].rules[0].keep, expected);
    }
}
