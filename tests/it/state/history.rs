//! `history` shows what runs have done: everything, or what matches the filters.

use chrono::{DateTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use regsweep::state::State;
use serde_json::{Value, json};

use super::harness::{OLD_TAGS_EXPIRE, Scanner, day, history, image, installation, list, run, text};
use crate::service::harness::Installation;
use crate::support::fake_registry::{FakeRegistry, Personality};
use crate::support::image::signature_tag;
use crate::support::push::Pusher;
use crate::support::real_registry::RealRegistry;

/// The numbers of the runs that are shown, in their order.
fn runs(installation: &Installation, arguments: &[&str]) -> Vec<i64> {
    history(installation, arguments).iter().map(|run| run["run"].as_i64().unwrap()).collect()
}

/// Where the deletions of a run that are shown were, and under which tags.
fn deletions(run: &Value) -> Vec<(String, String)> {
    let deletions = list(&run["deletions"]).iter();
    deletions.map(|one| (text(&one["repository"]).to_owned(), one["tags"].to_string())).collect()
}

#[tokio::test]
async fn history_can_be_filtered_while_the_state_is_in_use() {
    let (main, other) = (RealRegistry::start(), RealRegistry::start());
    let more = format!("  - name: other\n    url: {}\n{OLD_TAGS_EXPIRE}", other.url());
    let installation = installation(&format!("url: {}", main.url()), &more);
    let pusher = Pusher::new(&main.url());
    for (repository, tag) in [("team/app", "old-1"), ("team/app", "old-2"), ("team/web", "old")] {
        pusher.push(repository, tag, &image(&format!("{repository} {tag}"))).await.unwrap();
    }
    Pusher::new(&other.url()).push("team/app", "old-3", &image("other")).await.unwrap();
    run(&installation, &["run", "--registry", "main", "--repository", "team/app"]).exits(0);
    run(&installation, &["run", "--registry", "other"]).exits(0);
    run(&installation, &["run", "--registry", "main"]).exits(0);
    run(&installation, &["run", "--registry", "main"]).exits(0);

    assert_eq!(runs(&installation, &[]), [4, 3, 2, 1]);
    assert_eq!(runs(&installation, &["--limit", "2"]), [4, 3]);
    assert_eq!(runs(&installation, &["2"]), [2]);
    assert_eq!(runs(&installation, &["--registry", "main"]), [4, 3, 1]);
    assert_eq!(runs(&installation, &["--registry", "main", "--limit", "1"]), [4]);
    assert_eq!(runs(&installation, &["--repository", "team/app"]), [2, 1]);
    assert_eq!(runs(&installation, &["--repository", "team/web", "--repository", "team/app"]), [3, 2, 1]);
    assert_eq!(runs(&installation, &["--repository", "team"]), [0; 0]);
    assert_eq!(runs(&installation, &["--repository", "team/.*", "--registry", "other"]), [2]);
    let all = history(&installation, &[]);
    let app = |tags: &str| ("team/app".to_owned(), tags.to_owned());
    assert_eq!(deletions(&all[2]), [app("[\"old-3\"]")]);
    assert_eq!(deletions(&all[3]).len(), 2);
    assert_eq!(deletions(&all[1]), [("team/web".to_owned(), "[\"old\"]".to_owned())]);
    assert_eq!(
        (&all[0]["outcome"], &all[0]["deleted"], &all[3]["deleted"]),
        (&json!("success"), &json!(0), &json!(2))
    );
    assert_eq!(list(&all[3]["deletions"])[0]["rules"], json!(["old"]));

    let exact: Vec<DateTime<Utc>> = {
        let state = State::open(&installation.state_dir()).unwrap();
        state.runs(4).unwrap().iter().map(|run| run.started).collect()
    };
    let moment = |index: usize, change: i64| (exact[index] + TimeDelta::microseconds(change)).to_rfc3339();
    for (since, until, expected) in [
        (Some(moment(1, 0)), None, &[4, 3][..]),
        (Some(moment(1, 1)), None, &[4]),
        (None, Some(moment(1, 0)), &[3, 2, 1]),
        (None, Some(moment(1, -1)), &[2, 1]),
        (Some(moment(2, 0)), Some(moment(1, 0)), &[3, 2]),
        (Some(moment(0, 1)), None, &[]),
        (Some("2020-01-31".into()), None, &[4, 3, 2, 1]),
        (None, Some("2020-01-31".into()), &[]),
    ] {
        let since = since.iter().flat_map(|moment| ["--since", moment]);
        let until = until.iter().flat_map(|moment| ["--until", moment]);
        assert_eq!(runs(&installation, &since.chain(until).collect::<Vec<_>>()), expected);
    }

    run(&installation, &["history", "9"]).exits(1);
    run(&installation, &["history", "2", "--registry", "main"]).exits(1);
    run(&installation, &["history", "--registry", "unknown"]).exits(2);

    // For people: the latest last, and nothing of what was not asked for.
    let shown = run(&installation, &["history"]).exits(0).stdout;
    let at = |text: &str| shown.find(text).unwrap_or_else(|| panic!("{text}: {shown}"));
    assert!(
        at("run 1 of main") < at("run 2 of other") && at("run 3 of main") < at("run 4 of main"),
        "{shown}"
    );
    assert!(shown.contains("success; deleted 2 manifests"), "{shown}");
    let shown = run(&installation, &["history", "--repository", "team/web"]).exits(0).stdout;
    assert!(shown.contains("team/web") && !shown.contains("team/app"), "{shown}");

    // While another process holds the state, it shows the same, and what happens meanwhile.
    let holder = State::open(&installation.state_dir()).unwrap();
    assert_eq!(history(&installation, &[]), all);
    holder.begin_run("main", exact[0]).unwrap();
    let now = history(&installation, &[]);
    assert_eq!((now.len(), &now[0]["finished"], &now[0]["outcome"]), (5, &Value::Null, &Value::Null));
    let shown = run(&installation, &["history", "--limit", "1"]).exits(0).stdout;
    assert!(shown.contains("run 5 of main") && shown.contains("interrupted or still running"), "{shown}");
    // No other process can change anything then.
    let held = run(&installation, &["undo", "1"]).exits(1);
    assert!(held.stderr.contains("in use by another regsweep"), "{}", held.stderr);
}

#[test]
fn history_counts_days_in_the_configured_time_zone() {
    let fake = FakeRegistry::start(Personality::V2_8);
    // One of them has another day than UTC, whenever this runs.
    for timezone in [Tz::Pacific__Kiritimati, Tz::Etc__GMTPlus12, Tz::UTC] {
        let installation = installation(
            &format!("url: {}", fake.url()),
            &format!("timezone: {timezone}\n{OLD_TAGS_EXPIRE}"),
        );
        run(&installation, &["run"]).exits(0);
        let started =
            history(&installation, &[])[0]["started"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
        let today = started.with_timezone(&timezone).date_naive();
        let (yesterday, today, tomorrow) =
            (today.pred_opt().unwrap().to_string(), today.to_string(), today.succ_opt().unwrap().to_string());
        for (arguments, expected) in [
            (["--since", today.as_str()], &[1][..]),
            (["--until", &today], &[1]),
            (["--since", &tomorrow], &[]),
            (["--until", &yesterday], &[]),
        ] {
            assert_eq!(runs(&installation, &arguments), expected, "{timezone} {arguments:?}");
        }
        let midnight = timezone.with_ymd_and_hms(2026, 3, 1, 0, 0, 0).unwrap().to_utc();
        let plan = run(&installation, &["plan", "--at", "2026-03-01", "--output", "json"]).exits(0).json();
        assert_eq!(plan["now"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap(), midnight, "{timezone}");
    }
}

#[tokio::test]
async fn history_is_pruned_and_what_is_pruned_cannot_be_undone() {
    let fake = FakeRegistry::start(Personality::V2_8);
    let scanner = Scanner::new(&fake.url(), &format!("history: 1d\n{OLD_TAGS_EXPIRE}"));
    fake.push("app", "keep", &image("kept"));
    for number in 0..4 {
        let expired = image(&format!("expired {number}"));
        fake.push("app", &format!("old-{number}"), &expired);
        fake.push("app", &signature_tag(&expired.digest), &image(&format!("signature {number}")));
        let run = scanner.run(day(0) + TimeDelta::hours(18 * number)).await.unwrap();
        assert_eq!((run.run, run.report.deleted.len()), (number + 1, 2));
    }
    let state = scanner.open();
    let filter = regsweep::state::Filter::default();
    let past = state.history(&filter).unwrap();
    // The last of them was on hour 54, so what was before hour 30 is forgotten.
    let known: Vec<(i64, usize)> = past.iter().map(|(run, entries)| (run.id, entries.len())).collect();
    assert_eq!(known, [(4, 2), (3, 2)]);
    assert_eq!(state.run(1).unwrap(), None);
    // Sums are for ever.
    let total: u64 =
        state.totals().unwrap().iter().map(|total| total.value).filter(|value| *value == 8).sum();
    assert_eq!(total, 8 * 2, "{:?}", state.totals());
    drop(state);
    let installation = installation(&format!("url: {}", fake.url()), OLD_TAGS_EXPIRE);
    std::fs::create_dir(installation.state_dir()).unwrap();
    std::fs::copy(
        scanner.config.state_dir.join("state.sqlite"),
        installation.state_dir().join("state.sqlite"),
    )
    .unwrap();
    let forgotten = run(&installation, &["undo", "2"]).exits(1);
    assert!(forgotten.stderr.contains("there is no run 2"), "{}", forgotten.stderr);
    run(&installation, &["undo", "3"]).exits(0);
    assert_eq!(fake.tags("app").len(), 3);
}
