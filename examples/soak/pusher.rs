//! Clients that push images of every kind, and repeat each push until the registry accepts it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta};
use fastrand::Rng;

use crate::model::{Signed, is_held};
use crate::report::Guarantee;
use crate::support::image::{Artifact, Content, Image, Index, signature_tag};
use crate::support::push::Pusher;
use crate::{Soak, now};

/// Repositories that have been there from the start.
pub(crate) const REPOSITORIES: [&str; 5] = ["team/one", "team/two", "lib/one", "lib/deep/two", "bulk"];

/// The tries of a push, which take minutes, before the registry counts as down.
const TRIES: u32 = 240;

/// Pushes an image to every repository before the first scan.
pub(crate) async fn push_initial_images(soak: &Soak, random: &mut Rng) {
    for repository in REPOSITORIES {
        let image = Arc::new(fresh(random, "begin").build());
        push(soak, repository, "keep-0", &image, "push: first", random).await;
    }
}

/// Pushes until the end.
pub(crate) async fn run(soak: Arc<Soak>, mut random: Rng) {
    while !soak.is_over() {
        {
            let _at_work = soak.work.read().await;
            one(&soak, &mut random).await;
        }
        tokio::time::sleep(Duration::from_millis(random.u64(10..250))).await;
    }
}

async fn one(soak: &Soak, random: &mut Rng) {
    let repository = random.choice(REPOSITORIES).unwrap_or("bulk");
    if repository == "bulk" {
        return burst(soak, random).await;
    }
    let tag = any_tag(random);
    match random.u32(0..100) {
        0..45 => {
            let image = Arc::new(any_image(soak, repository, random));
            push(soak, repository, &tag, &image, "push: image", random).await;
            if random.u32(0..5) == 0 {
                sign(soak, repository, &tag, &image, random).await;
            }
        }
        45..60 => {
            let index = Arc::new(any_index(soak, repository, random));
            push(soak, repository, &tag, &index, "push: index", random).await;
            if random.u32(0..4) == 0 {
                sign(soak, repository, &tag, &index, random).await;
            }
        }
        60..75 => {
            if let Some(old) = soak.model.any_of(repository, random) {
                push(soak, repository, &tag, &old, "push: another tag", random).await;
            }
        }
        75..83 => {
            let tagged = soak.model.quiet(|one| one.repository == repository);
            if let (Some(tagged), Some(old)) = (random.choice(tagged), soak.model.any_of(repository, random))
                && !tagged.tag.starts_with("sha256-")
            {
                push(soak, repository, &tagged.tag, &old, "push: moved back", random).await;
            }
        }
        83..90 => {
            let from = random.choice(REPOSITORIES).unwrap_or("bulk");
            if let Some(old) = soak.model.any_of(from, random) {
                push(soak, repository, &tag, &old, "push: from another repository", random).await;
            }
        }
        _ => {
            let image = Arc::new(any_image(soak, repository, random));
            let digest = image.digest.clone();
            push(soak, repository, &digest, &image, "push: untagged", random).await;
        }
    }
}

/// Many at once, which expire together: more than a limit may allow.
async fn burst(soak: &Soak, random: &mut Rng) {
    if random.u32(0..8) > 0 {
        return;
    }
    for _ in 0..random.usize(1..14) {
        let tag = format!("burst-{}", random.u32(0..10_000));
        let image = Arc::new(fresh(random, "burst").build());
        push(soak, "bulk", &tag, &image, "push: burst", random).await;
    }
}

/// Pushes a content with everything below it, and repeats that until the registry accepts it. Returns `false` if
/// another push to the tag was pending, and nothing was done.
pub(crate) async fn push(
    soak: &Soak,
    repository: &str,
    reference: &str,
    content: &Arc<Content>,
    what: &str,
    random: &mut Rng,
) -> bool {
    let Some(lock) = soak.repository_locks.get(repository) else { return false };
    let _shared = lock.read().await;
    let Some(number) = soak.model.begin(repository, reference, content) else { return false };
    let client = reqwest::Client::builder().no_proxy().user_agent(format!("soak-push/{number}")).build();
    let pusher = Pusher::new(&soak.host.url()).client(client.unwrap());
    let mut last = String::new();
    for attempt in 0..TRIES {
        let done = if reference.starts_with("sha256:") {
            pusher.push_untagged(repository, content).await
        } else {
            pusher.push(repository, reference, content).await
        };
        match done {
            Ok(()) => {
                soak.model.succeeded(number, now());
                soak.report.count(what);
                soak.report.most("most tries of a push", u64::from(attempt) + 1);
                return true;
            }
            Err(error) => last = format!("{error:#}"),
        }
        soak.report.count(if last.contains("answered") {
            "pushed again: refused"
        } else {
            "pushed again: no answer"
        });
        tokio::time::sleep(Duration::from_millis(random.u64(50..500))).await;
    }
    soak.report.violation(
        Guarantee::Registry,
        format!("{repository}:{reference} could not be pushed in {TRIES} tries: {last}"),
    );
    false
}

/// Signs what a tag holds, the way cosign does.
async fn sign(soak: &Soak, repository: &str, tag: &str, content: &Arc<Content>, random: &mut Rng) {
    let before = soak.model.tagged(repository, tag);
    let signature = Arc::new(Artifact::signature(&content.digest).build());
    let signature_tag = match random.u32(0..3) {
        0 => signature_tag(&content.digest).replace(".sig", ".att"),
        _ => signature_tag(&content.digest),
    };
    let pushed = push(soak, repository, &signature_tag, &signature, "push: signature", random).await;
    if let Some(before) = before.filter(|one| pushed && !one.busy && is_held(&one.tag))
        && before.content.as_ref().is_some_and(|held| held.digest == content.digest)
    {
        soak.model.signed(Signed {
            repository: repository.into(),
            tag: signature_tag,
            content: signature,
            by: (tag.to_owned(), before.version),
        });
    }
}

fn any_tag(random: &mut Rng) -> String {
    match random.u32(0..100) {
        0..25 => format!("build-{}", random.u32(0..400)),
        25..45 => format!("pr-{}", random.u32(0..60)),
        45..58 => format!("v{}.{}.{}", random.u32(1..3), random.u32(0..3), random.u32(0..9)),
        58..72 => format!("dev-{}", random.u32(0..40)),
        72..80 => format!("keep-{}", random.u32(0..5)),
        80..87 => format!("prod-{}", random.u32(0..4)),
        87..90 => "stable".to_owned(),
        90..94 => format!("misc-{}", random.u32(0..4)),
        _ => format!("tmp-{}", random.u32(0..50)),
    }
}

fn any_image(soak: &Soak, repository: &str, random: &mut Rng) -> Content {
    let image = fresh(random, "image");
    match random.u32(0..10) {
        0 => image.undated().build(),
        1 => image.created("1970-01-01T00:00:00Z").build(),
        2 => old(image).build(),
        3 => match soak.model.any_of(repository, random) {
            Some(subject) => image.subject(&subject).build(),
            None => image.build(),
        },
        _ => image.build(),
    }
}

/// An image created now, with a shared layer and one of its own.
fn fresh(random: &mut Rng, name: &str) -> Image {
    let created = now().to_rfc3339_opts(SecondsFormat::Millis, true);
    let name = format!("{name} {:016x}", random.u64(..));
    let image = Image::new(name.clone())
        .created(created)
        .layer_bytes(random.usize(64..6000))
        .layer(format!("base {}", random.u32(0..6)))
        .layer(name);
    if random.bool() { image.docker() } else { image }
}

/// Created long ago, and pushed now.
fn old(image: Image) -> Image {
    image.created((now() - TimeDelta::days(40)).to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// An index of a new image and one that other indexes may list, sometimes with a provenance.
fn any_index(soak: &Soak, repository: &str, random: &mut Rng) -> Content {
    let mut index = if random.bool() { Index::oci() } else { Index::docker() };
    let new = fresh(random, "child").platform("linux", "arm64").build();
    index = index.child(&new);
    let known = soak.model.any_of(repository, random);
    // A Docker list of OCI manifests, and the other way round, is what registries take as well.
    match known {
        Some(known) if known.children.is_empty() => index = index.child(&known),
        Some(known) => index = index.child(&known.children[0]),
        None => index = index.child(&fresh(random, "child").build()),
    }
    if random.u32(0..3) == 0 {
        let provenance = Artifact::provenance(&format!("{:016x}", random.u64(..))).build();
        index = index.attestation(&provenance, &new);
    }
    index.build()
}
