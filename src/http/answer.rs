//! The answers that several routes share: not found, an error, a JSON document.

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Json, Response};
use serde_json::{Value, json};

/// There is no such path.
pub(super) fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "there is nothing here\n").into_response()
}

/// An error as a JSON document: what is wrong and, where possible, what to write instead.
pub(super) fn error(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}

/// A document; `None` is the answer for a registry that is not in the configuration.
pub(super) fn document(document: Option<Value>) -> Response {
    match document {
        Some(document) => Json(document).into_response(),
        None => error(StatusCode::NOT_FOUND, "the configuration has no such registry"),
    }
}
