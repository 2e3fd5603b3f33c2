//! The routes that need the admin token: start a run, undo a run.
//!
//! They pass the request on to the service and answer with its result. They know no registry and no state.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::answer;
use super::parameters::Parameters;
use crate::run::LimitMode;

/// The parameter that lets a run exceed its limits.
const OVERRIDE: &str = "override_limits";

/// An undo may have to wait for a run: after this time the answer says that it still runs.
const UNDO_TIMEOUT: Duration = Duration::from_secs(10);

/// The only supported authentication scheme.
const BEARER: &[u8] = b"Bearer";

/// Sends admin requests to the service. Clones share the token and the channel.
#[derive(Clone)]
pub struct Admin {
    token: Arc<RwLock<Option<SecretString>>>,
    requests: mpsc::UnboundedSender<AdminRequest>,
}

/// A request that had the admin token.
#[derive(Debug)]
pub enum AdminRequest {
    /// Start runs.
    Run {
        /// The registry; `None` means all.
        registry: Option<String>,
        /// Whether the limits of the configuration apply.
        limits: LimitMode,
        /// Receives the result.
        reply: oneshot::Sender<StartedRuns>,
    },
    /// Restore what a run deleted.
    Undo(UndoRequest),
}

/// A request to undo a run, or one image of it.
#[derive(Debug)]
pub struct UndoRequest {
    /// The number of the run.
    pub run: i64,
    /// The only image to restore, with its children and referrers; `None` means all that the run deleted.
    pub image: Option<String>,
    /// Receives the result. The receiver may be gone by then.
    pub reply: oneshot::Sender<UndoResult>,
}

/// The JSON document of an undo, or why there is none.
pub type UndoResult = Result<Value, UndoError>;

/// Why an undo restored nothing, as a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UndoError {
    /// There is no such run or image, or nothing of it is deleted now.
    NotFound(String),
    /// The image's name has several meanings.
    Ambiguous(String),
    /// A request or the state failed.
    Failed(String),
}

/// The registries whose runs were started, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StartedRuns {
    /// A run was started.
    pub started: Vec<String>,
    /// A job is running there, so no run was started.
    pub busy: Vec<String>,
}

impl Admin {
    /// Without a token, which [`Admin::set_token`] sets, every request is rejected. The receiver gets the others.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<AdminRequest>) {
        let (requests, receiver) = mpsc::unbounded_channel();
        (Self { token: Arc::default(), requests }, receiver)
    }

    /// Replaces the token; `None` disables the admin routes.
    pub fn set_token(&self, token: Option<SecretString>) {
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// Starts runs. The token is checked first: without it the answer tells nothing about the parameters.
    pub(super) async fn run(&self, headers: &HeaderMap, query: &str, body: Body) -> Response {
        if let Some(response) = self.rejection(headers) {
            return response;
        }
        let parameters = match parameters(query, body, &["registry", OVERRIDE]).await {
            Ok(parameters) => parameters,
            Err(why) => return answer::error(StatusCode::BAD_REQUEST, &why),
        };
        let registry = parameters.get("registry").map(str::to_owned);
        let limits = match parameters.get(OVERRIDE) {
            None | Some("false") => LimitMode::Enforced,
            Some("true") => LimitMode::Overridden,
            Some(other) => {
                let why = format!("`{OVERRIDE}={other}` cannot be used: write `true` or `false`");
                return answer::error(StatusCode::BAD_REQUEST, &why);
            }
        };
        let (reply, result) = oneshot::channel();
        let _ = self.requests.send(AdminRequest::Run { registry, limits, reply });
        let Ok(runs) = result.await else { return stopping() };
        let status = match (runs.started.is_empty(), runs.busy.is_empty()) {
            (false, _) => StatusCode::ACCEPTED,
            (true, false) => StatusCode::CONFLICT,
            (true, true) => {
                return answer::error(StatusCode::NOT_FOUND, "the configuration has no such registry");
            }
        };
        let document = json!({ "version": 1, "begun": runs.started, "busy": runs.busy });
        (status, Json(document)).into_response()
    }

    /// Undoes a run. If that takes longer than [`UNDO_TIMEOUT`], the answer does not wait for it.
    pub(super) async fn undo(&self, headers: &HeaderMap, query: &str, body: Body) -> Response {
        if let Some(response) = self.rejection(headers) {
            return response;
        }
        let bad = |why: &str| answer::error(StatusCode::BAD_REQUEST, why);
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
        let (reply, result) = oneshot::channel();
        let _ = self.requests.send(AdminRequest::Undo(UndoRequest { run, image, reply }));
        match timeout(UNDO_TIMEOUT, result).await {
            Ok(Ok(Ok(document))) => Json(document).into_response(),
            Ok(Ok(Err(UndoError::NotFound(why)))) => answer::error(StatusCode::NOT_FOUND, &why),
            Ok(Ok(Err(UndoError::Ambiguous(why)))) => bad(&why),
            Ok(Ok(Err(UndoError::Failed(why)))) => answer::error(StatusCode::INTERNAL_SERVER_ERROR, &why),
            Ok(Err(_)) => stopping(),
            Err(_) => {
                let document = json!({ "version": 1, "registry": null, "run": run, "results": null });
                (StatusCode::ACCEPTED, Json(document)).into_response()
            }
        }
    }

    /// The answer to a request without the token; `None` if it has it.
    fn rejection(&self, headers: &HeaderMap) -> Option<Response> {
        // Without a token in the configuration the route does not exist.
        let Some(allowed) = self.is_allowed(headers) else { return Some(answer::not_found()) };
        if allowed {
            return None;
        }
        let why = "write the header `Authorization: Bearer ADMIN_TOKEN`";
        let mut response = answer::error(StatusCode::UNAUTHORIZED, why);
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        Some(response)
    }

    /// Whether a request has the token; `None` if the configuration has none.
    fn is_allowed(&self, headers: &HeaderMap) -> Option<bool> {
        let token = self.token.read().unwrap_or_else(PoisonError::into_inner);
        let token = token.as_ref()?.expose_secret().as_bytes();
        let presented =
            headers.get(AUTHORIZATION).and_then(|header| bearer(header.as_bytes())).unwrap_or_default();
        // All digests have one length, so that the time of the comparison does not tell the length of the token.
        Some(Sha256::digest(presented).ct_eq(&Sha256::digest(token)).into())
    }
}

fn stopping() -> Response {
    answer::error(StatusCode::SERVICE_UNAVAILABLE, "the service is stopping")
}

/// The credentials after the scheme `Bearer`, whose case does not matter (RFC 9110, section 11.1).
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked(BEARER.len())?;
    let token = token.strip_prefix(b" ")?;
    scheme.eq_ignore_ascii_case(BEARER).then(|| token.trim_ascii_start())
}

/// The parameters of a request that changes something. They must be in the URL, and a body is an error: a registry
/// that is named in the body, as `curl -d` does, must not be overlooked.
async fn parameters(query: &str, body: Body, known: &[&str]) -> Result<Parameters, String> {
    match to_bytes(body, 0).await {
        Ok(_) => Parameters::parse(query, known),
        _ => Err("this address takes no body: write parameters into the address, as in `?registry=NAME`"
            .to_owned()),
    }
}
