//! Credentials, the headers made from them, and the removal of secrets from texts.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};

/// Credentials for a registry.
#[derive(Debug, Clone)]
pub(crate) enum Credentials {
    Anonymous,
    Basic {
        username: String,
        password: SecretString,
    },
    /// A refresh token that is exchanged for access tokens, and its user where that is known.
    Identity {
        username: Option<String>,
        token: SecretString,
    },
    /// An access token that was issued outside regsweep.
    Bearer(SecretString),
}

impl Credentials {
    /// The header of basic authentication; `None` for other credentials.
    pub(crate) fn basic_header(&self) -> Option<HeaderValue> {
        let Self::Basic { username, password } = self else { return None };
        basic_header(username, password)
    }

    /// Whether both send the same secret.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Anonymous, Self::Anonymous) => true,
            (Self::Basic { username, password }, Self::Basic { username: other, password: others }) => {
                username == other && password.expose_secret() == others.expose_secret()
            }
            (Self::Identity { token, .. }, Self::Identity { token: other, .. })
            | (Self::Bearer(token), Self::Bearer(other)) => token.expose_secret() == other.expose_secret(),
            _ => false,
        }
    }
}

/// The `Authorization` header of a request.
pub(crate) struct Authorization {
    pub(crate) header: HeaderValue,
    pub(super) source: AuthorizationSource,
}

/// What an `Authorization` header was made from.
pub(super) enum AuthorizationSource {
    /// The credentials themselves.
    Credentials(Arc<Credentials>),
    /// A token that a token service granted for them.
    Token,
}

impl Authorization {
    /// The body of an answer without the secret of this header, which it may repeat.
    pub(crate) fn redact(&self, body: &[u8]) -> Vec<u8> {
        redact(body, &[encoded_secret(&self.header)])
    }
}

/// The header of basic authentication.
pub(super) fn basic_header(username: &str, password: &SecretString) -> Option<HeaderValue> {
    let pair = STANDARD.encode(format!("{username}:{}", password.expose_secret()));
    sensitive_header(format!("Basic {pair}"))
}

/// A header that is never shown; `None` where the text cannot be a header.
pub(super) fn sensitive_header(text: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The part of an `Authorization` header after its scheme.
pub(super) fn encoded_secret(header: &HeaderValue) -> &str {
    header.to_str().ok().and_then(|text| text.split(' ').nth(1)).unwrap_or_default()
}

/// A body without these secrets, for errors: a service may repeat what it was sent.
pub(super) fn redact(body: &[u8], secrets: &[&str]) -> Vec<u8> {
    let text = String::from_utf8_lossy(body);
    let replace =
        |text: String, secret: &&str| if secret.is_empty() { text } else { text.replace(secret, "***") };
    secrets.iter().fold(text.into_owned(), replace).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redact_replaces_each_secret() {
        assert_eq!(redact(b"no user hunter2 (hunter2)", &["hunter2", ""]), b"no user *** (***)");
    }
}
