//! HTTP requests to a registry and its token service: limits, retries, the circuit breaker, errors.
//!
//! It knows HTTP. It does not know credentials, and not what a request is for.

pub(super) mod answer;
pub(super) mod circuit_breaker;
mod connect;
pub(super) mod error;
pub(super) mod http;
pub(super) mod observer;
mod rate_limiter;
pub(super) mod retry;
