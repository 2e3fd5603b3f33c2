//! `explain` shows all evidence of the age of an image, and which one counts.

use regsweep::state::State;
use serde_json::{Value, json};

use super::harness::{KEEP_14_DAYS, image, installation, list, run};
use crate::service::harness::Installation;
use crate::support::image::{Artifact, Content, Image, Index};
use crate::support::real_registry::RealRegistry;
use crate::support::regsweep::hours_ago;

/// What is told of the age of an image: each source with its weight.
fn evidence(json: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    list(&json["evidence"]).iter().map(|one| (text(&one["source"]), text(&one["weight"]))).collect()
}

/// Asserts the evidence, in both output forms, and the age of the image in hours, if it is known.
fn check(installation: &Installation, tag: &str, expected: &[(&str, &str)], hours: Option<i64>) -> String {
    let name = format!("app:{tag}");
    let json = run(installation, &["explain", &name, "--output", "json"]).exits(0).json();
    let expected: Vec<_> = expected.iter().map(|(one, other)| ((*one).into(), (*other).into())).collect();
    assert_eq!(evidence(&json), expected, "{tag}");
    let age = json["age_seconds"].as_i64().map(|seconds| (seconds + 600) / 3600);
    assert_eq!(age, hours, "{tag}: {json}");
    let counts = list(&json["evidence"]).iter().filter(|one| one["weight"] == "counts");
    assert_eq!(counts.count(), usize::from(hours.is_some()), "{tag}");
    // The plan tells the same.
    let plan = run(installation, &["plan", "--all", "--output", "json"]).exits(0).json();
    let planned =
        list(&plan["repositories"][0]["manifests"]).iter().find(|one| one["digest"] == json["digest"]);
    assert_eq!(planned.unwrap()["evidence"], json["evidence"], "{tag}");
    let shown = run(installation, &["explain", &name]).exits(0).stdout;
    assert_eq!(shown.matches("(counts)").count(), usize::from(hours.is_some()), "{tag}: {shown}");
    assert_eq!(
        shown.contains("no evidence counts, so the age is unknown and the image is kept"),
        hours.is_none(),
        "{tag}: {shown}"
    );
    shown
}

#[test]
fn explain_shows_all_evidence_and_marks_what_counts() {
    let registry = RealRegistry::start();
    let installation = installation(&format!("url: {}", registry.url()), KEEP_14_DAYS);
    drop(State::open(&installation.state_dir()).unwrap());
    let made = |name: &str, moment: &str| Image::new(name).created(moment).build();
    let write = |tag: &str, content: &Content| registry.store().write("app", &[tag], content);
    let (ten_days, long_ago) = (hours_ago(240).to_rfc3339(), "1970-01-01T00:00:00Z");
    let old_index = Index::oci().child(&image("old child")).child(&made("child", &ten_days)).build();
    write("old", &image("old"));
    write("reproducible", &made("reproducible", long_ago));
    write("undated", &Image::new("undated").undated().build());
    write("ahead", &made("ahead", &hours_ago(-48).to_rfc3339()));
    write("chart", &Artifact::helm("chart").build());
    write("index", &old_index);
    run(&installation, &["plan"]).exits(0);
    write("new", &made("new", &ten_days));
    write("promoted", &image("promoted"));
    write("retagged", &image("old"));
    write("new-reproducible", &made("new reproducible", long_ago));
    write("new-undated", &Image::new("new undated").undated().build());
    run(&installation, &["plan"]).exits(0);

    // An image found by the first scan is as old as it says.
    let first_look = [("first-scan", "too-recent")];
    let shown = check(&installation, "undated", &first_look, None);
    assert!(shown.contains("it was there at the first scan, "), "{shown}");
    assert!(shown.contains("(the image may be older: counts only when it is 30d ago)"), "{shown}");
    check(&installation, "chart", &first_look, None);
    let shown = check(&installation, "reproducible", &[("created", "too-old"), first_look[0]], None);
    assert!(
        shown.contains("the image says it was created 1970-01-01 00:00:00 UTC (not believed: no image"),
        "{shown}"
    );
    let shown = check(&installation, "ahead", &[("created", "future"), first_look[0]], None);
    assert!(shown.contains("(not believed: it is in the future)"), "{shown}");
    let index = [("youngest-child", "counts"), ("first-scan", "weaker")];
    let shown = check(&installation, "index", &index, Some(240));
    assert!(shown.contains("its youngest child says it was created "), "{shown}");
    assert!(shown.contains("(the image may be older: better evidence counts)"), "{shown}");

    // An image found later is as old as its first observation.
    let noticed = [("created", "outdated"), ("noticed", "counts")];
    for tag in ["new", "promoted", "old", "retagged"] {
        let shown = check(&installation, tag, &noticed, Some(0));
        assert!(shown.contains("(does not count: later evidence does)"), "{shown}");
        assert!(shown.contains("regsweep saw the image, or a tag on it, appear "), "{shown}");
        assert!(shown.contains("verdict  keep"), "{shown}");
    }
    check(&installation, "new-reproducible", &[("created", "too-old"), ("noticed", "counts")], Some(0));
    check(&installation, "new-undated", &[("noticed", "counts")], Some(0));

    // For a moment in the past there are no observations.
    for tag in ["undated", "new-undated"] {
        let asked = ["explain", &format!("app:{tag}"), "--at", "2026-01-01T00:00:00Z"];
        let json = run(&installation, &[&asked[..], &["--output", "json"]].concat()).exits(0).json();
        let at = json["evidence"][0]["at"].as_str().unwrap();
        assert!(at > "2026-01-01T00:00:00Z" && at[..10] >= *"2026-01-02", "{json}");
        let shown = run(&installation, &asked).exits(0).stdout;
        assert!(!shown.contains("2026-01-01"), "{shown}");
    }
    let shown =
        run(&installation, &["explain", "app:new-undated", "--at", "2026-01-01T00:00:00Z"]).exits(0).stdout;
    assert!(shown.contains("(later than the moment of this plan: counts as that moment)"), "{shown}");
}

#[test]
fn explain_without_a_state_believes_the_creation_date() {
    let registry = RealRegistry::start();
    let installation = installation(&format!("url: {}", registry.url()), KEEP_14_DAYS);
    registry.store().write("app", &["old"], &image("old"));
    registry.store().write("app", &["undated"], &Image::new("undated").undated().build());
    let json = run(&installation, &["explain", "app:old", "--output", "json"]).exits(0).json();
    assert_eq!(
        json["evidence"][0],
        json!({ "source": "created", "at": "2020-01-01T00:00:00Z", "weight": "counts" })
    );
    let json = run(&installation, &["explain", "app:undated", "--output", "json"]).exits(0).json();
    assert_eq!(json["age_seconds"], Value::Null);
    let first_look = ("first-scan".to_owned(), "too-recent".to_owned());
    assert_eq!((&json["verdict"], evidence(&json)), (&json!("keep"), vec![first_look]));
}
