//! Showing who we are: answering the challenges of a registry, and asking its token service for tokens.
//!
//! It sends requests to token services, and to no other place than a challenge names.

use std::sync::Arc;

use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::auth::{
    Challenge, Credentials, Granted, Proof, Shown, Token, TokenRequest, basic, sensitive, without,
};
use super::error::{Error, Kind};
use super::transport::{Request, Transport};

/// Answers of a token service are small; one that is not is no token.
const TOKEN_BYTES: usize = 1 << 20;
/// By this name a token service knows us.
const CLIENT: &str = "regsweep";
/// The user name that stands before an identity token where the user is not known.
const NOBODY: &str = "<token>";
/// No registry needs more refusals of one request to say what it wants.
const MOST_REFUSALS: u8 = 5;
/// A token may have ended, and the next be too narrow; what comes then is not mended by another.
const MOST_TOKENS: u8 = 2;

/// The body of an error without what was shown to get it.
pub(super) fn printable(body: &[u8], shown: Option<&Shown>) -> Vec<u8> {
    let value = shown.and_then(|shown| shown.header.to_str().ok()?.split(' ').nth(1));
    without(body, &[value.unwrap_or_default()])
}

/// How often one request was refused.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    all: u8,
    tokens: u8,
}

impl Transport {
    /// What to show with this request, as far as it is known what the registry wants.
    pub(super) async fn authorization(&self, request: &Request<'_>) -> Result<Option<Shown>, Error> {
        let session = &self.session;
        if let Some(known) = session.keychain.known()
            && let Credentials::Bearer(token) = &*known
        {
            let header = sensitive(format!("Bearer {}", token.expose_secret()));
            return Ok(header.map(|header| Shown { header, proof: Proof::Credentials(known) }));
        }
        match session.challenge() {
            None => Ok(None),
            Some(Challenge::Token { realm, service, .. }) if !session.wants_password(&request.scope) => {
                let fetch = async |scopes| self.fetch_token(&realm, service, scopes).await;
                let header = session.token(&request.scope, fetch).await?;
                Ok(Some(Shown { header, proof: Proof::Token }))
            }
            Some(_) => {
                let credentials = self.credentials(request.method_name(), &request.url).await?;
                let header = credentials.basic();
                Ok(header.map(|header| Shown { header, proof: Proof::Credentials(credentials) }))
            }
        }
    }

    async fn credentials(&self, method: &'static str, url: &Url) -> Result<Arc<Credentials>, Error> {
        let credentials = self.session.keychain.credentials().await;
        credentials.map_err(|problem| Error::new(method, url, Kind::Unauthorized, problem))
    }

    /// Takes a refusal to heart: `Ok` means that the same request is worth another try.
    pub(super) async fn answer_challenge(
        &self,
        request: &Request<'_>,
        headers: &HeaderMap,
        body: &[u8],
        shown: Option<Shown>,
        refusals: &mut Refusals,
    ) -> Result<(), Error> {
        let refused = |message: &str| {
            let answer = Error::status(request.method_name(), &request.url, StatusCode::UNAUTHORIZED, body);
            Error { message: message.to_owned(), ..answer }
        };
        refusals.all += 1;
        if refusals.all > MOST_REFUSALS {
            return Err(refused("the registry wants to be shown something else each time"));
        }
        let offers = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenge = Challenge::choose(offers);
        if let Some(Shown { proof: Proof::Credentials(by), .. }) = &shown {
            let is_bearer = matches!(**by, Credentials::Bearer(_));
            if is_bearer || !matches!(challenge, Some(Challenge::Token { .. })) {
                let others = self.session.keychain.has_others(by).await;
                let message = match others.map_err(|problem| refused(&problem))? {
                    true => return Ok(()),
                    false if is_bearer => "the registry does not accept the bearer token",
                    false if self.session.wants_password(&request.scope) => {
                        "the registry does not allow this to the user"
                    }
                    false => "the registry does not accept the user name and password",
                };
                return Err(refused(message));
            }
        }
        let challenge =
            challenge.ok_or_else(|| refused("the registry wants credentials and does not say which kind"))?;
        match (&challenge, shown) {
            (Challenge::Basic, shown) => {
                let credentials = self.credentials(request.method_name(), &request.url).await?;
                if !matches!(*credentials, Credentials::Basic { .. }) {
                    return Err(refused("the registry wants a user name and a password"));
                }
                // Harbor takes no token for its catalog: it says so by asking for the password then.
                if shown.is_some() && self.session.turn_to_password(&request.scope) {
                    return Ok(());
                }
                if shown.is_some() {
                    return Err(refused("the registry does not accept the user name and password"));
                }
            }
            (Challenge::Token { scope, .. }, Some(Shown { header, proof: Proof::Token })) => {
                refusals.tokens += 1;
                let may_renew = refusals.tokens < MOST_TOKENS;
                let is_worth_a_try = refusals.tokens <= MOST_TOKENS
                    && self
                        .session
                        .token_was_refused(&request.scope, &header, scope.as_ref(), may_renew)
                        .await;
                if !is_worth_a_try {
                    let wanted = scope.as_deref().map(|scope| format!(" for `{scope}`")).unwrap_or_default();
                    return Err(refused(&format!(
                        "the registry does not accept what its token service grants{wanted}: the user may \
                         not have that right"
                    )));
                }
            }
            (Challenge::Token { .. }, _) => {}
        }
        self.session.learn(challenge);
        Ok(())
    }

    /// Whether the credentials that were shown have ended and there are others: Amazon's registry tells so
    /// with 403 and its words, and without a challenge.
    pub(super) async fn have_ended(&self, body: &[u8], shown: Option<&Shown>) -> bool {
        let Some(Shown { proof: Proof::Credentials(by), .. }) = shown else { return false };
        let is_end = String::from_utf8_lossy(body).to_ascii_lowercase().contains("expired");
        // What stands in the way of others is no better told than by the refusal itself.
        is_end && self.session.keychain.has_others(by).await.unwrap_or(false)
    }

    /// Asks the token service, as docs/spec/auth of distribution describes it.
    async fn fetch_token(
        &self,
        realm: &str,
        service: Option<String>,
        scopes: Vec<String>,
    ) -> Result<Token, Error> {
        let address = Url::parse(realm).or_else(|_| self.base.join(realm));
        let realm = address.map_err(|error| {
            let message = format!("the realm {realm:?} of the token service is no address: {error}");
            Error::new("GET", &self.base, Kind::Unauthorized, message)
        })?;
        let request = TokenRequest { realm, service, scopes };
        let mut looked = false;
        loop {
            let credentials = self.credentials("GET", &request.realm).await?;
            let error = match self.ask_patiently(&request, &credentials).await {
                Err(error) if !looked && is_refusal(&error) => error,
                other => return other,
            };
            match self.session.keychain.has_others(&credentials).await {
                Ok(true) => looked = true,
                Ok(false) => return Err(error),
                Err(problem) => return Err(Error { message: problem, ..error }),
            }
        }
    }

    /// Asks until there is an answer that another try cannot mend.
    async fn ask_patiently(
        &self,
        request: &TokenRequest,
        credentials: &Arc<Credentials>,
    ) -> Result<Token, Error> {
        let anonymous = matches!(**credentials, Credentials::Anonymous);
        if self.base.scheme() == "https" && request.realm.scheme() != "https" && !anonymous {
            let message = "the token service is not on https, so it does not get the credentials";
            return Err(Error::new("GET", &request.realm, Kind::Unauthorized, message));
        }
        let mut attempt = 1;
        loop {
            let error = match self.ask(request, credentials).await {
                Ok(granted) => return token(request, granted),
                Err(error) => error,
            };
            let refused = |error: Error| Error { kind: token_failure(error.kind), ..error };
            self.pause(error, attempt, None).await.map_err(refused)?;
            attempt += 1;
        }
    }

    /// Asks in the way that fits the credentials, or in the other one where the service does not know it.
    async fn ask(&self, request: &TokenRequest, credentials: &Arc<Credentials>) -> Result<Granted, Error> {
        let realm = &request.realm;
        match &**credentials {
            Credentials::Identity { username, token } => {
                if self.session.takes(realm, "POST") {
                    match self.exchange_identity(request, credentials, token).await {
                        Err(error) if matches!(error.kind, Kind::NotFound | Kind::Unsupported) => {}
                        answer => return answer,
                    }
                }
                let token = self.session.refresh.lock().await.latest(credentials, token);
                let user = username.as_deref().unwrap_or(NOBODY);
                let granted = self.get_token(request, basic(user, &token), &token).await?;
                self.session.takes_not(realm, "POST");
                Ok(granted)
            }
            Credentials::Basic { username, password } => {
                if self.session.takes(realm, "GET") {
                    match self.get_token(request, credentials.basic(), password).await {
                        Err(error) if error.kind == Kind::Unsupported => {}
                        answer => return answer,
                    }
                }
                let form = [
                    ("grant_type", "password"),
                    ("username", username),
                    ("password", password.expose_secret()),
                ];
                let granted = self.post_token(request, &form, password).await?;
                self.session.takes_not(realm, "GET");
                Ok(granted)
            }
            Credentials::Anonymous | Credentials::Bearer(_) => {
                self.get_token(request, None, &SecretString::default()).await
            }
        }
    }

    /// Shows the refresh token that is in use, and keeps the one that comes back, if one does.
    async fn exchange_identity(
        &self,
        request: &TokenRequest,
        credentials: &Arc<Credentials>,
        first: &SecretString,
    ) -> Result<Granted, Error> {
        let mut turn = self.session.refresh.lock().await;
        let token = turn.latest(credentials, first);
        let held = (turn.rotates != Some(false)).then_some(turn);
        let form = [("grant_type", "refresh_token"), ("refresh_token", token.expose_secret())];
        let granted = self.post_token(request, &form, &token).await?;
        let mut turn = match held {
            Some(turn) => turn,
            None => self.session.refresh.lock().await,
        };
        turn.learn(credentials, &token, granted.refresh_token.as_ref());
        Ok(granted)
    }

    async fn get_token(
        &self,
        request: &TokenRequest,
        basic: Option<HeaderValue>,
        secret: &SecretString,
    ) -> Result<Granted, Error> {
        let mut query: Vec<(&str, &str)> =
            request.service.iter().map(|one| ("service", one.as_str())).collect();
        query.extend(request.scopes.iter().map(|scope| ("scope", scope.as_str())));
        query.push(("client_id", CLIENT));
        let mut builder = self.reading.get(request.realm.clone()).query(&query);
        if let Some(basic) = &basic {
            builder = builder.header(AUTHORIZATION, basic);
        }
        let pair = basic.as_ref().and_then(|basic| basic.to_str().ok()?.split(' ').nth(1));
        self.receive_token("GET", request, builder, &[secret.expose_secret(), pair.unwrap_or_default()]).await
    }

    /// Sends a form with a secret in it, and to nobody else: no redirect is followed.
    async fn post_token(
        &self,
        request: &TokenRequest,
        form: &[(&str, &str)],
        secret: &SecretString,
    ) -> Result<Granted, Error> {
        let scope = request.scopes.join(" ");
        let mut form = form.to_vec();
        form.extend([("client_id", CLIENT), ("scope", scope.as_str())]);
        form.extend(request.service.iter().map(|service| ("service", service.as_str())));
        let builder = self.changing.post(request.realm.clone()).form(&form);
        self.receive_token("POST", request, builder, &[secret.expose_secret()]).await
    }

    async fn receive_token(
        &self,
        method: &'static str,
        request: &TokenRequest,
        builder: reqwest::RequestBuilder,
        secrets: &[&str],
    ) -> Result<Granted, Error> {
        let realm = &request.realm;
        let (status, _, body) = self.perform(method, realm, builder, TOKEN_BYTES).await?;
        if status.is_redirection() {
            let answer = Error::status(method, realm, status, b"");
            let message = "the token service sends elsewhere, where the credentials do not go".to_owned();
            return Err(Error { message, ..answer });
        }
        if status != StatusCode::OK {
            return Err(Error::status(method, realm, status, &without(&body, secrets)));
        }
        serde_json::from_slice(&body).map_err(|error| {
            // Not what stands there: it may be a token.
            let place = format!("line {}, column {}", error.line(), error.column());
            let message = format!("the token service's answer is not understood: {place}");
            Error::new(method, realm, Kind::Unauthorized, message)
        })
    }
}

fn token(request: &TokenRequest, granted: Granted) -> Result<Token, Error> {
    granted.token().ok_or_else(|| {
        let message = "there is no token in the answer of the token service";
        Error::new("GET", &request.realm, Kind::Unauthorized, message)
    })
}

/// Whether a token service refuses the credentials themselves; for a refresh token, OAuth 2.0 has 400 for that.
fn is_refusal(error: &Error) -> bool {
    error.status == Some(StatusCode::UNAUTHORIZED)
        || (error.method == "POST" && error.status == Some(StatusCode::BAD_REQUEST))
}

/// A token service that refuses refuses us; one that is down is down.
fn token_failure(kind: Kind) -> Kind {
    match kind {
        Kind::NotFound | Kind::Invalid | Kind::Unsupported | Kind::TooLarge => Kind::Unauthorized,
        other => other,
    }
}
