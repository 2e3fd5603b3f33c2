//! What went wrong with one request, in one structure.
//!
//! It decides what is worth another try; nobody else does.

use std::fmt;
use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use url::Url;

use super::circuit::Outage;
use crate::model::sanitize;

/// Of a body that is no use, this much is shown.
const BODY_SHOWN: usize = 300;

/// Of whatever else went wrong, this much is shown. It can repeat what the registry said.
const MESSAGE_SHOWN: usize = 1000;

/// A longer answer than this is no error of the specification, and is not read as one.
const SPEC_BYTES: usize = 1 << 20;

/// So many of the errors that came with one answer count.
const SPEC_ERRORS: usize = 10;

/// A request that did not get the answer it needs.
#[derive(Debug)]
pub struct Error {
    /// The HTTP method.
    pub method: &'static str,
    /// Where it went, without credentials.
    pub url: String,
    /// The status that came back, if any did.
    pub status: Option<StatusCode>,
    /// The error codes of the distribution specification that came with it.
    pub codes: Vec<String>,
    /// What sort of failure it is.
    pub kind: Kind,
    /// What happened, for people.
    pub message: String,
    /// Whether the registry may have done all the same what it was asked for.
    pub may_be_applied: bool,
    pub(super) source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The sorts of failure. Their names are labels of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No connection came about.
    Connect,
    /// Somebody answered whose certificate is not trusted, or who does not trust ours.
    Certificate,
    /// No answer came in time.
    Timeout,
    /// The connection broke before the answer was whole.
    Interrupted,
    /// Nothing has answered for so long that the request was not sent, or not again.
    Unavailable,
    /// The registry wants other credentials, or the token service gives no token.
    Unauthorized,
    /// The credentials are known and not enough.
    Forbidden,
    /// There is nothing there.
    NotFound,
    /// The registry asks for fewer requests.
    RateLimited,
    /// The registry failed.
    Server,
    /// The registry does not do this, or was told not to.
    Unsupported,
    /// The answer is not what the specification says it is.
    Invalid,
    /// The bytes that came are not the ones that were named.
    DigestMismatch,
    /// The answer is larger than anything sensible.
    TooLarge,
}

impl Kind {
    /// Every kind there is.
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

    /// A fixed word for the kind.
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
    pub(super) fn new(method: &'static str, url: &Url, kind: Kind, message: impl Into<String>) -> Self {
        Self {
            method,
            url: redacted(url),
            status: None,
            codes: Vec::new(),
            kind,
            message: sanitize(&message.into(), MESSAGE_SHOWN),
            may_be_applied: false,
            source: None,
        }
    }

    /// A request that got no whole answer.
    pub(super) fn transport(method: &'static str, url: &Url, error: reqwest::Error) -> Self {
        let cause = innermost(&error);
        let kind = if error.is_timeout() {
            Kind::Timeout
        } else if (error.is_connect() && cause.contains("certificate")) || refuses_ours(&cause) {
            Kind::Certificate
        } else if error.is_connect() {
            Kind::Connect
        } else {
            Kind::Interrupted
        };
        // Whoever wants a certificate of ours may close the connection before its alert is heard.
        let unheard = kind == Kind::Interrupted && error.is_request() && url.scheme() == "https";
        let hint = " (if the registry wants a certificate: cert_file is what we show)";
        let cause = if unheard { format!("{cause}{hint}") } else { cause };
        // A redirect can lead to a signed address, which is a credential.
        let error = error.without_url();
        Self { source: Some(Box::new(error)), ..Self::new(method, url, kind, cause) }
    }

    /// A whole answer with a status that was not asked for.
    pub(super) fn status(method: &'static str, url: &Url, status: StatusCode, body: &[u8]) -> Self {
        let spec = Some(body).filter(|body| body.len() <= SPEC_BYTES);
        let spec: Option<SpecErrors> = spec.and_then(|body| serde_json::from_slice(body).ok());
        let mut errors = spec.map(|spec| spec.errors).unwrap_or_default();
        errors.truncate(SPEC_ERRORS);
        let codes: Vec<String> = errors.iter().map(|error| printable(&error.code)).collect();
        let message = if errors.is_empty() {
            printable(&String::from_utf8_lossy(&body[..body.len().min(BODY_SHOWN)]))
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

    /// A request that is not worth sending now.
    pub(super) fn unavailable(method: &'static str, url: &Url, outage: &Outage) -> Self {
        let message = format!(
            "the registry has not answered for {}; it is asked again in {} at the earliest; the last failure was: {}",
            seconds(outage.lasting),
            seconds(outage.again),
            outage.last,
        );
        Self::new(method, url, Kind::Unavailable, message)
    }

    /// Whether it may be the whole registry that does not answer.
    pub(super) fn indicates_outage(&self) -> bool {
        matches!(self.kind, Kind::Connect | Kind::Timeout | Kind::Interrupted | Kind::Server)
    }

    /// Whether the registry may have got the request and done it. What answers without a code of the
    /// specification may be somebody between it and us.
    pub(super) fn is_ambiguous(&self) -> bool {
        match self.status {
            Some(_) => self.indicates_outage() || self.codes.is_empty(),
            None => self.indicates_outage() && self.kind != Kind::Connect,
        }
    }

    /// Whether the same request may well succeed a little later.
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

    /// Whether the registry named this code of the specification.
    pub fn has_code(&self, code: &str) -> bool {
        self.codes.iter().any(|one| one == code)
    }

    /// Whether the registry named one of these codes.
    pub(super) fn has_any(&self, codes: &[&str]) -> bool {
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
                     cert_file is what we show)",
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

/// A span in whole seconds, and never less than one.
fn seconds(span: Duration) -> String {
    format!("{} s", span.as_secs_f64().ceil().max(1.0))
}

fn redacted(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for addresses that cannot have credentials at all.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    // A link to the next page can be as long as a header.
    sanitize(url.as_str(), MESSAGE_SHOWN)
}

/// The last cause says what happened ("Connection refused"); those above it say that it did.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// Whether the other end did not like our certificate, or that there is none. With TLS 1.3 it says so when
/// the connection is there already, by an alert.
fn refuses_ours(cause: &str) -> bool {
    let alert = cause.strip_prefix("received fatal alert: ");
    alert.is_some_and(|alert| alert.contains("Certificate") || ["UnknownCA", "AccessDenied"].contains(&alert))
}

/// A registry's words, fit for a terminal and a log line.
fn printable(text: &str) -> String {
    sanitize(text.trim(), BODY_SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> Url {
        Url::parse("https://user:secret@registry.example.com/v2/").unwrap()
    }

    #[test]
    fn an_error_tells_the_codes_and_no_credentials() {
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
    fn a_foreign_body_is_cut_and_made_printable() {
        let body = format!("<html>\u{1b}[31m{}</html>", "x".repeat(9000));
        let error = Error::status("GET", &url(), StatusCode::BAD_GATEWAY, body.as_bytes());
        let text = error.to_string();
        assert!(text.len() < 500 && !text.contains('\u{1b}'), "{text}");
        assert!(error.is_transient());
    }

    #[test]
    fn what_another_try_cannot_mend_is_not_transient() {
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
