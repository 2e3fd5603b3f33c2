//! Authentication to one registry: the `Authorization` of each request, and what follows from a refusal.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use secrecy::ExposeSecret as _;
use url::Url;

use super::challenge::Challenge;
use super::credentials::{Authorization, AuthorizationSource, Credentials, sensitive_header};
use super::keychain::Keychain;
use super::scope::Scope;
use super::token_service::TokenService;
use super::tokens::TokenCache;
use crate::config;
use crate::registry::lock::lock;
use crate::registry::transport::error::{Error, Kind};
use crate::registry::transport::http::HttpClient;

/// Refusals of one request after which it fails, whatever the challenge is.
const MAX_REFUSALS: u8 = 5;
/// Refused tokens for one request: the first may have expired and the second have too narrow a scope.
const MAX_REFUSED_TOKENS: u8 = 2;

/// The request that is to be authenticated.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) method: &'static str,
    pub(crate) url: &'a Url,
    pub(crate) scope: &'a Scope,
}

/// How often one request was refused.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    all: u8,
    tokens: u8,
}

/// The credentials for one registry, and what it has asked for so far.
pub(crate) struct Authenticator {
    keychain: Keychain,
    challenge: Mutex<Option<Challenge>>,
    tokens: TokenCache,
    token_service: TokenService,
    /// Scopes for which a registry with a token service wants the password itself.
    password_scopes: Mutex<HashSet<Scope>>,
}

impl Authenticator {
    /// `base` is the address of the registry's API.
    pub(crate) fn new(registry: &config::Registry, base: Url) -> anyhow::Result<Self> {
        Ok(Self {
            keychain: Keychain::from_config(registry)?,
            challenge: Mutex::default(),
            tokens: TokenCache::default(),
            token_service: TokenService::new(base),
            password_scopes: Mutex::default(),
        })
    }

    /// The last challenge of the registry; `None` before the first.
    pub(crate) fn challenge(&self) -> Option<Challenge> {
        lock(&self.challenge).clone()
    }

    /// The `Authorization` for a request, as far as it is known what the registry wants.
    pub(crate) async fn authorization(
        &self,
        http: &HttpClient,
        target: Target<'_>,
    ) -> Result<Option<Authorization>, Error> {
        if let Some(current) = self.keychain.current()
            && let Credentials::Bearer(token) = &*current
        {
            let header = sensitive_header(format!("Bearer {}", token.expose_secret()));
            let source = AuthorizationSource::Credentials(current);
            return Ok(header.map(|header| Authorization { header, source }));
        }
        match self.challenge() {
            None => Ok(None),
            Some(Challenge::Token { realm, service, .. }) if !self.uses_password(target.scope) => {
                let request = async |scopes| {
                    self.token_service.token(http, &self.keychain, &realm, service, scopes).await
                };
                let header = self.tokens.get(target.scope, request).await?;
                Ok(Some(Authorization { header, source: AuthorizationSource::Token }))
            }
            Some(_) => {
                let credentials = self.credentials(target).await?;
                let header = credentials.basic_header();
                let source = AuthorizationSource::Credentials(credentials);
                Ok(header.map(|header| Authorization { header, source }))
            }
        }
    }

    /// Learns from a refusal (status 401). `Ok` means that the request is worth another attempt.
    pub(crate) async fn answer_challenge(
        &self,
        target: Target<'_>,
        headers: &HeaderMap,
        body: &[u8],
        sent: Option<Authorization>,
        refusals: &mut Refusals,
    ) -> Result<(), Error> {
        let refused = |message: &str| {
            let answer = Error::status(target.method, target.url, StatusCode::UNAUTHORIZED, body);
            Error { message: message.to_owned(), ..answer }
        };
        refusals.all += 1;
        if refusals.all > MAX_REFUSALS {
            return Err(refused("the registry asks for other credentials each time"));
        }
        let headers = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenge = Challenge::choose(headers);
        if let Some(Authorization { source: AuthorizationSource::Credentials(credentials), .. }) = &sent {
            let is_bearer = matches!(**credentials, Credentials::Bearer(_));
            if is_bearer || !matches!(challenge, Some(Challenge::Token { .. })) {
                let reloaded = self.keychain.reload(credentials).await;
                let message = match reloaded.map_err(|problem| refused(&problem))? {
                    true => return Ok(()),
                    false if is_bearer => "the registry does not accept the bearer token",
                    false if self.uses_password(target.scope) => {
                        "the registry does not allow this to the user"
                    }
                    false => "the registry does not accept the user name and password",
                };
                return Err(refused(message));
            }
        }
        let challenge =
            challenge.ok_or_else(|| refused("the registry wants credentials and does not say which kind"))?;
        match (&challenge, sent) {
            (Challenge::Basic, sent) => {
                let credentials = self.credentials(target).await?;
                if !matches!(*credentials, Credentials::Basic { .. }) {
                    return Err(refused("the registry wants a user name and a password"));
                }
                // Harbor accepts no token for its catalog: after one it asks for the password.
                if sent.is_some() && self.use_password(target.scope) {
                    return Ok(());
                }
                if sent.is_some() {
                    return Err(refused("the registry does not accept the user name and password"));
                }
            }
            (
                Challenge::Token { scope, .. },
                Some(Authorization { header, source: AuthorizationSource::Token }),
            ) => {
                refusals.tokens += 1;
                let may_renew = refusals.tokens < MAX_REFUSED_TOKENS;
                let is_retried = refusals.tokens <= MAX_REFUSED_TOKENS
                    && self.tokens.record_refusal(target.scope, &header, scope.as_ref(), may_renew).await;
                if !is_retried {
                    let wanted = scope.as_deref().map(|scope| format!(" for `{scope}`")).unwrap_or_default();
                    return Err(refused(&format!(
                        "the registry does not accept what its token service grants{wanted}: the user may \
                         not have that right"
                    )));
                }
            }
            (Challenge::Token { .. }, _) => {}
        }
        *lock(&self.challenge) = Some(challenge);
        Ok(())
    }

    /// Whether the credentials that were sent have expired and there are new ones. Amazon's registry reports this
    /// with status 403, in plain text and without a challenge.
    pub(crate) async fn reload_expired(&self, body: &[u8], sent: Option<&Authorization>) -> bool {
        let Some(Authorization { source: AuthorizationSource::Credentials(credentials), .. }) = sent else {
            return false;
        };
        let has_expired = String::from_utf8_lossy(body).to_ascii_lowercase().contains("expired");
        // If the reload fails, the refusal itself is the better error.
        has_expired && self.keychain.reload(credentials).await.unwrap_or(false)
    }

    async fn credentials(&self, target: Target<'_>) -> Result<Arc<Credentials>, Error> {
        let credentials = self.keychain.credentials().await;
        credentials.map_err(|problem| Error::new(target.method, target.url, Kind::Unauthorized, problem))
    }

    /// Records that a registry with a token service wants the password for this scope. `false` if it has had the
    /// password already, or has no token service.
    fn use_password(&self, scope: &Scope) -> bool {
        let has_tokens = matches!(self.challenge(), Some(Challenge::Token { .. }));
        has_tokens && lock(&self.password_scopes).insert(scope.clone())
    }

    fn uses_password(&self, scope: &Scope) -> bool {
        lock(&self.password_scopes).contains(scope)
    }
}
