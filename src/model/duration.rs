//! Durations as text: exactly, as the configuration writes them, and rounded, for tables and reasons.
//!
//! It must not know what a duration is for.

use chrono::TimeDelta;

const UNITS: [(&str, i64); 4] = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];

/// The duration as the configuration writes it: in the largest unit that represents it exactly.
pub fn exact(duration: TimeDelta) -> String {
    let seconds = duration.num_seconds();
    let unit = UNITS.iter().find(|(_, size)| seconds != 0 && seconds % size == 0);
    unit.map_or_else(|| format!("{seconds}s"), |(name, size)| format!("{}{name}", seconds / size))
}

/// The duration rounded down: in the largest unit of which it has at least two.
pub fn rough(duration: TimeDelta) -> String {
    let seconds = duration.num_seconds();
    let unit = UNITS.iter().find(|(_, size)| seconds >= 2 * size);
    unit.map_or_else(|| format!("{seconds}s"), |(name, size)| format!("{}{name}", seconds / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_is_in_the_largest_unit_without_a_remainder() {
        let check = |seconds, text: &str| assert_eq!(exact(TimeDelta::seconds(seconds)), text);
        check(14 * 86_400, "14d");
        check(36 * 3_600, "36h");
        check(90, "90s");
        check(600, "10min");
        check(0, "0s");
    }

    #[test]
    fn rough_is_rounded_down_to_one_unit() {
        let check = |seconds, text: &str| assert_eq!(rough(TimeDelta::seconds(seconds)), text);
        check(20 * 86_400 + 7, "20d");
        check(47 * 3_600, "47h");
        check(119, "119s");
        check(125, "2min");
        check(0, "0s");
        check(-5, "-5s");
    }
}
