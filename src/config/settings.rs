//! The configuration as written → validated.
//!
//! What is said of registries and policies is left to their own files, and no line of text is seen here.
//! It goes on after a problem, so that all are found. Where a value cannot be used its default stands in:
//! a configuration with a problem is never handed out.

use std::net::SocketAddr;
use std::path::PathBuf;

use chrono::TimeDelta;
use chrono_tz::Tz;

use super::problem::{Findings, Path};
use super::quantity::Span;
use super::schedule::{self, Schedule};
use super::secret::secret;
use super::values::{count, mode, parsed, patterns, texts};
use super::written::{self, Texts};
use super::{Config, Env, policies, registries};
use crate::plan::span;
use crate::policy::{Label, Limits, Protect};

/// Served to this machine only, until the operator says more.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9717);

const STATE_DIR: &str = "/var/lib/regsweep";

const HISTORY: TimeDelta = TimeDelta::days(180);

/// Less than this is no memory to rely on.
const SHORTEST_HISTORY: TimeDelta = TimeDelta::days(1);

/// Validates everything, and reports whatever is wrong.
pub(super) fn config(written: written::Config, env: Env<'_>, findings: &mut Findings) -> Config {
    let at = Path::default();
    let mode = mode(written.mode.as_deref(), &at.key("mode"), findings);
    let timezone = parsed(written.timezone, &at.key("timezone"), findings, schedule::timezone);
    let schedule = parsed(written.schedule, &at.key("schedule"), findings, Schedule::parse);
    let listen = parsed(written.listen, &at.key("listen"), findings, listen);
    let admin_token =
        written.admin_token.and_then(|place| secret(place, &at.key("admin_token"), env, findings));
    let history = history(written.history, &at.key("history"), findings);
    let names = registries::names(written.registries.as_deref());
    let registries = registries::registries(written.registries, schedule.as_ref(), history, env, findings);
    Config {
        mode: mode.unwrap_or_default(),
        timezone: timezone.unwrap_or(Tz::UTC),
        listen: listen.unwrap_or(LISTEN),
        admin_token,
        state_dir: written.state_dir.unwrap_or_else(|| state_dir(env)),
        history: history.unwrap_or(HISTORY),
        retired: registries::retired(written.retired, &registries, findings),
        registries,
        protect: written.protect.map(|protect| self::protect(protect, findings)).unwrap_or_default(),
        limits: written.limits.map(|limits| self::limits(&limits, findings)).unwrap_or_default(),
        policies: policies::policies(written.policies, names.as_deref(), findings),
    }
}

/// The first of the directories that systemd made for us, if it did.
fn state_dir(env: Env<'_>) -> PathBuf {
    let directories = env("STATE_DIRECTORY").unwrap_or_default();
    let first = directories.split(':').next().filter(|first| !first.is_empty());
    first.unwrap_or(STATE_DIR).into()
}

/// How long is remembered; `None` if what was written cannot be used.
fn history(written: Option<Span>, at: &Path, findings: &mut Findings) -> Option<TimeDelta> {
    if findings.is_unread_within(at) {
        return None;
    }
    let history = written.map_or(HISTORY, TimeDelta::from);
    if history < SHORTEST_HISTORY {
        let (history, shortest) = (span::exact(history), span::exact(SHORTEST_HISTORY));
        findings.add(
            at,
            format!(
                "{history} is too short: what is forgotten cannot be undone: write at least `{shortest}`"
            ),
        );
        return None;
    }
    Some(history)
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is not an address: write an IP address and a port, such as `{LISTEN}`")
    })
}

fn protect(written: written::Protect, findings: &mut Findings) -> Protect {
    let at = Path::default().key("protect");
    let default = Protect::default();
    Protect {
        tags: patterns(written.tags, &at.key("tags"), findings).unwrap_or_default(),
        labels: labels(written.labels, &at.key("labels"), findings),
        newer_than: written.newer_than.map_or(default.newer_than, Into::into),
        at_least: count(written.at_least, &at.key("at_least"), findings).unwrap_or(default.at_least),
    }
}

fn labels(written: Option<Texts>, at: &Path, findings: &mut Findings) -> Vec<Label> {
    let mut labels = Vec::new();
    for (at, text) in texts(written, at, findings) {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (text.as_str(), None),
        };
        if key.is_empty() {
            findings.add(&at, format!("`{text}` has no key: write `key=value`, or `key` for any value"));
        } else {
            labels.push(Label { key: key.to_owned(), value });
        }
    }
    labels
}

fn limits(written: &written::Limits, findings: &mut Findings) -> Limits {
    let at = Path::default().key("limits");
    let default = Limits::default();
    let max_percent = match written.max_percent {
        Some(percent) => u8::try_from(percent).ok().filter(|percent| *percent <= 100).or_else(|| {
            findings.add(
                &at.key("max_percent"),
                format!("{percent} is more than 100 percent: 100 sets no limit"),
            );
            None
        }),
        None => None,
    };
    Limits {
        max_deletions: count(written.max_deletions, &at.key("max_deletions"), findings)
            .unwrap_or(default.max_deletions),
        max_percent: max_percent.unwrap_or(default.max_percent),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::super::tests::{self, POLICIES, REGISTRIES, check_setting as check};
    use super::*;
    use crate::policy::Mode;

    #[test]
    fn what_is_not_written_has_its_default() {
        let config = parse(&format!("{REGISTRIES}{POLICIES}"), "f", &tests::env).unwrap();
        assert_eq!(config.mode, Mode::Plan);
        assert_eq!(config.timezone, Tz::UTC);
        assert_eq!(config.listen.to_string(), "127.0.0.1:9717");
        assert_eq!(config.state_dir, PathBuf::from("/var/lib/regsweep"));
        assert_eq!(config.history, TimeDelta::days(180));
        assert_eq!(config.protect, Protect::default());
        assert_eq!(config.limits, Limits::default());
        assert_eq!(config.policies[0].mode, Mode::Enforce);
    }

    #[test]
    fn the_state_is_kept_where_the_configuration_or_else_systemd_says() {
        let check = |setting: &str, directory: &str, expected: &str| {
            let env = |name: &str| (name == "STATE_DIRECTORY").then(|| directory.to_owned());
            let config = parse(&format!("{setting}\n{REGISTRIES}{POLICIES}"), "f", &env).unwrap();
            assert_eq!(config.state_dir, PathBuf::from(expected));
        };
        check("", "/s", "/s");
        check("", "/s:/t", "/s");
        check("", "", "/var/lib/regsweep");
        check("state_dir: /mine", "/s", "/mine");
    }

    #[test]
    fn a_setting_that_means_nothing_says_what_to_write() {
        check(
            "mode: enforced",
            &[
                "mode: line 1: `enforced` means nothing here: did you mean `enforce`? write one of `plan`, `enforce`",
            ],
        );
        check(
            "listen: ':9717'",
            &[
                "listen: line 1: `:9717` is not an address: write an IP address and a port, such as `127.0.0.1:9717`",
            ],
        );
        check("listen: '[::]:9717'", &[]);
        check(
            "timezone: Europe/Berln",
            &["timezone: line 1: `Europe/Berln` is not a time zone: did you mean `Europe/Berlin`?"],
        );
        check(
            "schedule: '0 25 * * *'",
            &[
                "schedule: line 1: not a cron line: Number out of bounds: write 5 fields such as `0 3 * * *` (every day at 3), or 6 with seconds first",
            ],
        );
    }

    #[test]
    fn what_is_remembered_for_less_than_a_day_is_refused() {
        check("history: 1d", &[]);
        check("history: 520w", &[]);
        check(
            "history: 23h",
            &["history: line 1: 23h is too short: what is forgotten cannot be undone: write at least `1d`"],
        );
        check(
            "history: 0s",
            &["history: line 1: 0s is too short: what is forgotten cannot be undone: write at least `1d`"],
        );
        check("history: 6m", &["history: line 1: `6m` could mean minutes or months: write `6min` or `180d`"]);
    }

    #[test]
    fn nothing_need_be_protected_or_limited() {
        check("protect: {}", &[]);
        check("protect: { newer_than: 0s, at_least: 0, tags: [], labels: [] }", &[]);
        check("limits: { max_deletions: 0, max_percent: 0 }", &[]);
        check("limits: { max_percent: 100 }", &[]);
        check(
            "limits: { max_percent: 101 }",
            &["limits.max_percent: line 1: 101 is more than 100 percent: 100 sets no limit"],
        );
        check(
            "limits: { max_percent: 300 }",
            &["limits.max_percent: line 1: 300 is more than 100 percent: 100 sets no limit"],
        );
    }

    #[test]
    fn a_label_is_a_key_with_or_without_a_value() {
        let text = format!("protect: {{ labels: [keep, a=b, a=b=c, a=] }}\n{REGISTRIES}{POLICIES}");
        let labels = parse(&text, "f", &tests::env).unwrap().protect.labels;
        let label = |key: &str, value: Option<&str>| Label { key: key.into(), value: value.map(Into::into) };
        assert_eq!(
            labels,
            [label("keep", None), label("a", Some("b")), label("a", Some("b=c")), label("a", Some(""))]
        );
        check(
            "protect: { labels: ['=x'] }",
            &["protect.labels[0]: line 1: `=x` has no key: write `key=value`, or `key` for any value"],
        );
    }
}
