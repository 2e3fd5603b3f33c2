//! What whoever has the admin token may ask for: a run, now, and an undo.
//!
//! Nothing here does anything. It passes on what is asked for and says what came of it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::parameters::Parameters;
use super::runs::refused;
use super::{BODY_BYTES, nothing_here};
use crate::run::LimitMode;

/// The parameter that lets a run mind no limits.
const OVERRIDE: &str = "override_limits";

/// Nobody waits longer for an undo, which may have to wait for a run. Other answers may take longer than this.
const UNDO_ANSWER: Duration = Duration::from_secs(10);

/// The only scheme that is understood.
const BEARER: &[u8] = b"Bearer";

/// The way to whoever begins runs. Clones are the same.
#[derive(Clone)]
pub struct Admin {
    token: Arc<RwLock<Option<SecretString>>>,
    asked: mpsc::UnboundedSender<AdminRequest>,
}

/// Somebody with the token wants something.
#[derive(Debug)]
pub enum AdminRequest {
    /// Runs are to begin.
    Run {
        /// Of this registry; `None` means all.
        registry: Option<String>,
        /// Whether the limits of the configuration hold.
        limits: LimitMode,
        /// Who waits for what came of it.
        answer: oneshot::Sender<StartedRuns>,
    },
    /// What a run deleted is to come back.
    Undo(Undo),
}

/// An undo that somebody wants.
#[derive(Debug)]
pub struct Undo {
    /// The number of the run.
    pub run: i64,
    /// The only image that is to come back, with what belongs to it.
    pub image: Option<String>,
    /// Who may wait for what came of it.
    pub answer: oneshot::Sender<UndoResult>,
}

/// The document of an undo, or why there is none.
pub type UndoResult = Result<Value, UndoError>;

/// Why nothing was put back, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UndoError {
    /// There is nothing of that kind to put back.
    NotFound(String),
    /// Nobody can tell what is meant.
    Ambiguous(String),
    /// It could not be done.
    Failed(String),
}

/// What came of it, by the names of registries.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct StartedRuns {
    /// Runs of these have begun.
    pub begun: Vec<String>,
    /// These have a job under way, so no other one has begun.
    pub busy: Vec<String>,
}

impl Admin {
    /// Without a token nobody may ask. Whoever begins runs hears of each wish by the receiver.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<AdminRequest>) {
        let (asked, wishes) = mpsc::unbounded_channel();
        (Self { token: Arc::default(), asked }, wishes)
    }

    /// From now on this is the token.
    pub fn set_token(&self, token: Option<SecretString>) {
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// Answers a wish for a run. Without the token nothing is said of what else is wrong with it.
    pub(super) async fn run(&self, headers: &HeaderMap, query: &str, body: Body) -> Response {
        if let Some(response) = self.turns_away(headers) {
            return response;
        }
        let parameters = match parameters(query, body, &["registry", OVERRIDE]).await {
            Ok(parameters) => parameters,
            Err(why) => return refused(StatusCode::BAD_REQUEST, &why),
        };
        let registry = parameters.get("registry").map(str::to_owned);
        let limits = match parameters.get(OVERRIDE) {
            None | Some("false") => LimitMode::Enforced,
            Some("true") => LimitMode::Overridden,
            Some(other) => {
                let why = format!("`{OVERRIDE}={other}` cannot be used: write `true` or `false`");
                return refused(StatusCode::BAD_REQUEST, &why);
            }
        };
        let (answer, answered) = oneshot::channel();
        let _ = self.asked.send(AdminRequest::Run { registry, limits, answer });
        let Ok(begun) = answered.await else { return stopping() };
        let status = match (begun.begun.is_empty(), begun.busy.is_empty()) {
            (false, _) => StatusCode::ACCEPTED,
            (true, false) => StatusCode::CONFLICT,
            (true, true) => {
                return refused(StatusCode::NOT_FOUND, "the configuration has no such registry");
            }
        };
        let document = json!({ "version": 1, "begun": begun.begun, "busy": begun.busy });
        (status, Json(document)).into_response()
    }

    /// Answers a wish for an undo, if that does not take too long; it goes on all the same.
    pub(super) async fn undo(&self, headers: &HeaderMap, query: &str, body: Body) -> Response {
        if let Some(response) = self.turns_away(headers) {
            return response;
        }
        let bad = |why: &str| refused(StatusCode::BAD_REQUEST, why);
        let parameters = match parameters(query, body, &["run", "image"]).await {
            Ok(parameters) => parameters,
            Err(why) => return bad(&why),
        };
        let Some(run) = parameters.get("run") else {
            return bad("say which run is to be undone, as in `?run=12`");
        };
        let Ok(run) = run.parse() else {
            return bad(&format!("`run={run}` cannot be used: write the number of a run, such as 12"));
        };
        let image = parameters.get("image").map(str::to_owned);
        let (answer, answered) = oneshot::channel();
        let _ = self.asked.send(AdminRequest::Undo(Undo { run, image, answer }));
        match timeout(UNDO_ANSWER, answered).await {
            Ok(Ok(Ok(document))) => Json(document).into_response(),
            Ok(Ok(Err(UndoError::NotFound(why)))) => refused(StatusCode::NOT_FOUND, &why),
            Ok(Ok(Err(UndoError::Ambiguous(why)))) => bad(&why),
            Ok(Ok(Err(UndoError::Failed(why)))) => refused(StatusCode::INTERNAL_SERVER_ERROR, &why),
            Ok(Err(_)) => stopping(),
            Err(_) => {
                let document = json!({ "version": 1, "registry": null, "run": run, "results": null });
                (StatusCode::ACCEPTED, Json(document)).into_response()
            }
        }
    }

    /// What whoever does not have the token hears; `None` for those who have it.
    fn turns_away(&self, headers: &HeaderMap) -> Option<Response> {
        // Where there is no token there is no such address.
        let Some(allowed) = self.allows(headers) else { return Some(nothing_here()) };
        if allowed {
            return None;
        }
        let why = "write the header `Authorization: Bearer ADMIN_TOKEN`";
        let mut response = refused(StatusCode::UNAUTHORIZED, why);
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        Some(response)
    }

    /// Whether a request has the token; `None` if there is none to have.
    fn allows(&self, headers: &HeaderMap) -> Option<bool> {
        let token = self.token.read().unwrap_or_else(PoisonError::into_inner);
        let token = token.as_ref()?.expose_secret().as_bytes();
        let shown =
            headers.get(AUTHORIZATION).and_then(|header| bearer(header.as_bytes())).unwrap_or_default();
        // Digests are all of one length, so not even that of the token can be measured.
        Some(Sha256::digest(shown).ct_eq(&Sha256::digest(token)).into())
    }
}

fn stopping() -> Response {
    refused(StatusCode::SERVICE_UNAVAILABLE, "the service is stopping")
}

/// What is shown with the scheme `Bearer`, in whatever case that is written (RFC 9110, section 11.1).
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, shown) = header.split_at_checked(BEARER.len())?;
    let shown = shown.strip_prefix(b" ")?;
    scheme.eq_ignore_ascii_case(BEARER).then(|| shown.trim_ascii_start())
}

/// The parameters of a request that changes something. They stand in the address and nowhere else: a registry
/// that is named in the body, as `curl -d` does it, must not be overlooked.
async fn parameters(query: &str, body: Body, known: &[&str]) -> Result<Parameters, String> {
    match to_bytes(body, BODY_BYTES).await {
        Ok(body) if body.is_empty() => Parameters::parse(query, known),
        _ => Err("this address takes no body: write parameters into the address, as in `?registry=NAME`"
            .to_owned()),
    }
}
