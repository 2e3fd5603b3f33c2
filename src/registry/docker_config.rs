//! A Docker configuration file as docker, podman and skopeo write it: which of its credentials are for a registry.
//!
//! It reads text and neither files nor helpers. Its errors name keys and never what stands behind them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::auth::Credentials;

/// Some tools leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What Docker calls its Hub in this file and before its helpers.
const HUB: &str = "https://index.docker.io/v1/";
/// All of these are the Hub.
const HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// The file, as far as it is about credentials.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DockerConfig {
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

/// Where credentials for a registry are to be had.
#[derive(Debug)]
pub(super) enum Place {
    /// A program knows them, if it is asked for this server.
    Helper { name: String, server: String },
    /// They are in the file.
    Here(Credentials),
}

impl DockerConfig {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        read(text)
    }

    /// Where the credentials for this registry are, in the order in which to ask; there is at least one place.
    pub(super) fn places(&self, registry: &Url) -> Result<Vec<Place>, String> {
        let server = server(registry);
        let entries: BTreeMap<&str, &Entry> = self
            .auths
            .iter()
            .flatten()
            .filter_map(|(key, entry)| Some((key.as_str(), entry.as_ref()?)))
            .collect();
        let helpers = self.cred_helpers.iter().flatten();
        let own =
            best(helpers.map(|(key, helper)| (key.as_str(), helper.as_str())), registry, "credHelpers")?;
        // With a store, the key of an entry that is empty is the name under which the store has it.
        let stored = || best(entries.keys().map(|key| (*key, ())), registry, "auths");
        let helper = match (own, self.creds_store.as_deref()) {
            (Some(Found { key, value, fit }), _) => {
                let server = if matches!(fit, Fit::Path(_) | Fit::Elsewhere) {
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
        let mut places = Vec::new();
        // Docker writes an empty name where the file itself is meant.
        if let Some((at, name, server)) = helper.filter(|(_, name, _)| !name.is_empty()) {
            if !is_plain(name) {
                return Err(format!(
                    "{at}: `{name}` is no name of a helper: write a word such as `ecr-login`"
                ));
            }
            places.push(Place::Helper { name: name.to_owned(), server });
        }
        let filled = entries.iter().filter(|(_, entry)| entry.says_something());
        let found = best(filled.map(|(key, entry)| (*key, *entry)), registry, "auths");
        let here = found.and_then(|found| {
            let Some(Found { key, value, .. }) = found else { return Ok(None) };
            value.credentials().map(Some).map_err(|problem| format!("auths.`{key}`{problem}"))
        });
        match here {
            Ok(here) => places.extend(here.map(Place::Here)),
            // What is wrong there does not matter where a helper is to be asked.
            Err(problem) if places.is_empty() => return Err(problem),
            Err(_) => {}
        }
        if places.is_empty() {
            return Err(format!("there are no credentials for `{server}` in it: {}", self.way_out()));
        }
        Ok(places)
    }

    /// What to do where a registry is not known.
    pub(super) fn way_out(&self) -> String {
        let keys: Vec<String> = self.auths.iter().flatten().map(|(key, _)| format!("`{key}`")).collect();
        let knows = if keys.is_empty() { String::new() } else { format!(" (it knows {})", keys.join(", ")) };
        format!("log in to the registry with `docker login` or `podman login`, or name another file{knows}")
    }
}

impl Entry {
    fn says_something(&self) -> bool {
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

/// Reads `auth`: user and password with a colon between them, in base64.
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

/// Whether a name can be put behind `docker-credential-` and leads to no other folder.
fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// How Docker calls a registry: its host, with a port if it is not the usual one.
pub(super) fn server(registry: &Url) -> String {
    let host = registry.host_str().unwrap_or_default();
    match registry.port() {
        _ if HUB_HOSTS.contains(&host) => HUB.to_owned(),
        None => host.to_owned(),
        Some(port) => format!("{host}:{port}"),
    }
}

/// How a key fits a registry, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// The path of the key is this much of the registry's own.
    Path(Reverse<usize>),
    /// Host and port.
    Exact,
    /// The same host and port in other words. Docker's own words for its Hub come first, and http last.
    Spelled(u8),
    /// Another path on the same host, such as a namespace of podman.
    Elsewhere,
}

struct Found<'a, T> {
    key: &'a str,
    value: T,
    fit: Fit,
}

/// The key that fits best, if any does.
fn best<'a, T>(
    keys: impl Iterator<Item = (&'a str, T)>,
    registry: &Url,
    section: &str,
) -> Result<Option<Found<'a, T>>, String> {
    let fitting = keys.filter_map(|(key, value)| Some(Found { key, value, fit: fit(key, registry)? }));
    let mut fitting: Vec<_> = fitting.collect();
    fitting.sort_by_key(|found| found.fit);
    if fitting.len() > 1 && fitting[0].fit == Fit::Elsewhere {
        let keys: Vec<String> = fitting.iter().map(|found| format!("`{}`", found.key)).collect();
        return Err(format!(
            "{section}: {} are all for paths on this host, and none is for `{}` itself: add a key for it",
            keys.join(", "),
            server(registry)
        ));
    }
    Ok(fitting.into_iter().next())
}

/// Keys are `host`, `host:port` or `host/path`, or the whole with a scheme, mostly with `/v1/` at the end.
fn fit(key: &str, registry: &Url) -> Option<Fit> {
    let (scheme, rest) = key.split_once("://").map_or((None, key), |(scheme, rest)| (Some(scheme), rest));
    // A port that is left out is the usual one of the registry's scheme.
    let place = Url::parse(&format!("{}://{rest}", registry.scheme())).ok()?;
    let host = |url: &Url| {
        let host = url.host_str()?.to_owned();
        Some(if HUB_HOSTS.contains(&host.as_str()) { "docker.io".to_owned() } else { host })
    };
    if host(&place)? != host(registry)? || place.port_or_known_default() != registry.port_or_known_default() {
        return None;
    }
    let path = place.path().trim_matches('/');
    let path = path.strip_suffix("v1").or_else(|| path.strip_suffix("v2")).map_or(path, |rest| {
        if rest.is_empty() || rest.ends_with('/') { rest.trim_end_matches('/') } else { path }
    });
    let own = registry.path().trim_matches('/');
    let is_above = own.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    Some(match path {
        "" if key == HUB => Fit::Spelled(0),
        "" if scheme == Some("http") => Fit::Spelled(2),
        "" if scheme.is_some() || rest.contains('/') || place.host_str() != registry.host_str() => {
            Fit::Spelled(1)
        }
        "" => Fit::Exact,
        path if is_above => Fit::Path(Reverse(path.len())),
        _ => Fit::Elsewhere,
    })
}

/// Reads JSON whose values may be secrets: the error tells where it is wrong and not what stands there.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value: Result<T, _> = serde_path_to_error::deserialize(&mut deserializer);
    let value = value.map_err(|error| {
        let (path, error) = (error.path().to_string(), error.into_inner());
        let place = format!("line {}, column {}", error.line(), error.column());
        if error.is_data() {
            format!("`{path}` ({place}) is not of the right kind")
        } else {
            format!("not JSON at {place}")
        }
    })?;
    deserializer
        .end()
        .map_err(|error| format!("not JSON at line {}, column {}", error.line(), error.column()))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    /// What is found for a registry, in short words.
    fn found(text: &str, registry: &str) -> String {
        let places = DockerConfig::parse(text).and_then(|config| config.places(&registry.parse().unwrap()));
        let places = match places {
            Ok(places) => places,
            Err(error) => return error,
        };
        let words = places.into_iter().map(|place| match place {
            Place::Helper { name, server } => format!("ask {name} for {server}"),
            Place::Here(Credentials::Basic { username, password }) => {
                format!("{username} with {}", password.expose_secret())
            }
            Place::Here(Credentials::Identity { username, token }) => {
                format!("{} exchanges {}", username.unwrap_or_default(), token.expose_secret())
            }
            Place::Here(Credentials::Bearer(token)) => format!("bearer {}", token.expose_secret()),
            Place::Here(Credentials::Anonymous) => "nobody".to_owned(),
        });
        words.collect::<Vec<_>>().join(", ")
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
    fn an_entry_holds_credentials_in_one_of_five_forms() {
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
    fn an_entry_that_is_wrong_names_its_key_and_no_secret() {
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
    fn a_key_is_a_host_with_or_without_port_scheme_and_path() {
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
    fn a_key_of_another_server_is_not_used() {
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
            let server = server(&registry.parse().unwrap());
            let expected = format!(
                "there are no credentials for `{server}` in it: log in to the registry with `docker login` or \
                 `podman login`, or name another file (it knows `{key}`)"
            );
            check_keys(&[key], registry, &expected);
        }
    }

    #[test]
    fn the_most_specific_key_wins() {
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
    fn a_key_for_another_path_is_used_where_it_is_the_only_one() {
        check_keys(&["r/team", "other"], "https://r/", "u with 0");
        check_keys(
            &["r/team", "r/web"],
            "https://r/",
            "auths: `r/team`, `r/web` are all for paths on this host, and none is for `r` itself: add a key for it",
        );
    }

    #[test]
    fn the_hub_has_several_names() {
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
    fn helpers_come_before_the_store_and_the_store_before_the_file() {
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
    fn a_store_is_asked_for_the_name_under_which_it_was_told() {
        let text = r#"{"auths":{"https://r/v2/":{}},"credsStore":"pass"}"#;
        assert_eq!(found(text, "https://r/"), "ask pass for https://r/v2/");
        let text = r#"{"auths":{"r/a":{"auth":"!"},"r/b":{"auth":"!"}},"credsStore":"pass"}"#;
        assert_eq!(found(text, "https://r/"), "ask pass for r");
        assert_eq!(found(text, "https://r/a/"), "ask pass for r/a");
        assert!(found(r#"{"auths":{"r":{}}}"#, "https://r/").starts_with("there are no credentials for `r`"));
        assert!(found("{}", "https://r/").ends_with("or name another file"));
    }

    #[test]
    fn a_helper_is_a_plain_word() {
        for name in ["../evil", "/bin/sh", "a b", "a\\u0000"] {
            let text = format!("{{\"credHelpers\":{{\"r\":\"{name}\"}}}}");
            let said = found(&text, "https://r/");
            assert!(
                said.starts_with("credHelpers.`r`: `") && said.contains("is no name of a helper"),
                "{said}"
            );
        }
    }
}
