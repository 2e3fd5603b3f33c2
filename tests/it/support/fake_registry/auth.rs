//! Authentication: none, a user with a password, or a bearer token, and the endpoint that issues tokens.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::answer::{Route, error, error_saying};
use super::state::{Personality, State};
use super::wire::{Canned, Request};

/// How clients authenticate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Auth {
    /// Everyone.
    #[default]
    None,
    /// This user, as with `htpasswd`.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// Only clients with a token from `/token` of this server.
    Bearer(Bearer),
}

impl Auth {
    /// Only this user.
    pub fn basic(user: &str, password: &str) -> Self {
        Self::Basic { user: user.into(), password: password.into() }
    }

    /// Only tokens, which this user gets; they are valid for a minute and for all requested actions.
    pub fn bearer(user: &str, password: &str) -> Self {
        Self::Bearer(Bearer {
            user: user.into(),
            password: password.into(),
            lifetime: Duration::from_secs(60),
            actions: None,
            refresh_token: None,
            rotates: false,
        })
    }
}

/// How tokens are issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// The user who gets tokens.
    pub user: String,
    /// The password.
    pub password: String,
    /// How long a token is valid. It is announced in whole seconds.
    pub lifetime: Duration,
    /// The only actions that are granted, such as `pull`; `None` grants all that are requested. A narrower
    /// grant is no error: the token is issued and then does not suffice.
    pub actions: Option<Vec<String>>,
    /// The refresh token that `POST /token` accepts; without one, it answers 405.
    pub refresh_token: Option<String>,
    /// Whether a refresh token is valid once, and each token comes with the next refresh token.
    pub rotates: bool,
}

/// The issued tokens.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    pub(super) issued: usize,
    /// The valid refresh token, if it is no longer the first.
    refresh: Option<String>,
    valid: HashMap<String, Token>,
}

#[derive(Debug)]
struct Token {
    expires: Instant,
    /// `type`, `name`, `action`.
    access: Vec<[String; 3]>,
}

/// The refusal of a request, or `None` if it is allowed.
pub(super) fn refuse(state: &State, request: &Request, route: &Route<'_>) -> Option<Canned> {
    let personality = state.settings.personality;
    let needed = needed(personality, request, route);
    let knows = |request: &Request| match &state.settings.auth {
        Auth::None => true,
        Auth::Basic { user, password } => is_user(request, user, password),
        Auth::Bearer(bearer) => is_user(request, &bearer.user, &bearer.password),
    };
    match personality {
        // Harbor accepts passwords wherever it accepts tokens, and for its catalog no token.
        Personality::Harbor if *route == Route::Catalog => {
            let may = state.settings.administrator && knows(request);
            return (!may).then(|| harbor("unauthorized to list catalog"));
        }
        Personality::Harbor if knows(request) => return None,
        Personality::GitLab if *route == Route::Catalog && !state.settings.administrator => {
            return Some(error(personality, 401, "UNAUTHORIZED", None).header("www-authenticate", CLOSED));
        }
        _ => {}
    }
    let challenge = match &state.settings.auth {
        Auth::None => return None,
        Auth::Basic { user, password } => {
            if is_user(request, user, password) {
                return None;
            }
            "Basic realm=\"tests\"".to_owned()
        }
        Auth::Bearer(_) => {
            let problem = match state.tokens.check(request, &needed) {
                Ok(()) => return None,
                Err(problem) => problem,
            };
            if personality == Personality::Harbor && request.header("authorization").is_some() {
                return Some(harbor("unauthorized to access repository"));
            }
            let realm = format!("http://{}/token", state.settings.host);
            let service = personality.service();
            let mut challenge = format!("Bearer realm=\"{realm}\",service=\"{service}\"");
            if let Some([kind, name, _]) = needed.first() {
                let actions: Vec<&str> = needed.iter().map(|[_, _, action]| action.as_str()).collect();
                challenge.push_str(&format!(",scope=\"{kind}:{name}:{}\"", actions.join(",")));
            }
            if let Some(problem) = problem {
                challenge.push_str(&format!(",error=\"{problem}\""));
            }
            challenge
        }
    };
    let record = |[kind, name, action]: &[String; 3]| json!({ "Type": kind, "Class": "", "Name": name, "Action": action });
    let detail = match needed.as_slice() {
        [] => Value::Null,
        needed => needed.iter().map(record).collect(),
    };
    let reply = error(state.settings.personality, 401, "UNAUTHORIZED", Some(detail));
    Some(reply.header("www-authenticate", challenge))
}

/// A challenge that no client can answer.
const CLOSED: &str = "Basic realm=\"tests\"";

/// Harbor's refusal, which demands the password where the client sent something else.
fn harbor(message: &str) -> Canned {
    let reply = error_saying(Personality::Harbor, 401, "UNAUTHORIZED", message, None);
    reply.header("www-authenticate", "Basic realm=\"harbor\"")
}

/// `appendAccessRecords`: what a request needs, as type, name and action.
fn needed(personality: Personality, request: &Request, route: &Route<'_>) -> Vec<[String; 3]> {
    let name = match *route {
        Route::Base => return Vec::new(),
        Route::Catalog => return vec![["registry", "catalog", "*"].map(str::to_owned)],
        Route::Tags { name }
        | Route::Manifest { name, .. }
        | Route::Blob { name, .. }
        | Route::Referrers { name, .. } => name,
    };
    let actions: &[&str] = match request.method.as_str() {
        "GET" | "HEAD" => &["pull"],
        "POST" | "PUT" | "PATCH" => &["pull", "push"],
        "DELETE" if personality == Personality::GitLab => &["*"],
        "DELETE" => &["delete"],
        _ => &[],
    };
    actions.iter().map(|action| ["repository", name, action].map(str::to_owned)).collect()
}

impl Tokens {
    fn check(&self, request: &Request, needed: &[[String; 3]]) -> Result<(), Option<&'static str>> {
        let given = request.header("authorization").ok_or(None)?;
        let given = given.strip_prefix("Bearer ").ok_or(None)?;
        let token = self.valid.get(given).filter(|token| Instant::now() < token.expires);
        let token = token.ok_or(Some("invalid_token"))?;
        let enough = needed.iter().all(|one| token.access.contains(one));
        if enough { Ok(()) } else { Err(Some("insufficient_scope")) }
    }

    pub(super) fn revoke(&mut self) {
        self.valid.clear();
    }

    fn issue(&mut self, lifetime: Duration, access: Vec<[String; 3]>) -> String {
        self.issued += 1;
        let token = format!("token-{}", self.issued);
        self.valid.insert(token.clone(), Token { expires: Instant::now() + lifetime, access });
        token
    }
}

/// `/token`: GET with a password, or POST with a password or a refresh token.
pub(super) fn token(state: &mut State, request: &Request) -> Canned {
    let Auth::Bearer(bearer) = state.settings.auth.clone() else { return Canned::status(404) };
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&request.body).into_owned().collect();
    let of_form = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let refresh = state.tokens.refresh.clone().or_else(|| bearer.refresh_token.clone());
    let (known, pairs) = match (request.method.as_str(), of_form("grant_type").as_deref()) {
        ("GET", _) => (is_user(request, &bearer.user, &bearer.password), &request.query),
        ("POST", Some("refresh_token")) if refresh.is_some() => (of_form("refresh_token") == refresh, &form),
        ("POST", Some("password")) => {
            let user = (of_form("username"), of_form("password"));
            (user == (Some(bearer.user), Some(bearer.password)), &form)
        }
        _ => return Canned::status(405),
    };
    if !known {
        let detail = "incorrect username or password";
        return error(state.settings.personality, 401, "UNAUTHORIZED", Some(detail.into()));
    }
    let scopes = pairs.iter().filter(|(key, _)| key == "scope").flat_map(|(_, scopes)| scopes.split(' '));
    let mut access: Vec<[String; 3]> = scopes.flat_map(parse_scope).collect();
    let catalog = access.iter().any(|[kind, ..]| kind == "registry");
    match state.settings.personality {
        Personality::Ghcr if catalog => return error(Personality::Ghcr, 403, "DENIED", None),
        Personality::DockerHub => access.retain(|[kind, ..]| kind == "repository"),
        _ => {}
    }
    access.retain(|[_, _, action]| bearer.actions.as_ref().is_none_or(|granted| granted.contains(action)));
    let token = state.tokens.issue(bearer.lifetime, access);
    let mut body = json!({ "token": token, "access_token": token, "expires_in": bearer.lifetime.as_secs() });
    if bearer.rotates && request.method == "POST" {
        let next = format!("refresh-{}", state.tokens.issued);
        body["refresh_token"] = next.clone().into();
        state.tokens.refresh = Some(next);
    }
    Canned::status(200).header("content-type", "application/json").body(body.to_string())
}

/// Reads `repository:team/app:pull,delete`.
fn parse_scope(scope: &str) -> Vec<[String; 3]> {
    let parts = scope.split_once(':').and_then(|(kind, rest)| Some((kind, rest.rsplit_once(':')?)));
    let Some((kind, (name, actions))) = parts else { return Vec::new() };
    actions.split(',').map(|action| [kind, name, action].map(str::to_owned)).collect()
}

fn is_user(request: &Request, user: &str, password: &str) -> bool {
    let expected = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
    request.header("authorization") == Some(&expected)
}
