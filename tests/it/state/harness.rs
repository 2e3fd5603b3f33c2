//! What the tests of the state share: installations, runs and the comparison with the registry.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use regsweep::config::{Config, parse};
use regsweep::model::RepositoryName;
use regsweep::plan::{Plan, Planned, RepositoryPlan, Verdict};
use regsweep::registry::{Reader, Retry};
use regsweep::run::{
    self, Cancellation, Clock, LimitMode, RegistryContext, RunOptions, RunResult, inspect, scan_and_plan,
};
use regsweep::state::State;
use serde_json::Value;

use crate::service::harness::{Installation, NEVER};
pub(crate) use crate::support::contents::{assert_all_pullable, expected_content, stored_manifests};
use crate::support::image::{Artifact, Content, Image, Index, fallback_index, fallback_tag, signature_tag};
use crate::support::real_registry::{Logged, RealRegistry};
pub(crate) use crate::support::regsweep::OLD_TAGS_EXPIRE;
use crate::support::regsweep::ProgramOutput;

/// Everything is judged by its age.
pub(crate) const KEEP_14_DAYS: &str = "\
protect: { newer_than: 0s, at_least: 0 }
limits: { max_percent: 100 }
policies:
  - name: all
    repositories: '.*'
    rules: [{ name: fortnight, tags: '.*', keep: { newer_than: 14d } }]
";

/// An installation with these lines about its registry, and these rules.
pub(crate) fn installation(registry: &str, rules: &str) -> Installation {
    let installation = Installation::new(NEVER, &[]);
    rewrite(&installation, registry, rules);
    installation
}

/// Other rules for the same state.
pub(crate) fn rewrite(installation: &Installation, registry: &str, rules: &str) {
    installation.write(&yaml(&installation.state_dir(), registry, rules));
}

/// A configuration in which runs delete.
pub(crate) fn yaml(state: &Path, registry: &str, rules: &str) -> String {
    let (state, registry) = (state.display(), registry.replace('\n', "\n    "));
    format!("mode: enforce\nstate_dir: {state}\nregistries:\n  - name: main\n    {registry}\n{rules}")
}

/// An installation for this registry, under [`OLD_TAGS_EXPIRE`].
pub(crate) fn sweeper(registry: &RealRegistry) -> Installation {
    installation(&format!("url: {}", registry.url()), OLD_TAGS_EXPIRE)
}

/// Runs the program until it ends.
pub(crate) fn run(installation: &Installation, arguments: &[&str]) -> ProgramOutput {
    ProgramOutput::from(installation.command(arguments).output().unwrap())
}

/// Its history, as programs read it.
pub(crate) fn history(installation: &Installation, arguments: &[&str]) -> Vec<Value> {
    let ran = run(installation, &[&["history", "--output", "json"], arguments].concat()).exits(0);
    list(&ran.json()["runs"]).to_vec()
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// An image that is some years old, whatever day it is.
pub(crate) fn image(name: &str) -> Content {
    Image::new(name).created("2020-01-01T00:00:00Z").build()
}

/// Everything that is deleted from `team/app`, by name, with its tags.
pub(crate) struct Everything {
    pub(crate) kept: Content,
    pub(crate) plain: Content,
    pub(crate) index: Content,
    /// The signatures of the index, each under its tag.
    pub(crate) about_index: Vec<(String, Content)>,
    pub(crate) docker: Content,
    pub(crate) list: Content,
    pub(crate) chart: Content,
    pub(crate) signed: Content,
    pub(crate) signature: Content,
}

/// Puts everything there is into a registry, some in another repository.
pub(crate) fn fill(registry: &RealRegistry) -> Everything {
    let own = |name: &str| Image::new(name).created("2020-01-01T00:00:00Z").layer("base").layer(name);
    let kept = own("kept").build();
    let plain = own("plain").build();
    let (amd64, arm64) = (own("amd64").build(), own("arm64").platform("linux", "arm64").build());
    let provenance = Artifact::provenance("it").build();
    let index = Index::oci().child(&amd64).child(&arm64).attestation(&provenance, &amd64).build();
    let sbom = Artifact::referrer("sbom", "application/spdx+json", &index).build();
    let about_index = vec![
        (signature_tag(&index.digest), Artifact::signature(&index.digest).build()),
        (format!("{}.att", fallback_tag(&index.digest)), Artifact::provenance("att").build()),
        (fallback_tag(&index.digest), fallback_index(&[&sbom])),
    ];
    let docker = own("docker").docker().build();
    let list = Index::docker().child(&own("listed").docker().build()).build();
    let dated = "org.opencontainers.image.created";
    let chart = Artifact::helm("chart").annotation(dated, "2020-01-01T00:00:00Z").build();
    let signed = own("signed").build();
    let signature = Artifact::signature(&signed.digest).build();
    let mut store = registry.store();
    for (tags, content) in [
        (vec!["keep"], &kept),
        (vec!["old-plain", "old-too"], &plain),
        (vec!["old-index"], &index),
        (vec!["old-docker"], &docker),
        (vec!["old-list"], &list),
        (vec!["old-chart"], &chart),
        (vec!["old-signed"], &signed),
        (vec![signature_tag(&signed.digest).as_str()], &signature),
    ] {
        store.write("team/app", &tags, content);
    }
    for (tag, content) in &about_index {
        store.write("team/app", &[tag], content);
    }
    store.write("other", &["keep"], &kept);
    store.write("other", &["old"], &own("elsewhere").build());
    Everything { kept, plain, index, about_index, docker, list, chart, signed, signature }
}

/// What the registry serves under each tag and each digest: the type and the bytes.
pub(crate) async fn served(registry: &RealRegistry) -> BTreeMap<String, (String, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for (repository, held) in registry.store().contents() {
        for reference in held.tags.keys().chain(&held.manifests) {
            let url = format!("{}/v2/{repository}/manifests/{reference}", registry.url());
            let accept = crate::support::image::ACCEPT_ALL;
            let answer = reqwest::Client::new().get(&url).header("accept", accept).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{url}");
            let media_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
            found.insert(url, (media_type, answer.bytes().await.unwrap().to_vec()));
        }
    }
    found
}

/// The requests since there were that many. The registry may write a line a moment after the answer.
pub(crate) fn requests_since(registry: &RealRegistry, before: usize) -> Vec<Logged> {
    let mut count = 0;
    loop {
        let all = registry.requests();
        if all.len() == count {
            return all[before..].to_vec();
        }
        count = all.len();
        std::thread::sleep(std::time::Duration::from_millis(150));
    }
}

/// Scans one registry at any moment; each scan opens the state and closes it, as the program does.
pub(crate) struct Scanner {
    _folder: tempfile::TempDir,
    pub(crate) config: Config,
    reader: Reader,
}

/// So many days after these tests begin.
pub(crate) fn day(number: i64) -> DateTime<Utc> {
    "2026-03-01T12:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::days(number)
}

impl Scanner {
    pub(crate) fn new(url: &str, rules: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tls = "tls: { insecure_skip_verify: true }";
        let text = yaml(&folder.path().join("state"), &format!("url: {url}\n{tls}"), rules);
        let config = parse(&text, "f", &|_| None).unwrap_or_else(|error| panic!("{error}"));
        let reader = Reader::new(&config.registries[0], Retry::default(), Arc::new(())).unwrap();
        Self { config, reader, _folder: folder }
    }

    /// Other tests start processes, which for a moment hold what this one has just let go.
    pub(crate) fn open(&self) -> State {
        for _ in 0..500 {
            match State::open(&self.config.state_dir) {
                Err(regsweep::state::Error::Locked(_)) => {}
                opened => return opened.unwrap(),
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("the state stays locked");
    }

    fn registry_context<'a>(&'a self, state: &'a State, clock: &'a Clock) -> RegistryContext<'a> {
        RegistryContext {
            config: &self.config,
            registry: &self.config.registries[0],
            reader: &self.reader,
            now: clock(),
            only: None,
            state: Some(state),
            clock,
        }
    }

    /// The plan of that moment.
    pub(crate) async fn plan_at(&self, at: DateTime<Utc>) -> Plan {
        let state = self.open();
        scan_and_plan(self.registry_context(&state, &move || at), &(), async |_| Ok(None)).await.unwrap().plan
    }

    /// The digests that would go at that moment.
    pub(crate) async fn to_delete(&self, at: DateTime<Utc>) -> BTreeSet<String> {
        let plan = self.plan_at(at).await;
        assert_eq!(plan.failures, []);
        let expired = plan.repositories.iter().flat_map(RepositoryPlan::deletions);
        expired.map(|planned| planned.digest.to_string()).collect()
    }

    /// What is planned for each manifest of a repository, with everything that is known.
    pub(crate) async fn inspect(&self, repository: &str, at: DateTime<Utc>) -> Vec<Planned> {
        let state = self.open();
        let name = RepositoryName::parse(repository).unwrap();
        inspect(self.registry_context(&state, &move || at), &name).await.unwrap().1.manifests
    }

    /// A run.
    pub(crate) async fn run(&self, at: DateTime<Utc>) -> Result<RunResult, run::Error> {
        let state = self.open();
        let clock = move || at;
        let (limits, cancellation) = (LimitMode::Enforced, Cancellation::default());
        let options =
            RunOptions { state: &state, collector: None, limits, cancellation: &cancellation, clock: &clock };
        run::run(self.registry_context(&state, &clock), &options, &()).await
    }
}

/// The codes of the reasons for a manifest, and whether it goes.
pub(crate) fn verdict(planned: &[Planned], content: &Content) -> (Verdict, Vec<String>) {
    let found = planned.iter().find(|one| one.digest.as_str() == content.digest);
    let found = found.unwrap_or_else(|| panic!("{} is in no plan", content.digest));
    (found.verdict, found.reasons.iter().map(|reason| reason.code().to_owned()).collect())
}
