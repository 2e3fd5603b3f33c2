//! Parsing a page of a catalog or of a list of tags.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};

use crate::model::sanitize;

/// The names in a list. One with more is an error: each name costs a request, and memory while it is held.
pub(super) const MAX_NAMES: usize = 1_000_000;

/// Characters of an invalid name that are shown. No tag and no repository has a longer name.
pub(super) const MAX_NAME_SHOWN: usize = 255;

/// A page of the catalog.
#[derive(Deserialize)]
pub(crate) struct Catalog<'a> {
    #[serde(borrow)]
    pub(crate) repositories: Names<'a>,
}

/// A page of the list of tags.
#[derive(Deserialize)]
pub(crate) struct Tags<'a> {
    #[serde(borrow)]
    pub(crate) name: Cow<'a, str>,
    /// Distribution has `null` for no tags. A missing list is an error.
    #[serde(borrow, deserialize_with = "Option::deserialize")]
    pub(super) tags: Option<Names<'a>>,
}

/// Names as the answer contains them, valid or not. Parsing stops when there are too many.
#[derive(Default)]
pub(crate) struct Names<'a>(pub(crate) Vec<Cow<'a, str>>);

/// One name.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Names<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(NamesVisitor)
    }
}

struct NamesVisitor;

impl<'de> Visitor<'de> for NamesVisitor {
    type Value = Names<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of names")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Names<'de>, A::Error> {
        let mut names = Vec::new();
        while let Some(Name(name)) = list.next_element()? {
            if names.len() == MAX_NAMES {
                return Err(A::Error::custom(format!("it has more than {MAX_NAMES} names")));
            }
            names.push(name);
        }
        Ok(Names(names))
    }
}

/// Parses a page of a list.
pub(crate) fn parse_list<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    // Some errors repeat values of the text.
    serde_json::from_slice(body).map_err(|error| {
        format!("the list cannot be parsed: {}", sanitize(&error.to_string(), MAX_NAME_SHOWN))
    })
}
