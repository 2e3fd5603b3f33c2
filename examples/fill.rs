//! Fills an empty registry with a few dozen small images to try regsweep on: `fill <registry-url>`.
//!
//! Ages are relative to the day it runs, so that a policy always has something old and something new.

#![allow(clippy::print_stdout, reason = "it prints what it did")]

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use anyhow::Context as _;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use support::image::{Artifact, Content, Image, Index, signature_tag};
use support::push::Pusher;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::args().nth(1).context("usage: fill <registry-url>")?;
    #[expect(clippy::disallowed_methods, reason = "an example reads the clock")]
    let now = Utc::now();
    let pusher = Pusher::new(&url);
    for (repository, tagged) in demo(now) {
        for (tag, content) in &tagged {
            pusher.push(repository, tag, content).await?;
        }
        let tags: Vec<&str> = tagged.iter().map(|(tag, _)| tag.as_str()).collect();
        println!("{repository}: {} tags: {}", tags.len(), tags.join(" "));
    }
    Ok(())
}

/// Tags in the order in which they are pushed.
type Tagged = Vec<(String, Content)>;

fn demo(now: DateTime<Utc>) -> BTreeMap<&'static str, Tagged> {
    [
        ("charts/web", vec![("0.1.0".into(), Artifact::helm("web").build())]),
        ("library/base", library_base(now)),
        ("team/api", team_api(now)),
        ("team/nightly", team_nightly(now)),
        ("team/signed", team_signed(now)),
        ("team/web", team_web(now)),
    ]
    .into()
}

/// Pull requests of 1 to 30 days; `pr-3` is old, and is what runs in production.
fn team_web(now: DateTime<Utc>) -> Tagged {
    let ages = [1, 3, 30, 7, 12, 18, 23, 27];
    let mut tagged: Tagged = (1..)
        .zip(ages)
        .map(|(number, age)| (format!("pr-{number}"), dated(&format!("web pr {number}"), now, age).build()))
        .collect();
    tagged.push(("prod".into(), tagged[2].1.clone()));
    tagged
}

/// Releases. `1.3.1` and `1.3.2` are for two platforms, and share what they have for arm64.
fn team_api(now: DateTime<Utc>) -> Tagged {
    let mut tagged = Tagged::new();
    let releases = ["1.0.0", "1.0.1", "1.0.2", "1.1.0", "1.1.1", "1.2.0", "1.2.1", "1.3.0"];
    for (position, version) in (0..).zip(releases) {
        tagged.push((version.into(), dated(&format!("api {version}"), now, 300 - 30 * position).build()));
    }
    let arm = dated("api arm64", now, 50).platform("linux", "arm64").build();
    for (version, age) in [("1.3.1", 50), ("1.3.2", 20)] {
        let amd = dated(&format!("api {version}"), now, age).build();
        tagged.push((version.into(), Index::oci().child(&amd).child(&arm).build()));
    }
    tagged.push(("v2.0.0-rc.1".into(), dated("api 2.0.0-rc.1", now, 5).build()));
    tagged.push(("latest".into(), tagged[9].1.clone()));
    tagged
}

/// A build of each of the last 25 days, and some of a branch.
fn team_nightly(now: DateTime<Utc>) -> Tagged {
    let build = |branch: &str, age: i64| {
        let day = (now - TimeDelta::days(age)).format("%Y%m%d");
        let tag = format!("nightly-{branch}-{day}");
        let image = dated(&tag, now, age).build();
        (tag, image)
    };
    let main = (0..25).map(|age| build("main", age));
    main.chain([2, 9, 16].map(|age| build("dev", age))).collect()
}

/// An old image and a new one, each with its signature.
fn team_signed(now: DateTime<Utc>) -> Tagged {
    let images = [("pr-1", 45), ("pr-2", 2)];
    let signed = images.map(|(tag, age)| {
        let image = dated(&format!("signed {tag}"), now, age).docker().build();
        let signature = Artifact::signature(&image.digest).build();
        let signature = (signature_tag(&image.digest), signature);
        [(tag.to_owned(), image), signature]
    });
    signed.into_iter().flatten().collect()
}

/// What other images are built on. No policy claims it.
fn library_base(now: DateTime<Utc>) -> Tagged {
    let image = |tag: &str, age| (tag.to_owned(), dated(&format!("base {tag}"), now, age).build());
    vec![image("bookworm", 400), image("trixie", 90)]
}

/// An image of some days ago with a layer that all share and one of its own.
fn dated(name: &str, now: DateTime<Utc>, age_in_days: i64) -> Image {
    let created = now - TimeDelta::days(age_in_days) - TimeDelta::minutes(1);
    let created = created.to_rfc3339_opts(SecondsFormat::Secs, true);
    Image::new(name).created(created).layer_bytes(16 * 1024).layer("demo base").layer(name)
}
