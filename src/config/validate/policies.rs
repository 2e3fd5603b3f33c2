//! Policies and their rules as written → validated.
//!
//! It knows only the names of registries, and nothing of their contents.

use super::keep::{KEEP_ADVICE, keep};
use super::values::{keyword, mode, name, one_or_many, patterns};
use crate::config::diagnostics::{Findings, Path, nearest, quoted_list};
use crate::config::schema::{self, List, OneOrMany};
use crate::policy::{Keep, Mode, Patterns, Policy, Rule, Untagging};

/// Validates all policies. `registries` are the names of all registries, or `None` if one has no readable name.
pub(crate) fn policies(
    written: Option<List<schema::Policy>>,
    registries: Option<&[String]>,
    findings: &mut Findings,
) -> Vec<Policy> {
    let at = Path::default().key("policies");
    let advice = "without a policy nothing is ever deleted: write at least one with `name`, `repositories` and `rules`";
    let Some(written) = findings.required(written, &Path::default(), "policies", advice) else {
        return Vec::new();
    };
    if written.is_empty() {
        findings.add(&at, format!("the list is empty: {advice}"));
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
        let shadow = findings
            .count_comparison()
            .then(|| shadowing(&policies, |earlier| policy.is_shadowed_by(earlier)));
        if let Some(Some(shadowing)) = shadow {
            let shadowing = quoted_list(shadowing.iter().map(|policy| policy.name.as_str()));
            findings.add(
                &at,
                format!("this policy never claims a repository, because the policies before it claim all of them ({shadowing}): move it up, or remove it"),
            );
        }
        policies.push(policy);
    }
    findings.unique(&names, "give each a unique name");
    policies
}

/// `None` only if it is unknown which repositories the policy claims.
fn policy(
    written: schema::Policy,
    registries: Option<&[String]>,
    at: &Path,
    findings: &mut Findings,
) -> Option<Policy> {
    let name = name(written.name, at, "write a name for plans and metrics", findings);
    let registries = written.registries.map(|texts| {
        let at = at.key("registries");
        let names = one_or_many(Some(texts), &at, findings);
        if names.is_empty() && !findings.is_unreadable_within(&at) {
            findings.add(&at, "the list is empty: add a name, or remove the key for all registries");
        }
        names.into_iter().map(|(at, name)| known_registry(name, registries, &at, findings)).collect()
    });
    let advice = "write regexes that match whole names, such as `'team/.*'`, or `'.*'` for all";
    let repositories = required_patterns(written.repositories, at, "repositories", advice, findings);
    let exclude = patterns(written.exclude, &at.key("exclude"), findings);
    let does_nothing = written.rules.as_ref().is_none_or(Vec::is_empty) && written.untagged.is_none();
    let unread = ["rules", "untagged"].iter().any(|key| findings.is_unreadable_within(&at.key(key)));
    if does_nothing && !unread {
        findings.add(at, "this policy does nothing: write `rules`, `untagged` or both, or remove it");
    }
    let mode = mode(written.mode.as_deref(), &at.key("mode"), findings);
    let untagged = written.untagged.and_then(|untagged| {
        let at = at.key("untagged");
        let advice = "write the age at which untagged manifests expire, such as `7d`";
        let span = findings.required(untagged.newer_than, &at, "newer_than", advice)?;
        if span.is_zero() {
            findings.add(
                &at.key("newer_than"),
                "0 would delete images while they are pushed: write a duration above zero",
            );
        }
        Some(span.into())
    });
    let methods = [("native", Untagging::Native), ("always", Untagging::Always), ("never", Untagging::Never)];
    let untag = keyword(written.untag.as_deref(), &methods, &at.key("untag"), findings);
    // Before the return for invalid repositories: the problems of the rules are reported together with them.
    let rules = rules(written.rules.unwrap_or_default(), &at.key("rules"), findings);
    Some(Policy {
        // Without a name, messages about later policies refer to it by its path.
        name: name.unwrap_or_else(|| at.to_string()),
        registries,
        repositories: repositories?,
        exclude: exclude.unwrap_or_default(),
        mode: mode.unwrap_or(Mode::Enforce),
        rules,
        untagged,
        untag: untag.unwrap_or_default(),
    })
}

/// Checks that a registry of this name is configured.
fn known_registry(name: String, registries: Option<&[String]>, at: &Path, findings: &mut Findings) -> String {
    if let Some(registries) = registries
        && !registries.contains(&name)
    {
        let names = || registries.iter().map(String::as_str);
        let guess =
            nearest(&name, names()).map_or_else(String::new, |guess| format!("did you mean `{guess}`? "));
        findings.add(
            at,
            format!("there is no registry `{name}`: {guess}the registries are {}", quoted_list(names())),
        );
    }
    name
}

fn required_patterns(
    written: Option<OneOrMany>,
    at: &Path,
    key: &str,
    advice: &str,
    findings: &mut Findings,
) -> Option<Patterns> {
    let written = findings.required(written, at, key, advice)?;
    let patterns = patterns(Some(written), &at.key(key), findings)?;
    if patterns.is_empty() {
        findings.add(&at.key(key), format!("the list is empty: {advice}"));
        return None;
    }
    Some(patterns)
}

fn rules(written: List<schema::Rule>, at: &Path, findings: &mut Findings) -> Vec<Rule> {
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
        let shadow =
            findings.count_comparison().then(|| shadowing(&rules, |earlier| rule.is_shadowed_by(earlier)));
        if let Some(Some(shadowing)) = shadow {
            let shadowing = quoted_list(shadowing.iter().map(|rule| rule.name.as_str()));
            findings.add(
                &at,
                format!(
                    "this rule never claims a tag, because the rules before it claim all of them ({shadowing}): move it up, or remove it"
                ),
            );
        }
        rules.push(rule);
    }
    findings.unique(&names, "give each a unique name");
    rules
}

/// `None` only if it is unknown which tags the rule claims.
fn rule(written: schema::Rule, at: &Path, findings: &mut Findings) -> Option<Rule> {
    let name = name(written.name, at, "write a name for the reasons in plans", findings);
    let advice = r"write regexes that match whole tags, such as `'pr-\d+'`, or `'.*'` for all";
    let tags = required_patterns(written.tags, at, "tags", advice, findings);
    let group_by = one_or_many(written.group_by, &at.key("group_by"), findings);
    if let Some(tags) = &tags {
        check_groups(&group_by, tags, findings);
    }
    let written_keep = findings.required(written.keep, at, "keep", KEEP_ADVICE);
    let keep = written_keep.and_then(|written| keep(written, &at.key("keep"), findings));
    Some(Rule {
        name: name.unwrap_or_else(|| at.to_string()),
        tags: tags?,
        group_by: group_by.into_iter().map(|(_, group)| group).collect(),
        // A rule with invalid criteria still claims its tags, so it counts for the reachability of later rules.
        keep: keep.unwrap_or(Keep::Everything),
    })
}

/// Checks that each regex of the rule has all groups.
fn check_groups(group_by: &[(Path, String)], tags: &Patterns, findings: &mut Findings) {
    for (at, group) in group_by {
        let without: Vec<&str> =
            tags.iter().filter(|tag| !tag.has_group(group)).map(|tag| tag.source()).collect();
        if !without.is_empty() {
            let without = quoted_list(without);
            findings
                .add(at, format!("there is no group `{group}` in {without}: write `(?<{group}>…)` in it"));
        }
    }
}

/// A minimal set of earlier policies or rules that together claim everything this one could claim; `None` if
/// something is left for it.
fn shadowing<T: Clone>(earlier: &[T], is_shadowed_by: impl Fn(&[T]) -> bool) -> Option<Vec<T>> {
    if !is_shadowed_by(earlier) {
        return None;
    }
    let mut shadowing = earlier.to_vec();
    for index in (0..earlier.len()).rev() {
        let mut fewer = shadowing.clone();
        fewer.remove(index);
        if is_shadowed_by(&fewer) {
            shadowing = fewer;
        }
    }
    Some(shadowing)
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{self, REGISTRIES};

    /// Checks all problems of these policies.
    #[track_caller]
    fn check(policies: &str, expected: &[&str]) {
        tests::check(&format!("{REGISTRIES}{policies}\n"), expected);
    }

    fn rules(rules: &str) -> String {
        format!("policies:\n- name: p\n  repositories: '.*'\n  rules:\n{rules}")
    }

    /// Checks all problems of these rules, which begin on line 6.
    #[track_caller]
    fn check_rules(written: &str, expected: &[&str]) {
        check(&rules(written), expected);
    }

    #[test]
    fn rules_are_checked_if_the_repositories_are_invalid() {
        check(
            "policies: [{ name: a, repositories: '(', rules: [{ name: none, tags: '.*', keep: {} }] }]",
            &[
                r"policies[0].repositories: line 2: invalid regex: `(`: unclosed group at character 1: close the group, or write `\` before a literal character",
                "policies[0].rules[0].keep: line 2: no criteria: write `keep: all`, `keep: none` or criteria such as `keep: { newest: 5 }`",
            ],
        );
    }

    #[test]
    fn policies_require_at_least_one() {
        check(
            "",
            &[
                "policies: line 1: missing: without a policy nothing is ever deleted: write at least one with `name`, `repositories` and `rules`",
            ],
        );
        check(
            "policies: []",
            &[
                "policies: line 2: the list is empty: without a policy nothing is ever deleted: write at least one with `name`, `repositories` and `rules`",
            ],
        );
    }

    #[test]
    fn policy_requires_repositories_and_an_effect() {
        check(
            "policies: [{}]",
            &[
                "policies[0].name: line 2: missing: write a name for plans and metrics",
                "policies[0].repositories: line 2: missing: write regexes that match whole names, such as `'team/.*'`, or `'.*'` for all",
                "policies[0]: line 2: this policy does nothing: write `rules`, `untagged` or both, or remove it",
            ],
        );
        check(
            "policies: [{ name: p, repositories: [], untagged: {} }]",
            &[
                "policies[0].repositories: line 2: the list is empty: write regexes that match whole names, such as `'team/.*'`, or `'.*'` for all",
                "policies[0].untagged.newer_than: line 2: missing: write the age at which untagged manifests expire, such as `7d`",
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
                "policies[0].untagged.newer_than: line 2: 0 would delete images while they are pushed: write a duration above zero",
            ],
        );
        check("policies: [{ name: p, repositories: '.*', untagged: { newer_than: 7d } }]", &[]);
        check(
            "policies: [{ name: p, repositories: 'a(', exclude: ['b('], untagged: { newer_than: 7d } }]",
            &[
                r"policies[0].repositories: line 2: invalid regex: `a(`: unclosed group at character 2: close the group, or write `\` before a literal character",
                r"policies[0].exclude[0]: line 2: invalid regex: `b(`: unclosed group at character 2: close the group, or write `\` before a literal character",
            ],
        );
        check(
            "policies: [{ name: p, repositories: '.*', mode: plam, untagged: { newer_than: 7d } }]",
            &[
                "policies[0].mode: line 2: `plam` is not a valid value: did you mean `plan`? valid values are `plan`, `enforce`",
            ],
        );
        check(
            "policies: [{ name: p, repositories: '.*', untag: allways, untagged: { newer_than: 7d } }]",
            &[
                "policies[0].untag: line 2: `allways` is not a valid value: did you mean `always`? valid values are `native`, `always`, `never`",
            ],
        );
        check(
            "policies: [{ name: p, repositories: '.*', rules: x }]",
            &[
                "policies[0].rules: line 2: expected a list, found a string: write `[…]` around it, or one element per line with `- `",
            ],
        );
    }

    #[test]
    fn policy_registries_are_configured() {
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
                "policies[0].registries[0]: line 2: there is no registry `mian`: did you mean `main`? the registries are `main`",
                "policies[0].registries[1]: line 2: there is no registry `other`: the registries are `main`",
            ],
        );
        check(
            "[]",
            &[
                "policies[0].registries: line 2: the list is empty: add a name, or remove the key for all registries",
            ],
        );
    }

    #[test]
    fn names_of_policies_and_rules_are_unique() {
        check(
            "policies:\n- { name: p, repositories: 'a', untagged: { newer_than: 7d } }\n- { name: p, repositories: 'b', untagged: { newer_than: 7d } }",
            &["policies[1].name: line 4: `p` is already used by policies[0].name: give each a unique name"],
        );
        check_rules(
            "  - { name: r, tags: 'a', keep: all }\n  - { name: r, tags: 'b', keep: all }",
            &[
                "policies[0].rules[1].name: line 7: `r` is already used by policies[0].rules[0].name: give each a unique name",
            ],
        );
    }

    #[test]
    fn policy_that_is_never_reached_names_the_policies_before_it() {
        check(
            "policies:\n- { name: a, repositories: 'team/.*', untagged: { newer_than: 7d } }\n- { name: b, repositories: 'x', untagged: { newer_than: 7d } }\n- { name: c, repositories: 'team/app', untagged: { newer_than: 7d } }",
            &[
                "policies[2]: line 5: this policy never claims a repository, because the policies before it claim all of them (`a`): move it up, or remove it",
            ],
        );
    }

    #[test]
    fn rule_that_is_never_reached_names_the_rules_before_it() {
        check_rules(
            "  - { name: all, tags: '.*', keep: all }\n  - { name: v, tags: 'v.*', keep: all }",
            &[
                "policies[0].rules[1]: line 7: this rule never claims a tag, because the rules before it claim all of them (`all`): move it up, or remove it",
            ],
        );
        check_rules(
            "  - { name: x, tags: 'x', keep: all }\n  - { name: v, tags: 'v\\d+', keep: all }\n  - { name: w, tags: 'w\\d+', keep: all }\n  - { name: vw, tags: ['[vw]\\d+'], keep: all }",
            &[
                "policies[0].rules[3]: line 9: this rule never claims a tag, because the rules before it claim all of them (`v`, `w`): move it up, or remove it",
            ],
        );
        // The rule that claims everything has problems of its own.
        check_rules(
            "  - { tags: '.*', keep: { newest: 0 } }\n  - { name: v, tags: 'v.*', keep: all }",
            &[
                "policies[0].rules[0].name: line 6: missing: write a name for the reasons in plans",
                "policies[0].rules[0].keep.newest: line 6: 0 keeps nothing: remove the key, or write `keep: none` to keep nothing at all",
                "policies[0].rules[1]: line 7: this rule never claims a tag, because the rules before it claim all of them (`policies[0].rules[0]`): move it up, or remove it",
            ],
        );
    }

    #[test]
    fn rule_requires_name_tags_and_keep() {
        check_rules(
            "  - {}",
            &[
                "policies[0].rules[0].name: line 6: missing: write a name for the reasons in plans",
                r"policies[0].rules[0].tags: line 6: missing: write regexes that match whole tags, such as `'pr-\d+'`, or `'.*'` for all",
                "policies[0].rules[0].keep: line 6: missing: write `keep: all`, `keep: none` or criteria such as `keep: { newest: 5 }`",
            ],
        );
        check_rules(
            "  -",
            &["policies[0].rules[0]: line 6: the list element is empty: add a value, or remove it"],
        );
        check_rules(
            "  - { name: r, tags: [], keep: all }",
            &[
                r"policies[0].rules[0].tags: line 6: the list is empty: write regexes that match whole tags, such as `'pr-\d+'`, or `'.*'` for all",
            ],
        );
        check_rules(
            "  - name: r\n    tags:\n    - 'a'\n    - 'a('\n    keep: all",
            &[
                r"policies[0].rules[0].tags[1]: line 9: invalid regex: `a(`: unclosed group at character 2: close the group, or write `\` before a literal character",
            ],
        );
    }

    #[test]
    fn group_by_names_groups_of_every_regex() {
        check_rules("  - { name: r, tags: '(?<b>.)', group_by: b, keep: all }", &[]);
        check_rules(
            "  - { name: r, tags: ['(?<b>.)', 'n-.*', 'm-(.*)'], group_by: [b], keep: all }",
            &[
                "policies[0].rules[0].group_by[0]: line 6: there is no group `b` in `n-.*`, `m-(.*)`: write `(?<b>…)` in it",
            ],
        );
    }
}
