//! A Docker configuration file as docker, podman and skopeo write it: which of its credentials are for a registry.
//!
//! It parses text; it reads no file and runs no helper. Its errors name keys and never values.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::credentials::Credentials;
use super::json;

/// Some tools omit the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The name of Docker Hub in this file and for helpers.
const HUB: &str = "https://index.docker.io/v1/";
/// The hosts of Docker Hub.
const HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// The parts of the file that concern credentials.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DockerConfig {
    auths: Option<BTreeMap<String, Option<Entry>>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// A source of credentials for a registry.
#[derive(Debug)]
pub(crate) enum CredentialSource {
    /// A credential helper, which has them under this server name.
    Helper { name: String, server: String },
    /// The file itself.
    File(Credentials),
}

impl DockerConfig {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        json::parse(text)
    }

    /// The sources of credentials for this registry, in the order in which to try them; there is at least one.
    pub(crate) fn sources(&self, registry: &Url) -> Result<Vec<CredentialSource>, String> {
        let server = server_name(registry);
        let entries: BTreeMap<&str, &Entry> = self
            .auths
            .iter()
            .flatten()
            .filter_map(|(key, entry)| Some((key.as_str(), entry.as_ref()?)))
            .collect();
        let helpers = self.cred_helpers.iter().flatten();
        let own = best_match(
            helpers.map(|(key, helper)| (key.as_str(), helper.as_str())),
            registry,
            "credHelpers",
        )?;
        // With a store, the key of an empty entry is the name under which the store has the credentials.
        let stored = || best_match(entries.keys().map(|key| (*key, ())), registry, "auths");
        let helper = match (own, self.creds_store.as_deref()) {
            (Some(Found { key, value, quality }), _) => {
                let server = if matches!(quality, MatchQuality::Path(_) | MatchQuality::OtherPath) {
                    key.to_owned()
                } else {
                    server.clone()
                };
                Some((format!("credHelpers.`{key}`"), value, server))
            }
            (None, Some(store)) => {
                let stored = stored().ok().flatten();
                let server = stored.map_or_else(|| server.clone(), |found| found.key.to_owned());
                Some(("credsStore".to_owned(), store, server))
            }
            (None, None) => None,
        };
        let mut sources = Vec::new();
        // Docker writes an empty name for the file itself.
        if let Some((at, name, server)) = helper.filter(|(_, name, _)| !name.is_empty()) {
            if !is_helper_name(name) {
                return Err(format!(
                    "{at}: `{name}` is not the name of a helper: use a name such as `ecr-login`"
                ));
            }
            sources.push(CredentialSource::Helper { name: name.to_owned(), server });
        }
        let filled = entries.iter().filter(|(_, entry)| entry.has_credentials());
        let found = best_match(filled.map(|(key, entry)| (*key, *entry)), registry, "auths");
        let in_file = found.and_then(|found| {
            let Some(Found { key, value, .. }) = found else { return Ok(None) };
            value.credentials().map(Some).map_err(|problem| format!("auths.`{key}`{problem}"))
        });
        match in_file {
            Ok(credentials) => sources.extend(credentials.map(CredentialSource::File)),
            // An invalid entry does not matter where there is a helper.
            Err(problem) if sources.is_empty() => return Err(problem),
            Err(_) => {}
        }
        if sources.is_empty() {
            return Err(format!("there are no credentials for `{server}` in it: {}", self.next_step()));
        }
        Ok(sources)
    }

    /// What to do where there are no credentials for a registry.
    fn next_step(&self) -> String {
        let keys: Vec<String> = self.auths.iter().flatten().map(|(key, _)| format!("`{key}`")).collect();
        let has = if keys.is_empty() { String::new() } else { format!(" (it has {})", keys.join(", ")) };
        format!("log in to the registry with `docker login` or `podman login`, or name another file{has}")
    }
}

impl Entry {
    fn has_credentials(&self) -> bool {
        let fields = [&self.auth, &self.username, &self.password, &self.identitytoken, &self.registrytoken];
        fields.into_iter().any(|field| filled(field).is_some())
    }

    fn credentials(&self) -> Result<Credentials, String> {
        if let Some(token) = filled(&self.registrytoken) {
            return Ok(Credentials::Bearer(SecretString::from(token)));
        }
        let pair = filled(&self.auth).map(pair);
        if let Some(token) = filled(&self.identitytoken) {
            let named = pair.and_then(Result::ok).map(|(username, _)| username);
            let username = named.or_else(|| filled(&self.username).map(str::to_owned));
            return Ok(Credentials::Identity { username, token: SecretString::from(token) });
        }
        let (username, password) = match (pair, filled(&self.username), filled(&self.password)) {
            (Some(pair), _, _) => pair?,
            (None, Some(username), Some(password)) => (username.to_owned(), password.to_owned()),
            (None, None, _) => return Err(".username: missing: log in to the registry once more".to_owned()),
            (None, _, None) => return Err(".password: missing: log in to the registry once more".to_owned()),
        };
        Ok(Credentials::Basic { username, password: SecretString::from(password) })
    }
}

/// Decodes `auth`: `user:password` in base64.
fn pair(text: &str) -> Result<(String, String), String> {
    let problem = ".auth: not the base64 form of `user:password`: log in to the registry once more";
    let bytes = BASE64.decode(text.trim()).map_err(|_| problem)?;
    let text = String::from_utf8(bytes).map_err(|_| problem)?;
    let (username, password) = text.split_once(':').filter(|(user, _)| !user.is_empty()).ok_or(problem)?;
    Ok((username.to_owned(), password.trim_end_matches('\0').to_owned()))
}

fn filled(field: &Option<String>) -> Option<&str> {
    field.as_deref().filter(|text| !text.is_empty())
}

/// Whether a name can follow `docker-credential-` without leading to another folder.
fn is_helper_name(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// Docker's name for a registry: its host, with the port if it is not the default.
pub(super) fn server_name(registry: &Url) -> String {
    let host = registry.host_str().unwrap_or_default();
    match registry.port() {
        _ if HUB_HOSTS.contains(&host) => HUB.to_owned(),
        None => host.to_owned(),
        Some(port) => format!("{host}:{port}"),
    }
}

/// How well a key matches a registry, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum MatchQuality {
    /// The path of the key is a prefix of the registry's path, of this length.
    Path(Reverse<usize>),
    /// Host and port.
    Exact,
    /// The same host and port in another form. Docker's own name for its Hub comes first, and http last.
    Alias(u8),
    /// Another path on the same host, such as a namespace of podman.
    OtherPath,
}

struct Found<'a, T> {
    key: &'a str,
    value: T,
    quality: MatchQuality,
}

/// The key that matches best, if any does.
fn best_match<'a, T>(
    keys: impl Iterator<Item = (&'a str, T)>,
    registry: &Url,
    section: &str,
) -> Result<Option<Found<'a, T>>, String> {
    let matching =
        keys.filter_map(|(key, value)| Some(Found { key, value, quality: match_quality(key, registry)? }));
    let mut matching: Vec<_> = matching.collect();
    matching.sort_by_key(|found| found.quality);
    if matching.len() > 1 && matching[0].quality == MatchQuality::OtherPath {
        let keys: Vec<String> = matching.iter().map(|found| format!("`{}`", found.key)).collect();
        return Err(format!(
            "{section}: {} are all for paths on this host, and none is for `{}` itself: add a key for it",
            keys.join(", "),
            server_name(registry)
        ));
    }
    Ok(matching.into_iter().next())
}

/// Keys are `host`, `host:port` or `host/path`, with or without a scheme, often with `/v1/` at the end.
fn match_quality(key: &str, registry: &Url) -> Option<MatchQuality> {
    let (scheme, rest) = key.split_once("://").map_or((None, key), |(scheme, rest)| (Some(scheme), rest));
    // A key without a port has the default port of the registry's scheme.
    let url = Url::parse(&format!("{}://{rest}", registry.scheme())).ok()?;
    let host = |url: &Url| {
        let host = url.host_str()?.to_owned();
        Some(if HUB_HOSTS.contains(&host.as_str()) { "docker.io".to_owned() } else { host })
    };
    if host(&url)? != host(registry)? || url.port_or_known_default() != registry.port_or_known_default() {
        return None;
    }
    let path = url.path().trim_matches('/');
    let path = path.strip_suffix("v1").or_else(|| path.strip_suffix("v2")).map_or(path, |rest| {
        if rest.is_empty() || rest.ends_with('/') { rest.trim_end_matches('/') } else { path }
    });
    let own = registry.path().trim_matches('/');
    let is_prefix = own.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    Some(match path {
        "" if key == HUB => MatchQuality::Alias(0),
        "" if scheme == Some("http") => MatchQuality::Alias(2),
        "" if scheme.is_some() || rest.contains('/') || url.host_str() != registry.host_str() => {
            MatchQuality::Alias(1)
        }
        "" => MatchQuality::Exact,
        path if is_prefix => MatchQuality::Path(Reverse(path.len())),
        _ => MatchQuality::OtherPath,
    })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    /// The sources for a registry, as one line of text.
    fn found(text: &str, registry: &str) -> String {
        let sources = DockerConfig::parse(text).and_then(|config| config.sources(&registry.parse().unwrap()));
        let sources = match sources {
            Ok(sources) => sources,
            Err(error) => return error,
        };
        let texts = sources.into_iter().map(|place| match place {
            CredentialSource::Helper { name, server } => format!("ask {name} for {server}"),
            CredentialSource::File(Credentials::Basic { username, password }) => {
                format!("{username} with {}", password.expose_secret())
            }
            CredentialSource::File(Credentials::Identity { username, token }) => {
                format!("{} exchanges {}", username.unwrap_or_default(), token.expose_secret())
            }
            CredentialSource::File(Credentials::Bearer(token)) => format!("bearer {}", token.expose_secret()),
            CredentialSource::File(Credentials::Anonymous) => "anonymous".to_owned(),
        });
        texts.collect::<Vec<_>>().join(", ")
    }

    /// What is found where the password of each key is its number.
    fn check_keys(keys: &[&str], registry: &str, expected: &str) {
        let entries = keys
            .iter()
            .enumerate()
            .map(|(number, key)| format!("\"{key}\": {{ \"username\": \"u\", \"password\": \"{number}\" }}"));
        let text = format!("{{ \"auths\": {{ {} }} }}", entries.collect::<Vec<_>>().join(", "));
        assert_eq!(found(&text, registry), expected, "{keys:?} for {registry}");
    }

    fn check_entry(entry: &str, expected: &str) {
        let text = format!("{{\"auths\":{{\"r\":{entry}}}}}");
        assert_eq!(found(&text, "https://r/"), expected, "{entry}");
    }

    #[test]
    fn entry_has_credentials_in_one_of_five_forms() {
        let encode = |text: &str| BASE64.encode(text);
        let auth = |text: &str| format!("{{\"auth\":\"{}\"}}", encode(text));
        check_entry(&auth("ann:hunter2"), "ann with hunter2");
        check_entry(&auth("ann:with:colons:"), "ann with with:colons:");
        check_entry(&auth("ann:padded\0\0"), "ann with padded");
        check_entry(&auth("ann:"), "ann with ");
        check_entry(r#"{"auth":" YW5uOmh1bnRlcjI\n"}"#, "ann with hunter2");
        check_entry(r#"{"username":"ann","password":"hunter2"}"#, "ann with hunter2");
        check_entry(r#"{"auth":"YW5uOmh1bnRlcjI=","username":"bob","password":"x"}"#, "ann with hunter2");
        check_entry(r#"{"auth":"","username":"ann","password":"hunter2","email":"a@b"}"#, "ann with hunter2");
        check_entry(r#"{"identitytoken":"t"}"#, " exchanges t");
        check_entry(
            &format!("{{\"auth\":\"{}\",\"identitytoken\":\"t\"}}", encode("ann:")),
            "ann exchanges t",
        );
        check_entry(r#"{"username":"ann","identitytoken":"t"}"#, "ann exchanges t");
        check_entry(r#"{"auth":"YW5uOmh1bnRlcjI=","identitytoken":"t","registrytoken":"r"}"#, "bearer r");
    }

    #[test]
    fn entry_that_is_invalid_is_named_without_its_secret() {
        let problem =
            "auths.`r`.auth: not the base64 form of `user:password`: log in to the registry once more";
        for entry in [r#"{"auth":"hunter2!"}"#, r#"{"auth":"aHVudGVyMg=="}"#, r#"{"auth":"Omh1bnRlcjI="}"#] {
            check_entry(entry, problem);
        }
        check_entry(r#"{"username":"ann"}"#, "auths.`r`.password: missing: log in to the registry once more");
        check_entry(
            r#"{"password":"hunter2"}"#,
            "auths.`r`.username: missing: log in to the registry once more",
        );
        check_entry(r#""hunter2""#, "`auths.r` (line 1, column 23) is not of the right kind");
        check_entry(
            r#"{"auth":{"hunter2":1}}"#,
            "`auths.r.auth` (line 1, column 22) is not of the right kind",
        );
        check_entry("hunter2", "not JSON at line 1, column 15");
    }

    #[test]
    fn key_may_have_a_port_a_scheme_and_a_path() {
        let registry = "https://r.example.com/";
        for key in [
            "r.example.com",
            "R.example.com",
            "r.example.com:443",
            "r.example.com/",
            "https://r.example.com",
            "https://r.example.com/v1/",
            "https://r.example.com/v2/",
            "https://r.example.com:443/v2",
            "http://r.example.com",
            "r.example.com/team",
        ] {
            check_keys(&[key], registry, "u with 0");
        }
        check_keys(&["r.example.com:80"], "http://r.example.com/", "u with 0");
        check_keys(&["r.example.com"], "http://r.example.com:80/", "u with 0");
        check_keys(&["r.example.com:5000"], "http://r.example.com:5000/", "u with 0");
        check_keys(&["[::1]:5000"], "http://[::1]:5000/", "u with 0");
    }

    #[test]
    fn key_of_another_server_is_not_used() {
        for (key, registry) in [
            ("r.example.com:5000", "https://r.example.com/"),
            ("r.example.com", "https://r.example.com:5000/"),
            ("r.example.com:80", "https://r.example.com/"),
            ("example.com", "https://r.example.com/"),
            ("r.example.com.evil.org", "https://r.example.com/"),
            ("evil.org/r.example.com", "https://r.example.com/"),
            ("", "https://r.example.com/"),
            ("https://", "https://r.example.com/"),
        ] {
            let server = server_name(&registry.parse().unwrap());
            let expected = format!(
                "there are no credentials for `{server}` in it: log in to the registry with `docker login` or \
                 `podman login`, or name another file (it has `{key}`)"
            );
            check_keys(&[key], registry, &expected);
        }
    }

    #[test]
    fn key_that_is_most_specific_is_used() {
        let all = ["http://r", "https://r/v1/", "r", "r/a", "r/a/b", "r/ab", "https://r/v2/"];
        check_keys(&all, "https://r/", "u with 2");
        check_keys(&all, "https://r/a/", "u with 3");
        check_keys(&all, "https://r/a/b/c/", "u with 4");
        check_keys(&all, "https://r/abc/", "u with 2");
        check_keys(&["http://r", "https://r/v1/", "r/a"], "https://r/", "u with 1");
        check_keys(&["https://r/a/v2/", "r"], "https://r/a/", "u with 0");
        check_keys(&["r/v1x", "r"], "https://r/v1x/", "u with 0");
    }

    #[test]
    fn key_for_another_path_is_used_when_it_is_the_only_one() {
        check_keys(&["r/team", "other"], "https://r/", "u with 0");
        check_keys(
            &["r/team", "r/web"],
            "https://r/",
            "auths: `r/team`, `r/web` are all for paths on this host, and none is for `r` itself: add a key for it",
        );
    }

    #[test]
    fn key_may_be_any_name_of_docker_hub() {
        for registry in ["https://registry-1.docker.io/", "https://index.docker.io/", "https://docker.io/"] {
            for key in [HUB, "docker.io", "index.docker.io", "registry-1.docker.io", "https://docker.io/v2/"]
            {
                check_keys(&[key], registry, "u with 0");
            }
        }
        check_keys(&["docker.io", HUB], "https://registry-1.docker.io/", "u with 1");
        check_keys(&[HUB, "registry-1.docker.io"], "https://registry-1.docker.io/", "u with 1");
        check_keys(&["index.docker.io:5000", "other.docker.io", HUB], "https://docker.io/", "u with 2");
    }

    #[test]
    fn sources_are_the_helper_then_the_store_then_the_file() {
        let auths = r#""auths":{"r":{"username":"u","password":"p"}}"#;
        let check = |rest: &str, registry: &str, expected: &str| {
            assert_eq!(found(&format!("{{{auths}{rest}}}"), registry), expected, "{rest}");
        };
        check(r#","credsStore":"pass""#, "https://r/", "ask pass for r, u with p");
        let helper = r#","credsStore":"pass","credHelpers":{"r":"ecr-login"}"#;
        check(helper, "https://r/", "ask ecr-login for r, u with p");
        check(helper, "https://s:5000/", "ask pass for s:5000");
        check(helper, "https://docker.io/", "ask pass for https://index.docker.io/v1/");
        check(
            r#","credHelpers":{"https://r/v1/":"ecr-login"}"#,
            "https://r/",
            "ask ecr-login for r, u with p",
        );
        check(r#","credHelpers":{"r/team":"ecr-login"}"#, "https://r/", "ask ecr-login for r/team, u with p");
        check(r#","credHelpers":{"r":""},"credsStore":"pass""#, "https://r/", "u with p");
        check(r#","credsStore":"""#, "https://r/", "u with p");
        check(r#","credsStore":null,"credHelpers":null"#, "https://r/", "u with p");
    }

    #[test]
    fn store_is_asked_for_the_key_of_the_entry() {
        let text = r#"{"auths":{"https://r/v2/":{}},"credsStore":"pass"}"#;
        assert_eq!(found(text, "https://r/"), "ask pass for https://r/v2/");
        let text = r#"{"auths":{"r/a":{"auth":"!"},"r/b":{"auth":"!"}},"credsStore":"pass"}"#;
        assert_eq!(found(text, "https://r/"), "ask pass for r");
        assert_eq!(found(text, "https://r/a/"), "ask pass for r/a");
        assert!(found(r#"{"auths":{"r":{}}}"#, "https://r/").starts_with("there are no credentials for `r`"));
        assert!(found("{}", "https://r/").ends_with("or name another file"));
    }

    #[test]
    fn helper_name_cannot_lead_to_another_folder() {
        for name in ["../evil", "/bin/sh", "a b", "a\\u0000"] {
            let text = format!("{{\"credHelpers\":{{\"r\":\"{name}\"}}}}");
            let output = found(&text, "https://r/");
            assert!(
                output.starts_with("credHelpers.`r`: `") && output.contains("is not the name of a helper"),
                "{output}"
            );
        }
    }
}
