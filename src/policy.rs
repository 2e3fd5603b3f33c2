//! What the operator wants: which policy claims a repository, which rule claims a tag, and what keeps it.
//!
//! It must not know the text of a configuration, or manifests: it only matches names.

mod coverage;
mod pattern;

pub use pattern::{InvalidPattern, Pattern, Patterns};

use std::fmt;
use std::num::NonZeroUsize;

use chrono::TimeDelta;

use crate::model::{RepositoryName, Tag};

/// One policy: the repositories it claims, and the rules for their tags. The default claims and deletes nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Policy {
    /// What the operator calls it; unique.
    pub name: String,
    /// The registries it is for; `None` means all.
    pub registries: Option<Vec<String>>,
    /// Repositories it claims.
    pub repositories: Patterns,
    /// Repositories it does not claim after all.
    pub exclude: Patterns,
    /// Whether its deletions are carried out.
    pub mode: Mode,
    /// The first rule that claims a tag decides it.
    pub rules: Vec<Rule>,
    /// The age from which a manifest without tags expires; `None` leaves them alone.
    pub untagged: Option<TimeDelta>,
    /// What becomes of expired tags whose manifests stay.
    pub untag: Untagging,
}

impl Policy {
    /// Whether this policy claims the repository. The first policy that does decides it.
    pub fn claims(&self, registry: &str, repository: &RepositoryName) -> bool {
        let name = repository.as_str();
        self.registries.as_ref().is_none_or(|names| names.iter().any(|name| name == registry))
            && self.repositories.matches(name)
            && !self.exclude.matches(name)
    }

    /// The number of the rule that decides the tag, and the group that the tag is in there; `None` if no
    /// rule claims it.
    pub fn decides(&self, tag: &Tag) -> Option<(usize, Vec<String>)> {
        self.rules.iter().enumerate().find_map(|(number, rule)| Some((number, rule.claim(tag)?)))
    }

    /// Whether every repository that this policy could claim is claimed by one of `earlier` first.
    ///
    /// `false` also where that is unknown: an exclusion or a partial list of registries leaves
    /// something over more often than not.
    pub fn is_shadowed_by(&self, earlier: &[Self]) -> bool {
        let whole = earlier.iter().filter(|other| {
            other.exclude.is_empty()
                && match (&other.registries, &self.registries) {
                    (None, _) => true,
                    (Some(_), None) => false,
                    (Some(others), Some(ours)) => ours.iter().all(|name| others.contains(name)),
                }
        });
        let claimed: Vec<&Pattern> = whole.flat_map(|other| other.repositories.iter()).collect();
        coverage::covers(&claimed, &self.repositories, coverage::REPOSITORY_BYTES)
    }
}

/// What becomes of expired tags whose manifests other tags keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Untagging {
    /// They go where the registry can delete a tag alone, and stay elsewhere.
    #[default]
    Native,
    /// They go everywhere: where the registry cannot delete a tag alone, a placeholder takes the tag and
    /// is deleted with it.
    Always,
    /// They stay everywhere.
    Never,
}

/// Whether what a plan says is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Plans are made and shown; nothing is ever deleted.
    #[default]
    Plan,
    /// Plans are applied.
    Enforce,
}

/// One rule: the tags it claims, and what keeps them.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// What the operator calls it; unique in its policy.
    pub name: String,
    /// Tags it claims.
    pub tags: Patterns,
    /// Named groups of `tags`. Criteria count separately for each combination of their values.
    pub group_by: Vec<String>,
    /// What keeps a tag that the rule claims.
    pub keep: Keep,
}

impl Rule {
    /// Whether this rule claims the tag, and if so in which group.
    pub fn claim(&self, tag: &Tag) -> Option<Vec<String>> {
        self.tags.groups(tag.as_str(), &self.group_by)
    }

    /// Whether every tag that this rule could claim is claimed by one of `earlier` first.
    pub fn is_shadowed_by(&self, earlier: &[Self]) -> bool {
        let claimed: Vec<&Pattern> = earlier.iter().flat_map(|rule| rule.tags.iter()).collect();
        coverage::covers(&claimed, &self.tags, coverage::TAG_BYTES)
    }
}

/// What keeps the tags that a rule claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// Every one of them is kept.
    Everything,
    /// None of them is kept by the rule.
    Nothing,
    /// Those for which at least one criterion holds are kept.
    Any(Vec<Criterion>),
}

/// One reason to keep a manifest, judged among the manifests of its rule and group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Criterion {
    /// Among the youngest this many.
    Newest(NonZeroUsize),
    /// Younger than this.
    NewerThan(TimeDelta),
    /// The youngest of one of the last this many calendar periods that have any.
    Period(Period, NonZeroUsize),
    /// Among the this many highest semantic versions, of the set or of each line.
    Versions(NonZeroUsize, Option<Line>),
    /// Every one of these holds.
    All(Vec<Criterion>),
}

/// A calendar period, in the time zone of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// A day.
    Daily,
    /// An ISO week, Monday to Sunday.
    Weekly,
    /// A month.
    Monthly,
    /// A year.
    Yearly,
}

impl Period {
    /// The key that names it in the configuration, and the code of the reason.
    pub fn name(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        }
    }
}

/// A line of semantic versions within which the highest are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// All versions with the same major number.
    Major,
    /// All versions with the same major and minor number.
    Minor,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Major => "major",
            Self::Minor => "minor",
        })
    }
}

/// What is kept whatever the rules say.
#[derive(Debug, Clone, PartialEq)]
pub struct Protect {
    /// Tags that are never expired.
    pub tags: Patterns,
    /// Labels of an image's configuration, or annotations of a manifest.
    pub labels: Vec<Label>,
    /// Nothing younger than this is deleted.
    pub newer_than: TimeDelta,
    /// Tagged manifests that stay in every repository.
    pub at_least: usize,
}

impl Default for Protect {
    fn default() -> Self {
        Self { tags: Patterns::default(), labels: Vec::new(), newer_than: TimeDelta::hours(1), at_least: 1 }
    }
}

/// A label that protects: by its key alone, or by key and value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The label's key.
    pub key: String,
    /// The value it must have; `None` accepts every value.
    pub value: Option<String>,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}", self.key),
            None => f.write_str(&self.key),
        }
    }
}

/// Bounds of one run. A run that would do more is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Manifests that one run may delete from one registry.
    pub max_deletions: usize,
    /// Percent of a repository's tagged manifests that one run may delete, where it has at least
    /// [`Limits::PERCENT_FROM`] of them.
    pub max_percent: u8,
}

impl Limits {
    /// Below this many tagged manifests a percentage says little, and `max_percent` does not apply.
    pub const PERCENT_FROM: usize = 10;
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_deletions: 1000, max_percent: 75 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(tags: &[&str]) -> Rule {
        Rule {
            name: "r".into(),
            tags: Patterns::parse(tags).unwrap(),
            group_by: Vec::new(),
            keep: Keep::Nothing,
        }
    }

    fn policy(registries: Option<&[&str]>, repositories: &[&str], exclude: &[&str]) -> Policy {
        Policy {
            name: "p".into(),
            registries: registries.map(|names| names.iter().map(|&name| name.into()).collect()),
            repositories: Patterns::parse(repositories).unwrap(),
            exclude: Patterns::parse(exclude).unwrap(),
            mode: Mode::Enforce,
            rules: Vec::new(),
            untagged: None,
            untag: Untagging::Native,
        }
    }

    #[test]
    fn policy_claims_by_registry_repository_and_exclusion() {
        let policy = policy(Some(&["main"]), &["team/.*"], &["team/archive/.*"]);
        let check = |registry: &str, repository: &str, claimed: bool| {
            let repository = RepositoryName::parse(repository).unwrap();
            assert_eq!(policy.claims(registry, &repository), claimed, "{registry} {repository}");
        };
        check("main", "team/app", true);
        check("other", "team/app", false);
        check("main", "other/team/app", false);
        check("main", "team/archive/app", false);
    }

    #[test]
    fn rule_returns_the_group_of_a_tag() {
        let mut nightly = rule(&[r"nightly-(?<branch>.+)-\d{8}", "n-(?<branch>x)?"]);
        nightly.group_by = vec!["branch".into()];
        let check = |tag: &str, group: Option<&str>| {
            let expected = group.map(|value| vec![value.to_owned()]);
            assert_eq!(nightly.claim(&Tag::parse(tag).unwrap()), expected, "{tag}");
        };
        check("nightly-main-20260101", Some("main"));
        check("nightly-a-b-20260101", Some("a-b"));
        check("n-x", Some("x"));
        check("n-", Some(""));
        check("nightly-main", None);
    }

    #[test]
    fn rule_after_a_rule_for_all_tags_is_shadowed() {
        let check = |earlier: &[&str], later: &[&str], shadowed: bool| {
            assert_eq!(rule(later).is_shadowed_by(&[rule(earlier)]), shadowed, "{earlier:?} {later:?}");
        };
        check(&[".*"], &["v.*"], true);
        check(&[".+"], &[".*"], true);
        check(&["v.*"], &[r"v\d+"], true);
        check(&[r"\w.*"], &["pr-.*"], true);
        check(&[r"v\d+", r"v\d+\.\d+"], &[r"v\d+(\.\d+)?"], true);
        check(&["v.*"], &[r"v?\d+"], false);
        check(&["pr-.*"], &[".*"], false);
        check(&[r"v\d+"], &["v.*"], false);
        assert!(!rule(&[".*"]).is_shadowed_by(&[]));
    }

    #[test]
    fn policy_is_shadowed_only_if_no_repository_is_left_for_it() {
        let all = policy(None, &[".*"], &[]);
        let some = policy(None, &[".*"], &["x/.*"]);
        let main = policy(Some(&["main"]), &[".*"], &[]);
        let team = policy(None, &["team/.*"], &[]);
        let main_team = policy(Some(&["main"]), &["team/.*"], &[]);
        let check = |later: &Policy, earlier: &Policy, shadowed: bool| {
            assert_eq!(later.is_shadowed_by(std::slice::from_ref(earlier)), shadowed);
        };
        check(&team, &all, true);
        check(&team, &some, false);
        check(&team, &main, false);
        check(&main_team, &main, true);
        check(&all, &team, false);
    }
}
