//! Durations and sizes as people write them: a whole number and a unit.
//!
//! It knows no keys, and refuses whatever is ambiguous.

use std::fmt;
use std::time::Duration;

use chrono::TimeDelta;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A length of time in whole seconds, at most a hundred years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    seconds: u32,
}

const DAY: u64 = 86_400;

/// A hundred years: longer than images are kept, and short enough that no date overflows.
const MAX_SECONDS: u64 = 36_525 * DAY;

impl Span {
    /// Reads a number with one of the units `s`, `min`, `h`, `d` and `w`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (digits, unit) = split(text);
        let Some(number) = number(digits) else {
            return Err(not_a_duration(text));
        };
        let unit = match unit {
            "s" => 1,
            "min" => 60,
            "h" => 3_600,
            "d" => DAY,
            "w" => 7 * DAY,
            // Read as minutes instead of months, `6m` would delete almost everything.
            "m" => {
                return Err(format!(
                    "`{text}` could be minutes or months: write `{number}min` or `{}d`",
                    number.saturating_mul(30)
                ));
            }
            "mo" | "month" | "months" => return Err(in_days(text, number, 30)),
            "y" | "yr" | "year" | "years" => return Err(in_days(text, number, 365)),
            "" => return Err(format!("`{text}` has no unit: write `{number}s`, or min, h, d or w")),
            _ => return Err(not_a_duration(text)),
        };
        match number.checked_mul(unit).filter(|seconds| *seconds <= MAX_SECONDS).map(u32::try_from) {
            Some(Ok(seconds)) => Ok(Self { seconds }),
            _ => Err(format!("`{text}` is longer than the maximum of 100 years: write at most `36525d`")),
        }
    }

    pub(crate) fn is_zero(self) -> bool {
        self.seconds == 0
    }
}

impl From<Span> for TimeDelta {
    fn from(span: Span) -> Self {
        Self::seconds(span.seconds.into())
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        Self::from_secs(span.seconds.into())
    }
}

fn not_a_duration(text: &str) -> String {
    format!(
        "`{text}` is not a duration: write a whole number and a unit, such as `90s`, `30min`, `12h`, `14d` or `8w`"
    )
}

fn in_days(text: &str, number: u64, days: u64) -> String {
    format!("`{text}` has no fixed length: write days instead, such as `{}d`", number.saturating_mul(days))
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) bytes: u64,
}

impl Size {
    /// Reads a number with one of the units `B`, `KiB`, `MiB`, `GiB` and `TiB`, or a bare `0`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (digits, unit) = split(text);
        let Some(number) = number(digits) else {
            return Err(not_a_size(text));
        };
        let unit = match unit {
            "" if number == 0 => 1,
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1_u64 << 40,
            "" => return Err(format!("`{text}` has no unit: write `{number}B`, or KiB, MiB, GiB or TiB")),
            _ => return Err(not_a_size(text)),
        };
        let bytes = number.checked_mul(unit);
        bytes
            .map(|bytes| Self { bytes })
            .ok_or_else(|| format!("`{text}` is larger than the maximum of 16 EiB: write a smaller size"))
    }
}

fn not_a_size(text: &str) -> String {
    format!(
        "`{text}` is not a size: write a whole number and B, KiB, MiB, GiB or TiB, such as `500MiB`, or `0`"
    )
}

fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// `None` without digits; a number that overflows becomes the largest.
fn number(digits: &str) -> Option<u64> {
    (!digits.is_empty()).then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Reads a quantity from a string. A number is parsed as a string, too, which fails for lack of a unit.
struct Quantity<T> {
    expecting: &'static str,
    parse: fn(&str) -> Result<T, String>,
}

impl<T> Visitor<'_> for Quantity<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        (self.parse)(&number.to_string()).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Quantity { expecting: "a duration such as `14d`", parse: Self::parse })
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Quantity { expecting: "a size such as `500MiB`", parse: Self::parse })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_a_number_and_a_unit() {
        let check = |text: &str, seconds: u32| {
            assert_eq!(Span::parse(text), Ok(Span { seconds }), "{text}");
        };
        check("0s", 0);
        check("90s", 90);
        check("30min", 1_800);
        check("12h", 43_200);
        check("14d", 1_209_600);
        check("8w", 4_838_400);
        check("36525d", 3_155_760_000);
    }

    #[test]
    fn duration_errors_say_what_to_write() {
        let check = |text: &str, expected: &str| {
            let message = Span::parse(text).unwrap_err();
            assert!(message.contains(expected), "{message}");
        };
        check("6m", "`6m` could be minutes or months: write `6min` or `180d`");
        check("2mo", "has no fixed length: write days instead, such as `60d`");
        check("1y", "has no fixed length: write days instead, such as `365d`");
        check("30", "`30` has no unit: write `30s`, or min, h, d or w");
        check("0", "has no unit");
        for text in ["", "d", "14 d", "1.5h", "-1d", "1h30min", "14D", "3 days", "١d"] {
            check(text, "is not a duration: write a whole number and a unit");
        }
        for text in ["36526d", "9999999999999w", "99999999999999999999999999s"] {
            check(text, "is longer than the maximum of 100 years");
        }
    }

    #[test]
    fn size_is_a_number_and_a_binary_unit() {
        let check = |text: &str, bytes: u64| assert_eq!(Size::parse(text), Ok(Size { bytes }), "{text}");
        check("0", 0);
        check("7B", 7);
        check("2KiB", 2_048);
        check("500MiB", 524_288_000);
        check("1GiB", 1_073_741_824);
        check("1TiB", 1_099_511_627_776);
    }

    #[test]
    fn size_errors_say_what_to_write() {
        let check = |text: &str, expected: &str| {
            let message = Size::parse(text).unwrap_err();
            assert!(message.contains(expected), "{message}");
        };
        check("1024", "`1024` has no unit: write `1024B`, or KiB, MiB, GiB or TiB");
        check("99999999999TiB", "is larger than the maximum of 16 EiB");
        for text in ["", "500MB", "1G", "1 GiB", "1.5GiB", "-1B", "gib"] {
            check(text, "is not a size: write a whole number and B, KiB, MiB, GiB or TiB");
        }
    }
}
