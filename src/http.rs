//! What is seen with a browser, a probe or a scraper. All of it can be read, and nothing can be changed but by
//! whoever has the admin token.
//!
//! It knows only what the [`StatusStore`] was last told, what [`Metrics`] counted and what the state remembers;
//! it asks nobody.

mod admin;
mod api;
mod entry;
mod health;
mod page;
mod parameters;
mod runs;
mod serve;
mod status_store;

pub use admin::{Admin, AdminRequest, StartedRuns, Undo, UndoError, UndoResult};
pub use entry::{Entry, Run};
pub use serve::{ServerLimits, serve};
pub use status_store::StatusStore;

use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};
use base64::Engine as _;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use sha2::{Digest as _, Sha256};

use crate::metrics::{self, Metrics};
use crate::state;
use parameters::Parameters;
use runs::{Past, Question, refused};

/// Tells the present moment.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// Nobody has reason to send more than this to what can only be read.
const BODY_BYTES: usize = 16 << 10;

/// Only our own style, by its digest: no script, no image, no form, no frame.
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let digest = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(page::STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).ok()
});

#[derive(Clone)]
struct Context {
    status_store: StatusStore,
    metrics: Arc<Metrics>,
    past: Past,
    admin: Admin,
    clock: Clock,
}

/// Everything that is served.
pub fn router(
    status_store: StatusStore,
    metrics: Arc<Metrics>,
    past: state::State,
    admin: Admin,
    clock: Clock,
) -> Router {
    Router::new()
        .route("/", taking(&[], get(show_page)))
        .route("/runs/{run}", taking(&[], get(show_run)))
        .route("/healthz", taking(&[], get(healthz)))
        .route("/readyz", taking(&[], get(readyz)))
        .route("/metrics", taking(&[], get(show_metrics)))
        .route("/api/v1/status", taking(&[], get(status)))
        .route("/api/v1/plan", taking(&["registry"], get(plan)))
        .route("/api/v1/history", taking(&["registry"], get(history)))
        .route("/api/v1/runs", taking(&Question::PARAMETERS, get(past_runs)))
        .route("/api/v1/run", post(begin_run).fallback(async || nothing_here()))
        .route("/api/v1/undo", post(put_back).fallback(async || nothing_here()))
        .fallback(async || nothing_here())
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(middleware::from_fn(refuse_bodies))
        .layer(middleware::map_response(async |mut response: Response| {
            set_security_headers(response.headers_mut());
            response
        }))
        .with_state(Context { status_store, metrics, past: Past::of(past), admin, clock })
}

/// A route that takes these query parameters and no others.
fn taking(known: &'static [&'static str], route: MethodRouter<Context>) -> MethodRouter<Context> {
    route.route_layer(middleware::from_fn(move |mut request: Request, next: Next| async move {
        match Parameters::parse(request.uri().query().unwrap_or_default(), known) {
            Ok(parameters) => {
                request.extensions_mut().insert(parameters);
                next.run(request).await
            }
            Err(why) => refused(StatusCode::BAD_REQUEST, &why),
        }
    }))
}

async fn refuse_bodies(request: Request, next: Next) -> Response {
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    match length.map(str::parse::<usize>) {
        None => next.run(request).await,
        Some(Ok(length)) if length <= BODY_BYTES => next.run(request).await,
        Some(_) => (StatusCode::PAYLOAD_TOO_LARGE, "the request is too large\n").into_response(),
    }
}

fn set_security_headers(headers: &mut HeaderMap) {
    let fixed = HeaderValue::from_static;
    headers.insert(X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    headers.insert(X_FRAME_OPTIONS, fixed("DENY"));
    headers.insert(REFERRER_POLICY, fixed("no-referrer"));
    headers.insert(CACHE_CONTROL, fixed("no-store"));
    // No page of somebody else may embed an answer, or get hold of the window that shows one.
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), fixed("same-origin"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), fixed("same-origin"));
    headers.insert(
        HeaderName::from_static("permissions-policy"),
        fixed("camera=(), geolocation=(), microphone=()"),
    );
    // Without the digest of the style nothing is allowed at all, which is ugly and safe.
    headers.insert(
        CONTENT_SECURITY_POLICY,
        POLICY.clone().unwrap_or(fixed("default-src 'none'; frame-ancestors 'none'")),
    );
}

async fn show_page(State(context): State<Context>) -> Html<String> {
    Html(page::page(&context.status_store.state(), (context.clock)()).into_string())
}

async fn healthz(State(context): State<Context>) -> (StatusCode, String) {
    match health::stalled(&context.status_store.state(), (context.clock)()) {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn readyz(State(context): State<Context>) -> Response {
    let (state, now) = (context.status_store.state(), (context.clock)());
    let causes = health::causes(&state, now);
    let status = if causes.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(api::readiness(&state, &causes, now))).into_response()
}

async fn show_metrics(State(context): State<Context>) -> Response {
    match context.metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics could not be put into words");
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
        }
    }
}

async fn status(State(context): State<Context>) -> Response {
    Json(api::status(&context.status_store.state(), (context.clock)())).into_response()
}

async fn plan(State(context): State<Context>, Extension(parameters): Extension<Parameters>) -> Response {
    let state = context.status_store.state();
    context.past.read(move |_| Ok(answer(api::plans(&state, parameters.get("registry"))))).await
}

async fn history(State(context): State<Context>, Extension(parameters): Extension<Parameters>) -> Response {
    answer(api::history(&context.status_store.state(), parameters.get("registry")))
}

async fn past_runs(State(context): State<Context>, Extension(parameters): Extension<Parameters>) -> Response {
    let configuration = &context.status_store.state().configuration;
    let timezone = configuration.as_ref().map_or(Tz::UTC, |loaded| loaded.timezone);
    let question = match Question::read(&parameters, timezone) {
        Ok(question) => question,
        Err(why) => return refused(StatusCode::BAD_REQUEST, &why),
    };
    if !api::knows(&context.status_store.state(), question.registry()) {
        return answer(None);
    }
    context.past.read(|state| question.answer(state)).await
}

async fn show_run(State(context): State<Context>, run: Result<Path<String>, PathRejection>) -> Response {
    let (status_store, now) = (context.status_store.state(), (context.clock)());
    // What cannot be read as text is no number either.
    let run = run.map(|Path(run)| run).unwrap_or_default();
    context.past.read(move |state| runs::page(state, &run, &status_store, now)).await
}

async fn begin_run(
    State(context): State<Context>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    context.admin.run(&headers, query.as_deref().unwrap_or_default(), body).await
}

async fn put_back(
    State(context): State<Context>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    context.admin.undo(&headers, query.as_deref().unwrap_or_default(), body).await
}

fn nothing_here() -> Response {
    (StatusCode::NOT_FOUND, "there is nothing here\n").into_response()
}

fn answer(document: Option<serde_json::Value>) -> Response {
    match document {
        Some(document) => Json(document).into_response(),
        None => refused(StatusCode::NOT_FOUND, "the configuration has no such registry"),
    }
}
