//! Spans of time as people write and read them.

use chrono::TimeDelta;

const UNITS: [(&str, i64); 4] = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];

/// The span as the configuration would say it: in the largest unit that loses nothing.
pub fn exact(span: TimeDelta) -> String {
    let seconds = span.num_seconds();
    let unit = UNITS.iter().find(|(_, size)| seconds != 0 && seconds % size == 0);
    unit.map_or_else(|| format!("{seconds}s"), |(name, size)| format!("{}{name}", seconds / size))
}

/// The span at a glance: in the largest unit of which there are two, rounded down.
pub fn rough(span: TimeDelta) -> String {
    let seconds = span.num_seconds();
    let unit = UNITS.iter().find(|(_, size)| seconds >= 2 * size);
    unit.map_or_else(|| format!("{seconds}s"), |(name, size)| format!("{}{name}", seconds / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_loses_nothing() {
        let check = |seconds, text: &str| assert_eq!(exact(TimeDelta::seconds(seconds)), text);
        check(14 * 86_400, "14d");
        check(36 * 3_600, "36h");
        check(90, "90s");
        check(600, "10min");
        check(0, "0s");
    }

    #[test]
    fn rough_is_short() {
        let check = |seconds, text: &str| assert_eq!(rough(TimeDelta::seconds(seconds)), text);
        check(20 * 86_400 + 7, "20d");
        check(47 * 3_600, "47h");
        check(119, "119s");
        check(125, "2min");
        check(0, "0s");
        check(-5, "-5s");
    }
}
