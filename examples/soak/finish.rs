//! The last run, the last collection and the last undo without faults, and whether every guarantee held.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::Value;

use crate::Soak;
use crate::access_log::AccessLog;
use crate::audit;
use crate::checker::{self, Trouble, everything, expect};
use crate::pusher::{REPOSITORIES, push};
use crate::report::Guarantee;
use crate::service::{PROTECTED, Variant};
use crate::support::image::{Artifact, Image, Index, signature_tag};
use crate::watch;

/// Stops the faults and the schedule, and does one run. The caller holds `work`.
pub(crate) async fn pause(soak: &Soak) {
    soak.faults.stop();
    {
        let service = soak.service.lock().await;
        service.configure(&Variant::manual_only());
        service.signal("HUP");
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    run_once(soak).await;
}

/// One run, and the collection that follows it.
pub(crate) async fn run_once(soak: &Soak) {
    idle(soak).await;
    for _ in 0..100 {
        match soak.service.lock().await.start_run().await {
            Ok(true) => break,
            Ok(false) => {}
            Err(why) => return soak.report.violation(Guarantee::Alive, why),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    idle(soak).await;
}

/// Waits until no run and no collection is under way.
async fn idle(soak: &Soak) {
    let mut quiet = 0;
    for _ in 0..1200 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let status = soak.service.lock().await.json("api/v1/status").await;
        let busy = |status: &Value| {
            let main = &status["registries"][0];
            !main["run_under_way_since"].is_null() || !main["collection_under_way_since"].is_null()
        };
        quiet = if status.is_ok_and(|status| !busy(&status)) && !soak.host.is_being_collected() {
            quiet + 1
        } else {
            0
        };
        if quiet >= 4 {
            return;
        }
    }
    soak.report.violation(Guarantee::Alive, "a run or a collection does not end within two minutes".into());
}

/// Does the last run, collection and undo, and checks everything.
pub(crate) async fn finish(soak: &Arc<Soak>, random: &mut Rng) {
    println!("no more faults: the last run, the last collection, the last undo");
    pause(soak).await;
    // By then everything has expired that ever will.
    tokio::time::sleep(Duration::from_secs(u64::try_from(PROTECTED).unwrap_or_default() + 16)).await;
    run_once(soak).await;
    audit::audit(soak).await;
    watch::totals(soak).await;
    let history = soak.service.lock().await.json("api/v1/history").await.unwrap_or_default();
    for one in history["history"].as_array().into_iter().flatten() {
        let what = one["what"].as_str().unwrap_or("?");
        soak.report.count(&format!("last 200: {what} {}", one["outcome"].as_str().unwrap_or("?")));
    }
    if let Err(why) = soak.service.lock().await.stop().await {
        soak.report.violation(Guarantee::Alive, why);
    }
    watch::log(soak).await;
    everything(soak).await;
    kept(soak).await;
    undo(soak, random).await;
    everything(soak).await;
    kept(soak).await;
}

/// Checks that everything that a plan keeps can be pulled completely.
async fn kept(soak: &Soak) {
    let (code, plan, errors) = soak.service.lock().await.run(&["plan", "--all", "--output", "json"]).await;
    let Ok(plan) = serde_json::from_str::<Value>(&plan) else {
        return soak.report.violation(Guarantee::Kept, format!("no plan, but {code:?}: {errors}"));
    };
    for failure in plan["failures"].as_array().into_iter().flatten() {
        soak.report.violation(Guarantee::Kept, format!("without faults: {failure}"));
    }
    for repository in plan["repositories"].as_array().into_iter().flatten() {
        let name = repository["repository"].as_str().unwrap_or_default();
        let manifests = repository["manifests"].as_array().into_iter().flatten();
        for manifest in manifests.filter(|manifest| manifest["verdict"] == "keep") {
            let digest = manifest["digest"].as_str().unwrap_or_default();
            match pull_by_digest(soak, name, digest).await {
                // An index that lost a child in a race stays incomplete until it is pushed again.
                Err(Trouble::Broken(_)) if AccessLog::read(soak).was_in_race(name, digest) => {
                    soak.report.once("excused: pushed between the last scan and the deletion", digest);
                }
                Err(Trouble::Broken(why)) => {
                    let text = format!("{name}@{digest} ({}): {why}", manifest["tags"]);
                    soak.report.violation(Guarantee::Kept, text);
                }
                Ok(()) | Err(Trouble::Away) => {}
            }
            soak.report.count("check: kept by the plan");
        }
    }
}

/// Follows the manifests that the registry returns.
async fn pull_by_digest(soak: &Soak, repository: &str, digest: &str) -> Result<(), Trouble> {
    let mut open = vec![digest.to_owned()];
    while let Some(digest) = open.pop() {
        let body = expect(soak, &format!("{repository}/manifests/{digest}"), &digest).await?;
        let manifest: Value = serde_json::from_slice(&body).unwrap_or_default();
        let digests = |list: &Value| -> Vec<String> {
            let list = list.as_array().into_iter().flatten();
            list.filter_map(|one| one["digest"].as_str()).map(str::to_owned).collect()
        };
        open.extend(digests(&manifest["manifests"]));
        let config = manifest["config"]["digest"].as_str().map(str::to_owned);
        for blob in digests(&manifest["layers"]).into_iter().chain(config) {
            expect(soak, &format!("{repository}/blobs/{blob}"), &blob).await?;
        }
    }
    Ok(())
}

/// Deletes images of every kind in one run, and undoes it. A collection after that removes none of them.
async fn undo(soak: &Soak, random: &mut Rng) {
    soak.service.lock().await.configure(&Variant::without_collection());
    let mut pushed = Vec::new();
    for repository in REPOSITORIES.iter().filter(|name| **name != "bulk") {
        let image =
            Arc::new(Image::new(format!("undone {repository}")).layer("base 1").layer("undone").build());
        let child = Image::new("undone child").platform("linux", "arm64").build();
        let index = Arc::new(Index::oci().child(&image).child(&child).build());
        let signature = Arc::new(Artifact::signature(&index.digest).build());
        let single = Arc::new(Image::new(format!("undone alone {repository}")).docker().build());
        for (tag, content) in [
            ("tmp-index".to_owned(), &index),
            (signature_tag(&index.digest), &signature),
            ("tmp-alone".to_owned(), &single),
        ] {
            push(soak, repository, &tag, content, "push: to be undone", random).await;
            pushed.push((*repository, tag, content.clone()));
        }
    }
    // Its age counts from the first scan that finds it.
    kept_by_a_run(soak).await;
    tokio::time::sleep(Duration::from_secs(u64::try_from(PROTECTED).unwrap_or_default() + 16)).await;
    let before = held(soak);
    let ran = kept_by_a_run(soak).await;
    let after = held(soak);
    let deleted = ran["deleted"].as_array().map_or(0, Vec::len);
    soak.report.most("deletions that were undone", deleted as u64);
    if deleted == 0 || before == after {
        return soak
            .report
            .violation(Guarantee::Undo, format!("nothing was deleted that could be undone: {ran}"));
    }
    let service = soak.service.lock().await;
    let (_, history, _) = service.run(&["history", "--output", "json"]).await;
    let history: Value = serde_json::from_str(&history).unwrap_or_default();
    let runs = history["runs"].as_array().into_iter().flatten();
    let last =
        runs.filter(|run| run["deleted"].as_u64() > Some(0)).filter_map(|run| run["run"].as_u64()).max();
    let number = last.unwrap_or_default().to_string();
    let (code, output, errors) = service.run(&["undo", &number, "--output", "json"]).await;
    drop(service);
    if code != Some(0) {
        soak.report
            .violation(Guarantee::Undo, format!("undo {number} ended with {code:?}: {output}{errors}"));
    }
    let back = held(soak);
    if back != before {
        soak.report.violation(Guarantee::Undo, format!("undo {number} made {}", difference(&before, &back)));
    }
    let (code, output, errors) = soak.service.lock().await.run(&["gc", "--output", "json"]).await;
    if code != Some(0) {
        soak.report.violation(Guarantee::Undo, format!("gc ended with {code:?}: {output}{errors}"));
    }
    for (repository, tag, content) in pushed {
        if let Err(Trouble::Broken(why)) = checker::pull(soak, repository, &tag, &content).await {
            soak.report
                .violation(Guarantee::Undo, format!("{repository}:{tag} is not complete again: {why}"));
        }
    }
}

/// What `regsweep run` says.
async fn kept_by_a_run(soak: &Soak) -> Value {
    let (code, output, errors) = soak.service.lock().await.run(&["run", "--output", "json"]).await;
    if code != Some(0) {
        soak.report.violation(Guarantee::Undo, format!("the last run ended with {code:?}: {output}{errors}"));
    }
    serde_json::from_str(&output).unwrap_or_default()
}

type Held = BTreeMap<String, (BTreeMap<String, String>, BTreeSet<String>)>;

/// What each repository holds: tags and manifests, by digest.
fn held(soak: &Soak) -> Held {
    let contents = soak.host.store().contents();
    contents.into_iter().map(|(name, held)| (name, (held.tags, held.manifests))).collect()
}

fn difference(before: &Held, after: &Held) -> String {
    let flat = |held: &Held| -> BTreeSet<String> {
        let names = held.iter().flat_map(|(name, (tags, manifests))| {
            let tags = tags.iter().map(move |(tag, digest)| format!("{name}:{tag} {digest}"));
            tags.chain(manifests.iter().map(move |digest| format!("{name}@{digest}")))
        });
        names.collect()
    };
    let (before, after) = (flat(before), flat(after));
    let missing: Vec<_> = before.difference(&after).collect();
    let more: Vec<_> = after.difference(&before).collect();
    format!("a difference: missing {missing:?}, more {more:?}")
}
