//! Cron expressions, and the times that they name in a time zone.
//!
//! It does not know what happens at these times, and reads no clock.

use std::fmt;

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeDelta, TimeZone as _, Timelike as _, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};

/// The most steps of the search for a long interval: the hours of a year.
const MAX_STEPS: usize = 366 * 24;

const MINUTE: TimeDelta = TimeDelta::minutes(1);

/// A cron expression with five fields, or six of which the first is seconds.
#[derive(Clone, PartialEq)]
pub struct Schedule {
    text: String,
    // Boxed because it is large, and an absent schedule should not be.
    cron: Box<Cron>,
}

impl Schedule {
    /// Parses a cron expression that matches at least one time.
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
                "invalid cron expression: {why}: write 5 fields such as `0 3 * * *` (every day at 3), or 6 with seconds first"
            )
        })?;
        if cron.find_next_occurrence(&DateTime::<Utc>::UNIX_EPOCH, true).is_err() {
            return Err(format!("`{text}` names a day that never occurs: it would never run"));
        }
        Ok(Self { text: text.to_owned(), cron: Box::new(cron) })
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The next matching time after `moment` in that time zone; `None` if there is none.
    ///
    /// When clocks are set back, an hour occurs twice: an expression with a `*` in seconds, minutes or hours, such as
    /// `*/15 * * * *`, matches in both, any other, such as `30 2 * * *`, only in the first. When clocks are set
    /// forward, the former skips the missing hour, and the latter matches right after it. cron does the same.
    pub fn next_after(&self, moment: DateTime<Utc>, timezone: Tz) -> Option<DateTime<Utc>> {
        // Matching times are whole seconds; the one of the current second is not after `moment`.
        let local = moment.with_timezone(&timezone).naive_local().with_nanosecond(0)?;
        let mut time = local;
        let next = loop {
            time = self.next_local(time, false)?;
            let at = match timezone.from_local_datetime(&time) {
                LocalResult::Single(at) => Some(at),
                LocalResult::Ambiguous(first, _) => Some(first),
                LocalResult::None if self.has_wildcard_time() => None,
                LocalResult::None => after_gap(time, timezone),
            };
            // In the second pass of a repeated hour, its times in the first pass are in the past.
            if let Some(at) = at.map(|at| at.to_utc()).filter(|at| *at > moment) {
                break at;
            }
        };
        let again = self.next_in_second_pass(moment, local, timezone).filter(|_| self.has_wildcard_time());
        Some(again.map_or(next, |again| again.min(next)))
    }

    /// The next time in the second pass of a repeated hour, if `moment` is in such an hour.
    fn next_in_second_pass(
        &self,
        moment: DateTime<Utc>,
        local: NaiveDateTime,
        timezone: Tz,
    ) -> Option<DateTime<Utc>> {
        let second_pass = |local: NaiveDateTime| match timezone.from_local_datetime(&local) {
            LocalResult::Ambiguous(_, second) => Some(second.to_utc()),
            LocalResult::Single(_) | LocalResult::None => None,
        };
        let time = if moment < second_pass(local)? {
            // Clocks are set back at a whole minute.
            let mut start = local.with_second(0)?;
            while second_pass(start - MINUTE).is_some() {
                start -= MINUTE;
            }
            self.next_local(start, true)?
        } else {
            self.next_local(local, false)?
        };
        second_pass(time)
    }

    /// The next matching local time, without regard to clock changes.
    fn next_local(&self, time: NaiveDateTime, inclusive: bool) -> Option<NaiveDateTime> {
        let next = self.cron.find_next_occurrence(&time.and_utc(), inclusive);
        next.ok().map(|next| next.naive_utc())
    }

    /// Whether seconds, minutes or hours contain a `*`, so that it repeats within a day.
    fn has_wildcard_time(&self) -> bool {
        let pattern = &self.cron.pattern;
        [&pattern.seconds, &pattern.minutes, &pattern.hours].iter().any(|field| field.from_wildcard)
    }

    /// Whether two consecutive times are further apart than `span`. Clock changes do not count: one more hour between
    /// two days, once a year, is no longer interval.
    pub fn has_interval_longer_than(&self, span: TimeDelta) -> bool {
        let next = |moment| self.cron.find_next_occurrence(&moment, false);
        let Ok(mut time) = next(DateTime::<Utc>::UNIX_EPOCH) else { return true };
        let end = time + TimeDelta::days(366);
        for _ in 0..MAX_STEPS {
            if time > end {
                break;
            }
            if next(time).is_ok_and(|next| next - time <= span)
                // Between here and the last time within the span no interval can be longer.
                && let Ok(last) = self.cron.find_previous_occurrence(&(time + span), true)
            {
                time = last;
            } else {
                return true;
            }
        }
        false
    }

    /// The parsed expression. If it restricts both days of the month and days of the week, either is enough, as in
    /// cron.
    pub fn cron(&self) -> &Cron {
        &self.cron
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({:?})", self.text)
    }
}

/// The first time after a missing local time.
fn after_gap(time: NaiveDateTime, timezone: Tz) -> Option<DateTime<Tz>> {
    // A zone that moves across the date line skips a whole day.
    let time = time.with_second(0)?;
    (1..=25 * 60).find_map(|minutes| timezone.from_local_datetime(&(time + MINUTE * minutes)).earliest())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedule_has_5_or_6_fields() {
        for line in ["0 3 * * *", "30 0 3 * * *", "*/5 * * * MON-FRI", "0 0 29 2 *", "@daily", "0 3 L * *"] {
            assert_eq!(Schedule::parse(line).unwrap().as_str(), line);
        }
    }

    #[test]
    fn next_time_is_in_the_time_zone() {
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

    /// All times of an expression between two moments.
    fn times(line: &str, timezone: Tz, after: &str, until: &str) -> Vec<DateTime<Utc>> {
        let schedule = Schedule::parse(line).unwrap();
        let (after, until): (DateTime<Utc>, DateTime<Utc>) = (after.parse().unwrap(), until.parse().unwrap());
        let next = |time: &DateTime<Utc>| schedule.next_after(*time, timezone).filter(|next| *next <= until);
        std::iter::successors(next(&after), next).collect()
    }

    #[test]
    fn wildcard_times_repeat_through_clock_changes() {
        let check = |line: &str, timezone, (after, until): (&str, &str), step: TimeDelta| {
            let times = times(line, timezone, after, until);
            let begin: DateTime<Utc> = after.parse().unwrap();
            let end: DateTime<Utc> = until.parse().unwrap();
            let expected = std::iter::successors(Some(begin + step), |time| Some(*time + step));
            assert_eq!(times, expected.take_while(|time| *time <= end).collect::<Vec<_>>(), "{line}");
        };
        // On 25 October 2026, three o'clock in Berlin becomes two o'clock at one o'clock UTC.
        let autumn = ("2026-10-24T23:00:00Z", "2026-10-25T05:00:00Z");
        let spring = ("2026-03-28T23:00:00Z", "2026-03-29T05:00:00Z");
        for (line, minutes) in [("*/15 * * * *", 15), ("* * * * *", 1), ("0 * * * *", 60), ("@hourly", 60)] {
            for hours in [autumn, spring] {
                check(line, Tz::Europe__Berlin, hours, TimeDelta::minutes(minutes));
            }
        }
        let hour = ("2026-10-25T00:30:00Z", "2026-10-25T02:30:00Z");
        check(
            "*/7 * * * * *",
            Tz::UTC,
            ("2026-10-25T00:30:00Z", "2026-10-25T00:30:56Z"),
            TimeDelta::seconds(7),
        );
        check("* * * * * *", Tz::Europe__Berlin, hour, TimeDelta::seconds(1));
        // Clocks are set back by half an hour there.
        let half = ("2026-04-04T13:30:00Z", "2026-04-04T17:30:00Z");
        check("*/10 * * * *", Tz::Australia__Lord_Howe, half, TimeDelta::minutes(10));
        check(
            "*/30 * * * *",
            Tz::America__New_York,
            ("2026-11-01T04:00:00Z", "2026-11-01T09:00:00Z"),
            TimeDelta::minutes(30),
        );
    }

    #[test]
    fn fixed_times_match_once_on_days_with_clock_changes() {
        let check = |line: &str, day: (&str, &str), expected: &[&str]| {
            let times = times(line, Tz::Europe__Berlin, day.0, day.1);
            let expected: Vec<DateTime<Utc>> = expected.iter().map(|time| time.parse().unwrap()).collect();
            assert_eq!(times, expected, "{line}");
        };
        let autumn = ("2026-10-24T22:00:00Z", "2026-10-25T22:59:59Z");
        check("30 2 * * *", autumn, &["2026-10-25T00:30:00Z"]);
        check("0 2,14 * * *", autumn, &["2026-10-25T00:00:00Z", "2026-10-25T13:00:00Z"]);
        // In the second pass, the time in the first pass is over.
        check("30 2 * * *", ("2026-10-25T01:10:00Z", "2026-10-26T12:00:00Z"), &["2026-10-26T01:30:00Z"]);
        check("*/30 2 * * *", ("2026-10-25T01:10:00Z", "2026-10-25T12:00:00Z"), &["2026-10-25T01:30:00Z"]);
        let spring = ("2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z");
        check("30 2 * * *", spring, &["2026-03-29T01:00:00Z"]);
        check(
            "0,30 2,14 * * *",
            spring,
            &["2026-03-29T01:00:00Z", "2026-03-29T12:00:00Z", "2026-03-29T12:30:00Z"],
        );
        check("*/30 2 * * *", spring, &[]);
    }

    #[test]
    fn next_time_is_never_in_the_current_second() {
        let schedule = Schedule::parse("* * * * * *").unwrap();
        let next = schedule.next_after("2026-01-10T00:00:00.4Z".parse().unwrap(), Tz::Europe__Berlin);
        assert_eq!(next, Some("2026-01-10T00:00:01Z".parse().unwrap()));
    }

    #[test]
    fn longest_interval_is_found_among_short_ones() {
        let check = |line: &str, longest: TimeDelta| {
            let schedule = Schedule::parse(line).unwrap();
            assert!(schedule.has_interval_longer_than(longest - TimeDelta::seconds(1)), "{line}");
            assert!(!schedule.has_interval_longer_than(longest), "{line}");
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
        assert!(schedule.has_interval_longer_than(TimeDelta::zero()));
        assert!(!schedule.has_interval_longer_than(TimeDelta::days(36_525)));
    }

    #[test]
    fn schedule_errors_say_why() {
        let check = |line: &str, expected: &str| {
            let message = Schedule::parse(line).unwrap_err();
            assert!(message.contains(expected), "{message}");
        };
        let advice = "write 5 fields such as `0 3 * * *` (every day at 3), or 6 with seconds first";
        for line in ["", "daily", "0 3 * *", "0 0 3 * * * 2030", "61 3 * * *", "0 25 * * *", "@reboot"] {
            check(line, "invalid cron expression: ");
            check(line, advice);
        }
        check("0 3 * *", "Pattern must have 5 or 6 fields when years are disallowed: ");
        check("0 0 30 2 *", "`0 0 30 2 *` names a day that never occurs: it would never run");
    }
}
