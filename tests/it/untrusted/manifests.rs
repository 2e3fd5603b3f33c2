//! Malformed manifests and image configurations.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::harness::{EVIL, assert_safe_to_show, cli, fails, filled, image};
use crate::support::fake_registry::{Canned, FakeRegistry, Personality};
use crate::support::image::{Content, Index, digest};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CREATED: &str = "org.opencontainers.image.created";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Answers requests for the tag `old-1` of the hostile repository with this.
fn serve(fake: &FakeRegistry, media_type: &'static str, body: String) {
    fake.on(move |request| {
        request.is("GET", "/v2/evil/manifests/old-1").then(|| {
            let digest = digest(body.as_bytes());
            let reply = Canned::status(200).header("content-type", media_type);
            reply.header("docker-content-digest", digest).body(body.clone())
        })
    });
}

#[test]
fn manifest_that_is_invalid_leaves_the_repository_alone() {
    let long = "\u{9b}31m".repeat(1 << 19);
    let digest = "a".repeat(64);
    let layers = |layer: String| format!(r#"{{"config":{{"digest":"sha256:{digest}"}},"layers":[{layer}]}}"#);
    for (media_type, body) in [
        (MANIFEST, "[".repeat(4 << 20)),
        (INDEX, format!(r#"{{"manifests":[{}{}]}}"#, "[".repeat(2_000_000), "]".repeat(2_000_000))),
        (INDEX, format!(r#"{{"manifests":{}}}"#, json!(long))),
        (INDEX, r#"{"manifests":[],"manifests":[]}"#.to_owned()),
        (INDEX, json!({ "mediaType": long, "manifests": [] }).to_string()),
        (INDEX, json!({ "manifests": [{ "digest": long }] }).to_string()),
        (INDEX, json!({ "manifests": [{ "digest": format!("md5:{}", "a".repeat(32)) }] }).to_string()),
        (INDEX, json!({ "manifests": [{ "digest": "../../../etc/passwd" }] }).to_string()),
        (INDEX, json!({ "manifests": [], "annotations": { "a": 1 } }).to_string()),
        (MANIFEST, layers(format!(r#"{{"digest":"sha256:{digest}","size":-1}}"#))),
        (MANIFEST, layers(format!(r#"{{"digest":"sha256:{digest}","size":18446744073709551616}}"#))),
        (MANIFEST, layers(format!(r#"{{"digest":"sha256:{digest}","size":1e400}}"#))),
    ] {
        let fake = filled();
        let shown: String = body.chars().take(80).collect();
        serve(&fake, media_type, body);
        let (kind, error) = fails(&fake);
        assert_eq!(kind, "invalid", "{shown}");
        assert!(error.len() < 1500, "{shown}: {error}");
    }
}

#[test]
fn manifest_that_is_only_unusual_is_planned() {
    let fake = filled();
    let child = image("child");
    let listed: Vec<Value> = (0..10_000).map(|_| child.descriptor()).collect();
    let mut layers = Vec::new();
    for byte in ["a", "b", "c"] {
        layers.push(json!({ "digest": format!("sha256:{}", byte.repeat(64)), "size": u64::MAX }));
    }
    let depth = format!("{}1{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    fake.push(EVIL, "old-2", &child);
    for (tag, media_type, body) in [
        ("old-3", INDEX, json!({ "manifests": listed }).to_string()),
        ("old-4", MANIFEST, json!({ "config": layers[0], "layers": layers, "annotations": { CREATED: "2026-01-01T00:00:00Z" } }).to_string()),
        ("old-5", INDEX, format!(r#"{{"manifests":[],"x":{depth}}}"#)),
        (
            "old-6",
            INDEX,
            json!({ "manifests": [], "annotations": { "a": "\u{1b}[2J".repeat(400_000) } }).to_string(),
        ),
    ] {
        let manifest = body.into_bytes();
        let digest = digest(&manifest);
        fake.change(|state| {
            let repository = state.repositories.entry(EVIL.to_owned()).or_default();
            repository.manifests.insert(digest.clone(), (media_type.to_owned(), manifest));
            repository.tags.insert(tag.to_owned(), digest);
        });
    }
    let output = cli(&fake).run(&["plan", "--all"]);
    assert_eq!(output.code, 0, "{}", output.err);
    assert_safe_to_show(&output);
    let json = cli(&fake).run(&["plan", "-o", "json"]);
    let plan: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(plan["totals"]["expired_bytes"], json!(u64::MAX), "sizes saturate");
}

/// Indexes that each list the one before; the last has a tag.
fn chain(length: usize) -> (BTreeMap<String, String>, String) {
    let mut manifests = BTreeMap::new();
    let mut last = image("bottom").descriptor();
    for _ in 0..length {
        let body = json!({ "mediaType": INDEX, "manifests": [last] }).to_string();
        let name = digest(body.as_bytes());
        last = json!({ "digest": name, "mediaType": INDEX, "size": body.len() });
        manifests.insert(name, body);
    }
    let top = last["digest"].as_str().unwrap().to_owned();
    (manifests, top)
}

fn serve_chain(fake: &FakeRegistry, length: usize) {
    let (manifests, top) = chain(length);
    fake.on(move |request| {
        let reference = request.path.strip_prefix("/v2/evil/manifests/")?;
        let name = if reference == "old-1" { top.clone() } else { reference.to_owned() };
        let body = manifests.get(&name)?.clone();
        let reply = Canned::status(200).header("content-type", INDEX);
        Some(reply.header("docker-content-digest", name).body(body))
    });
}

#[test]
fn index_nesting_without_an_end_is_not_followed() {
    let fake = filled();
    serve_chain(&fake, 10_000);
    let (kind, error) = fails(&fake);
    assert_eq!(kind, "too_large");
    assert!(error.contains("more than 100 times"), "{error}");
    let asked = fake.requests().iter().filter(|one| one.path.starts_with("/v2/evil/manifests/")).count();
    assert!(asked < 150, "{asked}");
}

#[test]
fn index_nesting_of_moderate_depth_is_followed() {
    let fake = filled();
    let leaf = image("leaf");
    let deep = (0..20).fold(leaf, |child, _| Index::oci().child(&child).build());
    fake.push(EVIL, "old-2", &deep);
    let output = cli(&fake).run(&["run"]);
    assert_eq!(output.code, 0, "{}", output.err);
    assert_eq!(fake.manifests(EVIL).len(), 1);
}

/// An image whose configuration is this text.
fn with_config(config: &str) -> Content {
    let mut content = image("any");
    let before = content.config_digest();
    let place = content.blobs.iter().position(|blob| digest(blob) == before).unwrap();
    content.blobs[place] = config.as_bytes().to_vec();
    let text = String::from_utf8(content.manifest.clone()).unwrap();
    content.manifest = text.replace(&before, &digest(config.as_bytes())).into_bytes();
    content.digest = digest(&content.manifest);
    content
}

#[test]
fn created_date_that_is_implausible_keeps_the_image() {
    let fake = FakeRegistry::start(Personality::V3_1);
    for (number, created) in [
        "0000-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "9999-12-31T23:59:60Z",
        "10000-01-01T00:00:00Z",
        "-0001-01-01T00:00:00Z",
        "2026-01-01T00:00:00+99:99",
        "2026-13-45T25:61:61Z",
        "\u{1b}[31m",
    ]
    .iter()
    .enumerate()
    {
        let config = json!({ "created": created, "config": { "Labels": { "\u{1b}[1m": "\u{202e}" } } });
        fake.push(EVIL, &format!("old-{number}"), &with_config(&config.to_string()));
    }
    let deep = format!("{{\"created\":{}{}}}", "[".repeat(300_000), "]".repeat(300_000));
    fake.push(EVIL, "old-deep", &with_config(&deep));
    let cli = cli(&fake);
    // The second run takes the same from the scan history.
    for _ in 0..2 {
        let output = cli.run(&["run"]);
        assert_eq!(output.code, 0, "{}", output.err);
        assert_safe_to_show(&output);
        assert_eq!((fake.tags(EVIL).len(), fake.manifests(EVIL).len()), (9, 9), "nothing was deleted");
    }
    for tag in ["old-0", "old-1", "old-deep"] {
        let output = cli.run(&["explain", &format!("{EVIL}:{tag}")]);
        assert_eq!(output.code, 0, "{}", output.err);
        assert_safe_to_show(&output);
    }
}
