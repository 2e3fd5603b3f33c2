//! The past runs by request: what is asked for, and the state that tells it.
//!
//! Only here does the web server read from the disk, so it does not do it on the thread that answers. Nor is
//! anything else put into words there that can be of many thousand deletions.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Json, Response};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::json;
use tokio::sync::Semaphore;

use super::parameters::Parameters;
use super::{page, status_store};
use crate::policy::{Pattern, Patterns};
use crate::report::history_document;
use crate::run::{TimeArgument, history};
use crate::state::{Error, Filter, State};

/// So many runs are told if nobody asks for another number.
const USUAL: u32 = 20;
/// And never more than this.
const MOST: u32 = 1000;

/// The past, as far as it is remembered. Clones are the same.
#[derive(Clone)]
pub(super) struct Past {
    state: State,
    /// Readers come one after the other: they share the state with runs, which note their deletions in it,
    /// and an answer can be large. Plans wait for their turn as well.
    turn: Arc<Semaphore>,
}

impl Past {
    pub(super) fn of(state: State) -> Self {
        Self { state, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Reads, where neither the disk nor the length of the answer keeps anybody else waiting.
    pub(super) async fn read(
        &self,
        read: impl FnOnce(&State) -> Result<Response, Error> + Send + 'static,
    ) -> Response {
        let (state, turn) = (self.state.clone(), self.turn.clone().acquire_owned().await);
        let read = tokio::task::spawn_blocking(move || {
            // Not given back when the client goes away, but when the reading ends.
            let _turn = turn;
            read(&state)
        });
        let why = match read.await {
            Ok(Ok(response)) => return response,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic.to_string(),
        };
        tracing::error!(error = why, "the past cannot be told");
        refused(StatusCode::INTERNAL_SERVER_ERROR, &why)
    }
}

/// Which runs are asked for.
#[derive(Debug)]
pub(super) struct Question {
    filter: Filter,
    repositories: Vec<Pattern>,
}

impl Question {
    /// What may narrow the runs down, as the command line has it.
    pub(super) const PARAMETERS: [&str; 6] = ["run", "registry", "repository", "since", "until", "limit"];

    /// Understands the parameters, days by this time zone; an error says what is wrong with one and what to write.
    pub(super) fn read(parameters: &Parameters, timezone: Tz) -> Result<Self, String> {
        let mut filter = Filter { at_most: USUAL, ..Filter::default() };
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
                    let limit = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
                    filter.at_most = limit.ok_or_else(|| bad(format!("write a number from 1 to {MOST}")))?;
                }
                // No other one is let through.
                _ => {}
            }
        }
        Ok(Self { filter, repositories })
    }

    /// The only registry that is asked for.
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
    asked: &str,
    status_store: &status_store::State,
    now: DateTime<Utc>,
) -> Result<Response, Error> {
    let filter = asked.parse().ok().map(|run| Filter { run: Some(run), ..Filter::default() });
    let past = filter.map(|filter| history(state, &filter, None)).transpose()?.unwrap_or_default();
    Ok(match past.first() {
        Some(past) => Html(page::run(past, status_store, now).into_string()).into_response(),
        None => {
            let page = page::no_run(asked, status_store, now).into_string();
            (StatusCode::NOT_FOUND, Html(page)).into_response()
        }
    })
}

/// An answer that says why there is no other.
pub(super) fn refused(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}
