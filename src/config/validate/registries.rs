//! Registries as written → validated.
//!
//! It knows nothing of policies, and connects to no registry.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use chrono::TimeDelta;
use url::Url;

use super::auth::auth;
use super::gc::gc;
use super::tls::tls;
use super::values::{name, one_or_many, parsed, positive_duration};
use crate::config::diagnostics::{Findings, Path};
use crate::config::env::Env;
use crate::config::schedule::Schedule;
use crate::config::schema::{self, List};
use crate::config::settings::{Auth, Registry};
use crate::model::RepositoryName;

const CONCURRENCY: NonZeroUsize = NonZeroUsize::new(16).unwrap();
const TIMEOUT: Duration = Duration::from_secs(30);
const RUN_TIMEOUT: Duration = Duration::from_secs(12 * 60 * 60);

/// The names of all registries; `None` if one of them has no readable name.
pub(crate) fn names(written: Option<&[Option<schema::Registry>]>) -> Option<Vec<String>> {
    let names = written?.iter().map(|registry| registry.as_ref()?.name.clone());
    names.collect::<Option<Vec<_>>>().filter(|names| !names.is_empty())
}

/// Validates all registries. `schedule` and `history` are those of the top level; `history` is `None` if it is
/// invalid, and then nothing is compared with it.
pub(crate) fn registries(
    written: Option<List<schema::Registry>>,
    schedule: Option<&Schedule>,
    history: Option<TimeDelta>,
    env: Env<'_>,
    findings: &mut Findings,
) -> Vec<Registry> {
    let at = Path::default().key("registries");
    let advice = "name at least one, such as `- { name: main, url: 'https://registry.example.com' }`";
    let Some(written) = findings.required(written, &Path::default(), "registries", advice) else {
        return Vec::new();
    };
    if written.is_empty() {
        findings.add(&at, format!("the list is empty: {advice}"));
    }
    let mut names = Vec::new();
    let mut addresses = Vec::new();
    let mut former = Vec::new();
    let mut registries = Vec::new();
    for (at, written) in findings.elements(written, &at) {
        names.extend(written.name.clone().map(|name| (at.key("name"), name)));
        let registry = registry(written, schedule, history, &at, env, findings);
        addresses.extend(registry.iter().map(|registry| (at.key("url"), registry.address())));
        let was = registry.iter().flat_map(|registry| registry.was.clone());
        former.extend(was.map(|name| (at.key("was"), name)));
        registries.extend(registry);
    }
    findings.unique(&names, "give each a unique name");
    // Two entries would evaluate, delete and collect the same images concurrently, and count the same bytes twice.
    findings.unique(
        &addresses,
        "write one entry per registry, and use policies to treat its repositories differently",
    );
    findings.unique(&former, "a former name belongs to one registry");
    registries
}

/// Names of registries that were removed for good, none of which may still be configured.
pub(crate) fn retired(
    written: Option<schema::OneOrMany>,
    registries: &[Registry],
    findings: &mut Findings,
) -> Vec<String> {
    let mut names = Vec::new();
    for (at, name) in one_or_many(written, &Path::default().key("retired"), findings) {
        if registries.iter().any(|registry| registry.name == name) {
            findings
                .add(&at, format!("`{name}` is still in `registries`: remove it from one of the two lists"));
        }
        names.push(name);
    }
    names
}

fn registry(
    written: schema::Registry,
    schedule: Option<&Schedule>,
    history: Option<TimeDelta>,
    at: &Path,
    env: Env<'_>,
    findings: &mut Findings,
) -> Option<Registry> {
    let name = name(written.name, at, "write a name for metrics and messages", findings);
    let was = one_or_many(written.was, &at.key("was"), findings).into_iter().map(|(_, name)| name).collect();
    let url =
        findings.required(written.url, at, "url", "write its URL, such as `https://registry.example.com`");
    let url = parsed(url, &at.key("url"), findings, base_url);
    let auth =
        written.auth.map_or(Some(Auth::Anonymous), |written| auth(written, &at.key("auth"), env, findings));
    let tls = tls(written.tls, &at.key("tls"), findings);
    let repositories =
        written.repositories.map(|written| repositories(written, &at.key("repositories"), findings));
    let concurrency = written.concurrency.and_then(|written| {
        let concurrency = usize::try_from(written).ok().and_then(NonZeroUsize::new);
        positive(
            concurrency,
            written,
            usize::MAX as u64,
            "the default of 16",
            &at.key("concurrency"),
            findings,
        )
    });
    let requests_per_second = written.requests_per_second.and_then(|written| {
        let rate = u32::try_from(written).ok().and_then(NonZeroU32::new);
        positive(rate, written, u32::MAX.into(), "no limit", &at.key("requests_per_second"), findings)
    });
    let timeout = positive_duration(written.timeout, &at.key("timeout"), findings);
    let run_timeout = positive_duration(written.run_timeout, &at.key("run_timeout"), findings);
    let own = parsed(written.schedule, &at.key("schedule"), findings, Schedule::parse);
    let gc = written.gc.map(|written| gc(written, history, &at.key("gc"), env, findings));
    Some(Registry {
        name: name?,
        was,
        url: url?,
        auth: auth?,
        tls,
        repositories,
        tags_complete: written.tags_complete.unwrap_or(false),
        concurrency: concurrency.unwrap_or(CONCURRENCY),
        requests_per_second,
        timeout: timeout.unwrap_or(TIMEOUT),
        run_timeout: run_timeout.unwrap_or(RUN_TIMEOUT),
        schedule: own.or_else(|| schedule.cloned()),
        gc: gc.flatten(),
    })
}

/// Parses a URL that `v2/` can be joined to. Messages do not repeat the text, which may contain a password.
fn base_url(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or("not the URL of a registry: write `https://` or `http://` and a host")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL contains credentials: move them to `auth`".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("the URL has a query or a fragment: end it with the host or a path".to_owned());
    }
    let path = url.path().trim_end_matches('/').to_owned();
    if path.ends_with("/v2") {
        return Err("the URL ends in `/v2`: remove it, because every request adds it".to_owned());
    }
    url.set_path(&format!("{path}/"));
    Ok(url)
}

fn repositories(written: schema::OneOrMany, at: &Path, findings: &mut Findings) -> Vec<RepositoryName> {
    if matches!(&written, schema::OneOrMany::Many(list) if list.is_empty()) {
        findings.add(at, "the list is empty: add a name, or remove the key to read the catalog");
    }
    let mut names = Vec::new();
    for (at, text) in one_or_many(Some(written), at, findings) {
        match RepositoryName::parse(&text) {
            Ok(name) => names.push(name),
            Err(error) => findings.add(
                &at,
                format!("{error}: write a lower-case name such as `team/app`; regexes belong in a policy"),
            ),
        }
    }
    names
}

/// A count above zero; otherwise a problem that names the bound and the default.
fn positive<T>(
    value: Option<T>,
    written: u64,
    max: u64,
    default: &str,
    at: &Path,
    findings: &mut Findings,
) -> Option<T> {
    if value.is_none() {
        let (size, bound) = match written {
            0 => ("too small", "write at least 1".to_owned()),
            _ => ("too large", format!("write at most {max}")),
        };
        findings.add(at, format!("{written} is {size}: {bound}, or remove the key for {default}"));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::config::tests::{self, POLICIES, check_registry as check};
    use crate::config::{Collector, GcSchedule, Method};

    fn text(settings: &str) -> String {
        format!("registries: [{{ name: main, {settings} }}]\n{POLICIES}")
    }

    #[test]
    fn registry_defaults() {
        let text = text("url: 'https://r', gc: { docker: { container: r } }");
        let registry = parse(&text, "f", &tests::env).unwrap().registries.remove(0);
        let gc = registry.gc.unwrap();
        assert!(matches!(registry.auth, Auth::Anonymous));
        assert!(registry.tls.ca_file.is_none() && registry.tls.identity.is_none());
        assert!(!registry.tls.insecure_skip_verify);
        assert_eq!(registry.repositories, None);
        assert_eq!(registry.concurrency.get(), 16);
        assert_eq!(registry.requests_per_second, None);
        assert_eq!(registry.timeout, Duration::from_secs(30));
        assert_eq!(registry.run_timeout, Duration::from_secs(43_200));
        assert!(matches!(gc.schedule, GcSchedule::AfterRun));
        assert_eq!(gc.min_reclaimable, 0);
        assert_eq!(gc.grace, TimeDelta::zero());
        assert_eq!(gc.timeout, Duration::from_secs(7200));
        let Collector::Docker { host, method, config_file, .. } = gc.collector else { panic!() };
        assert_eq!((host, method, config_file), (None, Method::Offline, None));
    }

    #[test]
    fn registry_requires_a_unique_name_and_url() {
        let check = |registries: &str, expected: &[&str]| {
            tests::check(&format!("{POLICIES}{registries}\n"), expected)
        };
        check(
            "",
            &[
                "registries: line 1: missing: name at least one, such as `- { name: main, url: 'https://registry.example.com' }`",
            ],
        );
        check("registries:", &["registries: line 2: the key has no value: add a value, or remove the key"]);
        check(
            "registries: []",
            &[
                "registries: line 2: the list is empty: name at least one, such as `- { name: main, url: 'https://registry.example.com' }`",
            ],
        );
        check(
            "registries: [{}]",
            &[
                "registries[0].name: line 2: missing: write a name for metrics and messages",
                "registries[0].url: line 2: missing: write its URL, such as `https://registry.example.com`",
            ],
        );
        check(
            "registries: [{ name: ' ', url: 'http://r' }]",
            &["registries[0].name: line 2: the name is empty: write a name for metrics and messages"],
        );
        check(
            "registries:\n- { name: a, url: 'http://r' }\n- { name: b, url: 'http://s' }\n- { name: a, url: 'http://t' }",
            &[
                "registries[2].name: line 5: `a` is already used by registries[0].name: give each a unique name",
            ],
        );
        check(
            "registries:\n- { name: a, url: 'https://R.example.com' }\n- { name: b, url: 'https://r.example.com:443/' }",
            &[
                "registries[1].url: line 4: `r.example.com:443` is already used by registries[0].url: write one entry per registry, and use policies to treat its repositories differently",
            ],
        );
        check(
            "registries: [{ name: a, url: 'http://r' }, { name: b, url: 'http://r:5000' }, { name: c, url: 'http://r/c' }]",
            &[],
        );
        check(
            "registries:\n-\n",
            &["registries[0]: line 3: the list element is empty: add a value, or remove it"],
        );
    }

    #[test]
    fn former_names_are_unique_and_retired_names_are_not_configured() {
        check("was: old", &[]);
        check("was: [old, older]", &[]);
        let check = |registries: &str, expected: &[&str]| {
            tests::check(&format!("{POLICIES}{registries}\n"), expected)
        };
        check(
            "registries:\n- { name: a, url: 'http://r', was: old }\n- { name: b, url: 'http://s', was: [older, old] }",
            &[
                "registries[1].was: line 4: `old` is already used by registries[0].was: a former name belongs to one registry",
            ],
        );
        check(
            "retired: [old, a]\nregistries: [{ name: a, url: 'http://r' }]",
            &["retired[1]: line 2: `a` is still in `registries`: remove it from one of the two lists"],
        );
    }

    #[test]
    fn url_ends_with_a_slash() {
        let check = |url: &str, expected: &str| {
            let config = parse(&text(&format!("url: '{url}'")), "f", &tests::env).unwrap();
            assert_eq!(config.registries[0].url.join("v2/").unwrap().as_str(), expected);
        };
        check("https://r.example.com", "https://r.example.com/v2/");
        check("http://localhost:5000/", "http://localhost:5000/v2/");
        check("https://r.example.com/a/b", "https://r.example.com/a/b/v2/");
        check("https://r.example.com/a/b//", "https://r.example.com/a/b/v2/");
        check("https://[::1]:5000", "https://[::1]:5000/v2/");
    }

    #[test]
    fn url_errors_do_not_repeat_the_url() {
        let check = |url: &str, expected: &str| {
            tests::check(
                &text(&format!("url: '{url}'")),
                &[&format!("registries[0].url: line 1: {expected}")],
            );
        };
        let no_url = "not the URL of a registry: write `https://` or `http://` and a host";
        for url in ["", "r.example.com", "localhost:5000", "ftp://r", "https://", "unix:///run/r.sock"] {
            check(url, no_url);
        }
        check("https://a:hunter2@r", "the URL contains credentials: move them to `auth`");
        check("https://a@r", "the URL contains credentials: move them to `auth`");
        check("https://r/?a=b", "the URL has a query or a fragment: end it with the host or a path");
        check("https://r/#a", "the URL has a query or a fragment: end it with the host or a path");
        check("https://r/v2/", "the URL ends in `/v2`: remove it, because every request adds it");
    }

    #[test]
    fn zero_requests_and_timeouts_are_refused() {
        check(
            "concurrency: 0",
            &[
                "registries[0].concurrency: line 1: 0 is too small: write at least 1, or remove the key for the default of 16",
            ],
        );
        check(
            "requests_per_second: 0",
            &[
                "registries[0].requests_per_second: line 1: 0 is too small: write at least 1, or remove the key for no limit",
            ],
        );
        check(
            "requests_per_second: 4294967296",
            &[
                "registries[0].requests_per_second: line 1: 4294967296 is too large: write at most 4294967295, or remove the key for no limit",
            ],
        );
        check(
            "run_timeout: 0s",
            &["registries[0].run_timeout: line 1: 0 is not allowed: write a duration above zero"],
        );
        check(
            "timeout: 0s",
            &["registries[0].timeout: line 1: 0 is not allowed: write a duration above zero"],
        );
        check(
            "timeout: 30",
            &["registries[0].timeout: line 1: `30` has no unit: write `30s`, or min, h, d or w"],
        );
    }

    #[test]
    fn repositories_are_names_not_regexes() {
        check(
            "repositories: [team/app, Team]",
            &[
                r#"registries[0].repositories[1]: line 1: "Team" is not a valid repository name: write a lower-case name such as `team/app`; regexes belong in a policy"#,
            ],
        );
        check(
            "repositories: 'team/.*'",
            &[
                r#"registries[0].repositories: line 1: "team/.*" is not a valid repository name: write a lower-case name such as `team/app`; regexes belong in a policy"#,
            ],
        );
        check(
            "repositories: []",
            &[
                "registries[0].repositories: line 1: the list is empty: add a name, or remove the key to read the catalog",
            ],
        );
        check("repositories: team/app", &[]);
    }

    #[test]
    fn schedule_defaults_to_the_top_level() {
        let check = |own: &str, top: &str, expected: Option<&str>| {
            let text = format!("{top}\n{}", text(&format!("url: 'https://r', {own}")));
            let config = parse(&text, "f", &tests::env).unwrap();
            assert_eq!(config.registries[0].schedule.as_ref().map(Schedule::as_str), expected);
        };
        check("schedule: '30 2 * * *'", "schedule: '0 3 * * *'", Some("30 2 * * *"));
        check("", "schedule: '0 3 * * *'", Some("0 3 * * *"));
        check("", "", None);
    }
}
