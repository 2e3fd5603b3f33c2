//! What whoever has the admin token may ask for: a run, now.
//!
//! Nothing here does anything. It passes on what is asked for and says what came of it.

use std::sync::{Arc, PoisonError, RwLock};

use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::{mpsc, oneshot};

use super::nothing_here;
use super::runs::refused;

/// The way to whoever begins runs. Clones are the same.
#[derive(Clone)]
pub struct Admin {
    token: Arc<RwLock<Option<SecretString>>>,
    asked: mpsc::UnboundedSender<Ask>,
}

/// Somebody with the token wants runs to begin.
#[derive(Debug)]
pub struct Ask {
    /// Of this registry; `None` means all.
    pub registry: Option<String>,
    /// Who waits for what came of it.
    pub answer: oneshot::Sender<Begun>,
}

/// What came of it, by the names of registries.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Begun {
    /// Runs of these have begun.
    pub begun: Vec<String>,
    /// These have a job under way, so no other one has begun.
    pub busy: Vec<String>,
}

impl Admin {
    /// Without a token nobody may ask. Whoever begins runs hears of each wish by the receiver.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Ask>) {
        let (asked, wishes) = mpsc::unbounded_channel();
        (Self { token: Arc::default(), asked }, wishes)
    }

    /// From now on this is the token.
    pub fn set_token(&self, token: Option<SecretString>) {
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// Answers a wish for a run.
    pub(super) async fn run(&self, headers: &HeaderMap, registry: Option<String>) -> Response {
        // Where there is no token there is no such address.
        let Some(allowed) = self.allows(headers) else { return nothing_here() };
        if !allowed {
            let mut response =
                refused(StatusCode::UNAUTHORIZED, "write the header `Authorization: Bearer ADMIN_TOKEN`");
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
        let (answer, answered) = oneshot::channel();
        let _ = self.asked.send(Ask { registry: registry.clone(), answer });
        let Ok(begun) = answered.await else {
            return refused(StatusCode::SERVICE_UNAVAILABLE, "the service is stopping");
        };
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

    /// Whether a request has the token; `None` if there is none to have.
    fn allows(&self, headers: &HeaderMap) -> Option<bool> {
        let token = self.token.read().unwrap_or_else(PoisonError::into_inner);
        let token = token.as_ref()?.expose_secret().as_bytes();
        let shown = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let shown = shown.and_then(|shown| shown.strip_prefix(b"Bearer ")).unwrap_or_default();
        // Digests are all of one length, so not even that of the token can be measured.
        Some(Sha256::digest(shown).ct_eq(&Sha256::digest(token)).into())
    }
}
