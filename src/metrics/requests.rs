//! Counts the requests to one registry.

use std::time::Duration;

use axum::http::StatusCode;
use prometheus::{HistogramVec, IntCounter, IntCounterVec};

use super::families::Families;
use crate::registry::Observer;

/// The counters of one registry.
pub(super) struct Requests {
    registry: String,
    exchanges: IntCounterVec,
    durations: HistogramVec,
    retries: IntCounter,
}

/// Creates the series that every registry has sooner or later.
pub(super) fn create(families: &Families, registry: &str) {
    for (method, code) in [("GET", "200"), ("GET", "error"), ("DELETE", "202"), ("DELETE", "error")] {
        families.registry_requests_total.with_label_values(&[registry, method, code]);
        families.registry_request_duration_seconds.with_label_values(&[registry, method]);
    }
}

impl Requests {
    pub(super) fn new(families: &Families, registry: &str) -> Self {
        Self {
            registry: registry.to_owned(),
            exchanges: families.registry_requests_total.clone(),
            durations: families.registry_request_duration_seconds.clone(),
            retries: families.registry_retries_total.with_label_values(&[registry]),
        }
    }
}

impl Observer for Requests {
    fn request_finished(&self, method: &'static str, status: Option<u16>, taken: Duration) {
        // A server could send hundreds of different status codes; few of them have a name.
        let named = |status: &StatusCode| status.canonical_reason().is_some();
        let status = status.map(|status| StatusCode::from_u16(status).ok().filter(named));
        let code = match &status {
            None => "error",
            Some(None) => "other",
            Some(Some(status)) => status.as_str(),
        };
        self.exchanges.with_label_values(&[self.registry.as_str(), method, code]).inc();
        self.durations.with_label_values(&[self.registry.as_str(), method]).observe(taken.as_secs_f64());
    }

    fn request_retried(&self) {
        self.retries.inc();
    }
}
