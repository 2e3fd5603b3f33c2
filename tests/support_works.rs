//! The tests' own tools are right: what they push can be pulled, and what they write is served.

mod support;

use support::image::{Artifact, Content, Image, Index, fallback_index, fallback_tag, signature_tag};
use support::push::Pusher;
use support::server::RealRegistry;
use support::skopeo::{skopeo_can_pull, skopeo_inspect_raw, skopeo_pull_whole};

/// One of everything, with the tag it goes by.
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
async fn what_is_pushed_can_be_pulled_whole() {
    let registry = RealRegistry::start();
    let pusher = Pusher::new(&registry.url());
    for (tag, content) in everything() {
        pusher.push("team/app", &tag, &content).await.unwrap();
        let image = format!("{}/team/app:{tag}", registry.host());
        assert_eq!(skopeo_inspect_raw(&image), content.manifest, "{tag}");
        skopeo_pull_whole(&image);
    }
}

#[test]
fn what_is_written_into_a_store_is_served_whole() {
    let registry = RealRegistry::start();
    let mut store = registry.store();
    for (tag, content) in everything() {
        store.write("team/app", &[&tag, &format!("{tag}.again")], &content);
        skopeo_pull_whole(&format!("{}/team/app:{tag}.again", registry.host()));
    }
}

#[tokio::test]
async fn the_store_tells_what_a_registry_was_given() {
    let registry = RealRegistry::start();
    let pusher = Pusher::new(&registry.url());
    let (one, two) = (Image::new("one").build(), Image::new("two").build());
    pusher.push("team/app", "v1", &one).await.unwrap();
    pusher.push_untagged("team/app", &two).await.unwrap();
    let mut written = support::store::Store::at(registry.store_path().join("beside"));
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
async fn a_collection_takes_what_was_deleted_and_no_more() {
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
    skopeo_pull_whole(&format!("{}/app:kept", registry.host()));
    assert!(!skopeo_can_pull(&format!("{}/app:gone", registry.host())));
    let deleted: Vec<_> = registry.mutating_requests().into_iter().map(|logged| logged.status).collect();
    assert_eq!(deleted, [202]);
}

#[tokio::test]
async fn the_registry_can_stand_behind_tls_a_password_and_a_prefix() {
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
    assert!(reqwest::get(&catalog).await.is_err(), "nobody else knows the authority");
}
