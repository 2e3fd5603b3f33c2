//! The support code is right: what it pushes can be pulled, and what it writes to a storage is served.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::image::{Artifact, Content, Image, Index, fallback_index, fallback_tag, signature_tag};
use crate::support::push::Pusher;
use crate::support::real_registry::RealRegistry;
use crate::support::skopeo::{skopeo_can_pull, skopeo_inspect_raw, skopeo_pull_all};

/// One content of every kind, with its tag.
fn everything() -> Vec<(String, Content)> {
    let amd64 = Image::new("amd64").layer("base").layer("amd64").label("a", "b").build();
    let arm64 = Image::new("arm64").layer("base").layer("arm64").platform("linux", "arm64").build();
    let index = Index::oci()
        .child(&amd64)
        .child(&arm64)
        .attestation(&Artifact::provenance("amd64").build(), &amd64)
        .annotation("org.opencontainers.image.created", "2026-01-02T00:00:00Z")
        .build();
    let windows = Image::new("windows").docker().platform("windows", "amd64").build();
    let linux = Image::new("linux").docker().layer_bytes(10_000).build();
    let list = Index::docker().child(&windows).child(&linux).build();
    let sbom = Artifact::referrer("sbom", "application/spdx+json", &amd64).build();
    vec![
        ("oci".into(), amd64.clone()),
        ("docker".into(), linux),
        ("index".into(), index),
        ("list".into(), list),
        (signature_tag(&amd64.digest), Artifact::signature(&amd64.digest).build()),
        (fallback_tag(&amd64.digest), fallback_index(&[&sbom])),
        ("sbom".into(), sbom),
        ("chart".into(), Artifact::helm("web").build()),
        ("undated".into(), Image::new("undated").undated().build()),
    ]
}

#[tokio::test]
async fn pushed_content_can_be_pulled_completely() {
    let registry = RealRegistry::start();
    let pusher = Pusher::new(&registry.url());
    for (tag, content) in everything() {
        pusher.push("team/app", &tag, &content).await.unwrap();
        let image = format!("{}/team/app:{tag}", registry.host());
        assert_eq!(skopeo_inspect_raw(&image), content.manifest, "{tag}");
        skopeo_pull_all(&image);
    }
}

#[test]
fn content_written_to_a_store_is_served_completely() {
    let registry = RealRegistry::start();
    let mut store = registry.store();
    for (tag, content) in everything() {
        store.write("team/app", &[&tag, &format!("{tag}.again")], &content);
        skopeo_pull_all(&format!("{}/team/app:{tag}.again", registry.host()));
    }
}

#[tokio::test]
async fn store_reads_what_was_pushed_to_a_registry() {
    let registry = RealRegistry::start();
    let pusher = Pusher::new(&registry.url());
    let (one, two) = (Image::new("one").build(), Image::new("two").build());
    pusher.push("team/app", "v1", &one).await.unwrap();
    pusher.push_untagged("team/app", &two).await.unwrap();
    let mut written = crate::support::store::Store::at(registry.store_path().join("beside"));
    written.write("team/app", &["v1"], &one);
    written.write("team/app", &[], &two);
    assert_eq!(registry.store().contents(), written.contents());
    assert_eq!(written.repository("team/app").tags, [("v1".to_owned(), one.digest.clone())].into());
    assert_eq!(written.repository("team/app").manifests, [one.digest.clone(), two.digest.clone()].into());
    let bytes = |image: &Content| image.manifest.len() + image.blobs.iter().map(Vec::len).sum::<usize>();
    assert_eq!(registry.store().blob_bytes(), (bytes(&one) + bytes(&two)) as u64);
    assert!(registry.store().has_blob(&one.config_digest()));
}

#[tokio::test]
async fn collection_removes_deleted_content_only() {
    let mut registry = RealRegistry::options().cache().start();
    let (gone, kept) = (Image::new("gone").layer("base").build(), Image::new("kept").layer("base").build());
    registry.store().write("app", &["gone"], &gone);
    registry.store().write("app", &["kept"], &kept);
    let url = format!("{}/v2/app/manifests/{}", registry.url(), gone.digest);
    assert_eq!(reqwest::Client::new().delete(url).send().await.unwrap().status(), 202);
    registry.stop();
    let output = registry.garbage_collect(&[]);
    assert!(output.contains("3 blobs marked, 2 blobs and 0 manifests eligible for deletion"), "{output}");
    registry.start_again();
    skopeo_pull_all(&format!("{}/app:kept", registry.host()));
    assert!(!skopeo_can_pull(&format!("{}/app:gone", registry.host())));
    let deleted: Vec<_> = registry.mutating_requests().into_iter().map(|logged| logged.status).collect();
    assert_eq!(deleted, [202]);
}

#[tokio::test]
async fn registry_can_run_with_tls_a_password_and_a_prefix() {
    let options = RealRegistry::options().tls().htpasswd("ann", "secret").prefix("/reg/").max_entries(2);
    let registry = options.start();
    let authority = std::fs::read(registry.ca_file()).unwrap();
    let authority = reqwest::Certificate::from_pem(&authority).unwrap();
    let client = reqwest::Client::builder().add_root_certificate(authority).build().unwrap();
    let catalog = format!("{}/v2/_catalog?n=3", registry.url());
    assert_eq!(client.get(&catalog).send().await.unwrap().status(), 401);
    let known = client.get(&catalog).basic_auth("ann", Some("secret")).send().await.unwrap();
    assert_eq!(known.status(), 400, "three entries are more than the two allowed");
    let pusher = Pusher::new(&registry.url()).client(client).basic("ann", "secret");
    pusher.push("app", "v1", &Image::new("app").build()).await.unwrap();
    assert!(reqwest::get(&catalog).await.is_err(), "other clients do not trust the authority");
}

/// An answer of the registry through the proxy with this fault: status and body, the statuses in the registry's log,
/// and the status in the proxy's log.
async fn through(
    fault: Fault,
    path: &str,
) -> (Result<(u16, Vec<u8>), reqwest::Error>, Vec<u16>, Option<u16>) {
    let registry = RealRegistry::start();
    registry.store().write("app", &["v1"], &Image::new("one").layer("base").build());
    let faults = FaultProxy::before(&registry.host(), move |_| fault);
    let answer = async {
        let answer = reqwest::get(format!("{}{path}", faults.url())).await?;
        let status = answer.status().as_u16();
        Ok((status, answer.bytes().await?.to_vec()))
    };
    let answer = answer.await;
    let asked = registry.requests().into_iter().map(|logged| logged.status).collect();
    let [passed] = &faults.log()[..] else { panic!("{:?}", faults.log()) };
    assert_eq!((passed.number, passed.path.as_str(), passed.fault), (1, path, fault));
    (answer, asked, passed.status)
}

#[tokio::test]
async fn each_fault_has_its_effect() {
    let list = "/v2/app/tags/list";
    let whole = br#"{"name":"app","tags":["v1"]}"#;
    let (answer, asked, status) = through(Fault::None, list).await;
    assert_eq!((answer.unwrap().1.trim_ascii(), asked, status), (&whole[..], vec![200], Some(200)));
    for fault in [Fault::LostAnswer, Fault::ResetIn(5), Fault::Truncate(5), Fault::Truncate(9999)] {
        let (answer, asked, status) = through(fault, list).await;
        assert!(answer.is_err(), "{fault:?}: {answer:?}");
        assert_eq!((asked, status), (vec![200], Some(200)), "{fault:?}");
    }
    let (answer, asked, status) = through(Fault::LostRequest, list).await;
    assert!(answer.is_err());
    assert_eq!((asked, status), (vec![], None));
    let (answer, asked, status) = through(Fault::Status(503, Some(7)), list).await;
    assert_eq!((answer.unwrap().0, asked, status), (503, vec![], None));
    let (answer, asked, status) = through(Fault::Masked(502), list).await;
    assert_eq!((answer.unwrap().0, asked, status), (502, vec![200], Some(200)));
    let (answer, asked, status) = through(Fault::Unframed(5), list).await;
    assert_eq!((answer.unwrap(), asked, status), ((200, whole[..5].to_vec()), vec![200], Some(200)));
}

#[tokio::test]
async fn fault_delays_the_answer() {
    let begin = Instant::now();
    let (answer, ..) = through(Fault::Latency(Duration::from_millis(300)), "/v2/").await;
    assert_eq!(answer.unwrap(), (200, b"{}".to_vec()));
    assert!(begin.elapsed() >= Duration::from_millis(300));
    let begin = Instant::now();
    let (answer, ..) = through(Fault::Drip { bytes: 1, every: Duration::from_millis(150) }, "/v2/").await;
    assert_eq!(answer.unwrap(), (200, b"{}".to_vec()));
    assert!(begin.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn chunked_answer_stays_chunked_and_can_lack_its_end() {
    let registry = RealRegistry::start();
    let image = Image::new("one").build();
    let tags: Vec<String> = (0..400).map(|number| format!("tag-{number}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    registry.store().write("app", &tags, &image);
    let faults = FaultProxy::before(&registry.host(), |seen| match seen.times {
        1 => Fault::None,
        2 => Fault::Truncate(2000),
        _ => Fault::ResetIn(2000),
    });
    let url = format!("{}/v2/app/tags/list", faults.url());
    let answer = reqwest::get(&url).await.unwrap();
    assert_eq!(answer.headers().get("transfer-encoding").unwrap(), "chunked");
    assert!(answer.text().await.unwrap().contains("tag-399"));
    for _ in 0..2 {
        let mut answer = reqwest::get(&url).await.unwrap();
        let mut got = 0;
        let ended = loop {
            match answer.chunk().await {
                Ok(Some(piece)) => got += piece.len(),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        assert!(!ended && got <= 2000, "{got}");
    }
}

#[tokio::test]
async fn body_is_forwarded_and_the_connection_stays_open() {
    let registry = RealRegistry::start();
    let faults = FaultProxy::before(&registry.host(), |_| Fault::None);
    let image = Image::new("one").layer_bytes(100_000).build();
    Pusher::new(&faults.url()).push("app", "v1", &image).await.unwrap();
    skopeo_pull_all(&format!("{}/app:v1", faults.host()));
    skopeo_pull_all(&format!("{}/app:v1", registry.host()));
    let mut client = TcpStream::connect(faults.host()).unwrap();
    let mut buffer = [0; 4096];
    for _ in 0..3 {
        client.write_all(b"GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut got = Vec::new();
        while !got.ends_with(b"{}") {
            let length = client.read(&mut buffer).unwrap();
            assert!(length > 0, "the connection stays open");
            got.extend(&buffer[..length]);
        }
    }
}

#[tokio::test]
async fn connections_can_be_refused_and_accepted_again() {
    let registry = RealRegistry::start();
    let faults = FaultProxy::before(&registry.host(), |_| Fault::None);
    let client = reqwest::Client::new();
    let url = format!("{}/v2/", faults.url());
    assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
    for _ in 0..3 {
        faults.refuse_connections(true);
        assert!(client.get(&url).send().await.is_err(), "open connections are cut");
        assert!(reqwest::get(&url).await.unwrap_err().is_connect());
        faults.refuse_connections(false);
        assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
    }
    assert_eq!(faults.log().len(), 4);
}
