//! The pauses between attempts to start a registry that is down because of a collection.

use std::time::Duration;

/// The first pause: many programs start within a moment.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause. Attempts never end: a registry that is down because of regsweep has priority until it is up.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The pause before the next attempt, after this many failed ones.
pub fn recovery_pause(failed: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failed.saturating_sub(1));
    MIN_PAUSE.saturating_mul(doubled).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        let check = |failed, seconds| assert_eq!(recovery_pause(failed).as_secs(), seconds, "{failed}");
        for (failed, seconds) in [(0, 1), (1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (u32::MAX, 60)] {
            check(failed, seconds);
        }
    }
}
