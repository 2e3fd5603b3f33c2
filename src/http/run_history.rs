//! Past runs from the state: the query parameters, the JSON document and the page of one run.
//!
//! Reading from the disk and rendering thousands of deletions block, so they happen on a thread of their own.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Json, Response};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use tokio::sync::Semaphore;

use super::parameters::Parameters;
use super::status_store::ServiceStatus;
use super::{answer, page};
use crate::policy::{Pattern, Patterns};
use crate::report::history_document;
use crate::run::{TimeArgument, history};
use crate::state::{Error, Filter, State};

/// The number of runs in an answer without `limit`.
const DEFAULT_LIMIT: u32 = 20;
/// The largest `limit`.
const MAX_LIMIT: u32 = 1000;

/// Reads the state for the web server. Clones share one queue.
#[derive(Clone)]
pub(super) struct HistoryReader {
    state: State,
    /// One reader at a time: runs write to the same database, and an answer can be large. Plans use the same permit.
    permit: Arc<Semaphore>,
}

impl HistoryReader {
    pub(super) fn new(state: State) -> Self {
        Self { state, permit: Arc::new(Semaphore::new(1)) }
    }

    /// Reads and renders on a blocking thread, so that other requests do not wait for the disk.
    pub(super) async fn read(
        &self,
        read: impl FnOnce(&State) -> Result<Response, Error> + Send + 'static,
    ) -> Response {
        let (state, permit) = (self.state.clone(), self.permit.clone().acquire_owned().await);
        let read = tokio::task::spawn_blocking(move || {
            // Released when the reading ends, even if the client has disconnected by then.
            let _permit = permit;
            read(&state)
        });
        let why = match read.await {
            Ok(Ok(response)) => return response,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic.to_string(),
        };
        tracing::error!(error = why, "the history cannot be read");
        answer::error(StatusCode::INTERNAL_SERVER_ERROR, &why)
    }
}

/// The runs to list, as the query parameters say.
#[derive(Debug)]
pub(super) struct RunQuery {
    filter: Filter,
    repositories: Vec<Pattern>,
}

impl RunQuery {
    /// The accepted parameters, the same as the options of `regsweep history`.
    pub(super) const PARAMETERS: [&str; 6] = ["run", "registry", "repository", "since", "until", "limit"];

    /// Parses the parameters, dates in this time zone. An error names the parameter and says what to write.
    pub(super) fn parse(parameters: &Parameters, timezone: Tz) -> Result<Self, String> {
        let mut filter = Filter { at_most: DEFAULT_LIMIT, ..Filter::default() };
        let mut repositories = Vec::new();
        for (name, value) in parameters.pairs() {
            let bad = |why: String| format!("`{name}={value}` cannot be used: {why}");
            match name {
                "run" => {
                    let run =
                        value.parse().map_err(|_| bad("write the number of a run, such as 12".into()))?;
                    filter.run = Some(run);
                }
                "registry" => filter.registry = Some(value.to_owned()),
                "repository" => {
                    let pattern =
                        Pattern::parse(value).map_err(|why| bad(pattern_advice(&why.to_string())))?;
                    repositories.push(pattern);
                }
                "since" => filter.since = Some(moment(value).map_err(bad)?.begin(timezone)),
                "until" => filter.until = Some(moment(value).map_err(bad)?.end(timezone)),
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                    filter.at_most =
                        limit.ok_or_else(|| bad(format!("write a number from 1 to {MAX_LIMIT}")))?;
                }
                // The route rejects all other parameters.
                _ => {}
            }
        }
        Ok(Self { filter, repositories })
    }

    /// The only registry to list runs of.
    pub(super) fn registry(&self) -> Option<&str> {
        self.filter.registry.as_deref()
    }

    /// The document of `regsweep history --output json`.
    pub(super) fn answer(self, state: &State) -> Result<Response, Error> {
        let only = (!self.repositories.is_empty()).then(|| Patterns::new(self.repositories));
        let past = history(state, &self.filter, only.as_ref())?;
        Ok(Json(history_document(&past)).into_response())
    }
}

fn moment(text: &str) -> Result<TimeArgument, String> {
    let why =
        |why| if text.contains(' ') { format!("{why} (in an address a + is written %2B)") } else { why };
    TimeArgument::parse(text).map_err(why)
}

fn pattern_advice(why: &str) -> String {
    format!("write a regular expression for the whole name: {why}")
}

/// The page of one run, or one that says that there is no such run.
pub(super) fn page(
    state: &State,
    run: &str,
    status: &ServiceStatus,
    now: DateTime<Utc>,
) -> Result<Response, Error> {
    let filter = run.parse().ok().map(|run| Filter { run: Some(run), ..Filter::default() });
    let past = filter.map(|filter| history(state, &filter, None)).transpose()?.unwrap_or_default();
    Ok(match past.first() {
        Some(past) => Html(page::run(past, status, now).into_string()).into_response(),
        None => {
            let page = page::no_run(run, status, now).into_string();
            (StatusCode::NOT_FOUND, Html(page)).into_response()
        }
    })
}
