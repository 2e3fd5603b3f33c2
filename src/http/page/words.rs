//! Numbers, moments and texts as people read them.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use indicatif::HumanBytes;
use maud::{Markup, html};

use crate::plan::span;

pub(super) fn bytes(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// With a thin space between thousands, which no line breaks at.
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
pub(super) fn some(number: usize, one: &str, many: &str) -> String {
    let noun = if number == 1 { one } else { many };
    format!("{} {noun}", count(u64::try_from(number).unwrap_or(u64::MAX)))
}

/// Before or after now at a glance, with the moment itself for whoever points at it.
pub(super) fn when(at: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    let text = if (now - at).abs() < TimeDelta::seconds(2) {
        if at > now { "any moment" } else { "just now" }.to_owned()
    } else if at > now {
        format!("in {}", span::rough(at - now))
    } else {
        format!("{} ago", span::rough(now - at))
    };
    html! {
        time datetime=(at.format("%FT%TZ")) title=(at.format("%F %T UTC")) { (text) }
    }
}

/// How long it is until then at a glance, with the moment itself for whoever points at it.
pub(super) fn left(until: DateTime<Utc>, now: DateTime<Utc>) -> Markup {
    html! {
        time datetime=(until.format("%FT%TZ")) title=(until.format("%F %T UTC")) { (span::rough(until - now)) }
    }
}

pub(super) fn took(duration: Duration) -> String {
    match duration.as_millis() {
        milliseconds @ 0..1000 => format!("{milliseconds}ms"),
        1000..10_000 => format!("{:.1}s", duration.as_secs_f64()),
        _ => span::rough(TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)),
    }
}

/// The text, cut if it is longer than anybody would read, with what cannot be seen made visible: control
/// characters, and those that hide text or turn its direction.
pub(super) fn short(text: &str, longest: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(longest));
    for (position, one) in text.chars().enumerate() {
        if position == longest {
            shown.push('…');
            break;
        }
        if is_unseen(one) { shown.extend(one.escape_unicode()) } else { shown.push(one) }
    }
    shown
}

fn is_unseen(one: char) -> bool {
    let invisible = ['\u{ad}', '\u{61c}', '\u{180e}', '\u{feff}'];
    let ranges =
        ['\u{200b}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2060}'..='\u{206f}', '\u{fff9}'..='\u{fffb}'];
    one.is_control() || invisible.contains(&one) || ranges.iter().any(|range| range.contains(&one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1000), "1\u{202f}000");
        assert_eq!(count(12_345_678), "12\u{202f}345\u{202f}678");
    }

    #[test]
    fn moments_are_told_from_now() {
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
    fn durations_have_a_fitting_unit() {
        assert_eq!(took(Duration::from_millis(40)), "40ms");
        assert_eq!(took(Duration::from_millis(3210)), "3.2s");
        assert_eq!(took(Duration::from_secs(600)), "10min");
    }

    #[test]
    fn cutting_respects_characters() {
        assert_eq!(short("äöü", 3), "äöü");
        assert_eq!(short("äöü!", 3), "äöü…");
    }

    #[test]
    fn what_cannot_be_seen_is_made_visible() {
        assert_eq!(short("a\u{1b}[31m\u{202e}b\n\0", 20), "a\\u{1b}[31m\\u{202e}b\\u{a}\\u{0}");
        assert_eq!(short("Grüße 漢字 👍", 20), "Grüße 漢字 👍");
    }
}
