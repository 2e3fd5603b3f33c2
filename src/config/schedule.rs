//! When something happens: cron lines and time zones.
//!
//! It does not know what happens then, nor what time it is.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeDelta, TimeZone as _, Timelike as _, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};

use super::problem::nearest;

/// So many stretches of time are looked at for a long pause: a year of hours.
const LOOKS: usize = 366 * 24;

const MINUTE: TimeDelta = TimeDelta::minutes(1);

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
    ///
    /// Where clocks are put back, an hour comes twice: a line that repeats within a day by a `*`, such as
    /// `*/15 * * * *`, comes true in both, any other one, such as `30 2 * * *`, only in the first. Where clocks are put
    /// forward, the former skips the hour that is left out, and the latter comes true as soon as the clocks have moved.
    /// That is how cron has it.
    pub fn next_after(&self, moment: DateTime<Utc>, timezone: Tz) -> Option<DateTime<Utc>> {
        // Times are whole seconds, and one of this second is not after the moment.
        let local = moment.with_timezone(&timezone).naive_local().with_nanosecond(0)?;
        let mut time = local;
        let next = loop {
            time = self.next_local(time, false)?;
            let at = match timezone.from_local_datetime(&time) {
                LocalResult::Single(at) => Some(at),
                LocalResult::Ambiguous(first, _) => Some(first),
                LocalResult::None if self.repeats() => None,
                LocalResult::None => after_gap(time, timezone),
            };
            // In the second pass of an hour, its times of the first one are over.
            if let Some(at) = at.map(|at| at.to_utc()).filter(|at| *at > moment) {
                break at;
            }
        };
        let again = self.next_in_second_pass(moment, local, timezone).filter(|_| self.repeats());
        Some(again.map_or(next, |again| again.min(next)))
    }

    /// The next time in the second pass of an hour that comes twice, if the moment is in such an hour.
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
            // Clocks are put back at a whole minute.
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

    /// The next time by clocks that nobody ever changes.
    fn next_local(&self, time: NaiveDateTime, inclusive: bool) -> Option<NaiveDateTime> {
        let next = self.cron.find_next_occurrence(&time.and_utc(), inclusive);
        next.ok().map(|next| next.naive_utc())
    }

    /// Whether it repeats within a day by a `*`, rather than at certain times.
    fn repeats(&self) -> bool {
        let pattern = &self.cron.pattern;
        [&pattern.seconds, &pattern.minutes, &pattern.hours].iter().any(|field| field.from_wildcard)
    }

    /// Whether some two consecutive times are further apart than this. The clocks are those of a place that
    /// never changes them: an hour more between two days, once a year, is no pause.
    pub fn pauses_longer_than(&self, span: TimeDelta) -> bool {
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

/// The first moment after a time that clocks leave out.
fn after_gap(time: NaiveDateTime, timezone: Tz) -> Option<DateTime<Tz>> {
    // A zone that changes the side of the date line leaves out a whole day.
    let time = time.with_second(0)?;
    (1..=25 * 60).find_map(|minutes| timezone.from_local_datetime(&(time + MINUTE * minutes)).earliest())
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

    /// All times of a line between two moments.
    fn times(line: &str, timezone: Tz, after: &str, until: &str) -> Vec<DateTime<Utc>> {
        let schedule = Schedule::parse(line).unwrap();
        let (after, until): (DateTime<Utc>, DateTime<Utc>) = (after.parse().unwrap(), until.parse().unwrap());
        let next = |time: &DateTime<Utc>| schedule.next_after(*time, timezone).filter(|next| *next <= until);
        std::iter::successors(next(&after), next).collect()
    }

    #[test]
    fn what_repeats_goes_on_while_the_clocks_are_changed() {
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
        // Half an hour comes twice there.
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
    fn what_has_its_times_comes_once_while_the_clocks_are_changed() {
        let check = |line: &str, day: (&str, &str), expected: &[&str]| {
            let times = times(line, Tz::Europe__Berlin, day.0, day.1);
            let expected: Vec<DateTime<Utc>> = expected.iter().map(|time| time.parse().unwrap()).collect();
            assert_eq!(times, expected, "{line}");
        };
        let autumn = ("2026-10-24T22:00:00Z", "2026-10-25T22:59:59Z");
        check("30 2 * * *", autumn, &["2026-10-25T00:30:00Z"]);
        check("0 2,14 * * *", autumn, &["2026-10-25T00:00:00Z", "2026-10-25T13:00:00Z"]);
        // Who looks in the second pass finds no time of the first one.
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
    fn a_time_is_never_in_the_second_of_the_moment() {
        let schedule = Schedule::parse("* * * * * *").unwrap();
        let next = schedule.next_after("2026-01-10T00:00:00.4Z".parse().unwrap(), Tz::Europe__Berlin);
        assert_eq!(next, Some("2026-01-10T00:00:01Z".parse().unwrap()));
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
