//! Counting HTTP requests.
//!
//! It knows methods, statuses and durations, and not what the requests are for.

use std::time::Duration;

/// Observes every request to a registry and its token service.
pub trait Observer: Send + Sync {
    /// A request has ended. `status` is `None` if no complete answer was received; `taken` is the time from
    /// sending the request to the end of the answer, without the wait for a free connection.
    fn request_finished(&self, method: &'static str, status: Option<u16>, taken: Duration);
    /// A request is about to be sent again.
    fn request_retried(&self);
}

/// Counts nothing.
impl Observer for () {
    fn request_finished(&self, _method: &'static str, _status: Option<u16>, _taken: Duration) {}
    fn request_retried(&self) {}
}
