//! Somebody who counts what goes over the wire.
//!
//! It knows nothing of what is asked or answered: methods, statuses and durations only.

use std::time::Duration;

/// Is told of every exchange with a registry and its token service.
pub trait Observer: Send + Sync {
    /// A request was sent. `status` is `None` if no whole answer came back; `taken` is the time from
    /// sending it to the end of the answer, without any wait for our own turn.
    fn request_finished(&self, method: &'static str, status: Option<u16>, taken: Duration);
    /// A request is about to be sent once more.
    fn request_retried(&self);
}

/// Nobody counts.
impl Observer for () {
    fn request_finished(&self, _method: &'static str, _status: Option<u16>, _taken: Duration) {}
    fn request_retried(&self) {}
}
