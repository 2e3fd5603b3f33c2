//! What applies to every route: a limit for request bodies, a timeout for answers, and the security headers.
//!
//! It knows no route. The headers are the outermost layer, so that errors and timeouts have them as well.

use std::any::Any;
use std::sync::LazyLock;
use std::time::Duration;

use axum::error_handling::HandleErrorLayer;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Response};
use axum::{BoxError, Router};
use base64::Engine as _;
use sha2::{Digest as _, Sha256};
use tower::ServiceBuilder;
use tower::timeout::TimeoutLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use super::page;

/// No route reads a body, so this only bounds what a client can make the server receive.
const MAX_BODY_BYTES: usize = 16 << 10;

/// Allows only the style sheet of the pages, by its digest: no script, image, form or frame.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let digest = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(page::STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    // Without the digest the pages have no style, which is ugly and safe.
    HeaderValue::from_str(&policy)
        .unwrap_or(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"))
});

/// Adds the limits and headers to all routes. An answer that takes longer than `timeout` becomes an error.
pub(super) fn protected(router: Router, timeout: Duration) -> Router {
    let timeout = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(async |_: BoxError| timed_out()))
        .layer(TimeoutLayer::new(timeout));
    let router = router
        .layer(RequestBodyLimitLayer::new(MAX_BODY_BYTES))
        .layer(map_response(explain_too_large))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(timeout);
    security_headers()
        .into_iter()
        .fold(router, |router, (name, value)| router.layer(SetResponseHeaderLayer::overriding(name, value)))
}

fn security_headers() -> [(HeaderName, HeaderValue); 8] {
    let fixed = HeaderValue::from_static;
    [
        (X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
        (X_FRAME_OPTIONS, fixed("DENY")),
        (REFERRER_POLICY, fixed("no-referrer")),
        (CACHE_CONTROL, fixed("no-store")),
        // Pages of other sites may not embed an answer, or keep a reference to the window that shows one.
        (HeaderName::from_static("cross-origin-resource-policy"), fixed("same-origin")),
        (HeaderName::from_static("cross-origin-opener-policy"), fixed("same-origin")),
        (HeaderName::from_static("permissions-policy"), fixed("camera=(), geolocation=(), microphone=()")),
        (CONTENT_SECURITY_POLICY, POLICY.clone()),
    ]
}

/// The layer that limits bodies has an answer of its own, which does not say what was too large.
async fn explain_too_large(response: Response) -> Response {
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return (StatusCode::PAYLOAD_TOO_LARGE, "the request is too large\n").into_response();
    }
    response
}

fn timed_out() -> Response {
    let text = "the answer was not found in time: try again later\n";
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

/// The panic itself is on standard error already, written by the panic hook.
fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("a request ended in a panic: please report it");
    (StatusCode::INTERNAL_SERVER_ERROR, "the request failed: see the log\n").into_response()
}
