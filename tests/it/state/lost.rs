//! A state that is lost or damaged: regsweep says so, keeps what it finds, and deletes nothing sooner for it.

use std::fs;
use std::path::{Path, PathBuf};

use regsweep::state::State;
use rusqlite::Connection;
use serde_json::json;

use super::harness::{FORTNIGHT, Looker, day, expected_content, image, place, run, verdict};
use crate::service::harness::Place;
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

/// Does it to the state in this folder, which nobody holds.
fn lose(state: &Path, how: Loss) {
    for beside in ["state.sqlite-wal", "state.sqlite-shm"] {
        assert!(fs::remove_file(state.join(beside)).is_err() || beside.ends_with("shm"), "{beside}");
    }
    how(&state.join("state.sqlite"));
}

/// The contents of the files that were set aside, without what SQLite makes beside them when it looks.
fn set_aside(state: &Path) -> Vec<Vec<u8>> {
    let mut found: Vec<PathBuf> = fs::read_dir(state).unwrap().map(|one| one.unwrap().path()).collect();
    let is_whole =
        |path: &str| path.contains(".set-aside-") && !path.ends_with("-wal") && !path.ends_with("-shm");
    found.retain(|path| is_whole(path.to_str().unwrap()));
    found.sort();
    found.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Images of every kind of age. `promoted` comes between the first look and the next.
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
async fn nothing_goes_sooner_for_a_lost_memory() {
    let fake = FakeRegistry::start(Personality::V2_8);
    let images = images();
    for (tag, content) in &images[1..] {
        fake.push("app", tag, content);
    }
    let intact = Looker::new(&fake.url(), FORTNIGHT);
    let state = intact.config.state_dir.clone();
    intact.look(day(0)).await;
    fake.push("app", "promoted", &images[0].1);
    intact.look(day(1)).await;
    let copies: Vec<Looker> = LOSSES
        .iter()
        .map(|(_, how)| {
            let copy = Looker::new(&fake.url(), FORTNIGHT);
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
        let doomed = intact.to_delete(day(number)).await;
        assert!(doomed.contains(&images[1].1.digest));
        if doomed.contains(&images[0].1.digest) {
            first_promoted = first_promoted.or(Some(number));
        }
        for ((name, _), copy) in LOSSES.iter().zip(&copies) {
            let without = copy.to_delete(day(number)).await;
            assert!(without.is_subset(&doomed), "{name} on day {number}: {without:?} {doomed:?}");
            let all = images.iter().filter(|(_, content)| without.contains(&content.digest));
            gone.push((number, *name, all.map(|(tag, _)| *tag).collect::<Vec<_>>()));
        }
    }
    // Nor are they kept for ever. All are as if pushed at the first look on day 5.
    for (name, _) in LOSSES {
        let first = |tag: &str| {
            let with = gone.iter().find(|(_, loss, tags)| *loss == name && tags.contains(&tag));
            with.map(|(number, ..)| *number)
        };
        let expected = ["promoted", "old", "young", "reproducible", "undated", "chart"].map(first);
        assert_eq!(expected, [19, 19, 19, 35, 35, 35].map(Some), "{name}");
    }
    // With the memory, the promoted one goes two weeks after it was promoted, and the old one at once.
    assert_eq!(first_promoted, Some(15));
}

/// A place with a state that remembers one old image, which goes.
fn remembered(registry: &RealRegistry) -> Place {
    let place = place(&format!("url: {}", registry.url()), FORTNIGHT);
    drop(State::open(&place.state_dir()).unwrap());
    registry.store().write("app", &["old"], &image("old"));
    let plan = run(&place, &["plan", "--all", "--output", "json"]).exits(0);
    assert_eq!(plan.to_delete().len(), 1);
    place
}

#[test]
fn the_program_says_that_its_memory_was_lost_and_keeps_what_it_finds() {
    let registry = RealRegistry::start();
    for (name, how) in LOSSES {
        for command in ["plan", "run"] {
            let place = remembered(&registry);
            lose(&place.state_dir(), how);
            let damaged = fs::read(place.state_dir().join("state.sqlite")).ok();
            let ran = run(&place, &[command, "--output", "json"]).exits(0);
            let word = if command == "plan" { "warning: the state is lost" } else { "ERROR" };
            assert!(
                ran.stderr.contains(word) && ran.stderr.contains("state.sqlite"),
                "{name}: {}",
                ran.stderr
            );
            assert!(ran.stderr.contains("Nothing is deleted sooner for it"), "{name}: {}", ran.stderr);
            if command == "plan" {
                // It only looks, and tells what the run will make of it.
                assert_eq!(
                    (&ran.json()["scan_history"], ran.to_delete().len()),
                    (&json!("lost"), 0),
                    "{name}"
                );
                assert_eq!(fs::read(place.state_dir().join("state.sqlite")).ok(), damaged, "{name}");
                run(&place, &["plan", "--require-state"]).exits(1);
                let past = run(&place, &["history"]).exits(1);
                assert!(past.stderr.contains("the state is lost"), "{name}: {}", past.stderr);
                let checked = run(&place, &["check"]).exits(0);
                assert!(checked.stdout.contains("warning: the state is lost"), "{name}: {}", checked.stdout);
                run(&place, &["run"]).exits(0);
            }
            assert!(set_aside(&place.state_dir()) == Vec::from_iter(damaged), "{name}");
            // The old image counts as pushed just now.
            let plan = run(&place, &["plan", "--all", "--output", "json"]).exits(0);
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
fn a_state_of_a_later_version_is_left_as_it_is() {
    let registry = RealRegistry::start();
    let place = remembered(&registry);
    let file = place.state_dir().join("state.sqlite");
    let later = Connection::open(&file).unwrap();
    later.pragma_update(None, "user_version", 99).unwrap();
    later.pragma_update(None, "wal_checkpoint", "TRUNCATE").unwrap();
    drop(later);
    let before = fs::read(&file).unwrap();
    for arguments in [&["run"][..], &["gc"], &["undo", "1"], &["history"]] {
        let ran = run(&place, arguments).exits(1);
        let said = format!("{} was written by a later regsweep (version 99): use that one", file.display());
        assert!(ran.stderr.contains(&said), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("`state_dir`"), "{}", ran.stderr);
    }
    // Who only looks says it, and does without.
    let plan = run(&place, &["plan"]).exits(0);
    assert!(plan.stderr.contains("was written by a later regsweep"), "{}", plan.stderr);
    assert_eq!(fs::read(&file).unwrap(), before);
    assert!(set_aside(&place.state_dir()).is_empty());
    assert_eq!(registry.store().repository("app").tags.len(), 1);
}

#[tokio::test]
async fn a_tag_that_points_elsewhere_after_a_loss_is_no_news_of_age() {
    let fake = FakeRegistry::start(Personality::V2_8);
    let [first, second] = ["first", "second"].map(image);
    fake.push("app", "latest", &first);
    let looker = Looker::new(&fake.url(), FORTNIGHT);
    looker.look(day(0)).await;
    lose(&looker.config.state_dir, LOSSES[0].1);
    fake.push("app", "latest", &second);
    looker.look(day(5)).await;
    // Pushed while nobody remembered: it may be of day 5, and goes two weeks after that.
    let planned = looker.inspect("app", day(18)).await;
    assert_eq!(verdict(&planned, &second).1, ["newer-than"]);
    assert_eq!(looker.to_delete(day(19)).await.len(), 1);
}

#[tokio::test]
async fn a_clock_that_was_ahead_at_the_first_look_takes_no_youth_from_what_is_promoted() {
    let registry = RealRegistry::start();
    let [old, promoted] = ["old", "promoted"].map(image);
    registry.store().write("app", &["old"], &old);
    let looker = Looker::new(&registry.url(), FORTNIGHT);
    looker.look(day(365)).await;
    registry.store().write("app", &["promoted"], &promoted);
    assert_eq!(looker.to_delete(day(1)).await, [old.digest.clone()].into());
    let run = looker.run(day(14)).await.unwrap();
    assert_eq!(run.report.deleted.len(), 1);
    assert_eq!(registry.store().repository("app"), expected_content(&[("promoted", &promoted)]));
    assert_eq!(looker.to_delete(day(15)).await, [promoted.digest].into());
}
