//! When the next try is made to bring back a registry that is down because of a collection.

use std::time::Duration;

/// A program that starts in a moment is not waited for longer than that.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// Nobody gives up: a registry that is down because of us is the most important thing until it is up.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The pause before the next try, after so many failed ones.
pub fn recovery_pause(failed: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failed.saturating_sub(1));
    MIN_PAUSE.saturating_mul(doubled).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_never_end() {
        let check = |failed, seconds| assert_eq!(recovery_pause(failed).as_secs(), seconds, "{failed}");
        for (failed, seconds) in [(0, 1), (1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (u32::MAX, 60)] {
            check(failed, seconds);
        }
    }
}
