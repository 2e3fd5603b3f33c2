//! Who we are to a registry: basic credentials, a fixed bearer token, or the tokens of a token service.
//!
//! It hands out the `Authorization` of a request and learns from challenges. It sends nothing itself.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

/// What the distribution documentation says a token lives for where the service does not say.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// A token is renewed this long before it ends, for the requests that are already on their way.
const MARGIN: Duration = Duration::from_secs(10);

/// What we can show.
#[derive(Debug, Clone)]
pub(super) enum Credentials {
    Anonymous,
    Basic {
        username: String,
        password: SecretString,
    },
    /// A refresh token, to be exchanged for access tokens.
    Identity(SecretString),
    /// An access token made elsewhere.
    Bearer(SecretString),
}

impl Credentials {
    pub(super) fn basic(&self) -> Option<HeaderValue> {
        let Self::Basic { username, password } = self else { return None };
        let pair = STANDARD.encode(format!("{username}:{}", password.expose_secret()));
        sensitive(format!("Basic {pair}"))
    }
}

/// The right that a request needs, in the words of the token specification.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Scope(String);

impl Scope {
    /// No particular right: `/v2/` itself.
    pub(super) fn none() -> Self {
        Self(String::new())
    }

    pub(super) fn catalog() -> Self {
        Self("registry:catalog:*".to_owned())
    }

    pub(super) fn pull(repository: &str) -> Self {
        Self(format!("repository:{repository}:pull"))
    }

    pub(super) fn push(repository: &str) -> Self {
        Self(format!("repository:{repository}:pull,push"))
    }

    pub(super) fn delete(repository: &str) -> Self {
        Self(format!("repository:{repository}:pull,delete"))
    }
}

/// How the registry wants to be shown who we are, as it said when it first refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Token { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// The challenge to answer, of all that a 401 came with. A token service comes first: a registry
    /// that has one means it.
    pub(super) fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut chosen = None;
        for header in headers {
            for challenge in http_auth::parse_challenges(header).unwrap_or_default() {
                let parameter = |name: &str| {
                    let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                    found.map(|(_, value)| value.to_unescaped())
                };
                if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    let realm = parameter("realm")?;
                    let (service, scope) = (parameter("service"), parameter("scope"));
                    return Some(Self::Token { realm, service, scope });
                }
                if challenge.scheme.eq_ignore_ascii_case("basic") {
                    chosen = Some(Self::Basic);
                }
            }
        }
        chosen
    }
}

/// A token and when it should no longer be used.
#[derive(Clone)]
struct Token {
    header: HeaderValue,
    until: Instant,
}

/// One token per scope; the lock is held while it is fetched, so that many requests wait for one.
type Slot = Arc<tokio::sync::Mutex<Option<Token>>>;

/// What is known of a registry's wishes, and the tokens that are in use.
pub(super) struct Session {
    pub(super) credentials: Credentials,
    challenge: Mutex<Option<Challenge>>,
    slots: Mutex<HashMap<Scope, Slot>>,
    /// Scopes that the registry wanted in other words than ours.
    wording: Mutex<HashMap<Scope, String>>,
    /// Scopes for which the registry takes no token, but the password itself.
    by_password: Mutex<HashSet<Scope>>,
}

/// How to get a token: the request that a token service answers.
#[derive(Debug)]
pub(super) struct TokenRequest {
    pub(super) realm: Url,
    pub(super) service: Option<String>,
    pub(super) scopes: Vec<String>,
}

impl Session {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            challenge: Mutex::default(),
            slots: Mutex::default(),
            wording: Mutex::default(),
            by_password: Mutex::default(),
        }
    }

    /// What the registry has asked for so far; `None` before its first refusal.
    pub(super) fn challenge(&self) -> Option<Challenge> {
        lock(&self.challenge).clone()
    }

    /// Takes note of a challenge. `insisted` means that it came in answer to a token for `scope`: then
    /// the token is thrown away, and the registry's own wording is used for the next.
    pub(super) async fn learn(&self, challenge: Challenge, scope: &Scope, insisted: bool) {
        if insisted {
            *self.slot(scope).lock().await = None;
            if let Challenge::Token { scope: Some(wanted), .. } = &challenge {
                lock(&self.wording).insert(scope.clone(), wanted.clone());
            }
        }
        *lock(&self.challenge) = Some(challenge);
    }

    /// Takes note that a registry with a token service wants the password for this scope. `false` if it
    /// has had it: then it does not suffice.
    pub(super) fn turn_to_password(&self, scope: &Scope) -> bool {
        let has_tokens = matches!(self.challenge(), Some(Challenge::Token { .. }));
        has_tokens && lock(&self.by_password).insert(scope.clone())
    }

    /// Whether the password is to be shown for this scope, and no token.
    pub(super) fn wants_password(&self, scope: &Scope) -> bool {
        lock(&self.by_password).contains(scope)
    }

    /// The token for this scope, fetched by `fetch` if there is none that is still good.
    pub(super) async fn token<E>(
        &self,
        scope: &Scope,
        fetch: impl AsyncFnOnce(Vec<String>) -> Result<Granted, E>,
    ) -> Result<Option<HeaderValue>, E> {
        let slot = self.slot(scope);
        let mut slot = slot.lock().await;
        if let Some(token) = slot.as_ref().filter(|token| Instant::now() < token.until) {
            return Ok(Some(token.header.clone()));
        }
        let wording = lock(&self.wording).get(scope).cloned().unwrap_or_else(|| scope.0.clone());
        let scopes = wording.split(' ').filter(|one| !one.is_empty()).map(str::to_owned).collect();
        let granted = fetch(scopes).await?;
        *slot = granted.token();
        Ok(slot.as_ref().map(|token| token.header.clone()))
    }

    fn slot(&self, scope: &Scope) -> Slot {
        lock(&self.slots).entry(scope.clone()).or_default().clone()
    }
}

/// What a token service answers.
#[derive(Deserialize)]
pub(super) struct Granted {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Granted {
    fn token(self) -> Option<Token> {
        let text = self.token.or(self.access_token).filter(|text| !text.is_empty())?;
        let life = self.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs);
        // A week at most: a token that claims to live for ever is asked for again now and then.
        let life = life.min(Duration::from_secs(7 * 86_400));
        let until = Instant::now() + life.saturating_sub(MARGIN).max(life / 2);
        Some(Token { header: sensitive(format!("Bearer {text}"))?, until })
    }
}

/// A header that is never shown, or nothing where the text cannot be a header.
pub(super) fn sensitive(text: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing panics while it holds one of these, and what they guard is whole at every moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[&str], expected: Option<Challenge>) {
        assert_eq!(Challenge::choose(headers.iter().copied()), expected, "{headers:?}");
    }

    #[test]
    fn a_challenge_is_understood() {
        check(&[r#"Basic realm="x""#], Some(Challenge::Basic));
        check(
            &[
                r#"Bearer realm="https://auth.example.com/token",service="my.svc",scope="repository:a/b:pull,push""#,
            ],
            Some(Challenge::Token {
                realm: "https://auth.example.com/token".into(),
                service: Some("my.svc".into()),
                scope: Some("repository:a/b:pull,push".into()),
            }),
        );
    }

    #[test]
    fn a_token_service_comes_before_basic() {
        let token = Some(Challenge::Token { realm: "https://a/t".into(), service: None, scope: None });
        check(&[r#"Basic realm="x""#, r#"Bearer realm="https://a/t""#], token);
    }

    #[test]
    fn what_is_no_challenge_is_none() {
        check(&[], None);
        check(&["", "Digest realm=\"x\"", "Bearer", "\u{7f}=,,"], None);
    }

    #[tokio::test]
    async fn one_token_serves_many_waiting_requests() {
        let session = Session::new(Credentials::Anonymous);
        let fetched = std::sync::atomic::AtomicUsize::new(0);
        let scope = Scope::pull("a");
        let ask = || {
            session.token::<()>(&scope, async |scopes| {
                tokio::task::yield_now().await;
                fetched.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                assert_eq!(scopes, ["repository:a:pull"]);
                Ok(Granted { token: Some("t".into()), access_token: None, expires_in: Some(300) })
            })
        };
        let all = futures_util::future::join_all((0..20).map(|_| ask())).await;
        assert!(all.iter().all(|one| one.as_ref().unwrap().is_some()));
        assert_eq!(fetched.into_inner(), 1);
    }
}
