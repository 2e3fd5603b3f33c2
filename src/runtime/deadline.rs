//! The moment at which a piece of work is ended, together with the limit that set it.
//!
//! It does not know what the work is.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::runtime::error::Error;

/// A moment that the configured limit `gc.timeout` set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    /// The moment after this time from now.
    pub(crate) fn after(limit: Duration) -> Self {
        Self { at: Instant::now() + limit, limit }
    }

    /// The moment.
    pub(crate) fn at(self) -> Instant {
        self.at
    }

    /// The time that is left.
    pub(crate) fn remaining(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// An error if the moment has passed.
    pub(crate) fn check(self) -> Result<(), Error> {
        if Instant::now() < self.at { Ok(()) } else { Err(self.exceeded()) }
    }

    /// The error of work that was not done at that moment.
    pub(crate) fn exceeded(self) -> Error {
        Error::Timeout { limit: self.limit }
    }

    /// The result of work that is dropped at that moment.
    pub(crate) async fn limit<T>(self, work: impl Future<Output = T>) -> Result<T, Error> {
        timeout_at(self.at, work).await.map_err(|_| self.exceeded())
    }
}
