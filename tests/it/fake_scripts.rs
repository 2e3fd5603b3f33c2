//! What the fake registry does and the real one here cannot show: other versions, tokens, and the
//! scripted answers.

use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::support::fake_registry::{Auth, Bearer, Canned, FakeRegistry, Links, Personality};
use crate::support::image::{
    ACCEPT_ALL, Artifact, DOCKER_LIST, DOCKER_MANIFEST, Image, Index, OCI_INDEX, OCI_MANIFEST, digest,
};
use crate::support::push::Pusher;

const EVERY: [Personality; 4] = [Personality::V2_8, Personality::V3_0, Personality::V3_1, Personality::Oci11];

async fn ask(fake: &FakeRegistry, request: &str, accept: &str) -> Response {
    let (method, path) = request.split_once(' ').unwrap();
    let method = method.parse().unwrap();
    let url = format!("{}{path}", fake.url());
    Client::new().request(method, url).header("accept", accept).send().await.unwrap()
}

/// Status, list and link of an answer: a row of the table.
async fn list(fake: &FakeRegistry, path: &str) -> (u16, Value, String) {
    let answer = ask(fake, &format!("GET {path}"), "*/*").await;
    let link = answer.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap_or_default();
    let list = body.get("tags").or(body.get("repositories")).or(body["errors"][0].get("code"));
    (status, list.cloned().unwrap_or_default(), link.unwrap_or_default())
}

fn with_tags(personality: Personality, tags: &[&str]) -> FakeRegistry {
    let fake = FakeRegistry::start(personality);
    let image = Image::new("image").build();
    for tag in tags {
        fake.push("app", tag, &image);
    }
    fake
}

#[tokio::test]
async fn versions_differ_in_lists() {
    let tags = "/v2/app/tags/list";
    let next = |last: &str, n: u32| format!("</v2/app/tags/list?last={last}&n={n}>; rel=\"next\"");
    let none = String::new;
    let refused = || (400, json!("PAGINATION_NUMBER_INVALID"), none());
    let [v2_8, v3_0, v3_1, oci] = EVERY;
    for (personality, query, expected) in [
        (v3_0, "", (200, json!(["a", "b", "c", "d"]), none())),
        (v3_0, "?n=2", (200, json!(["a", "b"]), next("b", 2))),
        (v3_0, "?n=2&last=b", (200, json!(["c", "d"]), none())),
        (v3_0, "?n=2&last=ab", (200, json!(["c", "d"]), none())),
        (v3_0, "?last=d", (200, json!([]), none())),
        (v3_0, "?n=-1", refused()),
        (v3_1, "", (200, json!(["a", "b", "c", "d"]), none())),
        (v3_1, "?n=2&last=b", (200, json!(["c", "d"]), next("d", 2))),
        (v3_1, "?n=2&last=d", (200, json!(null), none())),
        (v3_1, "?n=2&last=ab", (200, json!(["b", "c"]), next("c", 2))),
        (v3_1, "?n=many", refused()),
        (oci, "?n=3", (200, json!(["a", "b", "c"]), next("c", 3))),
        (oci, "?n=3&last=c", (200, json!(["d"]), none())),
        (oci, "?n=3&last=ab", (200, json!(["b", "c", "d"]), none())),
        (Personality::Zot, "?n=3", (200, json!(["a", "b", "c"]), next("c", 3))),
        (Personality::Zot, "?n=3&last=c", (200, json!(["d"]), none())),
        (Personality::Zot, "?n=3&last=ab", (404, json!(null), none())),
        (Personality::Harbor, "?n=3&last=ab", (400, json!("BAD_REQUEST"), none())),
    ] {
        let fake = with_tags(personality, &["d", "a", "c", "b"]);
        assert_eq!(list(&fake, &format!("{tags}{query}")).await, expected, "{personality:?} {query}");
    }
    for (personality, expected) in [(v2_8, 200), (v3_0, 400), (v3_1, 400)] {
        let fake = with_tags(personality, &["a"]);
        assert_eq!(list(&fake, "/v2/_catalog?n=-1").await.0, expected, "{personality:?}");
        assert_eq!(list(&fake, "/v2/_catalog?n=1001").await.0, 400, "{personality:?}");
        let charset = personality == v2_8;
        let kind = ask(&fake, "GET /v2/", "*/*").await.headers()["content-type"].to_str().unwrap().to_owned();
        assert_eq!(kind.contains("charset"), charset, "{personality:?}");
    }
}

#[tokio::test]
async fn version_three_closes_the_connection_on_an_invalid_catalog_page() {
    let fake = FakeRegistry::start(Personality::V3_1);
    for name in ["1z", "a/1x", "a", "a/b"] {
        fake.push(name, "v1", &Image::new(name).build());
    }
    assert_eq!(list(&fake, "/v2/_catalog").await.1, json!(["1z", "a/1x", "a", "a/b"]));
    assert!(reqwest::get(format!("{}/v2/_catalog?n=2", fake.url())).await.is_err());
    assert_eq!(fake.requests()[1].status, 0);
}

#[tokio::test]
async fn versions_differ_for_a_client_that_accepts_few_types() {
    let [v2_8, v3_0, v3_1, oci] = EVERY;
    let image = Image::new("image").build();
    let child = Image::new("docker").docker().build();
    let list = Index::docker().child(&child).build();
    let index = Index::oci().child(&image).build();
    for (personality, tag, accept, status) in [
        (v2_8, "image", "*/*", 404),
        (v3_0, "image", "*/*", 404),
        (v3_1, "image", OCI_INDEX, 404),
        (oci, "image", "*/*", 200),
        (v2_8, "index", OCI_MANIFEST, 404),
        (v3_0, "index", OCI_MANIFEST, 200),
        (v2_8, "docker", "*/*", 400),
        (v3_1, "docker", "*/*", 200),
        (v2_8, "list", "*/*", 400),
        (v3_1, "list", "*/*", 400),
        (v3_1, "list", DOCKER_LIST, 200),
    ] {
        let fake = FakeRegistry::start(personality);
        for (tag, content) in [("image", &image), ("docker", &child), ("index", &index), ("list", &list)] {
            fake.push("app", tag, content);
        }
        let answer = ask(&fake, &format!("GET /v2/app/manifests/{tag}"), accept).await;
        assert_eq!(answer.status().as_u16(), status, "{personality:?} {tag} {accept}");
        let answer = ask(&fake, "HEAD /v2/app/manifests/list", DOCKER_MANIFEST).await;
        let given = if personality == oci { &list } else { &child };
        assert_eq!(answer.headers()["docker-content-digest"].to_str().unwrap(), given.digest);
    }
}

#[tokio::test]
async fn versions_differ_in_deletion() {
    let [v2_8, v3_0, v3_1, oci] = EVERY;
    for (personality, request, status, enabled) in [
        (v2_8, "v1", 400, true),
        (v3_0, "v1", 202, true),
        (v3_1, "v1", 202, true),
        (oci, "v1", 202, true),
        (v2_8, "none", 400, true),
        (v3_1, "none", 404, true),
        (v2_8, "sha256:abc", 400, true),
        (v3_1, "sha256:abc", 500, true),
        (v2_8, "v1", 405, false),
        (v3_0, "v1", 202, false),
        (v3_1, "v1", 405, false),
    ] {
        let fake = with_tags(personality, &["v1", "v2"]);
        fake.change(|state| state.settings.delete = enabled);
        let answer = ask(&fake, &format!("DELETE /v2/app/manifests/{request}"), "*/*").await;
        assert_eq!(answer.status().as_u16(), status, "{personality:?} {request}");
        assert_eq!(fake.tags("app").len(), if status == 202 { 1 } else { 2 }, "{personality:?} {request}");
        assert_eq!(fake.manifests("app").len(), 1);
    }
    for personality in EVERY {
        let fake = with_tags(personality, &["v1", "v2"]);
        let digest = Image::new("image").build().digest;
        let answer = ask(&fake, &format!("DELETE /v2/app/manifests/{digest}"), "*/*").await;
        assert_eq!(answer.status(), 202, "{personality:?}");
        assert!(fake.tags("app").is_empty() && fake.manifests("app").is_empty());
        let empty = list(&fake, "/v2/app/tags/list").await;
        let null = matches!(personality, Personality::V2_8 | Personality::V3_1);
        assert_eq!(empty.1, if null { json!(null) } else { json!([]) }, "{personality:?}");
    }
}

#[tokio::test]
async fn zot_lists_referrers_and_refuses_to_delete_children() {
    let fake = FakeRegistry::start(Personality::Zot);
    let image = Image::new("image").build();
    let sbom = Artifact::referrer("sbom", "application/spdx+json", &image).build();
    fake.push("app", "v1", &Index::oci().child(&image).build());
    fake.push_untagged("app", &sbom);
    let path = format!("GET /v2/app/referrers/{}", image.digest);
    let index: Value = ask(&fake, &path, "*/*").await.json().await.unwrap();
    assert_eq!(index["manifests"][0]["digest"], sbom.digest);
    assert_eq!(index["manifests"][0]["artifactType"], "application/spdx+json");
    let filtered = ask(&fake, &format!("{path}?artifactType=text/plain"), "*/*").await;
    assert_eq!(filtered.headers()["oci-filters-applied"], "artifactType");
    assert_eq!(filtered.json::<Value>().await.unwrap()["manifests"], json!([]));
    for (request, status) in [
        (format!("DELETE /v2/app/manifests/{}", image.digest), 405),
        (format!("DELETE /v2/absent/manifests/{}", image.digest), 400),
        ("GET /v2/absent/tags/list".into(), 400),
    ] {
        assert_eq!(ask(&fake, &request, "*/*").await.status().as_u16(), status, "{request}");
    }
    let old = FakeRegistry::start(Personality::V3_1);
    assert_eq!(ask(&old, &path, "*/*").await.status(), 404);
}

#[tokio::test]
async fn other_servers_refuse_with_their_own_codes() {
    let child = Image::new("image").build().digest;
    let by_tag = "DELETE /v2/app/manifests/v1".to_owned();
    let by_digest = format!("DELETE /v2/app/manifests/{child}");
    let referrers = format!("GET /v2/app/referrers/{}", digest(b"nothing"));
    let (absent, catalog) = ("GET /v2/absent/tags/list".to_owned(), "GET /v2/_catalog".to_owned());
    for (personality, request, status, code) in [
        (Personality::Zot, &by_digest, 405, "DENIED"),
        (Personality::Zot, &absent, 400, "NAME_UNKNOWN"),
        (Personality::Harbor, &by_tag, 400, "UNSUPPORTED"),
        (Personality::Harbor, &by_digest, 412, "VIOLATE_FOREIGN_KEY_CONSTRAINT"),
        (Personality::Harbor, &absent, 404, "NOT_FOUND"),
        (Personality::Harbor, &referrers, 200, ""),
        (Personality::GitLab, &by_digest, 409, "MANIFEST_REFERENCED_IN_LIST"),
        (Personality::GitLab, &by_tag, 202, ""),
        (Personality::DockerHub, &by_digest, 405, "UNSUPPORTED"),
        (Personality::DockerHub, &catalog, 404, ""),
        (Personality::Ghcr, &by_tag, 405, "UNSUPPORTED"),
        (Personality::Ghcr, &catalog, 404, ""),
        (Personality::Ghcr, &referrers, 404, ""),
    ] {
        let fake = FakeRegistry::start(personality);
        let image = Image::new("image").build();
        fake.push("app", "index", &Index::oci().child(&image).build());
        fake.push("app", "v1", &image);
        let answer = ask(&fake, request, "*/*").await;
        assert_eq!(answer.status().as_u16(), status, "{personality:?} {request}");
        let body: Value = answer.json().await.unwrap_or_default();
        assert_eq!(body["errors"][0]["code"].as_str().unwrap_or_default(), code, "{personality:?} {request}");
        assert_eq!(fake.manifests("app").len(), 2, "{personality:?} {request}");
    }
}

#[tokio::test]
async fn page_links_can_name_any_host() {
    for (links, begin) in [
        (Links::Relative, "</reg/v2/_catalog?".to_owned()),
        (Links::Absolute, "<http://127.0.0.1".into()),
        (Links::To("http://elsewhere:5000".into()), "<http://elsewhere:5000/reg/v2/_catalog?".into()),
    ] {
        let fake = FakeRegistry::options(Personality::V3_1).prefix("/reg").links(links).start();
        fake.push("a", "v1", &Image::new("a").build());
        fake.push("b", "v1", &Image::new("b").build());
        assert!(list(&fake, "/v2/_catalog?n=1").await.2.starts_with(&begin));
    }
}

#[tokio::test]
async fn tokens_are_for_the_requested_scope_and_expire() {
    let bearer = |lifetime, actions| {
        let Auth::Bearer(bearer) = Auth::bearer("ann", "secret") else { unreachable!() };
        Auth::Bearer(Bearer { lifetime, actions, refresh_token: Some("again".into()), ..bearer })
    };
    let minute = Duration::from_secs(60);
    let (pull, delete) = ("repository:app:pull", "repository:app:delete");
    for (auth, scope, refusal) in [
        (bearer(minute, None), delete, None),
        (bearer(minute, None), pull, Some("insufficient_scope")),
        (bearer(minute, Some(vec!["pull".into()])), delete, Some("insufficient_scope")),
        (bearer(Duration::ZERO, None), delete, Some("invalid_token")),
    ] {
        let fake = FakeRegistry::options(Personality::V3_1).auth(auth).start();
        let image = Image::new("image").build();
        fake.push("app", "v1", &image);
        let url = format!("{}/v2/app/manifests/{}", fake.url(), image.digest);
        let challenged = Client::new().delete(&url).send().await.unwrap();
        let challenge = challenged.headers()["www-authenticate"].to_str().unwrap().to_owned();
        let realm = format!("http://{}/token", fake.host());
        let expected = format!("Bearer realm=\"{realm}\",service=\"fake.registry\",scope=\"{delete}\"");
        assert_eq!(challenge, expected);
        let ask = Client::new().get(format!("{realm}?service=fake.registry&scope={scope}"));
        let token: Value = ask.basic_auth("ann", Some("secret")).send().await.unwrap().json().await.unwrap();
        let token = token["token"].as_str().unwrap();
        let answer = Client::new().delete(&url).bearer_auth(token).send().await.unwrap();
        match refusal {
            None => assert_eq!(answer.status(), 202),
            Some(refusal) => {
                let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
                assert_eq!(challenge, format!("{expected},error=\"{refusal}\""));
            }
        }
        let form = [("grant_type", "refresh_token"), ("refresh_token", "again"), ("scope", scope)];
        assert_eq!(Client::new().post(&realm).form(&form).send().await.unwrap().status(), 200);
        assert_eq!(reqwest::get(&realm).await.unwrap().status(), 401);
        assert_eq!(fake.tokens_issued(), 2);
        assert_eq!(fake.mutating_requests().len(), 2);
    }
}

#[tokio::test]
async fn scripts_answer_change_and_break_off_answers() {
    let fake = with_tags(Personality::V2_8, &["v1"]);
    assert_eq!(fake.requests(), [], "there were no requests");
    let mut busy = true;
    fake.on(move |request| {
        let first = request.is("GET", "/v2/") && std::mem::take(&mut busy);
        first.then(|| Canned::status(429).header("retry-after", "1").body("<html>busy</html>"))
    });
    fake.on(|request| request.is("GET", "/v2/gone/tags/list").then(Canned::dropped));
    fake.on(|request| {
        let cut = request.is("GET", "/v2/cut/tags/list");
        cut.then(|| Canned::status(200).body("{\"tags\":[\"a\",\"b\"]}").cut_after(10))
    });
    let wrong = digest(b"wrong");
    let spoiled = wrong.clone();
    fake.after(move |request, reply| {
        if request.path.contains("/manifests/") {
            reply.set_header("docker-content-digest", &spoiled);
        }
    });
    let busy = ask(&fake, "GET /v2/", "*/*").await;
    assert_eq!((busy.status().as_u16(), &busy.headers()["retry-after"].to_str().unwrap()), (429, &"1"));
    assert_eq!(busy.text().await.unwrap(), "<html>busy</html>");
    assert_eq!(ask(&fake, "GET /v2/", "*/*").await.status(), 200);
    assert!(reqwest::get(format!("{}/v2/gone/tags/list", fake.url())).await.is_err());
    let cut = ask(&fake, "GET /v2/cut/tags/list", "*/*").await;
    assert_eq!((cut.status().as_u16(), cut.content_length()), (200, Some(18)));
    assert!(cut.bytes().await.is_err());
    let manifest = ask(&fake, "GET /v2/app/manifests/v1", ACCEPT_ALL).await;
    assert_eq!(manifest.headers()["docker-content-digest"].to_str().unwrap(), wrong);
    let statuses: Vec<u16> = fake.requests().iter().map(|logged| logged.status).collect();
    assert_eq!(statuses, [429, 200, 0, 200, 200]);
}

#[tokio::test]
async fn state_can_change_between_two_requests() {
    let fake = with_tags(Personality::V3_1, &["v1"]);
    let mut lists = 0;
    fake.before(move |request, state| {
        lists += u32::from(request.is("GET", "/v2/app/tags/list"));
        if lists == 2 {
            state.push("app", "v2", &Image::new("another").build());
        }
    });
    assert_eq!(list(&fake, "/v2/app/tags/list").await.1, json!(["v1"]));
    assert_eq!(list(&fake, "/v2/app/tags/list").await.1, json!(["v1", "v2"]));
}

#[tokio::test]
async fn overlapping_requests_are_counted() {
    let fake = FakeRegistry::options(Personality::V2_8).latency(Duration::from_millis(50)).start();
    let base = || ask(&fake, "GET /v2/", "*/*");
    futures_util::future::join3(base(), base(), base()).await;
    assert_eq!(fake.peak_concurrency(), 3);
}

#[tokio::test]
async fn deleted_manifest_can_be_pushed_again() {
    let fake = with_tags(Personality::V2_8, &["v1"]);
    let image = Image::new("image").build();
    ask(&fake, &format!("DELETE /v2/app/manifests/{}", image.digest), "*/*").await;
    Pusher::new(&fake.url()).push("app", "v1", &image).await.unwrap();
    assert_eq!(fake.tags("app"), [("v1".to_owned(), image.digest)].into());
}
