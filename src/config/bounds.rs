//! What a text must not be, so that reading it as YAML takes bounded time and memory.
//!
//! It knows YAML, and nothing of what a configuration means.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    Deserialize as _, DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess,
    VariantAccess as _, Visitor,
};

/// A file of more bytes is none that anybody wrote for us.
pub(super) const FILE_BYTES: usize = 1 << 20;

/// Reading takes time with the square of the depth, and whatever closes a bracket can be in a comment.
const BRACKETS: usize = 10_000;

/// What a document may come to when its aliases are written out. Without any, no file gets there.
const DOCUMENT_BYTES: usize = 32 << 20;

/// What a value counts for besides its text.
const VALUE_BYTES: usize = 48;

/// Tells what a text has too much of.
pub(super) fn check(text: &str) -> Result<(), String> {
    if text.len() > FILE_BYTES {
        return Err(format!(
            "it is longer than {FILE_BYTES} bytes: no configuration is: name the right file"
        ));
    }
    if text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count() > BRACKETS {
        return Err(format!(
            "there are more than {BRACKETS} opening brackets in it: write lists and mappings with one element a line"
        ));
    }
    let room = Cell::new(Some(DOCUMENT_BYTES));
    // All other errors are found again, and told better, when the text is read for what it means.
    let _ = Weigh { room: &room }.deserialize(serde_yaml::Deserializer::from_str(text));
    match room.get() {
        Some(_) => Ok(()),
        None => Err("its aliases (`*name`) repeat too much: write out what they stand for".to_owned()),
    }
}

/// Weighs everything in a document, and fails where that is too much.
#[derive(Clone, Copy)]
struct Weigh<'a> {
    /// What is left; `None` once there was too little.
    room: &'a Cell<Option<usize>>,
}

impl Weigh<'_> {
    fn take<E: Error>(self, text: usize) -> Result<(), E> {
        let left = self.room.get().and_then(|room| room.checked_sub(VALUE_BYTES + text));
        self.room.set(left);
        left.map(drop).ok_or_else(|| E::custom("too much"))
    }
}

impl<'de> DeserializeSeed<'de> for Weigh<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Weigh<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.take(0)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.take(0)
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<(), E> {
        self.take(0)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.take(0)
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<(), E> {
        self.take(0)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.take(0)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.take(0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.take(text.len())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.take(0)?;
        while map.next_key_seed(self)?.is_some() {
            map.next_value_seed(self)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.take(0)?;
        while list.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    /// A value with a tag, such as `!name value`.
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        self.take(0)?;
        let (_, value) = tagged.variant_seed(Ignored)?;
        value.newtype_variant_seed(self)
    }
}

/// Passes over a tag.
struct Ignored;

impl<'de> DeserializeSeed<'de> for Ignored {
    type Value = IgnoredAny;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<IgnoredAny, D::Error> {
        IgnoredAny::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_itself_without_end_is_refused() {
        let list = |element: &str, count: usize| format!("[{}]", vec![element; count].join(","));
        let flat = format!("a: &a {}\nb: {}\n", list("x", 5000), list("*a", 5000));
        let long = format!("a: &a {}\nb: {}\n", "x".repeat(500_000), list("*a", 5000));
        let tagged = format!("a: &a !x {}\nb: {}\n", list("x", 5000), list("*a", 5000));
        let keys = format!("a: &a {}\nb: {}\n", "x".repeat(500_000), list("{*a : 1}", 500));
        for text in [&flat, &long, &tagged, &keys] {
            let message = check(text).unwrap_err();
            assert!(message.contains("repeat too much"), "{message}");
        }
    }

    #[test]
    fn what_would_take_for_ever_is_refused() {
        assert!(check(&"[".repeat(BRACKETS + 1)).unwrap_err().contains("opening brackets"));
        assert!(check(&"[#]\n".repeat(BRACKETS + 1)).unwrap_err().contains("opening brackets"));
        assert!(check(&" ".repeat(FILE_BYTES + 1)).unwrap_err().contains("longer than"));
    }

    #[test]
    fn nothing_that_fits_in_a_file_is_too_much_without_aliases() {
        for text in
            ["- a\n".repeat(FILE_BYTES / 4), "a".repeat(FILE_BYTES), format!("[{}]", "a,".repeat(524_000))]
        {
            assert_eq!(check(&text), Ok(()));
        }
        assert_eq!(check("a: &a { b: 1, c: !x [1.5, ~, yes] }\nd: *a\n"), Ok(()));
    }
}
