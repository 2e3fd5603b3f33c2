//! The keep criteria of a rule as written → validated.
//!
//! It knows nothing of the tags that a rule claims.

use std::num::NonZeroUsize;

use chrono::TimeDelta;

use super::values::{count, keyword};
use crate::config::diagnostics::{Findings, Path};
use crate::config::schema::{self, Span};
use crate::policy::{Criterion, Keep, Line, Period};

pub(crate) const KEEP_ADVICE: &str =
    "write `keep: all`, `keep: none` or criteria such as `keep: { newest: 5 }`";

pub(crate) fn keep(written: schema::Keep, at: &Path, findings: &mut Findings) -> Option<Keep> {
    match written {
        schema::Keep::Keyword(keyword) => match keyword.as_str() {
            "all" => Some(Keep::Everything),
            "none" => Some(Keep::Nothing),
            _ => {
                findings.add(at, format!("`{keyword}` is not a criterion: {KEEP_ADVICE}"));
                None
            }
        },
        schema::Keep::Criteria(criteria) => self::criteria(*criteria, at, findings).map(Keep::Any),
    }
}

fn criteria(mut written: schema::Criteria, at: &Path, findings: &mut Findings) -> Option<Vec<Criterion>> {
    let all = written.all.take();
    let mut criteria = simple_criteria(written, at, findings);
    if let Some(mut all) = all {
        let at = at.key("all");
        if all.all.take().is_some() {
            findings.add(&at.key("all"), "`all` cannot contain `all`: move the criteria to the outer `all`");
        }
        let inner = simple_criteria(*all, &at, findings);
        if inner.is_empty() && !findings.is_reported_within(&at) {
            findings.add(
                &at,
                "no criteria: write the criteria that must all hold, such as `{ newest: 5, newer_than: 7d }`",
            );
        }
        criteria.push(Criterion::All(inner));
    }
    if criteria.is_empty() {
        if !findings.is_reported_within(at) {
            findings.add(at, format!("no criteria: {KEEP_ADVICE}"));
        }
        return None;
    }
    Some(criteria)
}

/// All criteria but `all`.
fn simple_criteria(written: schema::Criteria, at: &Path, findings: &mut Findings) -> Vec<Criterion> {
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
        let per = keyword(versions.per.as_deref(), &lines, &at.key("per"), findings);
        criteria.extend(newest.map(|newest| Criterion::Versions(newest, per)));
    }
    criteria
}

fn positive(written: Option<u64>, at: &Path, findings: &mut Findings) -> Option<NonZeroUsize> {
    let count = count(written, at, findings)?;
    let positive = NonZeroUsize::new(count);
    if positive.is_none() {
        findings.add(at, "0 keeps nothing: remove the key, or write `keep: none` to keep nothing at all");
    }
    positive
}

fn age(written: Option<Span>, at: &Path, findings: &mut Findings) -> Option<TimeDelta> {
    let span = written?;
    if span.is_zero() {
        findings.add(at, "0 keeps nothing: remove the key, or write `keep: none` to keep nothing at all");
        return None;
    }
    Some(span.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::config::tests::{self, REGISTRIES};

    /// A policy with these rules, which begin on line 6.
    fn rules(rules: &str) -> String {
        format!("policies:\n- name: p\n  repositories: '.*'\n  rules:\n{rules}")
    }

    /// Checks all problems of one rule's `keep`.
    #[track_caller]
    fn check_keep(keep: &str, expected: &[&str]) {
        let rules = rules(&format!("  - {{ name: r, tags: '.*', keep: {keep} }}"));
        tests::check(&format!("{REGISTRIES}{rules}\n"), expected);
    }

    #[test]
    fn keep_is_all_none_or_criteria() {
        check_keep("all", &[]);
        check_keep("none", &[]);
        check_keep(
            "",
            &["policies[0].rules[0].keep: line 6: the key has no value: add a value, or remove the key"],
        );
        check_keep(
            "{}",
            &[
                "policies[0].rules[0].keep: line 6: no criteria: write `keep: all`, `keep: none` or criteria such as `keep: { newest: 5 }`",
            ],
        );
        check_keep(
            "14d",
            &[
                "policies[0].rules[0].keep: line 6: `14d` is not a criterion: write `keep: all`, `keep: none` or criteria such as `keep: { newest: 5 }`",
            ],
        );
        check_keep(
            "{ newest: 0, daily: 0, newer_than: 0s, versions: { newest: 0 } }",
            &[
                "policies[0].rules[0].keep.newest: line 6: 0 keeps nothing: remove the key, or write `keep: none` to keep nothing at all",
                "policies[0].rules[0].keep.newer_than: line 6: 0 keeps nothing: remove the key, or write `keep: none` to keep nothing at all",
                "policies[0].rules[0].keep.daily: line 6: 0 keeps nothing: remove the key, or write `keep: none` to keep nothing at all",
                "policies[0].rules[0].keep.versions.newest: line 6: 0 keeps nothing: remove the key, or write `keep: none` to keep nothing at all",
            ],
        );
        check_keep(
            "{ versions: {} }",
            &["policies[0].rules[0].keep.versions.newest: line 6: missing: write how many versions to keep"],
        );
        check_keep(
            "{ versions: { newest: 3, per: patch } }",
            &[
                "policies[0].rules[0].keep.versions.per: line 6: `patch` is not a valid value: valid values are `major`, `minor`",
            ],
        );
        check_keep(
            "{ all: {} }",
            &[
                "policies[0].rules[0].keep.all: line 6: no criteria: write the criteria that must all hold, such as `{ newest: 5, newer_than: 7d }`",
            ],
        );
        check_keep(
            "{ all: { all: { newest: 3 } } }",
            &[
                "policies[0].rules[0].keep.all.all: line 6: `all` cannot contain `all`: move the criteria to the outer `all`",
            ],
        );
        check_keep(
            "{ all: { all: { newest: 3 }, newest: 3 } }",
            &[
                "policies[0].rules[0].keep.all.all: line 6: `all` cannot contain `all`: move the criteria to the outer `all`",
            ],
        );
        check_keep(
            "{ newset: 3 }",
            &[
                "policies[0].rules[0].keep.newset: line 6: unknown key: did you mean `newest`? valid keys are `newest`, `newer_than`, `daily`, `weekly`, `monthly`, `yearly`, `versions`, `all`",
            ],
        );
        check_keep(
            "{ newest: three }",
            &[
                r#"policies[0].rules[0].keep.newest: line 6: expected a whole number, found the string "three""#,
            ],
        );
    }

    #[test]
    fn keep_criteria_have_a_fixed_order() {
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
