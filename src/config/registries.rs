//! Registries as written → validated.
//!
//! It knows nothing of policies, and speaks to no registry.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use url::Url;

use super::docker::docker_config;
use super::gc;
use super::problem::{Findings, Path, listed};
use super::quantity::Span;
use super::schedule::Schedule;
use super::secret::{existing, secret};
use super::values::{name, parsed, texts};
use super::written::{self, List};
use super::{Auth, ClientCertificate, Env, Registry, Tls};
use crate::model::RepositoryName;

const CONCURRENCY: NonZeroUsize = NonZeroUsize::new(16).unwrap();
const TIMEOUT: Duration = Duration::from_secs(30);
const RUN_TIMEOUT: Duration = Duration::from_secs(12 * 60 * 60);

/// The names of all registries; `None` if one of them cannot be told.
pub(super) fn names(written: Option<&[Option<written::Registry>]>) -> Option<Vec<String>> {
    let names = written?.iter().map(|registry| registry.as_ref()?.name.clone());
    names.collect::<Option<Vec<_>>>().filter(|names| !names.is_empty())
}

/// Validates all of them. `schedule` and `history` are those of the top level; without a history that can
/// be used, nothing is compared with it.
pub(super) fn registries(
    written: Option<List<written::Registry>>,
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
        findings.add(&at, format!("there are none: {advice}"));
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
    findings.unique(&names, "give each its own name");
    // Two would judge, delete and collect the same images side by side, and count the same bytes twice.
    findings.unique(&addresses, "a registry has one entry, and policies tell its repositories apart");
    findings.unique(&former, "one registry was called that");
    registries
}

/// Names of registries that are gone. One that is there is not.
pub(super) fn retired(
    written: Option<written::Texts>,
    registries: &[Registry],
    findings: &mut Findings,
) -> Vec<String> {
    let mut names = Vec::new();
    for (at, name) in texts(written, &Path::default().key("retired"), findings) {
        if registries.iter().any(|registry| registry.name == name) {
            findings.add(&at, format!("`{name}` is one of the `registries`: remove one of the two"));
        }
        names.push(name);
    }
    names
}

fn registry(
    written: written::Registry,
    schedule: Option<&Schedule>,
    history: Option<TimeDelta>,
    at: &Path,
    env: Env<'_>,
    findings: &mut Findings,
) -> Option<Registry> {
    let name = name(written.name, at, "give it one, for metrics and messages", findings);
    let was = texts(written.was, &at.key("was"), findings).into_iter().map(|(_, name)| name).collect();
    let url = findings.required(
        written.url,
        at,
        "url",
        "write where it is, such as `https://registry.example.com`",
    );
    let url = parsed(url, &at.key("url"), findings, url_of);
    let auth =
        written.auth.map_or(Some(Auth::Anonymous), |auth| self::auth(auth, &at.key("auth"), env, findings));
    let tls = tls(written.tls, &at.key("tls"), findings);
    let repositories =
        written.repositories.map(|texts| repositories(texts, &at.key("repositories"), findings));
    let concurrency = written.concurrency.and_then(|written| {
        let concurrency = usize::try_from(written).ok().and_then(NonZeroUsize::new);
        positive(concurrency, written, "16 is the default", &at.key("concurrency"), findings)
    });
    let requests_per_second = written.requests_per_second.and_then(|written| {
        let rate = u32::try_from(written).ok().and_then(NonZeroU32::new);
        positive(rate, written, "leave it out for no limit", &at.key("requests_per_second"), findings)
    });
    let timeout = lasting(written.timeout, &at.key("timeout"), findings);
    let run_timeout = lasting(written.run_timeout, &at.key("run_timeout"), findings);
    let own = parsed(written.schedule, &at.key("schedule"), findings, Schedule::parse);
    let gc = written.gc.map(|gc| gc::gc(gc, history, &at.key("gc"), env, findings));
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

/// Reads a URL below which `v2/` can be joined. The text is not repeated: it may hold a password.
fn url_of(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or("not a URL of a registry: it begins with `https://` or `http://` and a host")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("there are credentials in it: move them to `auth`".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("there is a query or a fragment in it: end it with the host or a path".to_owned());
    }
    let path = url.path().trim_end_matches('/').to_owned();
    if path.ends_with("/v2") {
        return Err("it ends in `/v2`: leave that out, it is put there for every request".to_owned());
    }
    url.set_path(&format!("{path}/"));
    Ok(url)
}

impl Registry {
    /// What tells one registry from another: host, port and path. No port speaks both `http` and `https`.
    pub fn address(&self) -> String {
        let port = self.url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
        let host = self.url.host_str().unwrap_or_default().trim_end_matches('.');
        format!("{host}{port}{}", self.url.path().trim_end_matches('/'))
    }
}

fn auth(written: written::Auth, at: &Path, env: Env<'_>, findings: &mut Findings) -> Option<Auth> {
    let keys = findings.written(
        at,
        &[
            ("basic", written.basic.is_some()),
            ("docker_config", written.docker_config.is_some()),
            ("bearer", written.bearer.is_some()),
        ],
    );
    if keys.len() > 1 {
        findings.add(at, format!("{} together: keep one of them", listed(keys)));
    } else if keys.is_empty() && !findings.is_unread_within(at) {
        findings
            .add(at, "it says nothing: write one of `basic`, `docker_config`, `bearer`, or leave `auth` out");
    }
    let basic = written.basic.map(|basic| self::basic(basic, &at.key("basic"), env, findings));
    let bearer =
        written.bearer.map(|token| secret(token, &at.key("bearer"), env, findings).map(Auth::Bearer));
    let file = docker_config(written.docker_config, &at.key("docker_config"), env, findings);
    basic.or(bearer).or(file.map(|file| Some(Auth::DockerConfig(file)))).flatten()
}

fn basic(written: written::Basic, at: &Path, env: Env<'_>, findings: &mut Findings) -> Option<Auth> {
    let username = findings.required(written.username, at, "username", "write the user that may delete");
    let advice = "write `{ file: PATH }`, `{ env: NAME }` or `{ credential: NAME }`";
    let password = findings.required(written.password, at, "password", advice);
    let password = password.and_then(|place| secret(place, &at.key("password"), env, findings));
    let username = username.filter(|username| {
        // RFC 7617: what stands before the first colon is the user.
        let valid = !username.is_empty() && !username.contains(':');
        if !valid {
            findings.add(&at.key("username"), "not a user name: it is not empty, and has no `:` in it");
        }
        valid
    });
    Some(Auth::Basic { username: username?, password: password? })
}

fn tls(written: Option<written::Tls>, at: &Path, findings: &mut Findings) -> Tls {
    let Some(written) = written else {
        return Tls { ca_file: None, identity: None, insecure_skip_verify: false };
    };
    Tls {
        ca_file: existing(written.ca_file, &at.key("ca_file"), findings),
        identity: identity(written.cert_file, written.key_file, at, findings),
        insecure_skip_verify: written.insecure_skip_verify.unwrap_or(false),
    }
}

/// A certificate to show, which is of no use without its key.
pub(super) fn identity(
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    at: &Path,
    findings: &mut Findings,
) -> Option<ClientCertificate> {
    let keys = findings.written(at, &[("cert_file", cert_file.is_some()), ("key_file", key_file.is_some())]);
    match keys.as_slice() {
        ["cert_file"] => {
            findings.add(&at.key("key_file"), "missing: `cert_file` is of no use without its key")
        }
        ["key_file"] => {
            findings.add(&at.key("cert_file"), "missing: `key_file` is of no use without its certificate")
        }
        _ => {}
    }
    let cert_file = existing(cert_file, &at.key("cert_file"), findings);
    let key_file = existing(key_file, &at.key("key_file"), findings);
    cert_file.zip(key_file).map(|(cert_file, key_file)| ClientCertificate { cert_file, key_file })
}

fn repositories(written: written::Texts, at: &Path, findings: &mut Findings) -> Vec<RepositoryName> {
    if matches!(&written, written::Texts::Many(list) if list.is_empty()) {
        findings.add(at, "there are none: leave it out to ask the catalog");
    }
    let mut names = Vec::new();
    for (at, text) in texts(Some(written), at, findings) {
        match RepositoryName::parse(&text) {
            Ok(name) => names.push(name),
            Err(error) => findings.add(
                &at,
                format!(
                    "{error}: these are names such as `team/app`, in lower case; regexes go into a policy"
                ),
            ),
        }
    }
    names
}

fn positive<T>(
    value: Option<T>,
    written: u64,
    advice: &str,
    at: &Path,
    findings: &mut Findings,
) -> Option<T> {
    if value.is_none() {
        let size = if written == 0 { "too few" } else { "too large a number" };
        findings.add(at, format!("{written} is {size}: {advice}"));
    }
    value
}

/// A duration above zero.
pub(super) fn lasting(written: Option<Span>, at: &Path, findings: &mut Findings) -> Option<Duration> {
    let span = written?;
    if span.is_zero() {
        findings.add(at, "nothing can be done in no time: write a duration above zero");
    }
    Some(span.into())
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::super::tests::{self, POLICIES};
    use super::super::{Collector, GcSchedule, Method};
    use super::*;

    fn text(settings: &str) -> String {
        format!("registries: [{{ name: main, {settings} }}]\n{POLICIES}")
    }

    /// What is said of a registry with a name and these settings.
    #[track_caller]
    fn check(settings: &str, expected: &[&str]) {
        tests::check(&text(&format!("url: 'https://r', {settings}")), expected);
    }

    #[test]
    fn what_is_not_written_has_its_default() {
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
    fn a_registry_needs_a_name_and_a_url() {
        let check = |registries: &str, expected: &[&str]| {
            tests::check(&format!("{POLICIES}{registries}\n"), expected)
        };
        check(
            "",
            &[
                "registries: line 1: missing: name at least one, such as `- { name: main, url: 'https://registry.example.com' }`",
            ],
        );
        check(
            "registries:",
            &["registries: line 2: there is nothing after this key: fill it in, or remove the key"],
        );
        check(
            "registries: []",
            &[
                "registries: line 2: there are none: name at least one, such as `- { name: main, url: 'https://registry.example.com' }`",
            ],
        );
        check(
            "registries: [{}]",
            &[
                "registries[0].name: line 2: missing: give it one, for metrics and messages",
                "registries[0].url: line 2: missing: write where it is, such as `https://registry.example.com`",
            ],
        );
        check(
            "registries: [{ name: ' ', url: 'http://r' }]",
            &["registries[0].name: line 2: an empty name: give it one, for metrics and messages"],
        );
        check(
            "registries:\n- { name: a, url: 'http://r' }\n- { name: b, url: 'http://s' }\n- { name: a, url: 'http://t' }",
            &[
                "registries[2].name: line 5: `a` is taken by registries[0].name already: give each its own name",
            ],
        );
        check(
            "registries:\n- { name: a, url: 'https://R.example.com' }\n- { name: b, url: 'https://r.example.com:443/' }",
            &[
                "registries[1].url: line 4: `r.example.com:443` is taken by registries[0].url already: a registry has one entry, and policies tell its repositories apart",
            ],
        );
        check(
            "registries: [{ name: a, url: 'http://r' }, { name: b, url: 'http://r:5000' }, { name: c, url: 'http://r/c' }]",
            &[],
        );
        check("registries:\n-\n", &["registries[0]: line 3: an empty element: fill it in, or remove it"]);
    }

    #[test]
    fn a_former_name_belongs_to_one_registry_and_a_retired_one_to_none() {
        check("was: old", &[]);
        check("was: [old, older]", &[]);
        let check = |registries: &str, expected: &[&str]| {
            tests::check(&format!("{POLICIES}{registries}\n"), expected)
        };
        check(
            "registries:\n- { name: a, url: 'http://r', was: old }\n- { name: b, url: 'http://s', was: [older, old] }",
            &[
                "registries[1].was: line 4: `old` is taken by registries[0].was already: one registry was called that",
            ],
        );
        check(
            "retired: [old, a]\nregistries: [{ name: a, url: 'http://r' }]",
            &["retired[1]: line 2: `a` is one of the `registries`: remove one of the two"],
        );
    }

    #[test]
    fn a_url_ends_with_a_slash_whatever_was_written() {
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
    fn a_url_that_is_none_says_what_is_wrong_but_not_what_it_is() {
        let check = |url: &str, expected: &str| {
            tests::check(
                &text(&format!("url: '{url}'")),
                &[&format!("registries[0].url: line 1: {expected}")],
            );
        };
        let no_url = "not a URL of a registry: it begins with `https://` or `http://` and a host";
        for url in ["", "r.example.com", "localhost:5000", "ftp://r", "https://", "unix:///run/r.sock"] {
            check(url, no_url);
        }
        check("https://a:hunter2@r", "there are credentials in it: move them to `auth`");
        check("https://a@r", "there are credentials in it: move them to `auth`");
        check("https://r/?a=b", "there is a query or a fragment in it: end it with the host or a path");
        check("https://r/#a", "there is a query or a fragment in it: end it with the host or a path");
        check("https://r/v2/", "it ends in `/v2`: leave that out, it is put there for every request");
    }

    #[test]
    fn a_number_that_allows_nothing_is_refused() {
        check("concurrency: 0", &["registries[0].concurrency: line 1: 0 is too few: 16 is the default"]);
        check(
            "requests_per_second: 0",
            &["registries[0].requests_per_second: line 1: 0 is too few: leave it out for no limit"],
        );
        check(
            "requests_per_second: 4294967296",
            &[
                "registries[0].requests_per_second: line 1: 4294967296 is too large a number: leave it out for no limit",
            ],
        );
        check(
            "run_timeout: 0s",
            &[
                "registries[0].run_timeout: line 1: nothing can be done in no time: write a duration above zero",
            ],
        );
        check(
            "timeout: 0s",
            &["registries[0].timeout: line 1: nothing can be done in no time: write a duration above zero"],
        );
        check(
            "timeout: 30",
            &["registries[0].timeout: line 1: `30` has no unit: write `30s`, or min, h, d or w"],
        );
    }

    #[test]
    fn repositories_are_names() {
        check(
            "repositories: [team/app, Team]",
            &[
                r#"registries[0].repositories[1]: line 1: "Team" is not a valid repository name: these are names such as `team/app`, in lower case; regexes go into a policy"#,
            ],
        );
        check(
            "repositories: 'team/.*'",
            &[
                r#"registries[0].repositories: line 1: "team/.*" is not a valid repository name: these are names such as `team/app`, in lower case; regexes go into a policy"#,
            ],
        );
        check(
            "repositories: []",
            &["registries[0].repositories: line 1: there are none: leave it out to ask the catalog"],
        );
        check("repositories: team/app", &[]);
    }

    #[test]
    fn a_registry_has_its_own_schedule_or_that_of_the_top_level() {
        let check = |own: &str, top: &str, expected: Option<&str>| {
            let text = format!("{top}\n{}", text(&format!("url: 'https://r', {own}")));
            let config = parse(&text, "f", &tests::env).unwrap();
            assert_eq!(config.registries[0].schedule.as_ref().map(Schedule::as_str), expected);
        };
        check("schedule: '30 2 * * *'", "schedule: '0 3 * * *'", Some("30 2 * * *"));
        check("", "schedule: '0 3 * * *'", Some("0 3 * * *"));
        check("", "", None);
    }

    #[test]
    fn there_is_one_way_to_authenticate() {
        check(
            "auth: {}",
            &[
                "registries[0].auth: line 1: it says nothing: write one of `basic`, `docker_config`, `bearer`, or leave `auth` out",
            ],
        );
        check(
            "auth: ",
            &["registries[0].auth: line 1: there is nothing after this key: fill it in, or remove the key"],
        );
        check(
            "auth: { bearer: { env: PASSWORD }, docker_config: /dev/null }",
            &["registries[0].auth: line 1: `docker_config`, `bearer` together: keep one of them"],
        );
        check(
            "auth: { basic: {} }",
            &[
                "registries[0].auth.basic.username: line 1: missing: write the user that may delete",
                "registries[0].auth.basic.password: line 1: missing: write `{ file: PATH }`, `{ env: NAME }` or `{ credential: NAME }`",
            ],
        );
        check(
            "auth: { basic: { username: 'a:b', password: { env: PASSWORD } } }",
            &[
                "registries[0].auth.basic.username: line 1: not a user name: it is not empty, and has no `:` in it",
            ],
        );
        check(
            "auth: { docker_config: /nowhere/config.json }",
            &[
                "registries[0].auth.docker_config: line 1: cannot read `/nowhere/config.json`: No such file or directory (os error 2): put the file there, or name another",
            ],
        );
        check(
            "auth: { docker_config: / }",
            &["registries[0].auth.docker_config: line 1: `/` is a directory: name a file"],
        );
        check(
            "auth: { basic: x, bearer: { env: PASSWORD } }",
            &[
                "registries[0].auth.basic: line 1: expected a mapping, found a text",
                "registries[0].auth: line 1: `basic`, `bearer` together: keep one of them",
            ],
        );
        check("auth: { basic: x }", &["registries[0].auth.basic: line 1: expected a mapping, found a text"]);
    }

    #[test]
    fn the_files_of_tls_are_there_and_in_pairs() {
        check("tls: {}", &[]);
        check("tls: { ca_file: /dev/null, insecure_skip_verify: true }", &[]);
        check("tls: { cert_file: /dev/null, key_file: /dev/null }", &[]);
        check(
            "tls: { cert_file: /dev/null }",
            &["registries[0].tls.key_file: line 1: missing: `cert_file` is of no use without its key"],
        );
        check(
            "tls: { key_file: /dev/null }",
            &[
                "registries[0].tls.cert_file: line 1: missing: `key_file` is of no use without its certificate",
            ],
        );
        check(
            "tls: { ca_file: /nowhere/ca, cert_file: /nowhere/cert, key_file: /nowhere/key }",
            &[
                "registries[0].tls.ca_file: line 1: cannot read `/nowhere/ca`: No such file or directory (os error 2): put the file there, or name another",
                "registries[0].tls.cert_file: line 1: cannot read `/nowhere/cert`: No such file or directory (os error 2): put the file there, or name another",
                "registries[0].tls.key_file: line 1: cannot read `/nowhere/key`: No such file or directory (os error 2): put the file there, or name another",
            ],
        );
        check(
            "tls: { cert_file: [], key_file: /dev/null }",
            &["registries[0].tls.cert_file: line 1: expected a text, found a list"],
        );
    }

    #[test]
    fn there_is_one_way_to_collect() {
        check(
            "gc: {}",
            &[
                "registries[0].gc: line 1: nothing to collect with: write one of `docker`, `command`, or leave `gc` out",
            ],
        );
        check(
            "gc: { docker: { container: r }, command: { run: [r] } }",
            &["registries[0].gc: line 1: `docker` and `command` together: keep one of them"],
        );
        check(
            "gc: { docker: {} }",
            &[
                "registries[0].gc.docker.container: line 1: missing: write the name of the registry's container",
            ],
        );
        check(
            "gc: { docker: { container: r, method: online } }",
            &[
                "registries[0].gc.docker.method: line 1: `online` means nothing here: did you mean `offline`? write one of `offline`, `exec`",
            ],
        );
        check(
            "gc: { docker: { container: '' } }",
            &["registries[0].gc.docker.container: line 1: it is empty: fill it in"],
        );
        check(
            "gc: { command: {} }",
            &[
                "registries[0].gc.command.run: line 1: missing: write the command that collects, such as `[registry, garbage-collect, /etc/registry.yml]`",
            ],
        );
        check(
            "gc: { command: { run: [] } }",
            &[
                "registries[0].gc.command.run: line 1: it is empty: write the command that collects, such as `[registry, garbage-collect, /etc/registry.yml]`",
            ],
        );
        check(
            "gc: { command: { before: [''], run: [r, ''] } }",
            &[
                "registries[0].gc.command.before[0]: line 1: an empty text is no program: write its name or path",
            ],
        );
        for run in [
            "docker, run, --rm, registry, garbage-collect, /c.yml",
            "sudo, /usr/bin/podman, --root, /r, run, image",
            "docker, compose, run, gc",
        ] {
            check(
                &format!("gc: {{ command: {{ run: [{run}] }} }}"),
                &[
                    "registries[0].gc.command.run: line 1: it starts a container, which can go on sweeping beside the registry when its client is ended: name the container (`--name NAME`), and write what removes it as `cancel`, such as `[docker, rm, --force, NAME]`",
                ],
            );
        }
        for run in [
            "docker, run, --name, gc, registry, garbage-collect, /c.yml], cancel: [docker, rm, --force, gc",
            "docker, exec, registry, registry, garbage-collect, run",
            "docker-registry, garbage-collect, docker, run",
            "run, docker",
        ] {
            check(&format!("gc: {{ command: {{ before: [b], run: [{run}] }} }}"), &[]);
        }
        check(
            "gc: { command: { run: r gc } }",
            &[
                "registries[0].gc.command.run: line 1: expected a list, found a text: write `[…]` around it, or one element per line with `- `",
            ],
        );
        check(
            "gc: { timeout: 0s, docker: { container: r } }",
            &[
                "registries[0].gc.timeout: line 1: nothing can be done in no time: write a duration above zero",
            ],
        );
        check(
            "gc: { schedule: after_run, docker: { container: r } }",
            &["registries[0].gc.schedule: line 1: `after_run` means nothing here: did you mean `after-run`?"],
        );
        check(
            "gc: { dockre: { container: r } }",
            &[
                "registries[0].gc.dockre: line 1: unknown key: did you mean `docker`? the keys here are `schedule`, `min_reclaimable`, `grace`, `timeout`, `interruption`, `docker`, `command`, `cache`, `redis`",
            ],
        );
        check(
            "gc: { grace: 7, docker: { container: r } }",
            &["registries[0].gc.grace: line 1: `7` has no unit: write `7s`, or min, h, d or w"],
        );
        check(
            "gc: { schedule: '0 4 * * 0', min_reclaimable: 1GiB, command: { before: [b], run: [r] } }",
            &[],
        );
    }

    #[test]
    fn a_registry_is_stopped_for_commands_unless_the_operator_says_that_it_may_run() {
        let missing = "registries[0].gc.command.before: line 1: missing: while the registry runs, a sweep takes layers that are being pushed: write what stops the registry as `before`, and what starts it as `after`, also where `run` would do both, so that the registry is started if `run` is killed; or, if this registry can be collected while it runs, state that with `interruption: none` in `gc`";
        check("gc: { command: { run: [r] } }", &[missing]);
        check("gc: { command: { before: [], run: [r], after: [a] } }", &[missing]);
        check("gc: { interruption: stop, command: { run: [r] } }", &[missing]);
        check("gc: { interruption: stop, command: { before: [b], run: [r], after: [a] } }", &[]);
        check("gc: { interruption: none, command: { run: [r] } }", &[]);
        check("gc: { interruption: none, command: { run: [r], cancel: [c] } }", &[]);
        let neither = "with `interruption: none` the registry is neither stopped nor started: leave this out, or `interruption`";
        check(
            "gc: { interruption: none, command: { before: [b], run: [r], after: [a] } }",
            &[
                &format!("registries[0].gc.command.before: line 1: {neither}"),
                &format!("registries[0].gc.command.after: line 1: {neither}"),
            ],
        );
        check(
            "gc: { interruption: none, docker: { container: r } }",
            &[
                "registries[0].gc.interruption: line 1: `none` goes only with `command`: `docker` stops the registry or restarts it, so leave `interruption` out",
            ],
        );
        check(
            "gc: { interruption: nono, command: { run: [r] } }",
            &[
                "registries[0].gc.interruption: line 1: `nono` means nothing here: did you mean `none`? write one of `stop`, `none`",
            ],
        );
    }

    #[test]
    fn a_grace_is_no_longer_than_what_is_remembered() {
        let check = |history: &str, grace: &str, expected: &[&str]| {
            let gc = format!("url: 'https://r', gc: {{ grace: {grace}, docker: {{ container: r }} }}");
            tests::check(&format!("{}{history}\n", text(&gc)), expected);
        };
        check("", "0s", &[]);
        check("", "180d", &[]);
        check(
            "",
            "181d",
            &[
                "registries[0].gc.grace: line 1: a grace of 181d is longer than the `history` of 180d, and what is forgotten cannot be undone: shorten the grace, or raise `history`",
            ],
        );
        check("history: 200d", "181d", &[]);
        check(
            "history: 3d",
            "73h",
            &[
                "registries[0].gc.grace: line 1: a grace of 73h is longer than the `history` of 3d, and what is forgotten cannot be undone: shorten the grace, or raise `history`",
            ],
        );
        // Nothing is said of a history that means nothing yet.
        check(
            "history: 3h",
            "7d",
            &["history: line 3: 3h is too short: what is forgotten cannot be undone: write at least `1d`"],
        );
        check("history: 3", "7d", &["history: line 3: `3` has no unit: write `3s`, or min, h, d or w"]);
    }
}
