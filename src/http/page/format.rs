//! Numbers, times and texts in a form for people.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use indicatif::HumanBytes;
use maud::{Markup, html};

use crate::model::duration;
pub(super) use crate::model::sanitize as short;

pub(super) fn bytes(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// A number with a narrow no-break space between thousands.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A number with the right form of a noun.
pub(super) fn some(number: usize, singular: &str, plural: &str) -> String {
    let noun = if number == 1 { singular } else { plural };
    format!("{} {noun}", count(u64::try_from(number).unwrap_or(u64::MAX)))
}

/// A time relative to now; the tooltip has the time itself.
pub(super) fn when(at: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    let text = if (now - at).abs() < TimeDelta::seconds(2) {
        if at > now { "any moment" } else { "just now" }.to_owned()
    } else if at > now {
        format!("in {}", duration::rough(at - now))
    } else {
        format!("{} ago", duration::rough(now - at))
    };
    html! {
        time datetime=(at.format("%FT%TZ")) title=(at.format("%F %T UTC")) { (text) }
    }
}

/// The time left until then; the tooltip has the time itself.
pub(super) fn left(until: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    html! {
        time datetime=(until.format("%FT%TZ")) title=(until.format("%F %T UTC")) { (duration::rough(until - now)) }
    }
}

pub(super) fn took(duration: Duration) -> String {
    match duration.as_millis() {
        milliseconds @ 0..1000 => format!("{milliseconds}ms"),
        1000..10_000 => format!("{:.1}s", duration.as_secs_f64()),
        _ => duration::rough(TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_separates_thousands() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1000), "1\u{202f}000");
        assert_eq!(count(12_345_678), "12\u{202f}345\u{202f}678");
    }

    #[test]
    fn when_is_relative_to_now() {
        let now: DateTime<Utc> = "2026-06-17T12:00:00Z".parse().unwrap();
        let text = |seconds| {
            let markup = when(now + TimeDelta::seconds(seconds), now).into_string();
            markup.split(['<', '>']).nth(2).unwrap().to_owned()
        };
        assert_eq!(text(-7200), "2h ago");
        assert_eq!(text(86_400 * 3), "in 3d");
        assert_eq!(text(-1), "just now");
        assert_eq!(text(1), "any moment");
    }

    #[test]
    fn took_has_a_unit_that_fits() {
        assert_eq!(took(Duration::from_millis(40)), "40ms");
        assert_eq!(took(Duration::from_millis(3210)), "3.2s");
        assert_eq!(took(Duration::from_secs(600)), "10min");
    }
}
