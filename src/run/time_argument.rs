//! Times as operators write them, on the command line and in addresses.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;

/// A day or a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeArgument {
    /// From midnight to midnight in the time zone of the configuration.
    Day(NaiveDate),
    /// RFC 3339, with a time zone of its own.
    Moment(DateTime<Utc>),
}

impl TimeArgument {
    /// Parses a time; the error says what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self::Moment(moment.to_utc()));
        }
        // As strict as RFC 3339: chrono alone would take 2026-1-31 and 26-01-31 as well.
        let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| text.len() == 10);
        day.map(Self::Day).ok_or_else(|| {
            "write a day such as 2026-01-31, or a moment such as 2026-01-31T12:00:00Z".to_owned()
        })
    }

    /// The moment, or the first one of the day.
    pub fn begin(self, timezone: Tz) -> DateTime<Utc> {
        match self {
            Self::Day(day) => midnight(day, timezone),
            Self::Moment(moment) => moment,
        }
    }

    /// The moment, or the last one of the day.
    pub fn end(self, timezone: Tz) -> DateTime<Utc> {
        match self {
            Self::Day(day) => {
                let next = day.succ_opt().map(|next| midnight(next, timezone));
                next.map_or(DateTime::<Utc>::MAX_UTC, |next| next - TimeDelta::nanoseconds(1))
            }
            Self::Moment(moment) => moment,
        }
    }
}

/// The first moment of a day, which is later than 0:00 where clocks go forward at midnight.
fn midnight(day: NaiveDate, timezone: Tz) -> DateTime<Utc> {
    let start = day.and_time(NaiveTime::MIN);
    // No zone has ever skipped more than a day.
    let local = (0..=24 * 4).filter_map(|quarters| {
        let local = start.checked_add_signed(TimeDelta::minutes(15 * quarters))?;
        timezone.from_local_datetime(&local).earliest()
    });
    local.map(|moment| moment.to_utc()).next().unwrap_or_else(|| start.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BERLIN: Tz = Tz::Europe__Berlin;

    #[track_caller]
    fn check(text: &str, timezone: Tz, begin: &str, end: &str) {
        let asked = TimeArgument::parse(text).unwrap();
        let told = |moment: DateTime<Utc>| moment.format("%F %T%.f").to_string();
        assert_eq!((told(asked.begin(timezone)), told(asked.end(timezone))), (begin.into(), end.into()));
    }

    #[test]
    fn day_lasts_from_midnight_to_midnight_in_the_configured_time_zone() {
        check("2026-01-31", Tz::UTC, "2026-01-31 00:00:00", "2026-01-31 23:59:59.999999999");
        check("2026-01-31", BERLIN, "2026-01-30 23:00:00", "2026-01-31 22:59:59.999999999");
        // Clocks go forward and back.
        check("2026-03-29", BERLIN, "2026-03-28 23:00:00", "2026-03-29 21:59:59.999999999");
        check("2026-10-25", BERLIN, "2026-10-24 22:00:00", "2026-10-25 22:59:59.999999999");
        // In Beirut they go forward at midnight, and on Samoa a day was skipped.
        check("2026-03-29", Tz::Asia__Beirut, "2026-03-28 22:00:00", "2026-03-29 20:59:59.999999999");
        check("2011-12-30", Tz::Pacific__Apia, "2011-12-30 10:00:00", "2011-12-30 09:59:59.999999999");
    }

    #[test]
    fn moment_is_the_same_in_every_time_zone() {
        for text in ["2026-01-31T02:00:00+02:00", "2026-01-31T00:00:00Z"] {
            check(text, BERLIN, "2026-01-31 00:00:00", "2026-01-31 00:00:00");
        }
        for wrong in ["tomorrow", "", "2026-1-31", "26-01-31", "2026-02-30", "2026-01-31 12:00", "02026-01-3"]
        {
            assert!(TimeArgument::parse(wrong).is_err(), "{wrong}");
        }
    }
}
