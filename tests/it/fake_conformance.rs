//! The fake registry answers as the real one: the same requests, in the same order, to both.

use reqwest::{Client, Method};
use serde_json::Value;

use crate::support::fake_registry::{Auth, FakeRegistry, Options as FakeOptions, Personality};
use crate::support::image::{
    ACCEPT_ALL, Artifact, Content, DOCKER_LIST, DOCKER_MANIFEST, Image, Index, OCI_INDEX, OCI_MANIFEST,
    dangling_digest, digest, signature_tag,
};
use crate::support::real_registry::{Options as RealOptions, RealRegistry};

/// The compared parts of an answer.
#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    headers: Vec<(&'static str, Option<String>)>,
    body: Result<Value, String>,
}

const HEADERS: [&str; 13] = [
    "accept-ranges",
    "allow",
    "cache-control",
    "content-length",
    "content-range",
    "content-type",
    "docker-content-digest",
    "docker-distribution-api-version",
    "etag",
    "link",
    "location",
    "www-authenticate",
    "x-content-type-options",
];

/// Sends `METHOD path`, with headers as pairs.
async fn ask(client: &Client, base: &str, request: &str, headers: &[(&str, &str)]) -> Answer {
    send(client, base, request, headers, &[]).await
}

async fn send(client: &Client, base: &str, request: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let (method, path) = request.split_once(' ').unwrap();
    let mut asked = client.request(Method::from_bytes(method.as_bytes()).unwrap(), format!("{base}{path}"));
    for (name, value) in headers {
        asked = asked.header(*name, *value);
    }
    let answer = asked.body(body.to_vec()).send().await.unwrap();
    let header = |name: &str| {
        let value = answer.headers().get(name)?.to_str().unwrap();
        // A location names the host, which differs.
        Some(value.replace(base, ""))
    };
    let (status, headers) = (answer.status().as_u16(), HEADERS.map(|name| (name, header(name))).to_vec());
    let body = answer.text().await.unwrap_or_else(|_| "breaks off".into());
    let mut json: Result<Value, String> = serde_json::from_str(&body).map_err(|_| body);
    if let Ok(Some(tags)) = json.as_mut().map(|json| json.get_mut("tags").and_then(Value::as_array_mut)) {
        // 2.8 lists tags in no order at all.
        tags.sort_by_key(Value::to_string);
    }
    Answer { status, headers, body: json }
}

/// A real and a fake registry that hold the same.
struct Both {
    real: RealRegistry,
    fake: FakeRegistry,
    client: Client,
}

struct Pushed {
    image: Content,
    docker: Content,
    index: Content,
    list: Content,
}

impl Both {
    fn empty(real: RealOptions, fake: FakeOptions) -> Self {
        // An answer that breaks off ends its connection, so no connection is used twice.
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).pool_max_idle_per_host(0);
        let client = client.build().unwrap();
        Self { real: real.start(), fake: fake.start(), client }
    }

    fn start(real: RealOptions, fake: FakeOptions) -> (Self, Pushed) {
        let image = Image::new("image").build();
        let docker = Image::new("docker").docker().build();
        let arm = Image::new("arm").docker().platform("linux", "arm64").build();
        let index = Index::oci().child(&image).build();
        let list = Index::docker().child(&arm).child(&docker).build();
        let both = Self::empty(real, fake);
        for (tag, content) in [
            ("v1", &image),
            ("same", &image),
            ("docker", &docker),
            ("index", &index),
            ("list", &list),
            ("list-arm", &Index::docker().child(&arm).build()),
            ("chart", &Artifact::helm("chart").build()),
        ] {
            both.push("app", tag, content);
        }
        for name in ["a", "a/b", "a-b", "b/2"] {
            both.push(name, "v1", &Image::new(name).build());
        }
        both.real.store().write("untagged", &[], &image);
        both.fake.push_untagged("untagged", &image);
        both.real.store().write_dangling_tag("app", "dangling");
        both.fake.add_dangling_tag("app", "dangling");
        (both, Pushed { image, docker, index, list })
    }

    fn push(&self, repository: &str, tag: &str, content: &Content) {
        self.real.store().write(repository, &[tag], content);
        self.fake.push(repository, tag, content);
    }

    async fn agree(&self, request: &str, headers: &[(&str, &str)]) {
        let real = ask(&self.client, &self.real.url(), request, headers).await;
        let fake = ask(&self.client, &self.fake.url(), request, headers).await;
        assert_eq!(fake, real, "{request} {headers:?}: the fake on the left, the real one on the right");
    }

    /// The same for a manifest that is put there.
    async fn agree_to_put(&self, path: &str, media_type: &str, body: &[u8]) {
        let (request, headers) = (format!("PUT {path}"), [("content-type", media_type)]);
        let real = send(&self.client, &self.real.url(), &request, &headers, body).await;
        let fake = send(&self.client, &self.fake.url(), &request, &headers, body).await;
        let body = String::from_utf8_lossy(body);
        assert_eq!(
            fake, real,
            "{request} {media_type} {body}: the fake on the left, the real one on the right"
        );
    }

    async fn all_agree(&self, requests: &[&str]) {
        for request in requests {
            self.agree(request, &[("accept", ACCEPT_ALL)]).await;
        }
    }
}

fn plain() -> (Both, Pushed) {
    Both::start(RealRegistry::options(), FakeRegistry::options(Personality::V2_8))
}

const ZEROS: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

#[tokio::test]
async fn lists_agree() {
    let (both, _) = plain();
    both.all_agree(&[
        "GET /",
        "GET /v2",
        "GET /v2/",
        "OPTIONS /v2/",
        "HEAD /v2/",
        "GET /v2/_catalog",
        "GET /v2/_catalog?n=0",
        "GET /v2/_catalog?n=-1",
        "GET /v2/_catalog?n=many",
        "GET /v2/_catalog?n=1000",
        "GET /v2/_catalog?n=1001",
        "GET /v2/_catalog?n=2",
        "GET /v2/_catalog?n=2&last=a%2Fb",
        "GET /v2/_catalog?n=4",
        "GET /v2/_catalog?n=6",
        "GET /v2/_catalog?n=7",
        "GET /v2/_catalog?last=untagged&n=2",
        "GET /v2/_catalog?last=b",
        "HEAD /v2/_catalog",
        "POST /v2/_catalog",
        "OPTIONS /v2/_catalog",
        "GET /v2/app/tags/list",
        "GET /v2/app/tags/list?n=1&last=v1",
        "GET /v2/app/tags/list?n=-1",
        "GET /v2/untagged/tags/list",
        "GET /v2/absent/tags/list",
        "GET /v2/Absent/tags/list",
        "HEAD /v2/app/tags/list",
        "GET /v2/app/elsewhere",
    ])
    .await;
}

#[tokio::test]
async fn pages_of_a_small_catalog_agree() {
    let real = RealRegistry::options().max_entries(2);
    let fake = FakeRegistry::options(Personality::V2_8).max_entries(2);
    let (both, _) = Both::start(real, fake);
    let pages = ["GET /v2/_catalog", "GET /v2/_catalog?n=2", "GET /v2/_catalog?n=3", "GET /v2/_catalog?n=1"];
    both.all_agree(&pages).await;
}

#[tokio::test]
async fn catalog_that_ends_early_agrees() {
    let both = Both::empty(RealRegistry::options(), FakeRegistry::options(Personality::V2_8));
    for name in ["1z", "a/1x", "a", "a/b", "b", "c/1/2", "c/1/3", "c/1", "c", "d/0/e", "d"] {
        both.push(name, "v1", &Image::new(name).build());
    }
    both.agree("GET /v2/_catalog", &[]).await;
    for last in ["", "1z", "a/1x", "a", "a/0", "b", "c/1/2", "c/1/3", "c/1", "d"] {
        for n in 1..6 {
            both.agree(&format!("GET /v2/_catalog?n={n}&last={last}"), &[]).await;
        }
    }
}

#[tokio::test]
async fn manifests_and_blobs_agree() {
    let (both, pushed) = plain();
    let referrers = format!("GET /v2/app/referrers/{}", pushed.image.digest);
    let mut requests = vec![referrers];
    for method in ["GET", "HEAD"] {
        for tag in ["v1", "docker", "index", "list", "chart", "dangling", "none", "sha256:abc"] {
            requests.push(format!("{method} /v2/app/manifests/{tag}"));
        }
        for content in [&pushed.image, &pushed.docker, &pushed.index, &pushed.list] {
            requests.push(format!("{method} /v2/app/manifests/{}", content.digest));
            requests.push(format!("{method} /v2/app/blobs/{}", content.digest));
        }
        let config = pushed.image.config_digest();
        requests.push(format!("{method} /v2/app/blobs/{config}"));
        requests.push(format!("{method} /v2/absent/blobs/{config}"));
        requests.push(format!("{method} /v2/app/blobs/sha256:abc"));
        requests.push(format!("{method} /v2/app/manifests/{ZEROS}"));
        // A layer and a configuration are found there, and are no manifests.
        for blob in &pushed.image.blobs {
            requests.push(format!("{method} /v2/app/manifests/{}", digest(blob)));
        }
        requests.push(format!("{method} /v2/absent/manifests/{ZEROS}"));
        requests.push(format!("{method} /v2/absent/manifests/v1"));
    }
    requests.push("OPTIONS /v2/app/manifests/x".into());
    requests.push(format!("OPTIONS /v2/app/blobs/{ZEROS}"));
    requests.push("POST /v2/app/manifests/x".into());
    both.all_agree(&requests.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn ranges_of_a_blob_agree() {
    let (both, pushed) = plain();
    let empty = Content { blobs: vec![Vec::new(), Vec::new()], ..Image::new("empty").build() };
    both.push("app", "empty", &empty);
    let config = pushed.image.config_digest();
    let ranges =
        ["bytes=0-0", "bytes=3-5", "bytes=7-", "bytes=-3", "bytes=0-999999", "bytes=999999-", "junk"];
    for method in ["GET", "HEAD"] {
        for range in ranges {
            for blob in [config.as_str(), &digest(b""), ZEROS] {
                both.agree(&format!("{method} /v2/app/blobs/{blob}"), &[("range", range)]).await;
            }
            both.agree(&format!("{method} /v2/absent/blobs/{config}"), &[("range", range)]).await;
        }
        let known = [("range", "bytes=0-0"), ("if-none-match", &format!("\"{config}\""))];
        both.agree(&format!("{method} /v2/app/blobs/{config}"), &known).await;
    }
}

#[tokio::test]
async fn pushes_of_manifests_agree() {
    let (both, pushed) = plain();
    let Pushed { image, docker, index, list } = &pushed;
    let sbom = Artifact::referrer("sbom", "application/spdx+json", image).build();
    both.push("app", "sbom", &sbom);
    let arm = &list.children[0];
    let silent = {
        let mut manifest = image.json();
        manifest.as_object_mut().unwrap().remove("mediaType");
        manifest.to_string().into_bytes()
    };
    let path = |reference: &str| format!("/v2/app/manifests/{reference}");
    for content in [index, image, list, docker, arm, &sbom] {
        both.agree(&format!("DELETE {}", path(&content.digest)), &[]).await;
    }
    // An index before its children, and then after them; all by digest, and some of it by tag.
    for content in [index, list, image, docker, arm, &sbom, index, list] {
        for _ in 0..2 {
            both.agree_to_put(&path(&content.digest), content.media_type, &content.manifest).await;
        }
        both.agree(&format!("GET {}", path(&content.digest)), &[("accept", ACCEPT_ALL)]).await;
    }
    for (tag, content) in [("v1", image), ("list", list), ("index", index), (&signature_tag(ZEROS), &sbom)] {
        both.agree_to_put(&path(tag), content.media_type, &content.manifest).await;
        both.agree(&format!("GET {}", path(tag)), &[("accept", ACCEPT_ALL)]).await;
    }
    let foreign = Image::new("foreign").build();
    for (reference, media_type, body) in [
        (ZEROS, OCI_MANIFEST, &image.manifest[..]),
        ("sha256:abc", OCI_MANIFEST, &image.manifest),
        ("v2", "", &image.manifest),
        ("v2", "text/plain", &image.manifest),
        ("v2", DOCKER_MANIFEST, &image.manifest),
        ("v2", OCI_INDEX, &image.manifest),
        ("v2", OCI_MANIFEST, b""),
        ("v2", OCI_MANIFEST, b"{"),
        ("v2", OCI_MANIFEST, &foreign.manifest),
        (&foreign.digest, OCI_MANIFEST, &foreign.manifest),
        ("with-charset", &format!("{OCI_MANIFEST}; charset=utf-8"), &image.manifest),
        ("silent", OCI_MANIFEST, &silent),
        ("silent", DOCKER_MANIFEST, &silent),
    ] {
        both.agree_to_put(&path(reference), media_type, body).await;
    }
    for blob in [image.config_digest(), digest(&image.blobs[1])] {
        std::fs::remove_file(both.real.store().blob_path(&blob)).unwrap();
        both.fake.change(|state| drop(state.repositories.get_mut("app").unwrap().blobs.remove(&blob)));
        both.agree(&format!("GET /v2/app/blobs/{blob}"), &[("range", "bytes=0-0")]).await;
        both.agree_to_put(&path(&image.digest), image.media_type, &image.manifest).await;
    }
    both.agree_to_put("/v2/new/manifests/v1", image.media_type, &image.manifest).await;
    both.all_agree(&["GET /v2/app/tags/list", "GET /v2/new/tags/list", "GET /v2/_catalog"]).await;
    assert_eq!(both.fake.tags("app"), both.real.store().repository("app").tags);
    assert_eq!(both.fake.manifests("app"), both.real.store().repository("app").manifests);
}

#[tokio::test]
async fn accepted_types_agree() {
    let (both, pushed) = plain();
    let with_weight = format!("{OCI_MANIFEST};q=0.5, {OCI_INDEX} ; q=1");
    let accepts =
        ["*/*", "application/json", OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST, &with_weight];
    for tag in ["v1", "docker", "index", "list", "list-arm", "chart"] {
        for accept in accepts {
            both.agree(&format!("GET /v2/app/manifests/{tag}"), &[("accept", accept)]).await;
        }
    }
    for content in [&pushed.image, &pushed.docker, &pushed.index, &pushed.list] {
        both.agree(&format!("GET /v2/app/manifests/{}", content.digest), &[("accept", "*/*")]).await;
    }
    let two = [("accept", OCI_INDEX), ("accept", OCI_MANIFEST)];
    both.agree("GET /v2/app/manifests/v1", &two).await;
}

#[tokio::test]
async fn conditional_requests_agree() {
    let (both, pushed) = plain();
    let (bare, other) = (pushed.image.digest.as_str(), pushed.docker.digest.as_str());
    let etags = [
        bare,
        other,
        &format!("\"{bare}\""),
        &format!("W/\"{bare}\""),
        "*",
        &format!("\"{other}\", \"{bare}\""),
    ];
    for method in ["GET", "HEAD"] {
        for etag in etags {
            let headers = [("accept", ACCEPT_ALL), ("if-none-match", etag)];
            both.agree(&format!("{method} /v2/app/manifests/v1"), &headers).await;
            both.agree(&format!("{method} /v2/app/manifests/{bare}"), &headers).await;
        }
    }
    // The condition is checked before the manifest and its type are.
    for (reference, etag) in
        [("dangling", dangling_digest("dangling")), (ZEROS, ZEROS.into()), ("v1", bare.into())]
    {
        both.agree(&format!("GET /v2/app/manifests/{reference}"), &[("if-none-match", &etag)]).await;
    }
    let config = pushed.image.config_digest();
    let etag = format!("\"{config}\"");
    both.agree(&format!("GET /v2/app/blobs/{config}"), &[("if-none-match", &etag)]).await;
}

#[tokio::test]
async fn deletions_agree() {
    let (both, pushed) = plain();
    let layer = Image::new("a").build();
    let layer = layer.json()["layers"][0]["digest"].as_str().unwrap().to_owned();
    let Pushed { image, docker, .. } = pushed;
    both.all_agree(&[
        "DELETE /v2/app/manifests/v1",
        "DELETE /v2/app/manifests/none",
        "DELETE /v2/app/manifests/sha256:abc",
        &format!("DELETE /v2/app/manifests/{ZEROS}"),
        &format!("DELETE /v2/absent/manifests/{ZEROS}"),
        &format!("DELETE /v2/app/manifests/{}", image.digest),
        "GET /v2/app/tags/list",
        "GET /v2/app/manifests/v1",
        "GET /v2/app/manifests/same",
        "GET /v2/app/manifests/index",
        &format!("GET /v2/app/blobs/{}", image.config_digest()),
        &format!("DELETE /v2/app/manifests/{}", image.digest),
        &format!("DELETE /v2/app/manifests/{}", dangling_digest("dangling")),
        "GET /v2/app/tags/list",
        &format!("DELETE /v2/app/manifests/{}", docker.digest),
        &format!("DELETE /v2/a/manifests/{}", Image::new("a").build().digest),
        "GET /v2/a/tags/list",
        "GET /v2/_catalog",
        &format!("DELETE /v2/a/manifests/{layer}"),
        &format!("GET /v2/a/blobs/{layer}"),
        &format!("DELETE /v2/app/blobs/{}", image.config_digest()),
        &format!("DELETE /v2/app/blobs/{}", image.config_digest()),
        &format!("GET /v2/app/blobs/{}", image.config_digest()),
    ])
    .await;
    assert_eq!(both.fake.tags("app"), both.real.store().repository("app").tags);
    assert_eq!(both.fake.manifests("app"), both.real.store().repository("app").manifests);
}

#[tokio::test]
async fn refused_deletions_agree() {
    let disabled = Both::start(
        RealRegistry::options().delete_disabled(),
        FakeRegistry::options(Personality::V2_8).delete_disabled(),
    );
    let readonly =
        Both::start(RealRegistry::options().readonly(), FakeRegistry::options(Personality::V2_8).readonly());
    for (both, pushed) in [disabled, readonly] {
        both.agree_to_put("/v2/app/manifests/v2", OCI_MANIFEST, &pushed.image.manifest).await;
        both.all_agree(&[
            &format!("DELETE /v2/app/manifests/{}", pushed.image.digest),
            &format!("DELETE /v2/app/manifests/{ZEROS}"),
            &format!("DELETE /v2/app/blobs/{}", pushed.image.config_digest()),
            "DELETE /v2/app/manifests/v1",
            "OPTIONS /v2/app/manifests/v1",
            &format!("OPTIONS /v2/app/blobs/{ZEROS}"),
            "GET /v2/app/manifests/v1",
        ])
        .await;
    }
}

#[tokio::test]
async fn password_and_prefix_agree() {
    let real = RealRegistry::options().htpasswd("ann", "secret").prefix("/reg/");
    let fake = FakeRegistry::options(Personality::V2_8).auth(Auth::basic("ann", "secret")).prefix("/reg");
    let (both, pushed) = Both::start(real, fake);
    let requests = [
        "GET /v2/",
        "GET /v2/_catalog?n=2",
        "GET /v2/app/manifests/v1",
        "HEAD /v2/app/manifests/v1",
        "OPTIONS /v2/app/manifests/v1",
        &format!("DELETE /v2/app/manifests/{}", pushed.image.digest),
    ];
    let wrong = "Basic YW5uOm90aGVy";
    for request in requests {
        both.agree(request, &[("accept", ACCEPT_ALL)]).await;
        both.agree(request, &[("accept", ACCEPT_ALL), ("authorization", wrong)]).await;
    }
    for request in requests {
        let known = [("accept", ACCEPT_ALL), ("authorization", "Basic YW5uOnNlY3JldA==")];
        both.agree(request, &known).await;
    }
    let host = (format!("http://{}", both.real.host()), format!("http://{}", both.fake.host()));
    assert_eq!(
        ask(&both.client, &host.0, "GET /v2/app/tags/list", &[]).await,
        ask(&both.client, &host.1, "GET /v2/app/tags/list", &[]).await
    );
}
