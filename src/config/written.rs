//! The configuration as written: every key that exists, and what kind of value it takes.
//!
//! Every key is optional here, and nothing is judged but the kind of a value; it knows no defaults, and
//! no key's relation to another. An element that could not be read is `None` in its list, so that the
//! others keep their places.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::quantity::{Size, Span};

/// A list in which some elements may say nothing.
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
    pub(super) retired: Option<Texts>,
    pub(super) protect: Option<Protect>,
    pub(super) limits: Option<Limits>,
    pub(super) policies: Option<List<Policy>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct Registry {
    pub(super) name: Option<String>,
    pub(super) was: Option<Texts>,
    pub(super) url: Option<String>,
    pub(super) auth: Option<Auth>,
    pub(super) tls: Option<Tls>,
    pub(super) repositories: Option<Texts>,
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

/// Where a secret is found; never the secret itself.
pub(super) struct Secret(pub(super) SecretPlace);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct SecretPlace {
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
    pub(super) tags: Option<Texts>,
    pub(super) labels: Option<Texts>,
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
    pub(super) registries: Option<Texts>,
    pub(super) repositories: Option<Texts>,
    pub(super) exclude: Option<Texts>,
    pub(super) mode: Option<String>,
    pub(super) rules: Option<List<Rule>>,
    pub(super) untagged: Option<Untagged>,
    pub(super) untag: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct Rule {
    pub(super) name: Option<String>,
    pub(super) tags: Option<Texts>,
    pub(super) group_by: Option<Texts>,
    pub(super) keep: Option<Keep>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct Untagged {
    pub(super) newer_than: Option<Span>,
}

/// `all`, `none`, another word that means nothing, or criteria.
pub(super) enum Keep {
    Word(String),
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

/// A list of texts, for which a single text is short.
pub(super) enum Texts {
    One(String),
    Many(List<String>),
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Texts, E> {
        Ok(Texts::One(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = list.next_element()? {
            texts.push(text);
        }
        Ok(Texts::Many(texts))
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
        Ok(Keep::Word(word.to_owned()))
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

/// Refuses a secret that stands in the configuration itself, without repeating it.
struct SecretVisitor;

impl SecretVisitor {
    fn refuse<E: Error>() -> Result<Secret, E> {
        Err(E::custom(
            "a secret does not belong in this file: write `{ file: PATH }`, `{ env: NAME }` or `{ credential: NAME }`",
        ))
    }
}

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`{ file: PATH }`, `{ env: NAME }` or `{ credential: NAME }`")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Secret, A::Error> {
        SecretPlace::deserialize(MapAccessDeserializer::new(map)).map(Secret)
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
