//! Whether a registry answers over HTTP, now or within the time that it needs to start.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::registry::Reader;

/// A registry that was started must answer within this time.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// A registry that is up must answer within this time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether the registry answers now.
pub async fn answers_now(reader: &Reader) -> bool {
    let answer = async { reader.is_reachable().await && reader.ping().await.is_ok() };
    timeout(ANSWER_TIMEOUT, answer).await.unwrap_or(false)
}

/// Waits until the registry answers.
pub(super) async fn answers(reader: &Reader) -> bool {
    let until = Instant::now() + START_TIMEOUT;
    while Instant::now() < until {
        if reader.is_reachable().await && reader.ping().await.is_ok() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    false
}
