//! Restoring manifests: they are pushed byte for byte, or the registry reports which part is missing.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use regsweep::model::{Digest, RepositoryName, Tag};
use regsweep::registry::{Error, Kind, Observer, RawManifest, Reader, Restore, Restorer, read_manifest};

use crate::compatibility::auth::scopes;
use crate::compatibility::harness::{Case, EVERY, QUICK, filled, html, image, old, once, refusal};
use crate::support::fake_registry::{Auth, Canned, FakeRegistry, Personality};
use crate::support::image::{Artifact, Content, DOCKER_MANIFEST, Image, Index, OCI_MANIFEST, signature_tag};

pub(crate) fn app() -> RepositoryName {
    RepositoryName::parse("app").unwrap()
}

pub(crate) fn digest(text: &str) -> Digest {
    Digest::parse(text).unwrap()
}

fn raw(content: &Content) -> RawManifest {
    RawManifest { media_type: content.media_type.to_owned(), body: Bytes::from(content.manifest.clone()) }
}

async fn put(restorer: &Restorer, content: &Content) -> Result<(), Error> {
    restorer.put(&app(), Restore::Digest, &raw(content), &digest(&content.digest)).await
}

/// One manifest of each kind, each after those that it needs.
fn everything() -> Vec<(Option<String>, Content)> {
    let [amd64, arm64] = ["amd64", "arm64"].map(|name| image(name, 1));
    let index = Index::oci().child(&amd64).child(&arm64).build();
    let docker = Image::new("docker").docker().build();
    let list = Index::docker().child(&docker).build();
    let sbom = Artifact::referrer("sbom", "application/spdx+json", &index).build();
    let signature = Artifact::signature(&index.digest).build();
    let signed = signature_tag(&index.digest);
    vec![
        (None, amd64),
        (None, arm64),
        (Some("index".into()), index),
        (None, docker),
        (Some("list".into()), list),
        (Some("sbom".into()), sbom),
        (Some(signed), signature),
    ]
}

#[tokio::test]
async fn manifests_are_restored_byte_for_byte() {
    for personality in EVERY {
        let fake = filled(personality, &["app"]);
        let contents = everything();
        for (tag, content) in &contents {
            match tag {
                Some(tag) => fake.push("app", tag, content),
                None => fake.push_untagged("app", content),
            }
        }
        let mut before = None;
        fake.change(|state| before = state.repositories.get("app").cloned());
        let case = Case::of(&fake);
        let (deleter, restorer) = (case.reader.deleter(), case.reader.restorer());
        let mut kept = Vec::new();
        for (tag, content) in contents.iter().rev() {
            let digest = digest(&content.digest);
            let raw = case.reader.raw_manifest(&app(), &digest).await.unwrap().unwrap();
            assert_eq!((raw.media_type.as_str(), &raw.body[..]), (content.media_type, &content.manifest[..]));
            kept.push((tag, digest, raw));
        }
        for (_, digest, _) in &kept {
            deleter.manifest(&app(), digest).await.unwrap();
            assert_eq!(case.reader.raw_manifest(&app(), digest).await.unwrap(), None, "{personality:?}");
        }
        for (tag, digest, raw) in kept.iter().rev() {
            restorer.put(&app(), Restore::Digest, raw, digest).await.unwrap();
            if let Some(tag) = tag {
                let tag = Tag::parse(tag).unwrap();
                restorer.put(&app(), Restore::Tag(&tag), raw, digest).await.unwrap();
            }
        }
        fake.change(|state| assert_eq!(state.repositories.get("app"), before.as_ref(), "{personality:?}"));
    }
}

#[tokio::test]
async fn missing_part_is_reported_by_its_error_code() {
    for personality in EVERY {
        let fake = FakeRegistry::start(personality);
        let one = image("one", 1);
        let index = Index::oci().child(&one).build();
        let (config, layer) = (one.config_digest(), crate::support::image::digest(&one.blobs[1]));
        fake.push_untagged("app", &one);
        let case = Case::of(&fake);
        let restorer = case.reader.restorer();
        for missing in [config, layer] {
            fake.change(|state| drop(state.repositories.get_mut("app").unwrap().blobs.remove(&missing)));
            assert!(!case.reader.has_blob(&app(), &digest(&missing)).await.unwrap());
            let error = put(&restorer, &one).await.unwrap_err();
            assert!(error.has_code("MANIFEST_BLOB_UNKNOWN") && error.kind == Kind::Invalid, "{error}");
            assert!(error.to_string().starts_with("PUT http"), "{error}");
        }
        case.reader.deleter().manifest(&app(), &digest(&one.digest)).await.unwrap();
        assert!(put(&restorer, &index).await.unwrap_err().has_code("MANIFEST_BLOB_UNKNOWN"));
        assert_eq!(case.reader.traffic().retries, 0, "a retry could not help");
        assert_eq!(fake.manifests("app"), [].into());
    }
}

#[tokio::test]
async fn transient_failure_of_a_put_is_retried() {
    let content = image("one", 1);
    for answer in [html(503), refusal(429, "TOOMANYREQUESTS"), Canned::dropped()] {
        for lost in [false, true] {
            let fake = FakeRegistry::start(Personality::V2_8);
            fake.push_untagged("app", &content);
            fake.change(|state| state.repositories.get_mut("app").unwrap().manifests.clear());
            let mut answer = Some(answer.clone());
            if lost {
                // The registry stored it, and its answer was lost.
                fake.after(move |_, reply| *reply = answer.take().unwrap_or_else(|| reply.clone()));
            } else {
                fake.on(once(|request| request.method == "PUT", answer.take().unwrap()));
            }
            let case = Case::of(&fake);
            put(&case.reader.restorer(), &content).await.unwrap();
            assert_eq!(case.reader.traffic().retries, 1);
            assert_eq!(fake.manifests("app"), [content.digest.clone()].into());
        }
    }
}

#[tokio::test]
async fn put_fails_when_the_registry_stores_another_manifest() {
    let (one, other) = (image("one", 1), image("other", 2));
    let tag = Tag::parse("v1").unwrap();
    for (answer, good) in [
        (Canned::status(201), true),
        (Canned::status(200), true),
        (Canned::status(202), true),
        (Canned::status(201).header("docker-content-digest", &one.digest), true),
        (Canned::status(201).header("docker-content-digest", &other.digest), false),
        (Canned::status(201).header("docker-content-digest", "none"), false),
        (Canned::status(204), false),
        (html(404), false),
    ] {
        let fake = FakeRegistry::start(Personality::V3_1);
        let row = format!("{answer:?}");
        fake.on(move |request| (request.method == "PUT").then(|| answer.clone()));
        let restorer = Case::of(&fake).reader.restorer();
        for reference in [Restore::Digest, Restore::Tag(&tag)] {
            let result = restorer.put(&app(), reference, &raw(&one), &digest(&one.digest)).await;
            assert_eq!(result.is_ok(), good, "{row}: {result:?}");
        }
    }
}

#[tokio::test]
async fn put_sends_nothing_invalid() {
    let fake = FakeRegistry::start(Personality::V2_8);
    let restorer = Case::of(&fake).reader.restorer();
    let (one, other) = (image("one", 1), image("other", 2));
    let tag = Tag::parse("v1").unwrap();
    let error = restorer.put(&app(), Restore::Tag(&tag), &raw(&one), &digest(&other.digest)).await;
    assert_eq!(error.unwrap_err().kind, Kind::DigestMismatch);
    let split = RawManifest { media_type: "text/plain\r\nx: y".into(), ..raw(&one) };
    let error = restorer.put(&app(), Restore::Digest, &split, &digest(&one.digest)).await;
    assert_eq!(error.unwrap_err().kind, Kind::Invalid);
    assert_eq!(fake.requests(), []);
}

#[tokio::test]
async fn redirect_of_an_upload_is_not_followed() {
    let elsewhere = filled(Personality::V2_8, &["app"]);
    for status in [301, 302, 303, 307, 308] {
        let fake = filled(Personality::V2_8, &["app"]);
        let location = elsewhere.url();
        fake.on(move |request| {
            let answer =
                || Canned::status(status).header("location", format!("{location}{}", request.target));
            (request.method == "PUT").then(answer)
        });
        let error = put(&Case::of(&fake).reader.restorer(), &old("app", 1)).await.unwrap_err();
        assert_eq!(error.status.map(|status| status.as_u16()), Some(status));
    }
    assert_eq!(elsewhere.requests(), []);
}

const BASIC: &str = "auth: { basic: { username: ann, password: { env: SECRET } } }";

#[tokio::test]
async fn token_for_a_put_has_the_push_scope() {
    let fake = FakeRegistry::options(Personality::V2_8).auth(Auth::bearer("ann", "secret")).start();
    let content = image("one", 1);
    fake.push_untagged("app", &content);
    let case = Case::with(&fake, BASIC);
    put(&case.reader.restorer(), &content).await.unwrap();
    put(&case.reader.restorer(), &content).await.unwrap();
    assert_eq!(scopes(&fake), ["repository:app:pull,push"]);
    case.reader.raw_manifest(&app(), &digest(&content.digest)).await.unwrap().unwrap();
    assert!(case.reader.has_blob(&app(), &digest(&content.config_digest())).await.unwrap());
    assert_eq!(scopes(&fake), ["repository:app:pull,push", "repository:app:pull"]);
}

/// Records methods and statuses.
#[derive(Default)]
struct Methods(Mutex<Vec<(&'static str, Option<u16>)>>);

impl Observer for Methods {
    fn request_finished(&self, method: &'static str, status: Option<u16>, _taken: Duration) {
        self.0.lock().unwrap().push((method, status));
    }

    fn request_retried(&self) {}
}

#[tokio::test]
async fn observer_is_told_of_a_put() {
    let fake = filled(Personality::V2_8, &["app"]);
    let case = Case::of(&fake);
    let methods = Arc::new(Methods::default());
    let reader = Reader::new(&case.config.registries[0], QUICK, methods.clone()).unwrap();
    put(&reader.restorer(), &old("app", 1)).await.unwrap();
    assert_eq!(*methods.0.lock().unwrap(), [("PUT", Some(201))]);
}

#[tokio::test]
async fn raw_manifest_is_missing_only_by_the_registry_s_own_code() {
    let content = image("one", 1);
    for personality in EVERY {
        let fake = FakeRegistry::start(personality);
        let case = Case::of(&fake);
        assert_eq!(
            case.reader.raw_manifest(&app(), &digest(&content.digest)).await.unwrap(),
            None,
            "no repository"
        );
        fake.push("app", "other", &image("other", 2));
        assert_eq!(case.reader.raw_manifest(&app(), &digest(&content.digest)).await.unwrap(), None);
    }
    for (answer, kind) in [
        (html(404), Kind::NotFound),
        (refusal(404, "BLOB_UNKNOWN"), Kind::NotFound),
        (refusal(403, "DENIED"), Kind::Forbidden),
        (Canned::status(304), Kind::Invalid),
        (html(200), Kind::DigestMismatch),
        (Canned::dropped(), Kind::Interrupted),
    ] {
        let fake = FakeRegistry::start(Personality::V3_1);
        fake.on(move |_| Some(answer.clone()));
        let error = Case::of(&fake).reader.raw_manifest(&app(), &digest(&content.digest)).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
    }
}

#[tokio::test]
async fn raw_manifest_matches_its_digest() {
    let (one, other) = (image("one", 1), image("other", 2));
    let mut silent = one.json();
    silent.as_object_mut().unwrap().remove("mediaType");
    let silent = silent.to_string().into_bytes();
    let answer = |media_type: &str, body: &[u8]| {
        let answer = Canned::status(200).body(body);
        if media_type.is_empty() { answer } else { answer.header("content-type", media_type) }
    };
    let old_type = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let with_charset = format!("{OCI_MANIFEST}; charset=utf-8");
    for (body, asked, given, expected) in [
        (&one.manifest, &one.digest, OCI_MANIFEST, Ok(OCI_MANIFEST)),
        (&one.manifest, &one.digest, &with_charset, Ok(OCI_MANIFEST)),
        (&one.manifest, &one.digest, "", Ok(OCI_MANIFEST)),
        (&one.manifest, &one.digest, "application/octet-stream", Ok(OCI_MANIFEST)),
        (&silent, &crate::support::image::digest(&silent), "", Err(Kind::Invalid)),
        (&silent, &crate::support::image::digest(&silent), "text/json", Ok("text/json")),
        (&other.manifest, &one.digest, OCI_MANIFEST, Err(Kind::DigestMismatch)),
        // The signature does not cover all of the content.
        (&other.manifest, &one.digest, old_type, Ok(old_type)),
    ] {
        let fake = FakeRegistry::start(Personality::V2_8);
        let reply = answer(given, body);
        fake.on(move |_| Some(reply.clone()));
        let found = Case::of(&fake).reader.raw_manifest(&app(), &digest(asked)).await;
        let found = found.map(|found| found.unwrap().media_type).map_err(|error| error.kind);
        assert_eq!(found, expected.map(str::to_owned), "{given}");
        let asked = &fake.requests()[0];
        assert_eq!(asked.if_none_match, None);
        assert_eq!(asked.accept.as_deref(), Some(crate::support::image::ACCEPT_ALL));
    }
    let fake = FakeRegistry::start(Personality::V2_8);
    let reply = answer(OCI_MANIFEST, &one.manifest).header("docker-content-digest", &other.digest);
    fake.on(move |_| Some(reply.clone()));
    let error = Case::of(&fake).reader.raw_manifest(&app(), &digest(&one.digest)).await.unwrap_err();
    assert_eq!(error.kind, Kind::DigestMismatch);
}

#[test]
fn read_manifest_lists_what_a_manifest_needs() {
    let all = everything();
    let read = |content: &Content| {
        read_manifest(&digest(&content.digest), content.media_type, &content.manifest).unwrap()
    };
    let (index, sbom) = (&all[2].1, &all[5].1);
    let children: Vec<Digest> = index.children.iter().map(|child| digest(&child.digest)).collect();
    assert_eq!(read(index).children, children);
    assert_eq!(read(sbom).subject, Some(digest(&index.digest)));
    assert_eq!(read(&all[0].1).blobs.len(), 2);
    let zeros = digest(&format!("sha256:{}", "0".repeat(64)));
    assert!(read_manifest(&zeros, OCI_MANIFEST, &index.manifest).is_err(), "other bytes");
    assert!(read_manifest(&Digest::of(b"{}"), DOCKER_MANIFEST, b"{}").is_err(), "no manifest");
    let old_type = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let old = read_manifest(&zeros, old_type, b"{}").unwrap();
    assert_eq!((old.digest, old.blobs.len()), (zeros, 0));
}
