//! The web server: a page for people, probes, metrics and a JSON API. Reading needs no token; starting a run and an undo
//! need the admin token.
//!
//! It shows what the [`StatusStore`], [`Metrics`] and the state hold, and sends no request to a registry.

mod admin;
mod answer;
mod api;
mod health;
mod history_entry;
mod middleware;
mod page;
mod parameters;
mod run_history;
mod serve;
mod status_store;

pub use admin::{Admin, AdminRequest, StartedRuns, UndoError, UndoRequest, UndoResult};
pub use history_entry::{HistoryEntry, RunEntry};
pub use serve::{ServerLimits, serve};
pub use status_store::StatusStore;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::metrics::{self, Metrics};
use crate::state;
use parameters::Parameters;
use run_history::{HistoryReader, RunQuery};

/// Returns the current time.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

#[derive(Clone)]
struct Context {
    status_store: StatusStore,
    metrics: Arc<Metrics>,
    history: HistoryReader,
    admin: Admin,
    clock: Clock,
}

/// The routes of the web server. [`serve`] adds the limits and the headers that every answer needs.
pub fn router(
    status_store: StatusStore,
    metrics: Arc<Metrics>,
    state: state::State,
    admin: Admin,
    clock: Clock,
) -> Router {
    Router::new()
        .route("/", accepting(&[], get(overview)))
        .route("/runs/{run}", accepting(&[], get(run_page)))
        .route("/healthz", accepting(&[], get(healthz)))
        .route("/readyz", accepting(&[], get(readyz)))
        .route("/metrics", accepting(&[], get(metrics_text)))
        .route("/api/v1/status", accepting(&[], get(status)))
        .route("/api/v1/plan", accepting(&["registry"], get(plan)))
        .route("/api/v1/history", accepting(&["registry"], get(history)))
        .route("/api/v1/runs", accepting(&RunQuery::PARAMETERS, get(runs)))
        .route("/api/v1/run", post(start_run).fallback(async || answer::not_found()))
        .route("/api/v1/undo", post(undo).fallback(async || answer::not_found()))
        .fallback(async || answer::not_found())
        .with_state(Context { status_store, metrics, history: HistoryReader::new(state), admin, clock })
}

/// A route that accepts these query parameters and rejects all others.
fn accepting(known: &'static [&'static str], route: MethodRouter<Context>) -> MethodRouter<Context> {
    route.route_layer(from_fn(move |mut request: Request, next: Next| async move {
        match Parameters::parse(request.uri().query().unwrap_or_default(), known) {
            Ok(parameters) => {
                request.extensions_mut().insert(parameters);
                next.run(request).await
            }
            Err(why) => answer::error(StatusCode::BAD_REQUEST, &why),
        }
    }))
}

async fn overview(State(context): State<Context>) -> Html<String> {
    Html(page::overview(&context.status_store.status(), (context.clock)()).into_string())
}

async fn healthz(State(context): State<Context>) -> (StatusCode, String) {
    match health::stalled(&context.status_store.status(), (context.clock)()) {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn readyz(State(context): State<Context>) -> Response {
    let (status, now) = (context.status_store.status(), (context.clock)());
    let causes = health::causes(&status, now);
    let code = if causes.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(api::readiness(&status, &causes, now))).into_response()
}

async fn metrics_text(State(context): State<Context>) -> Response {
    match context.metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be encoded");
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
        }
    }
}

async fn status(State(context): State<Context>) -> Response {
    Json(api::status(&context.status_store.status(), (context.clock)())).into_response()
}

async fn plan(State(context): State<Context>, Extension(parameters): Extension<Parameters>) -> Response {
    let status = context.status_store.status();
    let plans = move |_: &state::State| Ok(answer::document(api::plans(&status, parameters.get("registry"))));
    context.history.read(plans).await
}

async fn history(State(context): State<Context>, Extension(parameters): Extension<Parameters>) -> Response {
    answer::document(api::history(&context.status_store.status(), parameters.get("registry")))
}

async fn runs(State(context): State<Context>, Extension(parameters): Extension<Parameters>) -> Response {
    let status = context.status_store.status();
    let timezone = status.configuration.as_ref().map_or(Tz::UTC, |loaded| loaded.timezone);
    let query = match RunQuery::parse(&parameters, timezone) {
        Ok(query) => query,
        Err(why) => return answer::error(StatusCode::BAD_REQUEST, &why),
    };
    if !api::is_known(&status, query.registry()) {
        return answer::document(None);
    }
    context.history.read(|state| query.answer(state)).await
}

async fn run_page(State(context): State<Context>, run: Result<Path<String>, PathRejection>) -> Response {
    let (status, now) = (context.status_store.status(), (context.clock)());
    // A path that is not UTF-8 is not the number of a run either.
    let run = run.map(|Path(run)| run).unwrap_or_default();
    context.history.read(move |state| run_history::page(state, &run, &status, now)).await
}

async fn start_run(
    State(context): State<Context>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    context.admin.run(&headers, query.as_deref().unwrap_or_default(), body).await
}

async fn undo(
    State(context): State<Context>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    context.admin.undo(&headers, query.as_deref().unwrap_or_default(), body).await
}
