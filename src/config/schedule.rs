//! When something happens: cron lines and time zones.
//!
//! It does not know what happens then, nor what time it is.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};

use super::problem::nearest;

/// So many stretches of time are looked at for a long pause: a year of hours.
const LOOKS: usize = 366 * 24;

/// A cron line with five fields, or six of which the first is seconds.
#[derive(Clone, PartialEq)]
pub struct Schedule {
    text: String,
    // Boxed because it is large, and an absent schedule should not be.
    cron: Box<Cron>,
}

impl Schedule {
    /// Reads a cron line that comes true at some time.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let cron = parser.parse(text).map_err(|error| {
            let why = match &error {
                CronError::InvalidPattern(why)
                | CronError::IllegalCharacters(why)
                | CronError::ComponentError(why) => why.clone(),
                _ => error.to_string(),
            };
            let why = why.trim_end_matches('.');
            format!(
                "not a cron line: {why}: write 5 fields such as `0 3 * * *` (every day at 3), or 6 with seconds first"
            )
        })?;
        if cron.find_next_occurrence(&DateTime::<Utc>::UNIX_EPOCH, true).is_err() {
            return Err(format!("`{text}` names a day that no calendar has: it would never run"));
        }
        Ok(Self { text: text.to_owned(), cron: Box::new(cron) })
    }

    /// The line as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The next moment after this one, by the clocks of that time zone; `None` if there is none any more.
    pub fn next_after(&self, moment: DateTime<Utc>, timezone: Tz) -> Option<DateTime<Utc>> {
        let local = moment.with_timezone(&timezone);
        self.cron.find_next_occurrence(&local, false).ok().map(|next| next.to_utc())
    }

    /// Whether some two consecutive times are further apart than this. The clocks are those of a place that
    /// never changes them: an hour more between two days, once a year, is no pause.
    pub(super) fn pauses_longer_than(&self, span: TimeDelta) -> bool {
        let next = |moment| self.cron.find_next_occurrence(&moment, false);
        let Ok(mut time) = next(DateTime::<Utc>::UNIX_EPOCH) else { return true };
        let end = time + TimeDelta::days(366);
        for _ in 0..LOOKS {
            if time > end {
                break;
            }
            if next(time).is_ok_and(|next| next - time <= span)
                // From here to the last time within the span there is no room for a longer pause.
                && let Ok(last) = self.cron.find_previous_occurrence(&(time + span), true)
            {
                time = last;
            } else {
                return true;
            }
        }
        false
    }

    /// The line as it is computed with. Where both days of the month and days of the week are given,
    /// either is enough, as in every cron.
    pub fn cron(&self) -> &Cron {
        &self.cron
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({:?})", self.text)
    }
}

/// Reads the name of a time zone, such as `Europe/Berlin`.
pub(super) fn timezone(text: &str) -> Result<Tz, String> {
    Tz::from_str(text).map_err(|_| {
        let names = || TZ_VARIANTS.iter().map(|zone| zone.name());
        let is_city =
            |zone: &&str| zone.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(text));
        let guess = names()
            .find(|zone| zone.eq_ignore_ascii_case(text))
            .or_else(|| names().find(is_city))
            .or_else(|| nearest(text, names()));
        match guess {
            Some(zone) => format!("`{text}` is not a time zone: did you mean `{zone}`?"),
            None => format!("`{text}` is not a time zone: write one such as `Europe/Berlin` or `UTC`"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_a_cron_line_with_5_or_6_fields() {
        for line in ["0 3 * * *", "30 0 3 * * *", "*/5 * * * MON-FRI", "0 0 29 2 *", "@daily", "0 3 L * *"] {
            assert_eq!(Schedule::parse(line).unwrap().as_str(), line);
        }
    }

    #[test]
    fn the_next_time_follows_the_clocks_of_the_zone() {
        let schedule = Schedule::parse("30 2 * * *").unwrap();
        let check = |after: &str, next: &str| {
            let (after, next) = (after.parse().unwrap(), next.parse().unwrap());
            assert_eq!(schedule.next_after(after, Tz::Europe__Berlin), Some(next), "{after}");
        };
        check("2026-01-10T00:00:00Z", "2026-01-10T01:30:00Z");
        check("2026-01-10T01:30:00Z", "2026-01-11T01:30:00Z");
        check("2026-07-10T00:00:00Z", "2026-07-10T00:30:00Z");
        // On 29 March 2026 there is no half past two in Berlin: it runs as soon as the clocks have moved.
        check("2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z");
        check("2026-03-29T12:00:00Z", "2026-03-30T00:30:00Z");
    }

    #[test]
    fn the_longest_pause_is_found_among_short_ones() {
        let check = |line: &str, longest: TimeDelta| {
            let schedule = Schedule::parse(line).unwrap();
            assert!(schedule.pauses_longer_than(longest - TimeDelta::seconds(1)), "{line}");
            assert!(!schedule.pauses_longer_than(longest), "{line}");
        };
        check("0 3 * * *", TimeDelta::days(1));
        check("0 3,15 * * *", TimeDelta::hours(12));
        check("0 3 * * MON-FRI", TimeDelta::days(3));
        check("*/5 8-17 * * *", TimeDelta::minutes(14 * 60 + 5));
        check("* 8-17 * * MON-FRI", TimeDelta::minutes(62 * 60 + 1));
        check("0 3 1 * *", TimeDelta::days(31));
        check("0 3 L * *", TimeDelta::days(31));
        check("0 3 1-7 * *", TimeDelta::days(25));
        check("0 3 1 1,3 *", TimeDelta::days(306));
        check("0 3 1 1 *", TimeDelta::days(365));
        check("0 0 29 2 *", TimeDelta::days(4 * 365 + 1));
        let schedule = Schedule::parse("* * * * * *").unwrap();
        assert!(schedule.pauses_longer_than(TimeDelta::zero()));
        assert!(!schedule.pauses_longer_than(TimeDelta::days(36_525)));
    }

    #[test]
    fn what_is_no_cron_line_says_why() {
        let check = |line: &str, expected: &str| {
            let message = Schedule::parse(line).unwrap_err();
            assert!(message.contains(expected), "{message}");
        };
        let advice = "write 5 fields such as `0 3 * * *` (every day at 3), or 6 with seconds first";
        for line in ["", "daily", "0 3 * *", "0 0 3 * * * 2030", "61 3 * * *", "0 25 * * *", "@reboot"] {
            check(line, "not a cron line: ");
            check(line, advice);
        }
        check("0 3 * *", "Pattern must have 5 or 6 fields when years are disallowed: ");
        check("0 0 30 2 *", "`0 0 30 2 *` names a day that no calendar has: it would never run");
    }

    #[test]
    fn a_time_zone_that_is_none_is_answered_with_the_nearest() {
        let check = |text: &str, expected: &str| assert_eq!(timezone(text), Err(expected.to_owned()));
        assert_eq!(timezone("Europe/Berlin"), Ok(Tz::Europe__Berlin));
        assert_eq!(timezone("UTC"), Ok(Tz::UTC));
        check("Europe/Berln", "`Europe/Berln` is not a time zone: did you mean `Europe/Berlin`?");
        check("berlin", "`berlin` is not a time zone: did you mean `Europe/Berlin`?");
        check("utc", "`utc` is not a time zone: did you mean `UTC`?");
        check("somewhere", "`somewhere` is not a time zone: write one such as `Europe/Berlin` or `UTC`");
    }
}
