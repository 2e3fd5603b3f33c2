//! What is kept regardless of the rules, as written → validated.
//!
//! It knows no rules.

use super::values::{count, one_or_many, patterns};
use crate::config::diagnostics::{Findings, Path};
use crate::config::schema::{self, OneOrMany};
use crate::policy::{Label, Protect};

pub(crate) fn protect(written: schema::Protect, findings: &mut Findings) -> Protect {
    let at = Path::default().key("protect");
    let default = Protect::default();
    Protect {
        tags: patterns(written.tags, &at.key("tags"), findings).unwrap_or_default(),
        labels: labels(written.labels, &at.key("labels"), findings),
        newer_than: written.newer_than.map_or(default.newer_than, Into::into),
        at_least: count(written.at_least, &at.key("at_least"), findings).unwrap_or(default.at_least),
    }
}

fn labels(written: Option<OneOrMany>, at: &Path, findings: &mut Findings) -> Vec<Label> {
    let mut labels = Vec::new();
    for (at, text) in one_or_many(written, at, findings) {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (text.as_str(), None),
        };
        if key.is_empty() {
            findings.add(&at, format!("`{text}` has no key: write `key=value`, or `key` to match any value"));
        } else {
            labels.push(Label { key: key.to_owned(), value });
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::config::tests::{self, POLICIES, REGISTRIES, check_setting as check};

    #[test]
    fn label_is_a_key_with_or_without_a_value() {
        let text = format!("protect: {{ labels: [keep, a=b, a=b=c, a=] }}\n{REGISTRIES}{POLICIES}");
        let labels = parse(&text, "f", &tests::env).unwrap().protect.labels;
        let label = |key: &str, value: Option<&str>| Label { key: key.into(), value: value.map(Into::into) };
        assert_eq!(
            labels,
            [label("keep", None), label("a", Some("b")), label("a", Some("b=c")), label("a", Some(""))]
        );
        check(
            "protect: { labels: ['=x'] }",
            &["protect.labels[0]: line 1: `=x` has no key: write `key=value`, or `key` to match any value"],
        );
    }
}
