//! The routes that need the admin token: authentication, parameters and answers.

use regsweep::http::{Admin, AdminRequest, StartedRuns, StatusStore, UndoError, UndoRequest};
use regsweep::metrics::Metrics;
use regsweep::run::LimitMode;
use reqwest::{Client, Method, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::harness::start_for;

const TOKEN: &str = "correct horse battery staple";

/// A web server whose run requests start runs of the first registries and find the others busy.
async fn served(token: Option<&str>, begun: &[&str], busy: &[&str]) -> String {
    let (admin, mut asked) = Admin::new();
    admin.set_token(token.map(SecretString::from));
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let (begun, busy) = (names(begun), names(busy));
    tokio::spawn(async move {
        while let Some(ask) = asked.recv().await {
            let AdminRequest::Run { registry, reply, .. } = ask else { panic!("{ask:?}") };
            let asked_for = |name: &String| registry.as_ref().is_none_or(|only| only == name);
            let of = |names: &Vec<String>| names.iter().filter(|name| asked_for(name)).cloned().collect();
            reply.send(StartedRuns { started: of(&begun), busy: of(&busy) }).unwrap();
        }
    });
    start_for(StatusStore::default(), Metrics::new("0.1.0", "abc").unwrap(), admin).await.0
}

async fn ask(url: &str, query: &str, header: Option<&str>) -> (StatusCode, String) {
    let request = Client::new().post(format!("{url}/api/v1/run{query}"));
    let request = match header {
        Some(header) => request.header("authorization", header),
        None => request,
    };
    let response = request.send().await.unwrap();
    (response.status(), response.text().await.unwrap())
}

#[tokio::test]
async fn admin_routes_need_a_token_in_the_configuration() {
    let url = served(None, &["main"], &[]).await;
    for path in ["run", "undo?run=1"] {
        let answer =
            Client::new().post(format!("{url}/api/v1/{path}")).bearer_auth("x").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
    for header in [None, Some("Bearer "), Some("Bearer x")] {
        assert_eq!(
            ask(&url, "", header).await,
            (StatusCode::NOT_FOUND, "there is nothing here\n".to_owned())
        );
    }
}

#[tokio::test]
async fn token_is_compared_exactly() {
    let url = served(Some(TOKEN), &["main"], &[]).await;
    let longer = format!("Bearer {TOKEN} ");
    let wrong = [
        None,
        Some("Bearer "),
        Some("Bearer wrong"),
        Some(TOKEN),
        Some("Basic eDp5"),
        Some("Bearer correct"),
        Some("BearerX correct horse battery staple"),
        Some("Bearercorrect horse battery staple"),
    ];
    for header in wrong.into_iter().chain([Some(longer.trim_end_matches("staple "))]) {
        let (status, text) = ask(&url, "", header).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{header:?}");
        assert!(!text.contains("horse"), "{text}");
    }
    // The case of the scheme does not matter.
    for scheme in ["Bearer", "bearer", "BEARER", "Bearer "] {
        let (status, text) = ask(&url, "", Some(&format!("{scheme} {TOKEN}"))).await;
        let expected = json!({ "version": 1, "begun": ["main"], "busy": [] });
        assert_eq!((status, serde_json::from_str::<Value>(&text).unwrap()), (StatusCode::ACCEPTED, expected));
    }
}

#[tokio::test]
async fn run_request_answers_with_started_and_busy_registries() {
    let url = served(Some(TOKEN), &["main"], &["edge"]).await;
    let token = format!("Bearer {TOKEN}");
    let check = async |query: &str, expected: StatusCode| {
        let (status, text) = ask(&url, query, Some(&token)).await;
        assert_eq!(status, expected, "{query} {text}");
    };
    check("", StatusCode::ACCEPTED).await;
    check("?registry=main", StatusCode::ACCEPTED).await;
    check("?registry=edge", StatusCode::CONFLICT).await;
    check("?registry=other", StatusCode::NOT_FOUND).await;
}

#[tokio::test]
async fn parameter_with_a_typo_starts_no_run() {
    let url = served(Some(TOKEN), &["main"], &[]).await;
    let check = async |query: &str, body: &str, expected: &str| {
        let request = Client::new().post(format!("{url}/api/v1/run{query}")).bearer_auth(TOKEN);
        let response = request.body(body.to_owned()).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{query} {body}");
        let document: Value = response.json().await.unwrap();
        let error = document["error"].as_str().unwrap();
        assert!(error.contains(expected), "{query} {body}: {error}");
    };
    check("?registy=main", "", "there is no parameter `registy`: there are registry and override_limits")
        .await;
    check("?registry=main&registry=edge", "", "`registry` is given twice: give it once").await;
    check("?registry=main&force", "", "there is no parameter `force`").await;
    check("?=main", "", "there is no parameter ``").await;
    check("?Registry=main", "", "there is no parameter `Registry`").await;
    check("", "registry=main", "write parameters into the address, as in `?registry=NAME`").await;
    check("?registry=main", "{}", "this address takes no body").await;
    // Without the token the answer tells nothing about the parameters.
    assert_eq!(ask(&url, "?registy=main", None).await.0, StatusCode::UNAUTHORIZED);
}

/// A web server and the requests that it has received, without answers.
async fn heard() -> (String, tokio::sync::mpsc::UnboundedReceiver<AdminRequest>) {
    let (admin, asked) = Admin::new();
    admin.set_token(Some(SecretString::from(TOKEN)));
    (start_for(StatusStore::default(), Metrics::new("0.1.0", "abc").unwrap(), admin).await.0, asked)
}

#[tokio::test]
async fn run_request_can_override_limits() {
    let (url, mut asked) = heard().await;
    let post = async |query: &str| {
        Client::new().post(format!("{url}/api/v1/run{query}")).bearer_auth(TOKEN).send().await.unwrap()
    };
    let cases = [
        ("", LimitMode::Enforced),
        ("?override_limits=false", LimitMode::Enforced),
        ("?override_limits=true&registry=main", LimitMode::Overridden),
    ];
    for (query, expected) in cases {
        let (response, ()) = tokio::join!(post(query), async {
            let ask = asked.recv().await.unwrap();
            let AdminRequest::Run { limits, reply, .. } = ask else { panic!("{ask:?}") };
            assert_eq!(limits, expected, "{query}");
            reply.send(StartedRuns { started: vec!["main".into()], busy: vec![] }).unwrap();
        });
        assert_eq!(response.status(), StatusCode::ACCEPTED, "{query}");
    }
    for query in ["?override_limits", "?override_limits=1", "?override_limits=True"] {
        assert_eq!(post(query).await.status(), StatusCode::BAD_REQUEST, "{query}");
    }
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn undo_request_answers_with_the_result() {
    let (url, mut asked) = heard().await;
    let post = async |query: &str| {
        let request = Client::new().post(format!("{url}/api/v1/undo{query}")).bearer_auth(TOKEN);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let wrong = [
        ("", "say which run"),
        ("?run=last", "write the number of a run"),
        ("?run=1&run=2", "give it once"),
        ("?run=1&registry=main", "there are run and image"),
    ];
    for (query, why) in wrong {
        let (status, document) = post(query).await;
        assert!(status == 400 && document["error"].as_str().unwrap().contains(why), "{query}: {document}");
    }
    assert!(asked.try_recv().is_err());
    let why = || "because".to_owned();
    let answers = [
        (Ok(json!({ "results": [] })), 200),
        (Err(UndoError::NotFound(why())), 404),
        (Err(UndoError::Ambiguous(why())), 400),
        (Err(UndoError::Failed(why())), 500),
    ];
    for (undone, expected) in answers {
        let ((status, document), ()) = tokio::join!(post("?run=12&image=team%2Fapp:v1"), async {
            let ask = asked.recv().await.unwrap();
            let AdminRequest::Undo(UndoRequest { run, image, reply }) = ask else { panic!("{ask:?}") };
            assert_eq!((run, image.as_deref()), (12, Some("team/app:v1")));
            reply.send(undone.clone()).unwrap();
        });
        assert_eq!(status, expected);
        assert_eq!(document, undone.unwrap_or(json!({ "error": "because" })));
    }
    // The answer does not wait for a long undo, and tells when the service is stopping.
    let (longer, ask) = tokio::join!(post("?run=12"), asked.recv());
    let expected = json!({ "version": 1, "registry": null, "run": 12, "results": null });
    assert_eq!(longer, (202, expected));
    drop(ask);
    let (stopped, ()) = tokio::join!(post("?run=12"), async { drop(asked.recv().await) });
    assert_eq!(stopped, (503, json!({ "error": "the service is stopping" })));
}

#[tokio::test]
async fn get_requests_start_no_run() {
    let url = served(Some(TOKEN), &["main"], &[]).await;
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
        let request = Client::new().request(method.clone(), format!("{url}/api/v1/run"));
        let response = request.bearer_auth(TOKEN).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{method}");
    }
}
