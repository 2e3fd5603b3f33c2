//! A state that is lost or damaged: regsweep reports it, keeps the old file, and deletes nothing sooner.

use std::fs;
use std::path::{Path, PathBuf};

use regsweep::state::State;
use rusqlite::Connection;
use serde_json::json;

use super::harness::{KEEP_14_DAYS, Scanner, day, expected_content, image, installation, run, verdict};
use crate::service::harness::Installation;
use crate::support::fake_registry::{FakeRegistry, Personality};
use crate::support::image::{Artifact, Content, Image};
use crate::support::real_registry::RealRegistry;

type Loss = fn(&Path);

/// What can become of the file; its name in the folder that it was in.
const LOSSES: [(&str, Loss); 4] = [
    ("removed", |file| fs::remove_file(file).unwrap()),
    ("garbage", |file| fs::write(file, "garbage ".repeat(3000)).unwrap()),
    ("cut short", |file| fs::write(file, &fs::read(file).unwrap()[..5000]).unwrap()),
    ("foreign", |file| {
        fs::remove_file(file).unwrap();
        let foreign = Connection::open(file).unwrap();
        foreign
            .execute_batch("CREATE TABLE contacts (name TEXT); INSERT INTO contacts VALUES ('ann')")
            .unwrap();
    }),
];

/// Damages the state in this folder, which no process uses.
fn lose(state: &Path, how: Loss) {
    for beside in ["state.sqlite-wal", "state.sqlite-shm"] {
        assert!(fs::remove_file(state.join(beside)).is_err() || beside.ends_with("shm"), "{beside}");
    }
    how(&state.join("state.sqlite"));
}

/// The contents of the files that were set aside, without the files that SQLite creates beside them.
fn set_aside(state: &Path) -> Vec<Vec<u8>> {
    let mut found: Vec<PathBuf> = fs::read_dir(state).unwrap().map(|one| one.unwrap().path()).collect();
    let is_whole =
        |path: &str| path.contains(".set-aside-") && !path.ends_with("-wal") && !path.ends_with("-shm");
    found.retain(|path| is_whole(path.to_str().unwrap()));
    found.sort();
    found.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Images of every kind of age. `promoted` is pushed between the first scan and the next.
fn images() -> Vec<(&'static str, Content)> {
    let made = |name: &str, moment: String| Image::new(name).created(moment).build();
    vec![
        ("promoted", image("promoted")),
        ("old", image("old")),
        ("young", made("young", day(-3).to_rfc3339())),
        ("reproducible", made("reproducible", "1970-01-01T00:00:00Z".into())),
        ("undated", Image::new("undated").undated().build()),
        ("chart", Artifact::helm("chart").build()),
    ]
}

#[tokio::test]
async fn lost_state_deletes_nothing_sooner() {
    let fake = FakeRegistry::start(Personality::V2_8);
    let images = images();
    for (tag, content) in &images[1..] {
        fake.push("app", tag, content);
    }
    let intact = Scanner::new(&fake.url(), KEEP_14_DAYS);
    let state = intact.config.state_dir.clone();
    intact.plan_at(day(0)).await;
    fake.push("app", "promoted", &images[0].1);
    intact.plan_at(day(1)).await;
    let copies: Vec<Scanner> = LOSSES
        .iter()
        .map(|(_, how)| {
            let copy = Scanner::new(&fake.url(), KEEP_14_DAYS);
            fs::create_dir(&copy.config.state_dir).unwrap();
            for name in ["state.sqlite", "lock"] {
                fs::copy(state.join(name), copy.config.state_dir.join(name)).unwrap();
            }
            lose(&copy.config.state_dir, *how);
            copy
        })
        .collect();
    let (mut gone, mut first_promoted) = (Vec::new(), None);
    for number in 5..40 {
        let expired = intact.to_delete(day(number)).await;
        assert!(expired.contains(&images[1].1.digest));
        if expired.contains(&images[0].1.digest) {
            first_promoted = first_promoted.or(Some(number));
        }
        for ((name, _), copy) in LOSSES.iter().zip(&copies) {
            let without = copy.to_delete(day(number)).await;
            assert!(without.is_subset(&expired), "{name} on day {number}: {without:?} {expired:?}");
            let all = images.iter().filter(|(_, content)| without.contains(&content.digest));
            gone.push((number, *name, all.map(|(tag, _)| *tag).collect::<Vec<_>>()));
        }
    }
    // Nor are they kept for ever: all count as pushed at the first scan on day 5.
    for (name, _) in LOSSES {
        let first = |tag: &str| {
            let with = gone.iter().find(|(_, loss, tags)| *loss == name && tags.contains(&tag));
            with.map(|(number, ..)| *number)
        };
        let expected = ["promoted", "old", "young", "reproducible", "undated", "chart"].map(first);
        assert_eq!(expected, [19, 19, 19, 35, 35, 35].map(Some), "{name}");
    }
    // With its scan history, the promoted one is deleted two weeks after it was promoted, and the old one at once.
    assert_eq!(first_promoted, Some(15));
}

/// An installation whose state has one old image, which expires.
fn remembered(registry: &RealRegistry) -> Installation {
    let installation = installation(&format!("url: {}", registry.url()), KEEP_14_DAYS);
    drop(State::open(&installation.state_dir()).unwrap());
    registry.store().write("app", &["old"], &image("old"));
    let plan = run(&installation, &["plan", "--all", "--output", "json"]).exits(0);
    assert_eq!(plan.to_delete().len(), 1);
    installation
}

#[test]
fn lost_state_is_reported_and_its_file_is_kept() {
    let registry = RealRegistry::start();
    for (name, how) in LOSSES {
        for command in ["plan", "run"] {
            let installation = remembered(&registry);
            lose(&installation.state_dir(), how);
            let damaged = fs::read(installation.state_dir().join("state.sqlite")).ok();
            let ran = run(&installation, &[command, "--output", "json"]).exits(0);
            let word = if command == "plan" { "warning: the state is lost" } else { "ERROR" };
            assert!(
                ran.stderr.contains(word) && ran.stderr.contains("state.sqlite"),
                "{name}: {}",
                ran.stderr
            );
            assert!(ran.stderr.contains("Nothing is deleted sooner for it"), "{name}: {}", ran.stderr);
            if command == "plan" {
                // A plan reports what the next run will do about it.
                assert_eq!(
                    (&ran.json()["scan_history"], ran.to_delete().len()),
                    (&json!("lost"), 0),
                    "{name}"
                );
                assert_eq!(fs::read(installation.state_dir().join("state.sqlite")).ok(), damaged, "{name}");
                run(&installation, &["plan", "--require-state"]).exits(1);
                let past = run(&installation, &["history"]).exits(1);
                assert!(past.stderr.contains("the state is lost"), "{name}: {}", past.stderr);
                let checked = run(&installation, &["check"]).exits(0);
                assert!(checked.stdout.contains("warning: the state is lost"), "{name}: {}", checked.stdout);
                run(&installation, &["run"]).exits(0);
            }
            assert!(set_aside(&installation.state_dir()) == Vec::from_iter(damaged), "{name}");
            // The old image counts as pushed just now.
            let plan = run(&installation, &["plan", "--all", "--output", "json"]).exits(0);
            assert_eq!((plan.to_delete().len(), plan.kept().len()), (0, 1), "{name}");
            assert!(
                plan.stderr.is_empty() && plan.json()["scan_history"] == "used",
                "{name}: {}",
                plan.stderr
            );
            assert_eq!(registry.store().repository("app").tags.len(), 1, "{name}");
        }
    }
}

#[test]
fn state_of_a_later_version_is_left_unchanged() {
    let registry = RealRegistry::start();
    let installation = remembered(&registry);
    let file = installation.state_dir().join("state.sqlite");
    let later = Connection::open(&file).unwrap();
    later.pragma_update(None, "user_version", 99).unwrap();
    later.pragma_update(None, "wal_checkpoint", "TRUNCATE").unwrap();
    drop(later);
    let before = fs::read(&file).unwrap();
    for arguments in [&["run"][..], &["gc"], &["undo", "1"], &["history"]] {
        let ran = run(&installation, arguments).exits(1);
        let output = format!("{} was written by a later regsweep (version 99): use that one", file.display());
        assert!(ran.stderr.contains(&output), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("`state_dir`"), "{}", ran.stderr);
    }
    // A plan reports it and goes on without the state.
    let plan = run(&installation, &["plan"]).exits(0);
    assert!(plan.stderr.contains("was written by a later regsweep"), "{}", plan.stderr);
    assert_eq!(fs::read(&file).unwrap(), before);
    assert!(set_aside(&installation.state_dir()).is_empty());
    assert_eq!(registry.store().repository("app").tags.len(), 1);
}

#[tokio::test]
async fn moved_tag_after_a_loss_is_no_evidence_of_age() {
    let fake = FakeRegistry::start(Personality::V2_8);
    let [first, second] = ["first", "second"].map(image);
    fake.push("app", "latest", &first);
    let scanner = Scanner::new(&fake.url(), KEEP_14_DAYS);
    scanner.plan_at(day(0)).await;
    lose(&scanner.config.state_dir, LOSSES[0].1);
    fake.push("app", "latest", &second);
    scanner.plan_at(day(5)).await;
    // Pushed while there was no scan history: it counts as pushed on day 5, and is deleted two weeks later.
    let planned = scanner.inspect("app", day(18)).await;
    assert_eq!(verdict(&planned, &second).1, ["newer-than"]);
    assert_eq!(scanner.to_delete(day(19)).await.len(), 1);
}

#[tokio::test]
async fn clock_ahead_at_the_first_scan_makes_no_promoted_image_older() {
    let registry = RealRegistry::start();
    let [old, promoted] = ["old", "promoted"].map(image);
    registry.store().write("app", &["old"], &old);
    let scanner = Scanner::new(&registry.url(), KEEP_14_DAYS);
    scanner.plan_at(day(365)).await;
    registry.store().write("app", &["promoted"], &promoted);
    assert_eq!(scanner.to_delete(day(1)).await, [old.digest.clone()].into());
    let run = scanner.run(day(14)).await.unwrap();
    assert_eq!(run.report.deleted.len(), 1);
    assert_eq!(registry.store().repository("app"), expected_content(&[("promoted", &promoted)]));
    assert_eq!(scanner.to_delete(day(15)).await, [promoted.digest].into());
}
