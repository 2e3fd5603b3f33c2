//! The error of one request to a registry.
//!
//! Whether a request is worth another attempt is decided here and nowhere else.

use std::fmt;
use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use url::Url;

use super::circuit_breaker::Outage;
use crate::model::sanitize;

/// Characters of an answer's body that are shown.
const MAX_BODY_SHOWN: usize = 300;

/// Characters of any other text that are shown; it may repeat text of the registry.
const MAX_MESSAGE_SHOWN: usize = 1000;

/// A longer body is not parsed as an error of the specification.
const MAX_SPEC_BYTES: usize = 1 << 20;

/// Errors in one answer that are read; the others are ignored.
const MAX_SPEC_ERRORS: usize = 10;

/// A request that did not get an accepted answer.
#[derive(Debug)]
pub struct Error {
    /// The HTTP method.
    pub method: &'static str,
    /// The URL without credentials.
    pub url: String,
    /// The status of the answer, if there was one.
    pub status: Option<StatusCode>,
    /// The error codes of the distribution specification in the answer.
    pub codes: Vec<String>,
    /// The kind of failure.
    pub kind: Kind,
    /// What happened, in plain words.
    pub message: String,
    /// Whether the registry may have carried out the request all the same.
    pub may_be_applied: bool,
    pub(crate) source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The kinds of failure. Their names are labels of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// There is no connection.
    Connect,
    /// The certificate of the registry is not trusted, or it does not trust ours.
    Certificate,
    /// There was no answer within the timeout.
    Timeout,
    /// The connection was closed before the answer was complete.
    Interrupted,
    /// The registry has not answered for so long that the request was not sent.
    Unavailable,
    /// The registry refuses the credentials, or the token service grants no token.
    Unauthorized,
    /// The credentials are valid, and the user may not do this.
    Forbidden,
    /// The registry has nothing at this URL.
    NotFound,
    /// The registry asks for fewer requests.
    RateLimited,
    /// The registry failed (status 5xx).
    Server,
    /// The registry does not support this request, or it is disabled.
    Unsupported,
    /// The answer does not follow the specification.
    Invalid,
    /// The content does not match its digest.
    DigestMismatch,
    /// The answer is larger than the limit.
    TooLarge,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 14] = [
        Self::Connect,
        Self::Certificate,
        Self::Timeout,
        Self::Interrupted,
        Self::Unavailable,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::RateLimited,
        Self::Server,
        Self::Unsupported,
        Self::Invalid,
        Self::DigestMismatch,
        Self::TooLarge,
    ];

    /// The fixed name of the kind.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Certificate => "certificate",
            Self::Timeout => "timeout",
            Self::Interrupted => "interrupted",
            Self::Unavailable => "unavailable",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::RateLimited => "rate_limited",
            Self::Server => "server",
            Self::Unsupported => "unsupported",
            Self::Invalid => "invalid",
            Self::DigestMismatch => "digest_mismatch",
            Self::TooLarge => "too_large",
        }
    }
}

impl Error {
    pub(crate) fn new(method: &'static str, url: &Url, kind: Kind, message: impl Into<String>) -> Self {
        Self {
            method,
            url: redacted(url),
            status: None,
            codes: Vec::new(),
            kind,
            message: sanitize(&message.into(), MAX_MESSAGE_SHOWN),
            may_be_applied: false,
            source: None,
        }
    }

    /// A request that got no complete answer.
    pub(super) fn transport(method: &'static str, url: &Url, error: reqwest::Error) -> Self {
        let cause = innermost(&error);
        let kind = if error.is_timeout() {
            Kind::Timeout
        } else if (error.is_connect() && cause.contains("certificate")) || is_certificate_alert(&cause) {
            Kind::Certificate
        } else if error.is_connect() {
            Kind::Connect
        } else {
            Kind::Interrupted
        };
        // A server that wants a client certificate may close the connection before its alert is received.
        let alert_may_be_lost = kind == Kind::Interrupted && error.is_request() && url.scheme() == "https";
        let hint = " (if the registry wants a certificate: cert_file is the client certificate)";
        let cause = if alert_may_be_lost { format!("{cause}{hint}") } else { cause };
        // A redirect can lead to a signed URL, which is a credential.
        let error = error.without_url();
        Self { source: Some(Box::new(error)), ..Self::new(method, url, kind, cause) }
    }

    /// A complete answer with a status that is not accepted.
    pub(crate) fn status(method: &'static str, url: &Url, status: StatusCode, body: &[u8]) -> Self {
        let spec = Some(body).filter(|body| body.len() <= MAX_SPEC_BYTES);
        let spec: Option<SpecErrors> = spec.and_then(|body| serde_json::from_slice(body).ok());
        let mut errors = spec.map(|spec| spec.errors).unwrap_or_default();
        errors.truncate(MAX_SPEC_ERRORS);
        let codes: Vec<String> = errors.iter().map(|error| printable(&error.code)).collect();
        let message = if errors.is_empty() {
            printable(&String::from_utf8_lossy(&body[..body.len().min(MAX_BODY_SHOWN)]))
        } else {
            let texts = errors.iter().map(|error| format!("{}: {}", error.code, error.message));
            printable(&texts.collect::<Vec<_>>().join("; "))
        };
        let kind = match status.as_u16() {
            401 => Kind::Unauthorized,
            403 => Kind::Forbidden,
            404 => Kind::NotFound,
            405 => Kind::Unsupported,
            429 => Kind::RateLimited,
            500..=599 => Kind::Server,
            _ => Kind::Invalid,
        };
        Self { status: Some(status), codes, ..Self::new(method, url, kind, message) }
    }

    /// A request that is not sent because the registry does not answer.
    pub(crate) fn unavailable(method: &'static str, url: &Url, outage: &Outage) -> Self {
        let message = format!(
            "the registry has not answered for {}; the next attempt is in {} at the earliest; the last failure was: {}",
            seconds(outage.duration),
            seconds(outage.retry_after),
            outage.last_failure,
        );
        Self::new(method, url, Kind::Unavailable, message)
    }

    /// Whether this may be an outage of the whole registry.
    pub(crate) fn indicates_outage(&self) -> bool {
        matches!(self.kind, Kind::Connect | Kind::Timeout | Kind::Interrupted | Kind::Server)
    }

    /// Whether the registry may have received the request and carried it out. An answer without a code of the
    /// specification may be from a proxy in between.
    pub(crate) fn is_ambiguous(&self) -> bool {
        match self.status {
            Some(_) => self.indicates_outage() || self.codes.is_empty(),
            None => self.indicates_outage() && self.kind != Kind::Connect,
        }
    }

    /// Whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self.kind {
            Kind::Connect | Kind::Timeout | Kind::Interrupted | Kind::RateLimited | Kind::Server => true,
            Kind::Certificate
            | Kind::Unavailable
            | Kind::Unauthorized
            | Kind::Forbidden
            | Kind::NotFound
            | Kind::Unsupported
            | Kind::Invalid
            | Kind::DigestMismatch
            | Kind::TooLarge => false,
        }
    }

    /// Whether the answer contains this error code of the specification.
    pub fn has_code(&self, code: &str) -> bool {
        self.codes.iter().any(|own| own == code)
    }

    /// Whether the answer contains one of these error codes.
    pub(crate) fn has_any_code(&self, codes: &[&str]) -> bool {
        codes.iter().any(|code| self.has_code(code))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.method, self.url)?;
        if let Some(status) = self.status {
            write!(f, "{status}")?;
            if !self.message.is_empty() {
                f.write_str(": ")?;
            }
        }
        f.write_str(&self.message)?;
        match self.kind {
            Kind::Connect => f.write_str(" (is the registry running, and is the url right?)"),
            Kind::Certificate => f.write_str(
                " (check tls of this registry in the configuration: ca_file trusts a private CA, and \
                     cert_file is the client certificate)",
            ),
            Kind::Unauthorized => f.write_str(" (check auth of this registry in the configuration)"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The error body of the distribution specification.
#[derive(Deserialize)]
struct SpecErrors {
    errors: Vec<SpecError>,
}

#[derive(Deserialize)]
struct SpecError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// A duration in whole seconds, at least one.
fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64().ceil().max(1.0))
}

fn redacted(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for URLs that cannot have credentials at all.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    // A link to the next page can be as long as a header.
    sanitize(url.as_str(), MAX_MESSAGE_SHOWN)
}

/// The innermost cause says what happened ("Connection refused"); the outer ones only say that a request failed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// Whether the server refused our client certificate or wants one. With TLS 1.3 it says so by an alert on the
/// established connection.
fn is_certificate_alert(cause: &str) -> bool {
    let alert = cause.strip_prefix("received fatal alert: ");
    alert.is_some_and(|alert| alert.contains("Certificate") || ["UnknownCA", "AccessDenied"].contains(&alert))
}

/// Text of a registry, safe for a terminal and a log line.
fn printable(text: &str) -> String {
    sanitize(text.trim(), MAX_BODY_SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> Url {
        Url::parse("https://user:secret@registry.example.com/v2/").unwrap()
    }

    #[test]
    fn display_shows_codes_and_no_credentials() {
        let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}"#;
        let error = Error::status("GET", &url(), StatusCode::NOT_FOUND, body);
        assert_eq!(
            error.to_string(),
            "GET https://registry.example.com/v2/: 404 Not Found: MANIFEST_UNKNOWN: manifest unknown"
        );
        assert!(error.has_code("MANIFEST_UNKNOWN"));
        assert!(!format!("{error:?}").contains("secret"));
    }

    #[test]
    fn display_truncates_and_escapes_a_foreign_body() {
        let body = format!("<html>\u{1b}[31m{}</html>", "x".repeat(9000));
        let error = Error::status("GET", &url(), StatusCode::BAD_GATEWAY, body.as_bytes());
        let text = error.to_string();
        assert!(text.len() < 500 && !text.contains('\u{1b}'), "{text}");
        assert!(error.is_transient());
    }

    #[test]
    fn is_transient_for_rate_limits_and_server_errors_only() {
        let check = |status: u16, transient: bool| {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(Error::status("GET", &url(), status, b"").is_transient(), transient, "{status}");
        };
        for status in [400, 401, 403, 404, 405, 409] {
            check(status, false);
        }
        for status in [429, 500, 502, 503, 504] {
            check(status, true);
        }
    }
}
