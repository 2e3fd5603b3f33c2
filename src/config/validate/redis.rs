//! The location of a registry's blob cache, and the Redis that holds it, as written → validated.
//!
//! It connects to nothing, and reads no registry's configuration.

use super::secrets::{existing, secret};
use super::tls::identity;
use super::values::keyword;
use crate::config::diagnostics::{Findings, Path};
use crate::config::env::Env;
use crate::config::schema;
use crate::config::settings::{Cache, Collector, Redis, RedisTls};

/// The default port of Redis.
const PORT: u16 = 6379;

/// Validates `cache` and `redis`. `None` if they are invalid.
pub(crate) fn cache(
    written: Option<String>,
    redis: Option<schema::Redis>,
    collector: Option<&Collector>,
    at: &Path,
    env: Env<'_>,
    findings: &mut Findings,
) -> Option<(Option<Cache>, Option<Redis>)> {
    let values = [("none", Cache::Off), ("inmemory", Cache::InMemory), ("redis", Cache::Redis)];
    let cache = keyword(written.as_deref(), &values, &at.key("cache"), findings);
    let Some(written) = redis else {
        if cache == Some(Cache::Redis) {
            findings.add(
                &at.key("redis"),
                "missing: with `cache: redis` a collection has to clear the cache: write the address of Redis, such as \
                 `{ address: 'localhost:6379' }`",
            );
            return None;
        }
        return Some((cache, None));
    };
    let at_redis = at.key("redis");
    if cache.is_some_and(|cache| cache != Cache::Redis) {
        findings.add(
            &at.key("cache"),
            "the cache is stated not to be in Redis, but `redis` is present: remove one of them",
        );
    }
    if let Some(Collector::Command { run, .. }) = collector
        && !Collector::runs_garbage_collect(run)
    {
        findings.add(
            &at_redis,
            "regsweep does not know which blobs this `run` deletes, so it cannot clear the cache: write a `run` with the \
             argument `garbage-collect`, or remove `redis` and clear the cache in `after`",
        );
    }
    let redis = self::redis(written, &at_redis, env, findings)?;
    Some((cache, Some(redis)))
}

fn redis(written: schema::Redis, at: &Path, env: Env<'_>, findings: &mut Findings) -> Option<Redis> {
    let advice = "write its address, such as `localhost:6379`";
    let address = findings.required(written.address, at, "address", advice);
    let address = address.and_then(|text| {
        let read = host_and_port(&text);
        if read.is_none() {
            findings.add(&at.key("address"), format!("`{text}` is not a host and port: {advice}"));
        }
        read
    });
    let username = written.username.filter(|username| {
        if username.is_empty() {
            findings.add(&at.key("username"), "the value is empty: add a value, or remove the key");
        }
        !username.is_empty()
    });
    let has_password = written.password.is_some();
    let password = written.password.and_then(|place| secret(place, &at.key("password"), env, findings));
    let db = match u16::try_from(written.db.unwrap_or(0)) {
        Ok(db) => Some(db),
        Err(_) => {
            findings.add(
                &at.key("db"),
                "the number is too large: write at most 65535, or remove the key for the default of 0",
            );
            None
        }
    };
    let tls = written.tls.map(|tls| {
        let at = at.key("tls");
        RedisTls {
            ca_file: existing(tls.ca_file, &at.key("ca_file"), findings),
            identity: identity(tls.cert_file, tls.key_file, &at, findings),
        }
    });
    let (host, port) = address?;
    if has_password && password.is_none() {
        return None;
    }
    Some(Redis { host, port, username, password, db: db?, tls })
}

/// `host`, `host:port`, `[::1]:port`.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = port.map_or(Ok(PORT), str::parse).ok().filter(|port| *port > 0)?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-:%".contains(c);
    (!host.is_empty() && host.chars().all(is_allowed)).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::config::tests::{self, POLICIES};

    fn gc(settings: &str) -> Result<crate::config::Gc, String> {
        let text =
            format!("registries: [{{ name: main, url: 'https://r', gc: {{ {settings} }} }}]\n{POLICIES}");
        let config = parse(&text, "f", &tests::env).map_err(|error| error.to_string())?;
        Ok(config.registries.into_iter().next().unwrap().gc.unwrap())
    }

    #[test]
    fn redis_address_is_a_host_and_an_optional_port() {
        let check = |text: &str, expected: Option<(&str, u16)>| {
            assert_eq!(host_and_port(text), expected.map(|(host, port)| (host.to_owned(), port)), "{text}");
        };
        check("redis", Some(("redis", 6379)));
        check("redis.example.com:7000", Some(("redis.example.com", 7000)));
        check("127.0.0.1:1", Some(("127.0.0.1", 1)));
        check("[::1]:7000", Some(("::1", 7000)));
        check("[::1]", Some(("::1", 6379)));
        for text in ["", ":6379", "redis:", "redis:0", "redis:70000", "redis://redis", "a b", "[::1", "::1"] {
            check(text, None);
        }
    }

    #[test]
    fn redis_defaults() {
        let read = gc("docker: { container: r }, redis: { address: cache }").unwrap();
        let redis = read.redis.unwrap();
        assert_eq!((redis.host.as_str(), redis.port, redis.db), ("cache", 6379, 0));
        assert!(redis.password.is_none() && redis.username.is_none() && redis.tls.is_none());
        assert_eq!(read.cache, None);
        let read = gc(
            "docker: { container: r }, redis: { address: cache, password: { env: PASSWORD }, db: 3, tls: {} }",
        );
        let redis = read.unwrap().redis.unwrap();
        assert!(redis.password.is_some() && redis.tls.is_some() && redis.db == 3);
        assert_eq!(gc("docker: { container: r }, cache: inmemory").unwrap().cache, Some(Cache::InMemory));
        assert_eq!(gc("docker: { container: r }, cache: none").unwrap().cache, Some(Cache::Off));
    }

    #[test]
    fn redis_that_cannot_be_cleared_is_an_error() {
        let check = |settings: &str, words: &str| {
            let error = gc(settings).map(drop).unwrap_err();
            assert!(error.contains(words), "{settings}: {error}");
        };
        check("docker: { container: r }, cache: redis", "gc.redis: line 1: missing");
        check("docker: { container: r }, cache: disk", "gc.cache");
        check("docker: { container: r }, cache: none, redis: { address: a }", "remove one of them");
        check("docker: { container: r }, redis: {}", "gc.redis.address: line 1: missing");
        check("docker: { container: r }, redis: { address: 'a:b' }", "`a:b` is not a host and port");
        check("docker: { container: r }, redis: { address: a, password: secret }", "secrets are not allowed");
        check("docker: { container: r }, redis: { address: a, tls: { key_file: /dev/null } }", "cert_file");
        check("command: { before: [b], run: [sweep] }, redis: { address: a }", "argument `garbage-collect`");
    }
}
