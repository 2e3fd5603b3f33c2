//! Limits on a YAML text, so that parsing it takes bounded time and memory.
//!
//! It knows YAML, and nothing of the configuration's keys.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    Deserialize as _, DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess,
    VariantAccess as _, Visitor,
};

/// The largest configuration file.
pub(crate) const MAX_FILE_BYTES: usize = 1 << 20;

/// Parsing time grows with the square of the nesting depth. Closing brackets are not counted, since they can be in a
/// comment.
const MAX_BRACKETS: usize = 10_000;

/// The most bytes of a document with its aliases expanded. Without aliases no file reaches it.
const MAX_EXPANDED_BYTES: usize = 32 << 20;

/// The bytes that count for a value in addition to its text.
const BYTES_PER_VALUE: usize = 48;

/// The limit that a text exceeds, as a message.
pub(crate) fn check(text: &str) -> Result<(), String> {
    if text.len() > MAX_FILE_BYTES {
        return Err(format!(
            "the file is larger than {MAX_FILE_BYTES} bytes, the limit for a configuration: check that it is the right file"
        ));
    }
    if text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count() > MAX_BRACKETS {
        return Err(format!(
            "the file has more than {MAX_BRACKETS} opening brackets: write lists and mappings in block style, one element per line"
        ));
    }
    let remaining = Cell::new(Some(MAX_EXPANDED_BYTES));
    // All other errors are found again, with better messages, when the text is parsed into the schema.
    let _ = SizeCheck { remaining: &remaining }.deserialize(serde_yaml::Deserializer::from_str(text));
    match remaining.get() {
        Some(_) => Ok(()),
        None => Err("the aliases (`*name`) expand to too much data: write the values out instead".to_owned()),
    }
}

/// Adds up the size of all values in a document, and fails if it is too large.
#[derive(Clone, Copy)]
struct SizeCheck<'a> {
    /// The bytes that are left; `None` once they were exceeded.
    remaining: &'a Cell<Option<usize>>,
}

impl SizeCheck<'_> {
    fn take<E: Error>(self, text: usize) -> Result<(), E> {
        let left = self.remaining.get().and_then(|remaining| remaining.checked_sub(BYTES_PER_VALUE + text));
        self.remaining.set(left);
        left.map(drop).ok_or_else(|| E::custom("too large"))
    }
}

impl<'de> DeserializeSeed<'de> for SizeCheck<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for SizeCheck<'_> {
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

/// Skips a tag.
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
    fn aliases_that_expand_to_too_much_are_refused() {
        let list = |element: &str, count: usize| format!("[{}]", vec![element; count].join(","));
        let flat = format!("a: &a {}\nb: {}\n", list("x", 5000), list("*a", 5000));
        let long = format!("a: &a {}\nb: {}\n", "x".repeat(500_000), list("*a", 5000));
        let tagged = format!("a: &a !x {}\nb: {}\n", list("x", 5000), list("*a", 5000));
        let keys = format!("a: &a {}\nb: {}\n", "x".repeat(500_000), list("{*a : 1}", 500));
        for text in [&flat, &long, &tagged, &keys] {
            let message = check(text).unwrap_err();
            assert!(message.contains("expand to too much data"), "{message}");
        }
    }

    #[test]
    fn brackets_and_bytes_are_limited() {
        assert!(check(&"[".repeat(MAX_BRACKETS + 1)).unwrap_err().contains("opening brackets"));
        assert!(check(&"[#]\n".repeat(MAX_BRACKETS + 1)).unwrap_err().contains("opening brackets"));
        assert!(check(&" ".repeat(MAX_FILE_BYTES + 1)).unwrap_err().contains("larger than"));
    }

    #[test]
    fn files_without_aliases_never_exceed_the_expanded_size() {
        for text in [
            "- a\n".repeat(MAX_FILE_BYTES / 4),
            "a".repeat(MAX_FILE_BYTES),
            format!("[{}]", "a,".repeat(524_000)),
        ] {
            assert_eq!(check(&text), Ok(()));
        }
        assert_eq!(check("a: &a { b: 1, c: !x [1.5, ~, yes] }\nd: *a\n"), Ok(()));
    }
}
