//! Requesting access tokens from the token service that a registry names.
//!
//! It sends requests to that service and to nothing else.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::credentials::{Credentials, basic_header, encoded_secret, redact};
use super::keychain::Keychain;
use super::tokens::{RefreshToken, Token, TokenResponse};
use crate::registry::lock::lock;
use crate::registry::transport::error::{Error, Kind};
use crate::registry::transport::http::{HttpClient, Redirects};

/// Answers of a token service are small; a longer one is not a token.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// The client id that a token service sees.
const CLIENT_ID: &str = "regsweep";
/// The user name that is sent with an identity token whose user is not known.
const UNKNOWN_USER: &str = "<token>";

/// The token service of one registry.
pub(super) struct TokenService {
    /// The address of the registry's API.
    registry: Url,
    /// Methods that a service does not support, where it supports the other one.
    unsupported: Mutex<HashSet<(Url, &'static str)>>,
    refresh: tokio::sync::Mutex<RefreshToken>,
}

/// A request for a token.
#[derive(Debug)]
struct TokenRequest {
    realm: Url,
    service: Option<String>,
    scopes: Vec<String>,
}

impl TokenService {
    pub(super) fn new(registry: Url) -> Self {
        Self { registry, unsupported: Mutex::default(), refresh: tokio::sync::Mutex::default() }
    }

    /// Requests a token, as docs/spec/auth of distribution describes it.
    pub(super) async fn token(
        &self,
        http: &HttpClient,
        keychain: &Keychain,
        realm: &str,
        service: Option<String>,
        scopes: Vec<String>,
    ) -> Result<Token, Error> {
        let address = Url::parse(realm).or_else(|_| self.registry.join(realm));
        let realm = address.map_err(|error| {
            let message = format!("the realm {realm:?} of the token service is not a URL: {error}");
            Error::new("GET", &self.registry, Kind::Unauthorized, message)
        })?;
        let request = TokenRequest { realm, service, scopes };
        let mut has_reloaded = false;
        loop {
            let credentials = keychain.credentials().await;
            let credentials = credentials
                .map_err(|problem| Error::new("GET", &request.realm, Kind::Unauthorized, problem))?;
            let error = match self.send_with_retries(http, &request, &credentials).await {
                Err(error) if !has_reloaded && refuses_credentials(&error) => error,
                result => return result,
            };
            match keychain.reload(&credentials).await {
                Ok(true) => has_reloaded = true,
                Ok(false) => return Err(error),
                Err(problem) => return Err(Error { message: problem, ..error }),
            }
        }
    }

    /// Sends the request until there is an answer or an error that another attempt cannot help.
    async fn send_with_retries(
        &self,
        http: &HttpClient,
        request: &TokenRequest,
        credentials: &Arc<Credentials>,
    ) -> Result<Token, Error> {
        let is_anonymous = matches!(**credentials, Credentials::Anonymous);
        if self.registry.scheme() == "https" && request.realm.scheme() != "https" && !is_anonymous {
            let message = "the token service is not on https, so it does not get the credentials";
            return Err(Error::new("GET", &request.realm, Kind::Unauthorized, message));
        }
        let mut attempts = 1;
        loop {
            let error = match self.send(http, request, credentials).await {
                Ok(response) => return token(request, response),
                Err(error) => error,
            };
            let failed = |error: Error| Error { kind: token_failure(error.kind), ..error };
            http.retry(error, attempts, None).await.map_err(failed)?;
            attempts += 1;
        }
    }

    /// Sends the request with the method for these credentials, or with the other one where the service does not
    /// support it.
    async fn send(
        &self,
        http: &HttpClient,
        request: &TokenRequest,
        credentials: &Arc<Credentials>,
    ) -> Result<TokenResponse, Error> {
        let realm = &request.realm;
        match &**credentials {
            Credentials::Identity { username, token } => {
                if self.supports(realm, "POST") {
                    match self.exchange_identity(http, request, credentials, token).await {
                        Err(error) if matches!(error.kind, Kind::NotFound | Kind::Unsupported) => {}
                        answer => return answer,
                    }
                }
                let token = self.refresh.lock().await.latest(credentials, token);
                let user = username.as_deref().unwrap_or(UNKNOWN_USER);
                let response = get(http, request, basic_header(user, &token), &token).await?;
                self.record_unsupported(realm, "POST");
                Ok(response)
            }
            Credentials::Basic { username, password } => {
                if self.supports(realm, "GET") {
                    match get(http, request, credentials.basic_header(), password).await {
                        Err(error) if error.kind == Kind::Unsupported => {}
                        answer => return answer,
                    }
                }
                let form = [
                    ("grant_type", "password"),
                    ("username", username),
                    ("password", password.expose_secret()),
                ];
                let response = post(http, request, &form, password).await?;
                self.record_unsupported(realm, "GET");
                Ok(response)
            }
            Credentials::Anonymous | Credentials::Bearer(_) => {
                get(http, request, None, &SecretString::default()).await
            }
        }
    }

    /// Sends the current refresh token, and keeps the new one if there is one in the answer.
    async fn exchange_identity(
        &self,
        http: &HttpClient,
        request: &TokenRequest,
        credentials: &Arc<Credentials>,
        first: &SecretString,
    ) -> Result<TokenResponse, Error> {
        let mut refresh = self.refresh.lock().await;
        let token = refresh.latest(credentials, first);
        let held = (refresh.rotates != Some(false)).then_some(refresh);
        let form = [("grant_type", "refresh_token"), ("refresh_token", token.expose_secret())];
        let response = post(http, request, &form, &token).await?;
        let mut refresh = match held {
            Some(refresh) => refresh,
            None => self.refresh.lock().await,
        };
        refresh.record_answer(credentials, &token, response.refresh_token.as_ref());
        Ok(response)
    }

    /// Whether the token service at this address supports a method, as far as is known.
    fn supports(&self, realm: &Url, method: &'static str) -> bool {
        !lock(&self.unsupported).contains(&(realm.clone(), method))
    }

    fn record_unsupported(&self, realm: &Url, method: &'static str) {
        lock(&self.unsupported).insert((realm.clone(), method));
    }
}

async fn get(
    http: &HttpClient,
    request: &TokenRequest,
    basic: Option<HeaderValue>,
    secret: &SecretString,
) -> Result<TokenResponse, Error> {
    let mut query: Vec<(&str, &str)> =
        request.service.iter().map(|service| ("service", service.as_str())).collect();
    query.extend(request.scopes.iter().map(|scope| ("scope", scope.as_str())));
    query.push(("client_id", CLIENT_ID));
    let mut builder = http.request(Method::GET, &request.realm, Redirects::Follow).query(&query);
    if let Some(basic) = &basic {
        builder = builder.header(AUTHORIZATION, basic);
    }
    let encoded = basic.as_ref().map(encoded_secret).unwrap_or_default();
    receive(http, "GET", request, builder, &[secret.expose_secret(), encoded]).await
}

/// Sends a form that contains a secret. Redirects are not followed, because they could lead to another server.
async fn post(
    http: &HttpClient,
    request: &TokenRequest,
    form: &[(&str, &str)],
    secret: &SecretString,
) -> Result<TokenResponse, Error> {
    let scope = request.scopes.join(" ");
    let mut form = form.to_vec();
    form.extend([("client_id", CLIENT_ID), ("scope", scope.as_str())]);
    form.extend(request.service.iter().map(|service| ("service", service.as_str())));
    let builder = http.request(Method::POST, &request.realm, Redirects::Return).form(&form);
    receive(http, "POST", request, builder, &[secret.expose_secret()]).await
}

async fn receive(
    http: &HttpClient,
    method: &'static str,
    request: &TokenRequest,
    builder: reqwest::RequestBuilder,
    secrets: &[&str],
) -> Result<TokenResponse, Error> {
    let realm = &request.realm;
    let (status, _, body) = http.send(method, realm, builder, MAX_ANSWER_BYTES).await?;
    if status.is_redirection() {
        let answer = Error::status(method, realm, status, b"");
        let message = "the token service redirects to another address, which does not get the credentials";
        return Err(Error { message: message.to_owned(), ..answer });
    }
    if status != StatusCode::OK {
        return Err(Error::status(method, realm, status, &redact(&body, secrets)));
    }
    serde_json::from_slice(&body).map_err(|error| {
        // The error must not repeat the text, which may be a token.
        let place = format!("line {}, column {}", error.line(), error.column());
        let message = format!("the answer of the token service cannot be parsed: {place}");
        Error::new(method, realm, Kind::Unauthorized, message)
    })
}

fn token(request: &TokenRequest, response: TokenResponse) -> Result<Token, Error> {
    response.into_token().ok_or_else(|| {
        let message = "there is no token in the answer of the token service";
        Error::new("GET", &request.realm, Kind::Unauthorized, message)
    })
}

/// Whether a token service refuses the credentials. For a refresh token, OAuth 2.0 has status 400 for that.
fn refuses_credentials(error: &Error) -> bool {
    error.status == Some(StatusCode::UNAUTHORIZED)
        || (error.method == "POST" && error.status == Some(StatusCode::BAD_REQUEST))
}

/// A token service that refuses the request refuses us; other failures keep their kind.
fn token_failure(kind: Kind) -> Kind {
    match kind {
        Kind::NotFound | Kind::Invalid | Kind::Unsupported | Kind::TooLarge => Kind::Unauthorized,
        other => other,
    }
}
