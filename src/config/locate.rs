//! The line of a place in a YAML text.
//!
//! It knows nothing of what the text means. It is only asked about texts that are valid YAML, and only
//! once something is wrong, so it reads the text again for each place.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::problem::{Path, Step};

/// The line of the place, from 1: of its key, or where an element begins. If there is nothing there,
/// the line of the nearest thing above it that exists.
pub(super) fn line_of(text: &str, path: &Path) -> Option<usize> {
    let steps = path.steps();
    (0..=steps.len()).rev().find_map(|depth| line_at(text, &steps[..depth]))
}

/// Reads towards the place and fails on arrival: the error then tells the line.
fn line_at(text: &str, steps: &[Step]) -> Option<usize> {
    let document = serde_yaml::Deserializer::from_str(text);
    let arrived = Walk { steps }.deserialize(document).err()?;
    Some(arrived.location()?.line())
}

/// Goes down the steps; ends without an error where there is nothing.
struct Walk<'a> {
    steps: &'a [Step],
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.steps.is_empty() {
            deserializer.deserialize_any(Arrive)
        } else {
            deserializer.deserialize_any(self)
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Step::Key(key), rest)) = self.steps.split_first() else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        while let Some(found) = map.next_key_seed(Key { wanted: key, is_last: rest.is_empty() })? {
            if found {
                map.next_value_seed(Walk { steps: rest })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if let Some((Step::Index(index), rest)) = self.steps.split_first() {
            for _ in 0..*index {
                list.next_element::<IgnoredAny>()?;
            }
            list.next_element_seed(Walk { steps: rest })?;
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// Tells whether a key is the wanted one, or fails on it if it is the last step.
struct Key<'a> {
    wanted: &'a str,
    is_last: bool,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<bool, E> {
        match key == self.wanted {
            true if self.is_last => Err(E::custom("arrived")),
            found => Ok(found),
        }
    }
}

/// Fails whatever stands here: no method but the defaults, which refuse everything.
struct Arrive;

impl Visitor<'_> for Arrive {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# a comment
mode: plan

policies:
  - name: one
    rules:
      - name: a
        tags: 'x'
      - { name: b,
          tags: [y,
                 z] }
      -
      - keep:
          newest: 3
  - name: two
1: x
";

    #[test]
    fn a_place_is_found_at_its_key_or_where_its_element_begins() {
        let check = |steps: &[&str], line: usize| {
            let path = steps.iter().fold(Path::default(), |path, step| match step.parse() {
                Ok(index) => path.index(index),
                Err(_) => path.key(step),
            });
            assert_eq!(line_of(TEXT, &path), Some(line), "{path}");
        };
        check(&[], 2);
        check(&["mode"], 2);
        check(&["policies"], 4);
        check(&["policies", "0"], 5);
        check(&["policies", "0", "rules"], 6);
        check(&["policies", "0", "rules", "0", "tags"], 8);
        check(&["policies", "0", "rules", "1"], 9);
        check(&["policies", "0", "rules", "1", "tags", "1"], 11);
        check(&["policies", "0", "rules", "2"], 12);
        check(&["policies", "0", "rules", "3", "keep", "newest"], 14);
        check(&["policies", "1", "name"], 15);
    }

    #[test]
    fn a_place_that_does_not_exist_is_found_at_what_should_hold_it() {
        let check = |path: Path, line: usize| assert_eq!(line_of(TEXT, &path), Some(line), "{path}");
        check(Path::default().key("registries"), 2);
        check(Path::default().key("policies").index(1).key("rules"), 15);
        check(Path::default().key("policies").index(0).key("rules").index(3).key("tags"), 13);
        check(Path::default().key("mode").key("x").key("y"), 2);
    }
}
