//! How long the planner alone takes for one repository: no registry, no state, no output. For `make bench-plan`.

#![expect(clippy::unwrap_used, reason = "a benchmark ends at the first fault")]

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use criterion::{BenchmarkId, Criterion, Throughput};
use regsweep::model::{Blob, Digest, Facts, Kind, Manifest, RepositoryName, Snapshot, Tag, TagDeletion};
use regsweep::plan::{Intent, PlanContext, plan};
use regsweep::policy::{Criterion as Keeps, Keep, Line, Mode, Patterns, Period, Policy, Protect, Rule};

/// The numbers of manifests.
const SIZES: [usize; 3] = [100, 1_000, 10_000];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("plan");
    let (intent, protect, none) = (intent(), Protect::default(), BTreeSet::new());
    let context = PlanContext {
        now: now(),
        timezone: Tz::Europe__Berlin,
        protect: &protect,
        tag_deletion: TagDeletion::Supported,
        parents_deleted: &none,
    };
    for size in SIZES {
        let snapshot = snapshot(size);
        group.throughput(Throughput::Elements(size as u64));
        group.bench_with_input(BenchmarkId::from_parameter(size), &snapshot, |bencher, snapshot| {
            bencher.iter(|| plan(black_box(snapshot), &intent, &context));
        });
    }
    group.finish();
    criterion.final_summary();
}

fn now() -> DateTime<Utc> {
    "2026-06-17T12:00:00Z".parse().unwrap()
}

/// Of ten manifests, three are an index and its two children, one is a signature of the index, and six are images with
/// a tag each: builds, releases and branches.
fn snapshot(size: usize) -> Snapshot {
    let mut snapshot = Snapshot::empty(RepositoryName::parse("team/app").unwrap());
    for number in 0..size {
        let (tens, place) = (number / 10, number % 10);
        let digest = |place: usize| Digest::of(format!("manifest {}", tens * 10 + place).as_bytes());
        let (kind, children, tag) = match place {
            0 => (Kind::Index, vec![digest(1), digest(2)], Some(format!("nightly-{tens}"))),
            1 | 2 => (Kind::Image, Vec::new(), None),
            3 => (Kind::Artifact, Vec::new(), Some(digest(0).as_str().replace(':', "-") + ".sig")),
            4 => (Kind::Image, Vec::new(), Some(format!("v{}.{}.0", tens / 10, tens % 10))),
            _ => (Kind::Image, Vec::new(), Some(format!("branch-{}-{number}", place))),
        };
        let blob =
            |layer: usize| Blob { digest: Digest::of(format!("layer {layer}").as_bytes()), size: 1 << 20 };
        let manifest = Manifest {
            digest: digest(place),
            kind,
            size: 500,
            blobs: if children.is_empty() { vec![blob(number), blob(tens)] } else { Vec::new() },
            children,
            subject: None,
            facts: Facts::Known {
                created: Some(now() - TimeDelta::hours(2 + number as i64)),
                labels: BTreeMap::new(),
            },
        };
        if let Some(tag) = tag {
            snapshot.tags.insert(Tag::parse(&tag).unwrap(), manifest.digest.clone());
        }
        snapshot.manifests.insert(manifest.digest.clone(), manifest.into());
    }
    snapshot.absent = snapshot.tags.keys().filter_map(|tag| tag.subject()?.digest()).collect();
    snapshot.absent.retain(|digest| !snapshot.manifests.contains_key(digest));
    snapshot
}

fn intent() -> Intent {
    let rule = |name: &str, tags: &str, group_by: &[&str], keep: Vec<Keeps>| Rule {
        name: name.into(),
        tags: Patterns::parse(&[tags]).unwrap(),
        group_by: group_by.iter().map(|&group| group.into()).collect(),
        keep: Keep::Any(keep),
    };
    let count = |number: usize| number.try_into().unwrap();
    let rules = vec![
        rule("releases", r"v\d+\..*", &[], vec![Keeps::Versions(count(3), Some(Line::Major))]),
        rule(
            "nightly",
            "nightly-.*",
            &[],
            vec![Keeps::Period(Period::Daily, count(7)), Keeps::Period(Period::Weekly, count(4))],
        ),
        rule(
            "branches",
            r"branch-(?<branch>\d+)-\d+",
            &["branch"],
            vec![Keeps::Newest(count(10)), Keeps::NewerThan(TimeDelta::days(14))],
        ),
    ];
    Intent::Policy(Arc::new(Policy { name: "apps".into(), mode: Mode::Enforce, rules, ..Policy::default() }))
}
