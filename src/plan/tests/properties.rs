//! Properties of all plans, for repositories and policies of every shape.

use super::*;

#[derive(Debug, Clone)]
struct Node {
    kind: Kind,
    hours: Option<i64>,
    children: Vec<usize>,
    subject: Option<usize>,
    tags: Vec<u8>,
    signs: Option<usize>,
    label: bool,
}

fn node() -> impl Strategy<Value = Node> {
    (
        prop_oneof![3 => Just(Kind::Image), 2 => Just(Kind::Index), 1 => Just(Kind::Artifact)],
        prop_oneof![5 => (0..2000i64).prop_map(Some), 1 => Just(None)],
        prop::collection::vec(0..12usize, 0..4),
        prop_oneof![4 => Just(None), 1 => (0..14usize).prop_map(Some)],
        prop_oneof![1 => Just(vec![]), 3 => prop::collection::vec(0..30u8, 1..3)],
        prop_oneof![4 => Just(None), 1 => (0..14usize).prop_map(Some)],
        prop::bool::weighted(0.1),
    )
        .prop_map(|(kind, hours, children, subject, tags, signs, label)| Node {
            kind,
            hours,
            children,
            subject,
            tags,
            signs,
            label,
        })
}

/// Tags are `a0`, `b1`, `1.0.2` and so on; manifests 12 and 13 do not exist.
fn repository(nodes: &[Node]) -> TestRepository {
    let name = |number: usize| format!("m{number}");
    let mut repository = TestRepository::new();
    for number in nodes.len()..14 {
        // Every other absent manifest was there before.
        repository =
            if number % 2 == 0 { repository.absent(&name(number)) } else { repository.lost(&name(number)) };
    }
    for (number, node) in nodes.iter().enumerate() {
        repository = repository.add(&name(number), node.kind, node.hours.map(ago), &[]);
        // Edges lead only to lower numbers: a digest cannot list itself, directly or indirectly.
        if node.kind == Kind::Index {
            let children = node.children.iter().filter(|&&child| child < number);
            let children = children.map(|&child| digest(&name(child))).collect();
            repository = repository.edit(&name(number), |manifest| manifest.children = children);
        }
        if let Some(subject) = node.subject.filter(|&subject| subject < number || subject > 11) {
            repository = repository.about(&name(number), &name(subject));
        }
        if node.label {
            repository = repository.label(&name(number), "hold", "x");
        }
        for tag in &node.tags {
            let text = match tag % 3 {
                0 => format!("a{tag}"),
                1 => format!("b{tag}"),
                _ => format!("1.{}.{}", tag % 2, tag),
            };
            repository.snapshot.tags.insert(Tag::parse(&text).unwrap(), digest(&name(number)));
        }
        if let Some(subject) = node.signs {
            let tag = Tag::parse(&sig(&name(subject))).unwrap();
            repository.snapshot.tags.insert(tag, digest(&name(number)));
        }
    }
    repository
}

fn repositories() -> impl Strategy<Value = TestRepository> {
    prop::collection::vec(node(), 0..12).prop_map(|nodes| repository(&nodes))
}

impl std::fmt::Debug for TestRepository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#?} {:?}", self.snapshot, self.names)
    }
}

impl std::fmt::Debug for PlanInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#?} {:?} {:?}", self.policy, self.protect, self.tag_deletion)
    }
}

fn criterion() -> impl Strategy<Value = Criterion> {
    let leaf = prop_oneof![
        (1..4usize).prop_map(newest),
        (1..1500i64).prop_map(newer_than),
        (1..4usize).prop_map(|n| last(n, Period::Daily)),
        (1..4usize).prop_map(|n| last(n, Period::Monthly)),
        (1..3usize).prop_map(|n| versions(n, None)),
        (1..3usize).prop_map(|n| versions(n, Some(Line::Minor))),
    ];
    prop_oneof![4 => leaf.clone(), 1 => prop::collection::vec(leaf, 1..3).prop_map(Criterion::All)]
}

fn keep() -> impl Strategy<Value = Keep> {
    prop_oneof![
        1 => Just(Keep::Everything),
        3 => Just(Keep::Nothing),
        6 => prop::collection::vec(criterion(), 1..3).prop_map(Keep::Any),
    ]
}

fn inputs() -> impl Strategy<Value = PlanInput> {
    (keep(), keep(), prop::option::of(1..1500i64), 0..200i64, 0..4usize, any::<bool>(), any::<bool>())
        .prop_map(|(first, second, untagged, young, at_least, deletes_tags, catch_all)| {
            let rest = if catch_all { ".*" } else { "[0-9].*" };
            let mut input =
                rules(vec![rule("a", "a.*", first), rule("rest", rest, second)]).protect(|protect| {
                    protect.newer_than = TimeDelta::hours(young);
                    protect.at_least = at_least;
                    protect.labels = vec![Label { key: "hold".into(), value: None }];
                });
            if let Some(hours) = untagged {
                input = input.untagged(hours);
            }
            if deletes_tags { input.deletes_tags() } else { input }
        })
}

fn deleted(plan: &RepositoryPlan) -> BTreeSet<&Digest> {
    plan.deletions().map(|planned| &planned.digest).collect()
}

/// The repository after a run with this plan.
fn apply(snapshot: &Snapshot, plan: &RepositoryPlan) -> Snapshot {
    let mut after = snapshot.clone();
    for planned in plan.deletions() {
        after.manifests.remove(&planned.digest);
        after.absent.insert(planned.digest.clone());
        after.seen_subjects.insert(planned.digest.clone());
        after.tags.retain(|_, digest| *digest != planned.digest);
    }
    after.tags.retain(|tag, _| !plan.untag.iter().any(|untag| untag.tag == *tag));
    after
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn keep_and_delete_partition_all_manifests(repository in repositories(), input in inputs()) {
        let plan = repository.plan(&input);
        let listed: Vec<&Digest> = plan.manifests.iter().map(|planned| &planned.digest).collect();
        let once: BTreeSet<&Digest> = listed.iter().copied().collect();
        prop_assert_eq!(listed.len(), once.len());
        prop_assert_eq!(once, repository.snapshot.manifests.keys().collect());
    }

    #[test]
    fn verdicts_have_a_reason_of_the_same_verdict(repository in repositories(), input in inputs()) {
        for planned in repository.plan(&input).manifests {
            let has_reason = planned.reasons.iter().any(|reason| reason.verdict() == planned.verdict);
            prop_assert!(has_reason, "{:?}", planned);
            if planned.verdict == Verdict::Delete {
                let against = planned.reasons.iter().any(|reason| reason.verdict() == Verdict::Keep);
                prop_assert!(!against, "{:?}", planned);
            }
        }
    }

    #[test]
    fn order_of_lists_does_not_matter(repository in repositories(), input in inputs()) {
        let mut other = repository.snapshot.clone();
        for manifest in other.manifests.values_mut() {
            let manifest = Arc::make_mut(manifest);
            manifest.children.reverse();
            manifest.blobs.reverse();
        }
        prop_assert_eq!(repository.plan(&input), input.plan(&other));
    }

    #[test]
    fn dependencies_of_kept_manifests_are_kept(repository in repositories(), input in inputs()) {
        let plan = repository.plan(&input);
        let deleted = deleted(&plan);
        for manifest in repository.snapshot.manifests.values().filter(|manifest| !deleted.contains(&manifest.digest)) {
            for child in &manifest.children {
                prop_assert!(!deleted.contains(child), "a child of {:?}", manifest.digest);
            }
        }
        for (tag, referrer) in &repository.snapshot.tags {
            let Some(subject) = tag.subject().and_then(|subject| subject.digest()) else { continue };
            if repository.snapshot.manifests.contains_key(&subject) && !deleted.contains(&subject) {
                prop_assert!(!deleted.contains(referrer), "{tag}");
            }
        }
        for manifest in repository.snapshot.manifests.values() {
            let Some(subject) = &manifest.subject else { continue };
            if repository.snapshot.manifests.contains_key(subject) && !deleted.contains(subject) {
                prop_assert!(!deleted.contains(&manifest.digest), "referrer of {subject:?}");
            }
        }
    }

    #[test]
    fn dependencies_of_expired_manifests_only_are_deleted(repository in repositories(), input in inputs()) {
        let plan = repository.plan(&input);
        let deleted = deleted(&plan);
        for planned in plan.manifests.iter().filter(|planned| planned.verdict == Verdict::Keep) {
            let manifest = &repository.snapshot.manifests[&planned.digest];
            let parents: Vec<&Digest> = repository.snapshot.manifests.values()
                .filter(|parent| parent.children.contains(&manifest.digest)).map(|parent| &parent.digest).collect();
            let all_deleted = !parents.is_empty() && parents.iter().all(|parent| deleted.contains(parent));
            if all_deleted && manifest.subject.is_none() {
                // A tag or a label of its own or of a referrer must have kept it.
                prop_assert!(planned.reasons.iter().any(|reason| reason.verdict() == Verdict::Keep));
                prop_assert!(!planned.reasons.iter().any(|reason| matches!(reason, Reason::Untagged)));
            }
        }
    }

    #[test]
    fn parents_and_subjects_are_deleted_first(repository in repositories(), input in inputs()) {
        let plan = repository.plan(&input);
        let mut deleted_before = BTreeSet::new();
        for planned in plan.deletions() {
            prop_assert!(planned.after.iter().all(|digest| deleted_before.contains(digest)));
            let parents = repository.snapshot.manifests.values()
                .filter(|parent| parent.children.contains(&planned.digest));
            for parent in parents {
                prop_assert!(planned.after.contains(&parent.digest));
            }
            deleted_before.insert(planned.digest.clone());
        }
    }

    #[test]
    fn adding_a_keep_never_deletes_more(
        repository in repositories(), input in inputs(), extra in criterion(), number in 0..2usize,
    ) {
        // Without at_least: another kept manifest can replace one that at_least keeps.
        let input = input.protect(|protect| protect.at_least = 0);
        let before = repository.plan(&input);
        let mut more = input;
        match &mut more.policy.rules[number].keep {
            Keep::Everything => {}
            keep @ Keep::Nothing => *keep = Keep::Any(vec![extra]),
            Keep::Any(criteria) => criteria.push(extra),
        }
        let after = repository.plan(&more);
        prop_assert!(deleted(&after).is_subset(&deleted(&before)));
    }

    #[test]
    fn plan_after_its_own_application_is_empty(repository in repositories(), input in inputs()) {
        let mut snapshot = repository.snapshot.clone();
        let mut plan = input.plan(&snapshot);
        // Where single tags are deleted, a manifest that rises in the ranks by that may gain its first kept tag,
        // and then its other expired tags can be deleted too. No manifest is ever deleted by that.
        for _ in 0..=repository.snapshot.tags.len() {
            snapshot = apply(&snapshot, &plan);
            plan = input.plan(&snapshot);
            prop_assert!(plan.deletions().next().is_none(), "{:?}", plan);
            if input.tag_deletion == TagDeletion::Unsupported {
                prop_assert!(plan.is_idle(), "{:?}", plan);
            }
        }
        prop_assert!(plan.is_idle(), "{:?}", plan);
    }

    #[test]
    fn at_least_keeps_this_many_tagged_manifests(repository in repositories(), input in inputs()) {
        let plan = repository.plan(&input);
        let tagged = plan.manifests.iter().filter(|planned| planned.counted_as.is_some());
        let (kept, deleted): (Vec<_>, Vec<_>) = tagged.partition(|planned| planned.verdict == Verdict::Keep);
        prop_assert!(deleted.is_empty() || kept.len() >= input.protect.at_least);
        let images = |of: Vec<&Planned>| {
            of.into_iter().filter(|planned| planned.counted_as == Some(Counted::Image)).count()
        };
        prop_assert!(images(deleted) == 0 || images(kept) >= input.protect.at_least);
    }

    #[test]
    fn referrers_of_absent_subjects_are_deleted_only_by_the_rules(
        repository in repositories(), input in inputs(),
    ) {
        let plan = repository.plan(&input);
        for planned in plan.deletions() {
            for tag in &planned.tags {
                let Some(subject) = tag.subject().and_then(|subject| subject.digest()) else { continue };
                let snapshot = &repository.snapshot;
                if snapshot.manifests.contains_key(&subject) || snapshot.seen_subjects.contains(&subject) {
                    continue;
                }
                prop_assert!(input.policy.decides(tag).is_some(), "{tag}");
                prop_assert!(planned.age.is_some_and(|age| age >= input.protect.newer_than), "{tag}");
                let expired = |reason: &Reason| match reason {
                    Reason::Expired { tags, .. } => tags.contains(tag),
                    _ => false,
                };
                prop_assert!(planned.reasons.iter().any(expired), "{tag}");
            }
        }
    }

    #[test]
    fn unclaimed_or_protected_tag_keeps_its_manifest(repository in repositories(), input in inputs()) {
        let input = input.protect(|protect| protect.tags = Patterns::parse(&["1.*", "sha256-[0-7].*"]).unwrap());
        let plan = repository.plan(&input);
        for planned in plan.deletions() {
            for tag in &planned.tags {
                let claimed = input.policy.rules.iter().any(|rule| rule.claim(tag).is_some());
                prop_assert!(claimed || tag.subject().is_some(), "{tag}");
                prop_assert!(!input.protect.tags.matches(tag.as_str()), "{tag}");
            }
        }
    }

    #[test]
    fn tagged_manifests_of_unknown_age_are_kept(repository in repositories(), input in inputs()) {
        let plan = repository.plan(&input);
        for planned in plan.deletions().filter(|planned| planned.counted_as == Some(Counted::Image)) {
            prop_assert!(planned.age.is_some_and(|age| age >= input.protect.newer_than));
        }
    }

    #[test]
    fn untag_removes_only_expired_tags_of_kept_manifests(repository in repositories(), input in inputs()) {
        let plan = repository.plan(&input);
        let deleted = deleted(&plan);
        for untag in &plan.untag {
            prop_assert!(!deleted.contains(&untag.digest));
            let left = repository.snapshot.tags.iter().filter(|(tag, digest)| {
                **digest == untag.digest && !plan.untag.iter().any(|other| other.tag == **tag)
            });
            prop_assert!(left.count() > 0, "{} would leave its manifest without a tag", untag.tag);
        }
    }

    #[test]
    fn snapshot_with_a_gap_deletes_nothing(
        repository in repositories(), input in inputs(), which in any::<prop::sample::Index>(),
    ) {
        let mut snapshot = repository.snapshot.clone();
        let pointed_at: Vec<Digest> = snapshot.tags.values().cloned()
            .chain(snapshot.manifests.values().flat_map(|manifest| manifest.children.clone())).collect();
        prop_assume!(!pointed_at.is_empty());
        let lost = &pointed_at[which.index(pointed_at.len())];
        snapshot.manifests.remove(lost);
        snapshot.absent.remove(lost);
        prop_assert!(input.plan(&snapshot).is_idle());
    }
}
