//! Repeats an attempt that failed for a reason which may pass, such as a Docker Engine that is being restarted.
//!
//! It does not know what is attempted.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::sleep;

/// The attempts, with pauses that double up to [`MAX_PAUSE`]: in all about a minute, in which an Engine can have been
/// restarted.
const MAX_ATTEMPTS: u32 = 16;
const MIN_PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Repeats an attempt until it succeeds, fails with an error that is not transient, or has failed for about a minute.
pub(crate) async fn with_retries<E: Display, F: Future<Output = Result<(), E>>>(
    attempt: impl Fn() -> F,
    is_transient: impl Fn(&E) -> bool,
) -> Result<(), E> {
    let mut pause = MIN_PAUSE;
    for _ in 1..MAX_ATTEMPTS {
        match attempt().await {
            Err(error) if is_transient(&error) => tracing::warn!(%error, "the registry is not restored yet"),
            ended => return ended,
        }
        sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
    attempt().await
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn transient_errors_are_retried_for_a_minute_and_others_not_at_all() {
        let check = async |is_transient: bool, least: u64, most: u64| {
            let start = Instant::now();
            with_retries(|| async { Err("failed") }, |_| is_transient).await.unwrap_err();
            let seconds = start.elapsed().as_secs();
            assert!((least..=most).contains(&seconds), "{seconds}");
        };
        check(true, 45, 75).await;
        check(false, 0, 0).await;
    }
}
