//! Whether a registry has a blob, by a request for its first byte.

use regsweep::registry::{Error, Kind};

use crate::compatibility::harness::{Case, EVERY, html, image, refusal};
use crate::compatibility::restore::{app, digest};
use crate::support::fake_registry::{Auth, Canned, FakeRegistry, Personality};
use crate::support::image::{self, Content};

async fn has(fake: &FakeRegistry, blob: &str) -> Result<bool, Error> {
    Case::of(fake).reader.has_blob(&app(), &digest(blob)).await
}

fn with_blobs(personality: Personality, blobs: &[&[u8]]) -> FakeRegistry {
    let fake = FakeRegistry::start(personality);
    let blobs = blobs.iter().map(|blob| blob.to_vec()).collect();
    fake.push_untagged("app", &Content { blobs, ..image("one", 1) });
    fake
}

#[tokio::test]
async fn blob_is_found_until_it_is_deleted() {
    for personality in EVERY {
        let fake = with_blobs(personality, &[b"blob", b""]);
        for blob in [&b"blob"[..], b""] {
            let blob = image::digest(blob);
            assert!(has(&fake, &blob).await.unwrap(), "{personality:?}");
            fake.change(|state| drop(state.repositories.get_mut("app").unwrap().blobs.remove(&blob)));
            assert!(!has(&fake, &blob).await.unwrap(), "{personality:?}");
        }
        let manifest = image("one", 1).digest;
        assert!(!has(&fake, &manifest).await.unwrap(), "{personality:?}: HEAD would say it is");
        fake.change(|state| state.repositories.clear());
        assert!(!has(&fake, &manifest).await.unwrap(), "{personality:?}: no such repository");
    }
}

#[tokio::test]
async fn blob_is_found_without_range_support() {
    let large = vec![7; 9 << 20];
    for body in [large.clone(), large[..9].to_vec(), Vec::new()] {
        let blob = image::digest(&body);
        let fake = with_blobs(Personality::V3_1, &[&body]);
        let length = body.len();
        fake.after(move |_, reply| *reply = Canned::status(200).body(body.clone()));
        assert!(has(&fake, &blob).await.unwrap(), "{length} bytes");
        assert_eq!(fake.requests().len(), 1, "the request was not repeated");
    }
}

#[tokio::test]
async fn unclear_answer_is_an_error() {
    let blob = image::digest(b"blob");
    let of_nothing = Canned::status(416).header("content-range", "bytes */0");
    for (answer, kind) in [
        (html(404), Kind::NotFound),
        (refusal(404, "UNKNOWN"), Kind::NotFound),
        (Canned::status(404).body("x".repeat(1 << 20)), Kind::TooLarge),
        (refusal(400, "BLOB_UNKNOWN"), Kind::Invalid),
        (refusal(403, "DENIED"), Kind::Forbidden),
        (refusal(500, "UNKNOWN"), Kind::Server),
        (Canned::dropped(), Kind::Interrupted),
        (Canned::status(404).body("{\"errors\":").cut_after(3), Kind::Interrupted),
        (Canned::status(200).body("other"), Kind::DigestMismatch),
        (Canned::status(200), Kind::DigestMismatch),
        (Canned::status(206), Kind::Invalid),
        (Canned::status(204), Kind::Invalid),
        (of_nothing, Kind::DigestMismatch),
        (Canned::status(416), Kind::Invalid),
    ] {
        let fake = with_blobs(Personality::V2_8, &[b"blob"]);
        let row = format!("{} {:?}", answer.status, answer.headers);
        fake.on(move |_| Some(answer.clone()));
        let error = has(&fake, &blob).await.expect_err(&row);
        assert_eq!(error.kind, kind, "{row}: {error}");
        assert!(!error.message.contains("restart the registry"), "{row}: {error}");
    }
}

#[tokio::test]
async fn blob_that_is_announced_and_not_sent_is_an_error_with_advice() {
    for status in [200, 206] {
        let fake = with_blobs(Personality::V2_8, &[b"blob"]);
        fake.after(move |_, reply| {
            let cut = Canned::status(status).body("b").cut_after(0);
            *reply = cut;
        });
        let error = has(&fake, &image::digest(b"blob")).await.unwrap_err();
        assert_eq!((error.kind, error.status.map(|it| it.as_u16())), (Kind::Interrupted, Some(status)));
        assert!(error.message.contains("restart the registry"), "{error}");
        assert_eq!(fake.requests().len(), 3, "a broken connection would have been repaired by a retry");
    }
}

#[tokio::test]
async fn blob_on_another_host_is_requested_without_credentials() {
    for auth in [Auth::basic("ann", "secret"), Auth::bearer("ann", "secret")] {
        for (answer, expected) in [
            (None, Ok(true)),
            (Some(refusal(404, "BLOB_UNKNOWN")), Ok(false)),
            (Some(Canned::status(404).body("<Error><Code>NoSuchKey</Code></Error>")), Err(Kind::NotFound)),
            (Some(refusal(403, "AccessDenied")), Err(Kind::Forbidden)),
        ] {
            let elsewhere = with_blobs(Personality::V2_8, &[b"blob"]);
            let fake = FakeRegistry::options(Personality::V2_8).auth(auth.clone()).start();
            fake.push_untagged("app", &Content { blobs: vec![b"blob".to_vec()], ..image("one", 1) });
            let location = elsewhere.url();
            fake.after(move |request, reply| {
                if reply.status == 206 {
                    let target = format!("{location}{}?signature=secret", request.target);
                    *reply = Canned::status(307).header("location", target);
                }
            });
            elsewhere.on(move |_| answer.clone());
            let case = Case::with(&fake, "auth: { basic: { username: ann, password: { env: SECRET } } }");
            let found = case.reader.has_blob(&app(), &digest(&image::digest(b"blob"))).await;
            assert!(found.as_ref().is_ok() || !format!("{found:?}").contains("signature"), "{found:?}");
            assert_eq!(found.map_err(|error| error.kind), expected);
            let there = elsewhere.requests();
            assert_eq!(there.len(), 1);
            assert_eq!(there[0].authorization, None, "{there:?}");
            assert!(expected != Ok(true) || there[0].status == 206, "the range went along: {there:?}");
        }
    }
}
