//! The configuration as written → validated.
//!
//! This file validates the top level; each part has a file of its own. They know no lines of text. Validation goes on
//! after a problem, so that all are found; the default replaces an invalid value, because a configuration with a
//! problem is never returned.

mod auth;
mod docker_config;
mod gc;
mod keep;
mod limits;
mod policies;
mod protect;
mod redis;
mod registries;
mod secrets;
mod tls;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::TimeDelta;
use chrono_tz::Tz;

use super::diagnostics::{Findings, Path};
use super::env::Env;
use super::schedule::Schedule;
use super::schema::{self, Span};
use super::settings::Config;
use crate::model::duration;

use secrets::secret;
use values::{mode, parsed, timezone};

/// By default, only this machine can connect.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9717);

const STATE_DIR: &str = "/var/lib/regsweep";

const HISTORY: TimeDelta = TimeDelta::days(180);

/// The minimum of `history`: with less, a deletion could not be undone the next day.
const MIN_HISTORY: TimeDelta = TimeDelta::days(1);

/// Validates the whole configuration, and reports every problem.
pub(crate) fn config(written: schema::Config, env: Env<'_>, findings: &mut Findings) -> Config {
    let at = Path::default();
    let mode = mode(written.mode.as_deref(), &at.key("mode"), findings);
    let timezone = parsed(written.timezone, &at.key("timezone"), findings, timezone);
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
        protect: written.protect.map(|protect| protect::protect(protect, findings)).unwrap_or_default(),
        limits: written.limits.map(|limits| limits::limits(&limits, findings)).unwrap_or_default(),
        policies: policies::policies(written.policies, names.as_deref(), findings)
            .into_iter()
            .map(Arc::new)
            .collect(),
    }
}

/// The first directory of `$STATE_DIRECTORY`, which systemd sets, else the default.
fn state_dir(env: Env<'_>) -> PathBuf {
    let directories = env("STATE_DIRECTORY").unwrap_or_default();
    let first = directories.split(':').next().filter(|first| !first.is_empty());
    first.unwrap_or(STATE_DIR).into()
}

/// How long the history is kept; `None` if the value is invalid.
fn history(written: Option<Span>, at: &Path, findings: &mut Findings) -> Option<TimeDelta> {
    if findings.is_unreadable_within(at) {
        return None;
    }
    let history = written.map_or(HISTORY, TimeDelta::from);
    if history < MIN_HISTORY {
        let (history, min) = (duration::exact(history), duration::exact(MIN_HISTORY));
        findings.add(at, format!("{history} is too short to undo deletions: write at least `{min}`"));
        return None;
    }
    Some(history)
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is not an address: write an IP address and a port, such as `{LISTEN}`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::config::tests::{self, POLICIES, REGISTRIES, check_setting as check};
    use crate::policy::{Limits, Mode, Protect};

    #[test]
    fn top_level_defaults() {
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
    fn state_dir_defaults_to_the_one_of_systemd() {
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
    fn invalid_settings_are_told_with_the_remedy() {
        check(
            "mode: enforced",
            &[
                "mode: line 1: `enforced` is not a valid value: did you mean `enforce`? valid values are `plan`, `enforce`",
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
                "schedule: line 1: invalid cron expression: Number out of bounds: write 5 fields such as `0 3 * * *` (every day at 3), or 6 with seconds first",
            ],
        );
    }

    #[test]
    fn history_below_a_day_is_refused() {
        check("history: 1d", &[]);
        check("history: 520w", &[]);
        check("history: 23h", &["history: line 1: 23h is too short to undo deletions: write at least `1d`"]);
        check("history: 0s", &["history: line 1: 0s is too short to undo deletions: write at least `1d`"]);
        check("history: 6m", &["history: line 1: `6m` could be minutes or months: write `6min` or `180d`"]);
    }

    #[test]
    fn protections_and_limits_may_be_off() {
        check("protect: {}", &[]);
        check("protect: { newer_than: 0s, at_least: 0, tags: [], labels: [] }", &[]);
        check("limits: { max_deletions: 0, max_percent: 0 }", &[]);
        check("limits: { max_percent: 100 }", &[]);
        check(
            "limits: { max_percent: 101 }",
            &[
                "limits.max_percent: line 1: 101 is more than 100 percent: write at most 100, which sets no limit",
            ],
        );
        check(
            "limits: { max_percent: 300 }",
            &[
                "limits.max_percent: line 1: 300 is more than 100 percent: write at most 100, which sets no limit",
            ],
        );
    }
}
