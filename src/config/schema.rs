//! The configuration as written: every key, and the type of its value.
//!
//! Every key is optional here, and only the types of values are checked; it knows no defaults, and no relations between
//! keys. An unreadable element of a list is `None`, so that the others keep their indexes.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

mod quantity;

pub(super) use quantity::{Size, Span};

/// A list; an empty or unreadable element is `None`.
pub(super) type List<T> = Vec<Option<T>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct Config {
    pub(super) mode: Option<String>,
    pub(super) schedule: Option<String>,
    pub(super) timezone: Option<String>,
    pub(super) listen: Option<String>,
    pub(super) admin_token: Option<Secret>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) history: Option<Span>,
    pub(super) registries: Option<List<Registry>>,
    pub(super) retired: Option<OneOrMany>,
    pub(super) protect: Option<Protect>,
    pub(super) limits: Option<Limits>,
    pub(super) policies: Option<List<Policy>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct Registry {
    pub(super) name: Option<String>,
    pub(super) was: Option<OneOrMany>,
    pub(super) url: Option<String>,
    pub(super) auth: Option<Auth>,
    pub(super) tls: Option<Tls>,
    pub(super) repositories: Option<OneOrMany>,
    pub(super) tags_complete: Option<bool>,
    pub(super) concurrency: Option<u64>,
    pub(super) requests_per_second: Option<u64>,
    pub(super) timeout: Option<Span>,
    pub(super) run_timeout: Option<Span>,
    pub(super) schedule: Option<String>,
    pub(super) gc: Option<Gc>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct Auth {
    pub(super) basic: Option<Basic>,
    pub(super) docker_config: Option<PathBuf>,
    pub(super) bearer: Option<Secret>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct Basic {
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
}

/// The source of a secret; never the secret itself.
pub(super) struct Secret(pub(super) SecretSource);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct SecretSource {
    pub(super) file: Option<PathBuf>,
    pub(super) env: Option<String>,
    pub(super) credential: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct Tls {
    pub(super) ca_file: Option<PathBuf>,
    pub(super) cert_file: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) insecure_skip_verify: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct Gc {
    pub(super) schedule: Option<String>,
    pub(super) min_reclaimable: Option<Size>,
    pub(super) grace: Option<Span>,
    pub(super) timeout: Option<Span>,
    pub(super) interruption: Option<String>,
    pub(super) docker: Option<Docker>,
    pub(super) command: Option<Command>,
    pub(super) cache: Option<String>,
    pub(super) redis: Option<Redis>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct Redis {
    pub(super) address: Option<String>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) db: Option<u64>,
    pub(super) tls: Option<RedisTls>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct RedisTls {
    pub(super) ca_file: Option<PathBuf>,
    pub(super) cert_file: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct Docker {
    pub(super) host: Option<String>,
    pub(super) container: Option<String>,
    pub(super) method: Option<String>,
    pub(super) config_file: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct Command {
    pub(super) before: Option<List<String>>,
    pub(super) run: Option<List<String>>,
    pub(super) cancel: Option<List<String>>,
    pub(super) after: Option<List<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct Protect {
    pub(super) tags: Option<OneOrMany>,
    pub(super) labels: Option<OneOrMany>,
    pub(super) newer_than: Option<Span>,
    pub(super) at_least: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct Limits {
    pub(super) max_deletions: Option<u64>,
    pub(super) max_percent: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct Policy {
    pub(super) name: Option<String>,
    pub(super) registries: Option<OneOrMany>,
    pub(super) repositories: Option<OneOrMany>,
    pub(super) exclude: Option<OneOrMany>,
    pub(super) mode: Option<String>,
    pub(super) rules: Option<List<Rule>>,
    pub(super) untagged: Option<Untagged>,
    pub(super) untag: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct Rule {
    pub(super) name: Option<String>,
    pub(super) tags: Option<OneOrMany>,
    pub(super) group_by: Option<OneOrMany>,
    pub(super) keep: Option<Keep>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct Untagged {
    pub(super) newer_than: Option<Span>,
}

/// A keyword (only `all` and `none` are valid), or criteria.
pub(super) enum Keep {
    Keyword(String),
    Criteria(Box<Criteria>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct Criteria {
    pub(super) newest: Option<u64>,
    pub(super) newer_than: Option<Span>,
    pub(super) daily: Option<u64>,
    pub(super) weekly: Option<u64>,
    pub(super) monthly: Option<u64>,
    pub(super) yearly: Option<u64>,
    pub(super) versions: Option<Versions>,
    pub(super) all: Option<Box<Criteria>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping such as `{ newest: 3 }`")]
pub(super) struct Versions {
    pub(super) newest: Option<u64>,
    pub(super) per: Option<String>,
}

/// A list of strings, or a single string instead of a list of one.
pub(super) enum OneOrMany {
    One(String),
    Many(List<String>),
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor)
    }
}

struct OneOrManyVisitor;

impl<'de> Visitor<'de> for OneOrManyVisitor {
    type Value = OneOrMany;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of strings")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<OneOrMany, E> {
        Ok(OneOrMany::One(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = list.next_element()? {
            texts.push(text);
        }
        Ok(OneOrMany::Many(texts))
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeepVisitor)
    }
}

struct KeepVisitor;

impl<'de> Visitor<'de> for KeepVisitor {
    type Value = Keep;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`all`, `none` or criteria such as `{ newest: 5 }`")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Keep, E> {
        Ok(Keep::Keyword(word.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Keep, A::Error> {
        Criteria::deserialize(MapAccessDeserializer::new(map)).map(|criteria| Keep::Criteria(criteria.into()))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

/// Refuses a secret in the configuration itself, without repeating it.
struct SecretVisitor;

impl SecretVisitor {
    fn refuse<E: Error>() -> Result<Secret, E> {
        Err(E::custom(
            "secrets are not allowed in this file: write `{ file: PATH }`, `{ env: NAME }` or `{ credential: NAME }`",
        ))
    }
}

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`{ file: PATH }`, `{ env: NAME }` or `{ credential: NAME }`")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Secret, A::Error> {
        SecretSource::deserialize(MapAccessDeserializer::new(map)).map(Secret)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Secret, E> {
        Self::refuse()
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Secret, E> {
        Self::refuse()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Secret, E> {
        Self::refuse()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Secret, E> {
        Self::refuse()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Secret, E> {
        Self::refuse()
    }
}
