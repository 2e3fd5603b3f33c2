//! Clients that pull, and check that what must exist is complete and has the right bytes.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use fastrand::Rng;
use reqwest::StatusCode;

use crate::access_log::AccessLog;
use crate::model::{Tagged, is_held};
use crate::report::Guarantee;
use crate::service::PROTECTED;
use crate::support::image::{ACCEPT_ALL, Content, digest};
use crate::{Soak, now};

/// Why something could not be pulled.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The registry does not answer.
    Away,
    /// It does not exist, or has the wrong content.
    Broken(String),
}

/// Checks until the end.
pub(crate) async fn run(soak: Arc<Soak>, mut random: Rng) {
    while !soak.is_over() {
        match random.u32(0..10) {
            0..6 => held(&soak, &mut random).await,
            6..9 => young(&soak, &mut random).await,
            _ => signed(&soak, &mut random).await,
        }
        tokio::time::sleep(Duration::from_millis(random.u64(20..200))).await;
    }
}

/// Checks everything that must exist, while nothing else happens.
pub(crate) async fn everything(soak: &Soak) {
    for tagged in soak.model.quiet(|one| is_held(&one.tag)) {
        one(soak, &tagged, Guarantee::Held, "check: held, during an audit", |_| true).await;
    }
}

async fn held(soak: &Soak, random: &mut Rng) {
    if let Some(tagged) = random.choice(soak.model.quiet(|one| is_held(&one.tag))) {
        one(soak, &tagged, Guarantee::Held, "check: held", |_| true).await;
    }
}

async fn young(soak: &Soak, random: &mut Rng) {
    let is_young = |one: &Tagged| now() - one.at < TimeDelta::seconds(PROTECTED);
    if let Some(tagged) = random.choice(soak.model.quiet(|one| !is_held(&one.tag) && is_young(one))) {
        one(soak, &tagged, Guarantee::Young, "check: young", is_young).await;
    }
}

async fn signed(soak: &Soak, random: &mut Rng) {
    let Some(signed) = random.choice(soak.model.signatures()) else { return };
    let before = soak.model.tagged(&signed.repository, &signed.tag);
    // Another client may have deleted the signature alone.
    let is_there =
        |one: &Tagged| one.content.as_ref().is_some_and(|held| held.digest == signed.content.digest);
    if !before.as_ref().is_some_and(is_there) {
        return;
    }
    match pull(soak, &signed.repository, &signed.tag, &signed.content).await {
        Ok(()) => soak.report.count("check: signature of a held image"),
        Err(Trouble::Away) => soak.report.count("not checked: the registry was down"),
        Err(Trouble::Broken(why)) => {
            let after = soak.model.tagged(&signed.repository, &signed.tag);
            let same = |one: &Option<Tagged>| one.as_ref().map(|one| (one.version, one.busy));
            let still =
                soak.model.signatures().iter().any(|one| one.tag == signed.tag && one.by == signed.by);
            if still && same(&before) == same(&after) {
                let name = format!("{}:{}", signed.repository, signed.tag);
                soak.report
                    .violation(Guarantee::Held, format!("{name}, a signature of {}: {why}", signed.by.0));
            }
        }
    }
}

/// Pulls the content of a tag, and reports a violation if nothing excuses that it cannot be pulled.
async fn one(soak: &Soak, tagged: &Tagged, guarantee: Guarantee, what: &str, due: impl Fn(&Tagged) -> bool) {
    let Some(content) = &tagged.content else { return };
    let name = format!("{}:{}", tagged.repository, tagged.tag);
    match pull(soak, &tagged.repository, &tagged.tag, content).await {
        Ok(()) => return soak.report.count(what),
        Err(Trouble::Away) => return soak.report.count("not checked: the registry was down"),
        Err(Trouble::Broken(_)) => {}
    }
    // Distribution writes its links in place: for a moment a reader may find an empty one.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let Err(Trouble::Broken(why)) = pull(soak, &tagged.repository, &tagged.tag, content).await else {
        return soak.report.count("checked twice: the first read failed");
    };
    let still = soak.model.tagged(&tagged.repository, &tagged.tag);
    if !due(tagged) || still.is_none_or(|still| still.busy || still.version != tagged.version) {
        return;
    }
    let access = AccessLog::read(soak);
    if let Some(race) = access.race(tagged.push) {
        soak.report.once("excused: pushed between the last scan and the deletion", &tagged.push.to_string());
        soak.report.note(format!("{name} was lost to a race: {race}"));
        soak.model.lost(&tagged.repository, &tagged.tag);
    } else if guarantee == Guarantee::Young && access.was_unseen(tagged.push) {
        soak.report.once("excused: moved away and back between two scans", &tagged.push.to_string());
        soak.model.lost(&tagged.repository, &tagged.tag);
    } else {
        let told = access.describe(&tagged.repository, content);
        soak.report.violation(guarantee, format!("{name} ({}): {why}\n{told}", content.digest));
        soak.model.lost(&tagged.repository, &tagged.tag);
    }
}

/// Pulls a tag (or a digest) and everything below it, and compares the bytes.
pub(crate) async fn pull(
    soak: &Soak,
    repository: &str,
    reference: &str,
    content: &Content,
) -> Result<(), Trouble> {
    expect(soak, &format!("{repository}/manifests/{reference}"), &content.digest).await?;
    for part in content.tree() {
        expect(soak, &format!("{repository}/manifests/{}", part.digest), &part.digest).await?;
        for blob in &part.blobs {
            let digest = digest(blob);
            expect(soak, &format!("{repository}/blobs/{digest}"), &digest).await?;
        }
    }
    Ok(())
}

/// Fetches something, which must have this digest.
pub(crate) async fn expect(soak: &Soak, path: &str, wanted: &str) -> Result<Vec<u8>, Trouble> {
    let url = format!("{}/v2/{path}", soak.host.url());
    let answer = soak.puller.get(&url).header("accept", ACCEPT_ALL).send().await;
    let answer = answer.map_err(|_| Trouble::Away)?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(|_| Trouble::Away)?;
    if status != StatusCode::OK {
        let text = String::from_utf8_lossy(&body);
        return Err(Trouble::Broken(format!("{path} is answered with {status} {}", text.trim())));
    }
    let got = digest(&body);
    if got == wanted { Ok(body.into()) } else { Err(Trouble::Broken(format!("{path} is {got}"))) }
}
