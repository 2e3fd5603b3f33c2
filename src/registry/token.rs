//! Showing who we are: answering the challenges of a registry, and asking its token service for tokens.
//!
//! It sends requests to token services, and to no other place than a challenge names.

use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use secrecy::ExposeSecret as _;
use url::Url;

use super::auth::{Challenge, Credentials, Granted, Scope, TokenRequest, sensitive};
use super::error::{Error, Kind};
use super::transport::{Request, Transport};

/// Answers of a token service are small; one that is not is no token.
const TOKEN_BYTES: usize = 1 << 20;

impl Transport {
    /// What to show for this scope, as far as it is known what the registry wants.
    pub(super) async fn authorization(&self, scope: &Scope) -> Result<Option<HeaderValue>, Error> {
        if let Credentials::Bearer(token) = &self.session.credentials {
            return Ok(sensitive(format!("Bearer {}", token.expose_secret())));
        }
        match self.session.challenge() {
            None => Ok(None),
            Some(Challenge::Basic) => Ok(self.session.credentials.basic()),
            Some(_) if self.session.wants_password(scope) => Ok(self.session.credentials.basic()),
            Some(Challenge::Token { realm, service, .. }) => {
                self.session
                    .token(scope, async |scopes| self.fetch_token(&realm, service, scopes).await)
                    .await
            }
        }
    }

    /// Takes a refusal to heart: `Ok` means that the same request is worth another try.
    pub(super) async fn answer_challenge(
        &self,
        request: &Request<'_>,
        headers: &HeaderMap,
        body: &[u8],
        shown: bool,
    ) -> Result<(), Error> {
        let refused = |message: &str| {
            let answer = Error::status(request.method_name(), &request.url, StatusCode::UNAUTHORIZED, body);
            Error { message: message.to_owned(), ..answer }
        };
        let offers = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenge = Challenge::choose(offers)
            .ok_or_else(|| refused("the registry wants credentials and does not say which kind"))?;
        match (&challenge, &self.session.credentials) {
            (_, Credentials::Bearer(_)) => Err(refused("the registry does not accept the bearer token")),
            (Challenge::Basic, Credentials::Basic { .. }) if !shown => {
                self.session.learn(challenge, &request.scope, shown).await;
                Ok(())
            }
            // Harbor takes no token for its catalog: it says so by asking for the password then.
            (Challenge::Basic, Credentials::Basic { .. })
                if self.session.turn_to_password(&request.scope) =>
            {
                Ok(())
            }
            (Challenge::Basic, Credentials::Basic { .. }) if self.session.wants_password(&request.scope) => {
                Err(refused("the registry does not allow this to the user"))
            }
            (Challenge::Basic, Credentials::Basic { .. }) => {
                Err(refused("the registry does not accept the user name and password"))
            }
            (Challenge::Basic, _) => Err(refused("the registry wants a user name and a password")),
            (Challenge::Token { .. }, _) => {
                self.session.learn(challenge, &request.scope, shown).await;
                Ok(())
            }
        }
    }

    /// Asks the token service, as docs/spec/auth of distribution describes it.
    async fn fetch_token(
        &self,
        realm: &str,
        service: Option<String>,
        scopes: Vec<String>,
    ) -> Result<Granted, Error> {
        let address = Url::parse(realm).or_else(|_| self.base.join(realm));
        let realm = address.map_err(|error| {
            let message = format!("the realm {realm:?} of the token service is no address: {error}");
            Error::new("GET", &self.base, Kind::Unauthorized, message)
        })?;
        let anonymous = matches!(self.session.credentials, Credentials::Anonymous);
        if self.base.scheme() == "https" && realm.scheme() != "https" && !anonymous {
            let message = "the token service is not on https, so it does not get the credentials";
            return Err(Error::new("GET", &realm, Kind::Unauthorized, message));
        }
        let request = TokenRequest { realm, service, scopes };
        let mut attempt = 1;
        loop {
            let error = match self.request_token(&request).await {
                Ok(granted) => return Ok(granted),
                Err(error) => error,
            };
            let refused = |error: Error| Error { kind: token_failure(error.kind), ..error };
            self.pause(error, attempt, None).await.map_err(refused)?;
            attempt += 1;
        }
    }

    async fn request_token(&self, request: &TokenRequest) -> Result<Granted, Error> {
        let TokenRequest { realm, service, scopes } = request;
        let service = service.as_deref().map(|service| ("service", service));
        let (method, builder) = if let Credentials::Identity(token) = &self.session.credentials {
            let scope = scopes.join(" ");
            let mut form = vec![
                ("grant_type", "refresh_token"),
                ("client_id", "regsweep"),
                ("refresh_token", token.expose_secret()),
                ("scope", &scope),
            ];
            form.extend(service);
            ("POST", self.reading.post(realm.clone()).form(&form))
        } else {
            let mut query: Vec<(&str, &str)> = service.into_iter().collect();
            query.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
            query.push(("client_id", "regsweep"));
            let mut builder = self.reading.get(realm.clone()).query(&query);
            if let Some(basic) = self.session.credentials.basic() {
                builder = builder.header(AUTHORIZATION, basic);
            }
            ("GET", builder)
        };
        let (status, _, body) = self.perform(method, realm, builder, TOKEN_BYTES).await?;
        if status != StatusCode::OK {
            return Err(Error::status(method, realm, status, &body));
        }
        serde_json::from_slice(&body).map_err(|error| {
            let message = format!("the token service's answer is not understood: {error}");
            Error::new(method, realm, Kind::Unauthorized, message)
        })
    }
}

/// A token service that refuses refuses us; one that is down is down.
fn token_failure(kind: Kind) -> Kind {
    match kind {
        Kind::NotFound | Kind::Invalid | Kind::Unsupported | Kind::TooLarge => Kind::Unauthorized,
        other => other,
    }
}
