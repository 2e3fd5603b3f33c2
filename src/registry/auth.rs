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

use super::keychain::Keychain;

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
    /// A refresh token, to be exchanged for access tokens, and the user it is for where that is known.
    Identity {
        username: Option<String>,
        token: SecretString,
    },
    /// An access token made elsewhere.
    Bearer(SecretString),
}

impl Credentials {
    pub(super) fn basic(&self) -> Option<HeaderValue> {
        let Self::Basic { username, password } = self else { return None };
        basic(username, password)
    }

    /// Whether nothing is shown with these that is not shown with the others.
    pub(super) fn same(&self, other: &Self) -> bool {
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

/// The header of a user with a password.
pub(super) fn basic(username: &str, password: &SecretString) -> Option<HeaderValue> {
    let pair = STANDARD.encode(format!("{username}:{}", password.expose_secret()));
    sensitive(format!("Basic {pair}"))
}

/// A header that is shown to a registry, and what it is made of.
pub(super) struct Shown {
    pub(super) header: HeaderValue,
    pub(super) proof: Proof,
}

/// What a header is made of.
pub(super) enum Proof {
    /// The credentials themselves.
    Credentials(Arc<Credentials>),
    /// A token that a token service gave for them.
    Token,
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
pub(super) struct Token {
    header: HeaderValue,
    until: Instant,
}

/// One token per scope; the lock is held while it is fetched, so that many requests wait for one.
type Slot = Arc<tokio::sync::Mutex<Option<Token>>>;

/// What is known of a registry's wishes, and the tokens that are in use.
pub(super) struct Session {
    pub(super) keychain: Keychain,
    challenge: Mutex<Option<Challenge>>,
    slots: Mutex<HashMap<Scope, Slot>>,
    /// Scopes that the registry wanted in other words than ours.
    wording: Mutex<HashMap<Scope, String>>,
    /// Scopes for which the registry takes no token, but the password itself.
    by_password: Mutex<HashSet<Scope>>,
    /// Methods that a realm does not know where another one served.
    unknown: Mutex<HashSet<(Url, &'static str)>>,
    pub(super) refresh: tokio::sync::Mutex<Refresh>,
}

/// The refresh token in use: a token service may give another one for each that it takes.
#[derive(Default)]
pub(super) struct Refresh {
    of: Option<Arc<Credentials>>,
    latest: Option<SecretString>,
    /// Whether the service does so; `None` until it has answered once. As long as it may, only one request
    /// at a time is on its way with a refresh token, for the others would show one that is used up.
    pub(super) rotates: Option<bool>,
}

impl Refresh {
    /// The token to show for these credentials, which came with the first.
    pub(super) fn latest(&mut self, credentials: &Arc<Credentials>, first: &SecretString) -> SecretString {
        if self.of.as_ref().is_none_or(|of| !Arc::ptr_eq(of, credentials)) {
            *self = Self { of: Some(credentials.clone()), ..Self::default() };
        }
        self.latest.as_ref().unwrap_or(first).clone()
    }

    /// Takes note of the answer to the token `shown` for these credentials.
    pub(super) fn learn(
        &mut self,
        credentials: &Arc<Credentials>,
        shown: &SecretString,
        given: Option<&String>,
    ) {
        if self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, credentials)) {
            let other = given.filter(|given| !given.is_empty() && *given != shown.expose_secret());
            self.rotates = Some(other.is_some());
            self.latest = other.map(|other| SecretString::from(other.as_str())).or(self.latest.take());
        }
    }
}

/// How to get a token: the request that a token service answers.
#[derive(Debug)]
pub(super) struct TokenRequest {
    pub(super) realm: Url,
    pub(super) service: Option<String>,
    pub(super) scopes: Vec<String>,
}

impl Session {
    pub(super) fn new(keychain: Keychain) -> Self {
        Self {
            keychain,
            challenge: Mutex::default(),
            slots: Mutex::default(),
            wording: Mutex::default(),
            unknown: Mutex::default(),
            refresh: tokio::sync::Mutex::default(),
            by_password: Mutex::default(),
        }
    }

    /// What the registry has asked for so far; `None` before its first refusal.
    pub(super) fn challenge(&self) -> Option<Challenge> {
        lock(&self.challenge).clone()
    }

    /// Takes note of a challenge.
    pub(super) fn learn(&self, challenge: Challenge) {
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

    /// Takes note that the registry refused the token in this header, and which scope it wanted. Whether
    /// there is, or can be, one that it did not refuse yet: another request may have renewed it meanwhile;
    /// if not, the next comes in the registry's own wording, or else once more in ours if `may_renew`.
    pub(super) async fn token_was_refused(
        &self,
        scope: &Scope,
        header: &HeaderValue,
        wanted: Option<&String>,
        may_renew: bool,
    ) -> bool {
        let slot = self.slot(scope);
        let mut slot = slot.lock().await;
        if slot.as_ref().is_none_or(|token| token.header != header) {
            return true;
        }
        let rewords = wanted.is_some_and(|wanted| *wanted != self.wording(scope));
        if let Some(wanted) = wanted.filter(|_| rewords) {
            lock(&self.wording).insert(scope.clone(), wanted.clone());
        }
        if rewords || may_renew {
            *slot = None;
        }
        rewords || may_renew
    }

    fn wording(&self, scope: &Scope) -> String {
        lock(&self.wording).get(scope).cloned().unwrap_or_else(|| scope.0.clone())
    }

    /// Whether the token service at this address takes this method, as far as is known.
    pub(super) fn takes(&self, realm: &Url, method: &'static str) -> bool {
        !lock(&self.unknown).contains(&(realm.clone(), method))
    }

    /// Takes note that it does not, and another does.
    pub(super) fn takes_not(&self, realm: &Url, method: &'static str) {
        lock(&self.unknown).insert((realm.clone(), method));
    }

    /// The token for this scope, fetched by `fetch` if there is none that is still good.
    pub(super) async fn token<E>(
        &self,
        scope: &Scope,
        fetch: impl AsyncFnOnce(Vec<String>) -> Result<Token, E>,
    ) -> Result<HeaderValue, E> {
        let slot = self.slot(scope);
        let mut slot = slot.lock().await;
        if let Some(token) = slot.as_ref().filter(|token| Instant::now() < token.until) {
            return Ok(token.header.clone());
        }
        let wording = self.wording(scope);
        let scopes = wording.split(' ').filter(|one| !one.is_empty()).map(str::to_owned).collect();
        let token = fetch(scopes).await?;
        let header = token.header.clone();
        *slot = Some(token);
        Ok(header)
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
    pub(super) refresh_token: Option<String>,
}

impl Granted {
    /// `None` where there is no token that a header can hold.
    pub(super) fn token(self) -> Option<Token> {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let text = filled(self.token).or(filled(self.access_token))?;
        let life = self.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs);
        // A week at most: a token that claims to live for ever is asked for again now and then.
        let life = life.min(Duration::from_secs(7 * 86_400));
        let until = Instant::now() + life.saturating_sub(MARGIN).max(life / 2);
        Some(Token { header: sensitive(format!("Bearer {text}"))?, until })
    }
}

/// A body without these secrets, for errors: a service may repeat what it was sent.
pub(super) fn without(body: &[u8], secrets: &[&str]) -> Vec<u8> {
    let text = String::from_utf8_lossy(body);
    let hidden =
        |text: String, secret: &&str| if secret.is_empty() { text } else { text.replace(secret, "***") };
    secrets.iter().fold(text.into_owned(), hidden).into_bytes()
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

    fn session() -> Session {
        Session::new(Keychain::fixed(Credentials::Anonymous))
    }

    fn granted(text: &str) -> Token {
        let text = Some(text.to_owned());
        let granted = Granted { token: text, access_token: None, expires_in: Some(300), refresh_token: None };
        granted.token().unwrap()
    }

    #[tokio::test]
    async fn one_token_serves_many_waiting_requests() {
        let session = session();
        let fetched = std::sync::atomic::AtomicUsize::new(0);
        let scope = Scope::pull("a");
        let ask = || {
            session.token::<()>(&scope, async |scopes| {
                tokio::task::yield_now().await;
                fetched.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                assert_eq!(scopes, ["repository:a:pull"]);
                Ok(granted("t"))
            })
        };
        let all = futures_util::future::join_all((0..20).map(|_| ask())).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(fetched.into_inner(), 1);
    }

    #[tokio::test]
    async fn a_token_that_another_request_has_renewed_is_not_thrown_away() {
        let session = session();
        let scope = Scope::pull("a");
        let next = async |text| session.token::<()>(&scope, async |_| Ok(granted(text))).await.unwrap();
        let (ours, refused) = ("repository:a:pull".to_owned(), next("first").await);
        assert!(session.token_was_refused(&scope, &refused, Some(&ours), true).await);
        let renewed = next("second").await;
        assert_ne!(renewed, refused);
        // A request that was on its way with the first learns of its refusal only now.
        assert!(session.token_was_refused(&scope, &refused, Some(&ours), true).await);
        assert_eq!(next("third").await, renewed);
        assert!(
            !session.token_was_refused(&scope, &renewed, Some(&ours), false).await,
            "nothing else to try"
        );
        assert!(session.token_was_refused(&scope, &renewed, Some(&"other words".into()), false).await);
    }

    #[test]
    fn a_body_is_shown_without_what_was_sent() {
        assert_eq!(without(b"no user hunter2 (hunter2)", &["hunter2", ""]), b"no user *** (***)");
    }

    #[test]
    fn a_refresh_token_is_the_latest_that_was_given_for_these_credentials() {
        let secret = |text: &str| SecretString::from(text);
        let of = |text: &str| Arc::new(Credentials::Identity { username: None, token: secret(text) });
        let (first, second) = (of("first"), of("second"));
        let mut refresh = Refresh::default();
        assert_eq!(refresh.latest(&first, &secret("first")).expose_secret(), "first");
        refresh.learn(&first, &secret("first"), None);
        assert_eq!(refresh.rotates, Some(false));
        refresh.learn(&first, &secret("first"), Some(&"newer".into()));
        assert_eq!(refresh.rotates, Some(true));
        assert_eq!(refresh.latest(&first, &secret("first")).expose_secret(), "newer");
        assert_eq!(refresh.latest(&second, &secret("second")).expose_secret(), "second");
        refresh.learn(&first, &secret("newer"), Some(&"late".into()));
        assert_eq!(refresh.latest(&second, &secret("second")).expose_secret(), "second");
    }
}
