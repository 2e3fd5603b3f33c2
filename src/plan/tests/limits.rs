//! Which plans the limits refuse.

use super::*;

fn of(name: &str, kept: usize, expired: usize) -> RepositoryPlan {
    let mut repository = TestRepository::new();
    repository.snapshot.repository = RepositoryName::parse(name).unwrap();
    for number in 0..kept + expired {
        let tag = if number < kept { format!("keep-{number}") } else { format!("drop-{number}") };
        repository = repository.image(&format!("{name}-{number}"), 9, &[&tag]);
    }
    repository.plan(&rules(vec![rule("drops", "drop-.*", Keep::Nothing)]))
}

fn check(repositories: Vec<RepositoryPlan>, limits: Limits, expected: &[&str], permitted: &[&str]) {
    let plan = Plan::new("main", now(), repositories, Vec::new(), &limits);
    let refusals: Vec<String> = plan.refusals.iter().map(ToString::to_string).collect();
    let heads: Vec<&str> = refusals.iter().map(|text| text.split("; review").next().unwrap()).collect();
    assert_eq!(heads, expected);
    let open: Vec<&str> = plan.permitted().map(|repository| repository.repository.as_str()).collect();
    assert_eq!(open, permitted);
}

#[test]
fn max_percent_refuses_a_repository() {
    check(
        vec![of("a", 2, 8), of("b", 3, 7), of("c", 0, 9)],
        Limits { max_percent: 75, max_deletions: 100 },
        &["a: 8 of its 10 tagged manifests would be deleted, and limits.max_percent allows 75 %"],
        &["b", "c"],
    );
}

#[test]
fn max_deletions_refuses_the_registry() {
    check(
        vec![of("a", 9, 3), of("b", 9, 3)],
        Limits { max_percent: 100, max_deletions: 5 },
        &["6 manifests would be deleted, and limits.max_deletions allows 5"],
        &[],
    );
    check(
        vec![of("a", 9, 3), of("b", 9, 2)],
        Limits { max_percent: 100, max_deletions: 5 },
        &[],
        &["a", "b"],
    );
}

/// The plan of that many kept and expired images, and of signatures with subjects in other repositories.
fn signed(images: (usize, usize), signatures: (usize, usize)) -> RepositoryPlan {
    let mut repository = TestRepository::new();
    repository.snapshot.repository = RepositoryName::parse("a").unwrap();
    for (word, hours, count) in [("keep", 1, images.0), ("drop", 9, images.1)] {
        for number in 0..count {
            repository = repository.image(&format!("{word}-{number}"), hours, &[&format!("{word}-{number}")]);
        }
    }
    for (word, hours, count) in [("kept", 1, signatures.0), ("gone", 9, signatures.1)] {
        for number in 0..count {
            let subject = format!("subject-{word}-{number}");
            repository =
                repository.image(&format!("{word}-{number}"), hours, &[&sig(&subject)]).absent(&subject);
        }
    }
    repository.plan(&all(vec![newer_than(5)]))
}

#[test]
fn max_percent_counts_referrers_whose_subjects_are_elsewhere() {
    let limits = Limits { max_percent: 75, max_deletions: 100 };
    let refused = |deletions: usize, of: usize| {
        format!(
            "a: {deletions} of its {of} tagged manifests would be deleted, and limits.max_percent allows 75 %"
        )
    };
    check(vec![signed((0, 0), (2, 8))], limits, &[&refused(8, 10)], &[]);
    check(vec![signed((0, 0), (3, 7))], limits, &[], &["a"]);
    // Kept signatures do not count as kept images.
    check(vec![signed((2, 8), (90, 0))], limits, &[&refused(8, 10)], &[]);
    check(vec![signed((10, 0), (0, 90))], limits, &[&refused(90, 100)], &[]);
}

#[test]
fn limits_do_not_count_deletions_that_will_not_happen() {
    let mut held = of("b", 9, 3);
    held.intent = Intent::Policy(Arc::new(Policy { mode: Mode::Plan, ..Policy::default() }));
    check(
        vec![of("a", 1, 9), held, of("c", 9, 3)],
        Limits { max_percent: 75, max_deletions: 5 },
        &["a: 9 of its 10 tagged manifests would be deleted, and limits.max_percent allows 75 %"],
        &["c"],
    );
}

#[test]
fn refusals_name_the_next_step() {
    let plan = Plan::new(
        "main",
        now(),
        vec![of("a", 0, 3)],
        Vec::new(),
        &Limits { max_percent: 100, max_deletions: 1 },
    );
    let text = plan.refusals[0].to_string();
    assert!(text.contains("regsweep plan") && text.contains("--override-limits"), "{text}");
}
