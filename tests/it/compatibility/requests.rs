//! The number of requests, their rate and concurrency, and that planning only reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use regsweep::report::Outcome;
use regsweep::run::LimitMode;

use crate::compatibility::harness::{
    Case, EVERY, assert_expired_deleted, assert_untouched, fill, filled, image, old, tags,
};
use crate::support::fake_registry::{Canned, FakeRegistry, Personality, Request};
use crate::support::image::{ACCEPT_ALL, Artifact, Index, signature_tag};

#[tokio::test]
async fn concurrency_limits_requests_in_flight() {
    for personality in EVERY {
        let fake = FakeRegistry::options(personality).latency(Duration::from_millis(2)).start();
        fill(&fake, &["a", "b", "c", "d", "e"]);
        let report = Case::with(&fake, "concurrency: 3").run().await.unwrap();
        assert_eq!(report.outcome(), Outcome::Success, "{personality:?}");
        let peak = fake.peak_concurrency();
        assert!((2..=3).contains(&peak), "{personality:?}: {peak} at once");
    }
}

#[tokio::test]
async fn requests_per_second_is_respected() {
    let fake = filled(Personality::V3_1, &["a", "b"]);
    let begin = Instant::now();
    Case::with(&fake, "requests_per_second: 50").run().await.unwrap();
    let (taken, requests) = (begin.elapsed(), fake.requests().len());
    assert!(requests > 30, "{requests}");
    assert!(taken >= Duration::from_millis(20) * (requests as u32 - 1), "{requests} requests in {taken:?}");
}

#[tokio::test]
async fn plan_sends_only_read_requests() {
    for personality in EVERY {
        let fake = filled(personality, &["app", "other"]);
        let plan = Case::of(&fake).scan_and_plan().await.unwrap().plan;
        assert_eq!(plan.totals().delete, 6, "{personality:?}");
        assert_eq!(fake.mutating_requests(), [], "{personality:?}");
        // One blob is requested, to see where a registry with possibly incomplete lists stores.
        let heads = fake.requests().iter().filter(|one| one.method == "HEAD").count();
        assert_eq!(heads, usize::from(personality == Personality::V3_1), "{personality:?}");
        assert_untouched(&fake, "app", "it is only a plan");
    }
}

/// Only the configurations of images, which are identified by digest, may be answered from a cache.
#[tokio::test]
async fn requests_forbid_cached_answers() {
    for personality in EVERY {
        let fake = tangled(personality);
        let case = Case::of(&fake);
        // The second run uses the scan history of the first: it requests tags with a condition, and kept manifests by
        // digest.
        for tag in ["old-late", "old-later"] {
            fake.push("app", tag, &image(tag, 1));
            case.full_run().await.unwrap();
        }
        let mut kinds = BTreeSet::new();
        for one in fake.requests().iter().filter(|one| ["GET", "HEAD"].contains(&one.method.as_str())) {
            // The location of a blob is requested by HEAD.
            let is_content = one.method == "GET" && one.path.contains("/blobs/");
            assert_eq!(
                one.cache_control.as_deref() == Some("no-cache"),
                !is_content,
                "{personality:?}: {one:?}"
            );
            let kind =
                ["/tags/list", "/manifests/sha256:", "/manifests/", "/referrers/", "/_catalog", "/blobs/"];
            kinds.extend(kind.iter().position(|kind| one.path.contains(kind)));
        }
        assert_eq!(kinds.len(), 6, "{personality:?}: {kinds:?} were asked");
    }
}

/// A proxy that answers from its cache, unless the request forbids it.
fn cached(fake: &FakeRegistry) {
    let cache: Arc<Mutex<BTreeMap<String, Canned>>> = Arc::default();
    let key = |request: &Request| format!("{} {}", request.method, request.target);
    let seen = cache.clone();
    fake.on(move |request| {
        let fresh = request.method == "DELETE" || request.header("cache-control") == Some("no-cache");
        if fresh { None } else { seen.lock().unwrap().get(&key(request)).cloned() }
    });
    fake.after(move |request, answer| drop(cache.lock().unwrap().insert(key(request), answer.clone())));
}

#[tokio::test]
async fn caching_proxy_does_not_hide_a_pushed_tag() {
    for personality in EVERY {
        let fake = filled(personality, &["app"]);
        cached(&fake);
        let case = Case::of(&fake);
        let scanned = case.scan_and_plan().await.unwrap();
        fake.push("app", "saved", &old("app", 1));
        let report = case.apply(&scanned, LimitMode::Enforced).await;
        assert_eq!(report.deleted.len(), 2, "{personality:?}: {report:?}");
        assert_eq!(tags(&fake, "app"), ["keep", "old-1", "saved"], "{personality:?}");
    }
}

#[tokio::test]
async fn repository_without_a_policy_is_not_requested() {
    for personality in EVERY {
        let fake = filled(personality, &["idle/app", "app", "idle/zoo"]);
        let case = Case::of(&fake);
        assert_eq!(case.scan_and_plan().await.unwrap().unclaimed, 2, "{personality:?}");
        case.run().await.unwrap();
        assert!(fake.requests().iter().all(|one| !one.path.contains("idle")), "{personality:?}");
        assert_untouched(&fake, "idle/app", "no policy claims it");
        assert_expired_deleted(&fake, "app", "it is claimed");
    }
}

/// A repository whose images share many parts.
fn tangled(personality: Personality) -> FakeRegistry {
    let fake = FakeRegistry::start(personality);
    let [one, two, three] = ["one", "two", "three"].map(|name| image(name, 1));
    let first = Index::oci().child(&one).child(&two).build();
    let second = Index::oci().child(&two).child(&three).build();
    for tag in ["old-first", "old-first-too"] {
        fake.push("app", tag, &first);
    }
    fake.push("app", "second", &second);
    fake.push("app", "old-one", &one);
    for tag in ["three", "old-three", "drei", "old-drei"] {
        fake.push("app", tag, &three);
    }
    fake.push("app", &signature_tag(&two.digest), &Artifact::signature(&two.digest).build());
    fake.add_dangling_tag("app", "old-dangling");
    fake
}

#[tokio::test]
async fn manifests_and_configurations_are_requested_once() {
    for personality in EVERY {
        let fake = tangled(personality);
        Case::of(&fake).scan_and_plan().await.unwrap();
        let mut asked: BTreeMap<String, usize> = BTreeMap::new();
        for request in fake.requests().into_iter().filter(|one| one.method == "GET") {
            *asked.entry(request.path).or_default() += 1;
        }
        assert!(asked.values().all(|times| *times == 1), "{personality:?}: {asked:#?}");
        let of = |part: &str| asked.keys().filter(|path| path.contains(part)).count();
        let by_digest = of("/manifests/sha256:");
        assert_eq!(of("/manifests/") - by_digest, 10, "{personality:?}: one for each tag");
        assert_eq!(by_digest, 1, "{personality:?}: one child has no tag of its own");
        assert!(of("/blobs/") <= 3, "{personality:?}: one for each image");
        for request in fake.requests().iter().filter(|one| one.path.contains("/manifests/")) {
            assert_eq!(request.accept.as_deref().map(words), Some(words(ACCEPT_ALL)), "{personality:?}");
        }
    }
}

fn words(header: &str) -> Vec<&str> {
    header.split(',').map(str::trim).collect()
}

#[tokio::test]
async fn configurations_of_images_without_rules_are_not_read() {
    let fake = FakeRegistry::start(Personality::V3_1);
    for number in 0..5 {
        fake.push("app", &format!("keep-{number}"), &image(&format!("kept {number}"), 1));
    }
    let expired = image("expired", 1);
    fake.push("app", "old", &expired);
    Case::of(&fake).scan_and_plan().await.unwrap();
    let requests = fake.requests();
    let read = requests.iter().filter(|one| one.method == "GET" && one.path.contains("/blobs/"));
    let configs: Vec<&str> = read.map(|one| one.path.as_str()).collect();
    assert_eq!(configs, [format!("/v2/app/blobs/{}", expired.config_digest())]);
}

#[tokio::test]
async fn recheck_requests_only_what_the_journal_stores_again() {
    for personality in EVERY {
        let fake = tangled(personality);
        let case = Case::of(&fake);
        let scanned = case.scan_and_plan().await.unwrap();
        fake.forget_requests();
        let report = case.apply(&scanned, LimitMode::Enforced).await;
        assert_eq!(report.outcome(), Outcome::Success, "{personality:?}: {report:?}");
        let requests = fake.requests();
        let asked = requests.iter().filter(|one| one.method == "GET" && one.path.contains("/manifests/"));
        let (journaled, verified): (Vec<_>, Vec<_>) = asked.partition(|one| one.path.contains("/sha256:"));
        let mut journaled: Vec<&str> =
            journaled.iter().map(|one| one.path.rsplit('/').next().unwrap()).collect();
        let deleted = report.deleted.iter().map(|one| one.digest.as_str());
        let untagged = report.untagged.iter().map(|one| one.digest.as_str());
        let mut gone: Vec<&str> = deleted.chain(untagged).collect();
        for digest in &gone {
            let path = format!("/v2/app/manifests/{digest}");
            let methods: Vec<&str> =
                requests.iter().filter(|one| one.path == path).map(|one| one.method.as_str()).collect();
            let (read, gone) = (
                methods.iter().position(|&one| one == "GET"),
                methods.iter().position(|&one| one == "DELETE"),
            );
            assert!(
                read.is_some() && gone.is_none_or(|gone| read < Some(gone)),
                "{personality:?}: its bytes first"
            );
        }
        let confirmed = requests.iter().filter(|one| one.method == "HEAD");
        let mut confirmed: Vec<&str> = confirmed.map(|one| one.path.rsplit('/').next().unwrap()).collect();
        confirmed.sort_unstable();
        let mut stay: Vec<String> =
            fake.tags("app").into_keys().filter(|tag| tag != "old-dangling").collect();
        stay.extend(report.untagged.iter().map(|one| one.tag.to_string()));
        stay.sort_unstable();
        assert_eq!(
            confirmed, stay,
            "{personality:?}: each tag whose manifest stays, and the manifest with it, once"
        );
        gone.sort_unstable();
        journaled.sort_unstable();
        assert_eq!(journaled, gone, "{personality:?}: and once");
        for request in verified {
            let again = stay.iter().any(|tag| request.path.ends_with(&format!("/{tag}")));
            let alone = report.untagged.iter().any(|one| request.path.ends_with(&format!("/{}", one.tag)));
            assert!(!again || alone, "{personality:?} {}: was confirmed already", request.path);
            let is_dangling = request.path.ends_with("/old-dangling");
            assert_eq!(
                request.status,
                if is_dangling { 404 } else { 304 },
                "{personality:?} {}",
                request.path
            );
            assert_eq!(request.if_none_match.is_some(), !is_dangling, "{personality:?} {}", request.path);
        }
        assert!(!requests.iter().any(|one| one.path.contains("/blobs/")), "{personality:?}");
        let first = requests.iter().position(|one| one.method == "DELETE").unwrap();
        let late = requests[first..].iter().filter(|one| one.if_none_match.is_some());
        let late: BTreeSet<&str> = late.map(|one| one.path.rsplit('/').next().unwrap()).collect();
        let alone: BTreeSet<&str> = report.untagged.iter().map(|one| one.tag.as_str()).collect();
        assert_eq!(late, alone, "{personality:?}: all is verified before, and tags that go alone once more");
    }
}

#[tokio::test]
async fn recheck_is_omitted_where_nothing_is_deleted() {
    let fake = filled(Personality::V3_1, &["app"]);
    fake.push("calm", "keep", &image("calm", 1));
    let case = Case::of(&fake);
    let scanned = case.scan_and_plan().await.unwrap();
    fake.forget_requests();
    case.apply(&scanned, LimitMode::Enforced).await;
    assert!(fake.requests().iter().all(|one| !one.path.contains("/calm/")));
}

#[tokio::test]
async fn requests_have_a_user_agent() {
    let fake = filled(Personality::V3_1, &["app"]);
    Case::of(&fake).run().await.unwrap();
    for request in fake.requests() {
        let agent = request.user_agent.unwrap_or_default();
        assert!(agent.starts_with("regsweep/"), "{agent}");
    }
}

/// The positions in the log at which the last reading of each repository began and ended.
fn last_reading(fake: &FakeRegistry, repositories: &[&str]) -> Vec<(usize, usize)> {
    let requests = fake.requests();
    let last = |part: String| requests.iter().rposition(|one| one.path.contains(&part)).unwrap();
    let reading = |one: &&str| (last(format!("/{one}/tags/list")), last(format!("/v2/{one}/")));
    repositories.iter().map(reading).collect()
}

fn lists(fake: &FakeRegistry) -> usize {
    fake.requests().iter().filter(|one| one.path.contains("/tags/list")).count()
}

/// The memory is divided among so many readers that no repository fits into a share. No list is requested only to see
/// whether it is complete.
const CROWDED: &str = "concurrency: 1000000\ntags_complete: true";

#[tokio::test]
async fn large_repositories_are_read_one_at_a_time() {
    let names = ["a", "b", "c", "d", "e", "f"];
    for personality in EVERY {
        let fake = filled(personality, &names);
        let case = Case::with(&fake, CROWDED);
        let plan = case.scan_and_plan().await.unwrap().plan;
        assert_eq!((plan.totals().delete, plan.failures.len()), (18, 0), "{personality:?}: {plan:?}");
        assert_eq!(lists(&fake), 1 + 2 * 5, "{personality:?}: the first begins with all the room");
        let readings = last_reading(&fake, &names);
        assert!(readings.windows(2).all(|two| two[0].1 < two[1].0), "{personality:?}: {readings:?}");
        // A repository in the scan history is known to be large.
        fake.forget_requests();
        let scanned = case.scan_and_plan().await.unwrap();
        assert_eq!(lists(&fake), 6, "{personality:?}");
        let readings = last_reading(&fake, &names);
        assert!(readings.windows(2).all(|two| two[0].1 < two[1].0), "{personality:?}: {readings:?}");
        let report = case.apply(&scanned, LimitMode::Enforced).await;
        assert_eq!((report.deleted.len(), report.outcome()), (18, Outcome::Success), "{personality:?}");
    }
}

#[tokio::test]
async fn large_repositories_are_read_one_at_a_time_in_any_order() {
    for personality in EVERY {
        let names = ["a", "b", "c", "d"];
        // All begin before one ends; else each could have all memory from the start.
        let fake = FakeRegistry::options(personality).latency(Duration::from_millis(5)).start();
        fill(&fake, &names);
        let case = Case::with(&fake, CROWDED);
        let found = join_all(names.iter().map(|name| case.inspect(name))).await;
        assert!(found.iter().all(|manifests| *manifests == 4), "{personality:?}: {found:?}");
        let mut readings = last_reading(&fake, &names);
        readings.sort_unstable();
        assert!(readings.windows(2).all(|two| two[0].1 < two[1].0), "{personality:?}: {readings:?}");
    }
}
