//! The line of a place in a YAML text.
//!
//! It knows nothing of the configuration's keys. It is only called for valid YAML that has a problem, so it parses the
//! text again for each place.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::path::{Path, Step};

/// The line of the place, from 1: that of its key, or the one where an element begins. If the place does not exist, the
/// line of the nearest parent that does.
pub(crate) fn line_of(text: &str, path: &Path) -> Option<usize> {
    let steps = path.steps();
    (0..=steps.len()).rev().find_map(|depth| line_at(text, &steps[..depth]))
}

/// Deserializes down to the place and fails there on purpose: the error has the line.
fn line_at(text: &str, steps: &[Step]) -> Option<usize> {
    let document = serde_yaml::Deserializer::from_str(text);
    let error = StepSeed { steps }.deserialize(document).err()?;
    Some(error.location()?.line())
}

/// Follows the steps; succeeds if the place does not exist.
struct StepSeed<'a> {
    steps: &'a [Step],
}

impl<'de> DeserializeSeed<'de> for StepSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.steps.is_empty() {
            deserializer.deserialize_any(Target)
        } else {
            deserializer.deserialize_any(self)
        }
    }
}

impl<'de> Visitor<'de> for StepSeed<'_> {
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
                map.next_value_seed(StepSeed { steps: rest })?;
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
            list.next_element_seed(StepSeed { steps: rest })?;
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// Whether a key is the wanted one; fails on it if it is the last step.
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
            true if self.is_last => Err(E::custom("found")),
            found => Ok(found),
        }
    }
}

/// Fails on any value: it has only the default methods, which refuse everything.
struct Target;

impl Visitor<'_> for Target {
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
    fn line_is_that_of_the_key_or_the_beginning_of_the_element() {
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
    fn line_of_a_missing_place_is_that_of_its_parent() {
        let check = |path: Path, line: usize| assert_eq!(line_of(TEXT, &path), Some(line), "{path}");
        check(Path::default().key("registries"), 2);
        check(Path::default().key("policies").index(1).key("rules"), 15);
        check(Path::default().key("policies").index(0).key("rules").index(3).key("tags"), 13);
        check(Path::default().key("mode").key("x").key("y"), 2);
    }
}
