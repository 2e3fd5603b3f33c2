//! Manifests never change, so the second scan sends only one small request for each tag.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use regsweep::state::State;
use serde_json::{Value, json};

use super::harness::{KEEP_14_DAYS, image, installation, requests_since, rewrite, run};
use crate::service::harness::Installation;
use crate::support::image::{Artifact, Content, Image, Index, signature_tag};
use crate::support::push::Pusher;
use crate::support::real_registry::{Logged, RealRegistry};
use crate::support::regsweep::hours_ago;

const REPOSITORIES: [&str; 3] = ["app", "team/api", "team/web"];
const TAGS: usize = 20;

/// Three repositories of twenty tags: old and new images, an index, a signature, and a digest with two tags.
fn fill(registry: &RealRegistry) -> BTreeSet<String> {
    let mut configs = BTreeSet::new();
    for repository in REPOSITORIES {
        let new = |name: &str| {
            Image::new(format!("{repository} {name}")).created(hours_ago(48).to_rfc3339()).build()
        };
        let old = |name: &str| image(&format!("{repository} {name}"));
        let index = Index::oci().child(&old("one")).child(&new("two")).build();
        let mut contents: Vec<(Vec<String>, Content)> = (0..16)
            .map(|number: usize| {
                let name = format!("v{number}");
                (vec![name.clone()], if number.is_multiple_of(2) { old(&name) } else { new(&name) })
            })
            .collect();
        contents[3].0.push("latest".into());
        contents.push((vec![signature_tag(&index.digest)], Artifact::signature(&index.digest).build()));
        contents.push((vec!["index".into()], index));
        contents.push((vec!["old-list".into()], Index::docker().child(&old("listed")).build()));
        for (tags, content) in &contents {
            let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
            registry.store().write(repository, &tags, content);
            // A signature is no image, and its configuration tells nothing.
            let images = content.tree().into_iter().filter(|part| part.platform.is_some());
            configs.extend(images.map(Content::config_digest));
        }
        assert_eq!(registry.store().repository(repository).tags.len(), TAGS);
    }
    configs
}

/// What was asked, by what it was about.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    unchanged: usize,
    by_tag: usize,
    by_digest: usize,
    configs: Vec<String>,
    lists: usize,
    /// Everything else, in order.
    rest: Vec<String>,
}

/// Manifests and configurations that were asked for, and everything around them exactly.
fn asked(requests: &[Logged]) -> Asked {
    let mut asked = Asked::default();
    for Logged { method, path, status } in requests {
        assert_eq!(method, "GET", "{path}");
        if path.contains("/manifests/sha256:") {
            asked.by_digest += 1;
        } else if path.contains("/manifests/") {
            *(if *status == 304 { &mut asked.unchanged } else { &mut asked.by_tag }) += 1;
        } else if let Some((_, digest)) = path.split_once("/blobs/") {
            asked.configs.push(digest.to_owned());
        } else if path.contains("/tags/list") {
            asked.lists += 1;
        } else {
            asked.rest.push(path.split_once("/v2/").unwrap().1.to_owned());
        }
    }
    let rest: Vec<&str> = asked.rest.iter().map(|path| path.split('?').next().unwrap()).collect();
    let preflight = ["", "_catalog", rest.get(2).copied().unwrap_or_default(), "_catalog"];
    assert!(rest.get(2).is_some_and(|path| path.contains("/referrers/")), "{rest:?}");
    assert_eq!(rest, preflight);
    asked
}

/// A plan without what differs between two moments, and the requests that it took.
fn planned(installation: &Installation, registry: &RealRegistry) -> (Value, Asked) {
    let before = requests_since(registry, 0).len();
    let mut json = run(installation, &["plan", "--all", "--output", "json"]).exits(0).json();
    strip(&mut json);
    (json, asked(&requests_since(registry, before)))
}

fn strip(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            for name in ["now", "age_seconds", "evidence"] {
                fields.remove(name);
            }
            // What was pushed a moment ago is so many seconds old.
            if fields.get("text").and_then(Value::as_str).is_some_and(|text| text.contains("s old (")) {
                fields.remove("text");
            }
            fields.values_mut().for_each(strip);
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}

fn remembering(registry: &RealRegistry, rules: &str) -> Installation {
    let installation = installation(&format!("url: {}", registry.url()), rules);
    drop(State::open(&installation.state_dir()).unwrap());
    installation
}

#[tokio::test]
async fn second_scan_only_asks_whether_tags_have_moved() {
    let registry = RealRegistry::start();
    let configs = fill(&registry);
    let installation = remembering(&registry, KEEP_14_DAYS);
    let (first, asked) = planned(&installation, &registry);
    assert_eq!((asked.unchanged, asked.by_tag, asked.lists), (0, 3 * TAGS, 3));
    // Three children in each repository.
    assert_eq!(asked.by_digest, 9);
    assert_eq!(asked.configs.iter().cloned().collect::<BTreeSet<_>>(), configs);
    assert_eq!(asked.configs.len(), configs.len());

    let quiet = Asked { unchanged: 3 * TAGS, lists: 3, rest: asked.rest, ..Asked::default() };
    let (second, asked) = planned(&installation, &registry);
    assert_eq!(asked, quiet);
    assert_eq!(first, second);

    let new = image("pushed");
    Pusher::new(&registry.url()).push("app", "pushed", &new).await.unwrap();
    let (_, asked) = planned(&installation, &registry);
    let configs = vec![new.config_digest()];
    assert_eq!(asked, Asked { by_tag: 1, configs, ..quiet });

    // While another process holds the state, it is only read.
    let holder = State::open(&installation.state_dir()).unwrap();
    let (beside, asked) = planned(&installation, &registry);
    assert_eq!((asked.unchanged, asked.by_tag, asked.configs.len()), (3 * TAGS + 1, 0, 0));
    drop(holder);
    assert_eq!(planned(&installation, &registry).0, beside);
}

#[test]
fn configurations_are_fetched_when_new_rules_need_them() {
    let registry = RealRegistry::start();
    let configs = fill(&registry);
    let installation = remembering(&registry, &KEEP_14_DAYS.replace("{ newer_than: 14d }", "all"));
    let (_, asked) = planned(&installation, &registry);
    assert_eq!((asked.by_tag, asked.by_digest, asked.configs), (3 * TAGS, 9, vec![]));
    rewrite(&installation, &format!("url: {}", registry.url()), KEEP_14_DAYS);
    let (plan, asked) = planned(&installation, &registry);
    assert_eq!((asked.unchanged, asked.by_tag, asked.by_digest), (3 * TAGS, 0, 0));
    assert_eq!(asked.configs.len(), configs.len());
    assert_eq!(asked.configs.into_iter().collect::<BTreeSet<_>>(), configs);
    let (again, asked) = planned(&installation, &registry);
    assert_eq!((again, asked.configs), (plan, vec![]));
}

/// Every file in a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|one| (one.file_name().into_string().unwrap(), std::fs::read(one.path()).unwrap_or_default()))
        .collect()
}

#[test]
fn plan_leaves_no_state_behind() {
    let registry = RealRegistry::start();
    registry.store().write("app", &["v1"], &image("kept"));
    let installation = installation(&format!("url: {}", registry.url()), KEEP_14_DAYS);
    let before = files(installation.config().parent().unwrap());
    for arguments in [&["plan"][..], &["plan", "--output", "json"], &["ls"], &["explain", "app:v1"]] {
        run(&installation, arguments).exits(0);
        assert!(!installation.state_dir().exists(), "{arguments:?}");
    }
    let nothing = run(&installation, &["history"]).exits(0);
    assert!(nothing.stdout.is_empty(), "{}", nothing.stdout);
    assert_eq!(
        nothing.stderr,
        format!("no runs: there is no state in {} yet\n", installation.state_dir().display())
    );
    let nothing = run(&installation, &["history", "--output", "json"]).exits(0);
    assert_eq!(nothing.json(), json!({ "version": 1, "runs": [] }));
    let none = run(&installation, &["history", "1"]).exits(1);
    assert!(none.stderr.contains("there is no run 1"), "{}", none.stderr);
    assert_eq!(files(installation.config().parent().unwrap()), before);
    // Where there is a state, they remember.
    drop(State::open(&installation.state_dir()).unwrap());
    assert_eq!(planned(&installation, &registry).1.by_tag, 1);
    assert_eq!(planned(&installation, &registry).1.unchanged, 1);
}
