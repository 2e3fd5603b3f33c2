//! Access tokens in use, one for each scope, and the refresh token for which they are granted.
//!
//! It requests no token itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::time::Instant;

use super::credentials::{Credentials, sensitive_header};
use super::scope::Scope;
use crate::registry::lock::lock;

/// The lifetime of a token whose service does not name one, by the token specification.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
/// The longest time that a token is used, whatever its service says: one without an end is renewed now and then.
const MAX_LIFETIME: Duration = Duration::from_secs(7 * 86_400);
/// A token is renewed this long before it expires, for requests that are already on their way.
const RENEWAL_MARGIN: Duration = Duration::from_secs(10);

/// An access token, and until when it is used.
#[derive(Clone)]
pub(super) struct Token {
    header: HeaderValue,
    expires: Instant,
}

/// The answer of a token service.
#[derive(Deserialize)]
pub(super) struct TokenResponse {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
    pub(super) refresh_token: Option<String>,
}

impl TokenResponse {
    /// The token; `None` where there is none that a header can contain.
    pub(super) fn into_token(self) -> Option<Token> {
        let non_empty = |text: Option<String>| text.filter(|text| !text.is_empty());
        let text = non_empty(self.token).or(non_empty(self.access_token))?;
        let lifetime = self.expires_in.map_or(DEFAULT_LIFETIME, Duration::from_secs).min(MAX_LIFETIME);
        let expires = Instant::now() + lifetime.saturating_sub(RENEWAL_MARGIN).max(lifetime / 2);
        Some(Token { header: sensitive_header(format!("Bearer {text}"))?, expires })
    }
}

/// The token for one scope. It is locked while a token is requested, so that many requests wait for one.
type Slot = Arc<tokio::sync::Mutex<Option<Token>>>;

/// The access tokens for one registry.
#[derive(Default)]
pub(super) struct TokenCache {
    slots: Mutex<HashMap<Scope, Slot>>,
    /// The scopes that the registry has asked for where they differ from ours.
    registry_scopes: Mutex<HashMap<Scope, String>>,
}

impl TokenCache {
    /// The token for this scope. `request` requests a new one where none is valid.
    pub(super) async fn get<E>(
        &self,
        scope: &Scope,
        request: impl AsyncFnOnce(Vec<String>) -> Result<Token, E>,
    ) -> Result<HeaderValue, E> {
        let slot = self.slot(scope);
        let mut slot = slot.lock().await;
        if let Some(token) = slot.as_ref().filter(|token| Instant::now() < token.expires) {
            return Ok(token.header.clone());
        }
        let text = self.scope_text(scope);
        let scopes = text.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect();
        let token = request(scopes).await?;
        let header = token.header.clone();
        *slot = Some(token);
        Ok(header)
    }

    /// Records that the registry has refused the token in this header, and the scope that it asked for. Whether
    /// another attempt is worthwhile: another request may have renewed the token meanwhile; if not, the next one is
    /// requested with the registry's scope, or with ours again if `may_renew`.
    pub(super) async fn record_refusal(
        &self,
        scope: &Scope,
        header: &HeaderValue,
        registry_scope: Option<&String>,
        may_renew: bool,
    ) -> bool {
        let slot = self.slot(scope);
        let mut slot = slot.lock().await;
        if slot.as_ref().is_none_or(|token| token.header != header) {
            return true;
        }
        let other_scope = registry_scope.filter(|registry_scope| **registry_scope != self.scope_text(scope));
        if let Some(other_scope) = other_scope {
            lock(&self.registry_scopes).insert(scope.clone(), other_scope.clone());
        }
        let is_retried = other_scope.is_some() || may_renew;
        if is_retried {
            *slot = None;
        }
        is_retried
    }

    fn scope_text(&self, scope: &Scope) -> String {
        lock(&self.registry_scopes).get(scope).cloned().unwrap_or_else(|| scope.as_str().to_owned())
    }

    fn slot(&self, scope: &Scope) -> Slot {
        lock(&self.slots).entry(scope.clone()).or_default().clone()
    }
}

/// The refresh token in use: a token service may replace it with each answer.
#[derive(Default)]
pub(super) struct RefreshToken {
    credentials: Option<Arc<Credentials>>,
    latest: Option<SecretString>,
    /// Whether the service replaces it; `None` until its first answer. As long as it may, only one request at a time
    /// uses the refresh token: the others would send one that is no longer valid.
    pub(super) rotates: Option<bool>,
}

impl RefreshToken {
    /// The refresh token to send for these credentials, whose first one is `first`.
    pub(super) fn latest(&mut self, credentials: &Arc<Credentials>, first: &SecretString) -> SecretString {
        if self.credentials.as_ref().is_none_or(|own| !Arc::ptr_eq(own, credentials)) {
            *self = Self { credentials: Some(credentials.clone()), ..Self::default() };
        }
        self.latest.as_ref().unwrap_or(first).clone()
    }

    /// Records the refresh token in the answer to `sent`.
    pub(super) fn record_answer(
        &mut self,
        credentials: &Arc<Credentials>,
        sent: &SecretString,
        received: Option<&String>,
    ) {
        if self.credentials.as_ref().is_some_and(|own| Arc::ptr_eq(own, credentials)) {
            let new = received.filter(|received| !received.is_empty() && *received != sent.expose_secret());
            self.rotates = Some(new.is_some());
            self.latest = new.map(|new| SecretString::from(new.as_str())).or(self.latest.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Token {
        let token = Some(text.to_owned());
        let response =
            TokenResponse { token, access_token: None, expires_in: Some(300), refresh_token: None };
        response.into_token().unwrap()
    }

    #[tokio::test]
    async fn get_requests_one_token_for_many_waiting_requests() {
        let tokens = TokenCache::default();
        let requested = std::sync::atomic::AtomicUsize::new(0);
        let scope = Scope::pull("a");
        let get = || {
            tokens.get::<()>(&scope, async |scopes| {
                tokio::task::yield_now().await;
                requested.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                assert_eq!(scopes, ["repository:a:pull"]);
                Ok(token("t"))
            })
        };
        let all = futures_util::future::join_all((0..20).map(|_| get())).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(requested.into_inner(), 1);
    }

    #[tokio::test]
    async fn record_refusal_keeps_a_token_that_another_request_has_renewed() {
        let tokens = TokenCache::default();
        let scope = Scope::pull("a");
        let get = async |text| tokens.get::<()>(&scope, async |_| Ok(token(text))).await.unwrap();
        let (ours, refused) = ("repository:a:pull".to_owned(), get("first").await);
        assert!(tokens.record_refusal(&scope, &refused, Some(&ours), true).await);
        let renewed = get("second").await;
        assert_ne!(renewed, refused);
        // The refusal of another request that was sent with the first token.
        assert!(tokens.record_refusal(&scope, &refused, Some(&ours), true).await);
        assert_eq!(get("third").await, renewed);
        assert!(!tokens.record_refusal(&scope, &renewed, Some(&ours), false).await, "nothing else to try");
        assert!(tokens.record_refusal(&scope, &renewed, Some(&"other scope".into()), false).await);
    }

    #[test]
    fn refresh_token_is_the_latest_received_for_these_credentials() {
        let secret = |text: &str| SecretString::from(text);
        let credentials =
            |text: &str| Arc::new(Credentials::Identity { username: None, token: secret(text) });
        let (first, second) = (credentials("first"), credentials("second"));
        let mut refresh = RefreshToken::default();
        assert_eq!(refresh.latest(&first, &secret("first")).expose_secret(), "first");
        refresh.record_answer(&first, &secret("first"), None);
        assert_eq!(refresh.rotates, Some(false));
        refresh.record_answer(&first, &secret("first"), Some(&"newer".into()));
        assert_eq!(refresh.rotates, Some(true));
        assert_eq!(refresh.latest(&first, &secret("first")).expose_secret(), "newer");
        assert_eq!(refresh.latest(&second, &secret("second")).expose_secret(), "second");
        refresh.record_answer(&first, &secret("newer"), Some(&"late".into()));
        assert_eq!(refresh.latest(&second, &secret("second")).expose_secret(), "second");
    }
}
