//! How often a request is tried again, and how long requests wait for a registry that does not answer.

use std::time::Duration;

/// How a failed request is tried again.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// Attempts in all, the first one included.
    pub attempts: u32,
    /// The wait before the second attempt. It doubles from then on, and up to half of it is left out at random.
    pub initial_backoff: Duration,
    /// No wait is longer than this, whatever `Retry-After` says.
    pub max_backoff: Duration,
    /// How long all requests wait for a registry that does not answer, before they fail.
    pub outage_timeout: Duration,
    /// How long requests fail at once after that, before the registry is probed again.
    pub open_duration: Duration,
}

impl Retry {
    /// The wait after this many attempts, before [`Self::max_backoff`] limits it.
    pub(crate) fn backoff(&self, attempts: u32) -> Duration {
        let longest = self.initial_backoff.saturating_mul(1 << (attempts - 1).min(16));
        longest.mul_f64(0.5 + 0.5 * fastrand::f64())
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 5,
            initial_backoff: Duration::from_millis(250),
            max_backoff: Duration::from_secs(60),
            outage_timeout: Duration::from_secs(60),
            open_duration: Duration::from_secs(30),
        }
    }
}
