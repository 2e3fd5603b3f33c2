//! A rate limit for requests.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// Lets requests start at even intervals.
pub(super) struct RateLimiter {
    interval: Duration,
    next: Mutex<Instant>,
}

impl RateLimiter {
    pub(super) fn new(per_second: u32) -> Self {
        Self { interval: Duration::from_secs(1) / per_second.max(1), next: Mutex::new(Instant::now()) }
    }

    /// Waits until the next request may start.
    pub(super) async fn wait(&self) {
        let start = {
            let mut next = self.next.lock().await;
            let start = (*next).max(Instant::now());
            *next = start + self.interval;
            start
        };
        tokio::time::sleep_until(start).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn wait_keeps_requests_at_even_intervals() {
        let limiter = RateLimiter::new(10);
        let begin = Instant::now();
        for _ in 0..21 {
            limiter.wait().await;
        }
        let taken = begin.elapsed();
        assert!((Duration::from_millis(1990)..Duration::from_millis(2100)).contains(&taken), "{taken:?}");
    }
}
