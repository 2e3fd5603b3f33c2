//! Snapshots that only a hostile registry can have: cycles, manifests that were not read, dates from the year 0
//! to 10000, sizes that no number holds. Their plans keep what is needed.

use super::*;
use crate::model::FirstScan;

#[derive(Debug, Clone)]
struct Node {
    kind: Kind,
    facts: Option<Option<DateTime<Utc>>>,
    children: Vec<usize>,
    subject: Option<usize>,
    tags: Vec<&'static str>,
    signs: Option<usize>,
    noticed: Option<DateTime<Utc>>,
    size: u64,
}

/// What RFC 3339 can write, in every time zone.
fn moment() -> impl Strategy<Value = DateTime<Utc>> {
    let seconds = -62_167_305_600..253_402_387_200_i64;
    (seconds, 0..2_000_000_000_u32).prop_map(|(seconds, nanoseconds)| {
        // Above a thousand million nanoseconds it is a leap second, which only the last of a minute can be.
        let seconds =
            if nanoseconds < 1_000_000_000 { seconds } else { seconds - seconds.rem_euclid(60) + 59 };
        DateTime::from_timestamp(seconds, nanoseconds).unwrap()
    })
}

fn node() -> impl Strategy<Value = Node> {
    (
        prop_oneof![Just(Kind::Image), Just(Kind::Index), Just(Kind::Artifact)],
        prop::option::of(prop::option::of(moment())),
        prop::collection::vec(0..10usize, 0..5),
        prop::option::of(0..10usize),
        prop::collection::vec(prop_oneof![Just("old-1"), Just("old-2"), Just("1.0.0"), Just("stays")], 0..2),
        prop::option::of(0..10usize),
        prop::option::of(moment()),
        prop_oneof![Just(u64::MAX), any::<u64>()],
    )
        .prop_map(|(kind, facts, children, subject, tags, signs, noticed, size)| Node {
            kind,
            facts,
            children,
            subject,
            tags,
            signs,
            noticed,
            size,
        })
}

fn name(number: usize) -> Digest {
    digest(&format!("m{number}"))
}

/// Manifests 8 and 9 are never there; `unread` says that they were not fetched.
fn snapshot(nodes: &[Node], unread: bool, first_scan: FirstScan) -> Snapshot {
    let mut snapshot = TestRepository::new().snapshot;
    snapshot.first_scan = first_scan;
    for (number, node) in nodes.iter().enumerate() {
        let facts = match node.facts {
            Some(created) => Facts::Known { created, labels: BTreeMap::new() },
            None => Facts::Unknown { why: "any".into(), lasting: true },
        };
        let manifest = Manifest {
            digest: name(number),
            kind: node.kind,
            size: node.size,
            children: node.children.iter().map(|&child| name(child)).collect(),
            subject: node.subject.map(name),
            blobs: vec![Blob { digest: name(number % 3), size: node.size }],
            facts,
        };
        snapshot.manifests.insert(name(number), Arc::new(manifest));
        if let Some(noticed) = node.noticed {
            snapshot
                .observations
                .insert(name(number), Observation { noticed, untagged_since: Some(noticed), restored: None });
        }
        let signs = node.signs.map(|subject| sig(&format!("m{subject}")));
        for tag in node.tags.iter().map(|&tag| tag.to_owned()).chain(signs) {
            snapshot.tags.insert(Tag::parse(&tag).unwrap(), name(number));
        }
    }
    if !unread {
        snapshot.absent =
            (0..10).map(name).filter(|digest| !snapshot.manifests.contains_key(digest)).collect();
    }
    snapshot
}

fn first_scan() -> impl Strategy<Value = FirstScan> {
    prop_oneof![
        Just(FirstScan::Never),
        moment().prop_map(FirstScan::At),
        moment().prop_map(FirstScan::AfterLoss),
    ]
}

fn input() -> PlanInput {
    rules(vec![
        rule("old", "old.*", Keep::Nothing),
        rule("versions", "1.*", Keep::Any(vec![last(2, Period::Weekly), newest(1), newer_than(5)])),
    ])
    .untagged(1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn hostile_snapshots_keep_what_is_needed(
        nodes in prop::collection::vec(node(), 0..8),
        unread in any::<bool>(),
        first in first_scan(),
        now in moment(),
    ) {
        let snapshot = snapshot(&nodes, unread, first);
        let plan = input().plan_at(&snapshot, now);
        let deleted: BTreeSet<&Digest> = plan.deletions().map(|planned| &planned.digest).collect();
        prop_assert_eq!(plan.manifests.len(), snapshot.manifests.len());
        if snapshot.gap().is_some() {
            prop_assert!(deleted.is_empty(), "it is unknown what the unread ones need");
        }
        let stays = Tag::parse("stays").unwrap();
        prop_assert!(snapshot.tags.get(&stays).is_none_or(|digest| !deleted.contains(digest)));
        for (digest, manifest) in snapshot.manifests.iter().filter(|(digest, _)| !deleted.contains(digest)) {
            for child in &manifest.children {
                prop_assert!(!deleted.contains(child), "{:?} needs {:?}", digest, child);
            }
        }
        for planned in &plan.manifests {
            prop_assert!(!planned.reasons.is_empty());
            for reason in &planned.reasons {
                prop_assert!(!reason.to_string().is_empty());
            }
        }
    }
}
