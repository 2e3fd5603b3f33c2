//! Disturbances of regsweep and of the registry, at random.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use crate::Soak;
use crate::pusher::REPOSITORIES;
use crate::report::Guarantee;
use crate::service::Variant;
use crate::support::image::digest;

/// Disturbs until the end.
pub(crate) async fn run(soak: Arc<Soak>, mut random: Rng) {
    while !soak.is_over() {
        {
            let _at_work = soak.work.read().await;
            one(&soak, &mut random).await;
        }
        tokio::time::sleep(Duration::from_millis(random.u64(300..2000))).await;
    }
}

async fn one(soak: &Arc<Soak>, random: &mut Rng) {
    match random.u32(0..100) {
        0..28 => deletion(soak, random).await,
        28..36 => dangling_tag(soak, random),
        36..43 => stray(soak, random),
        43..50 => restart(soak).await,
        50..56 => kill(soak, random).await,
        56..63 => kill_in_a_collection(soak, random).await,
        63..68 => stop(soak, random).await,
        68..78 => reload(soak, random).await,
        78..88 => ask(soak).await,
        88..93 => refuse(soak, random).await,
        _ => delay_sweeps(soak, random),
    }
}

/// Another client deletes an image over the API.
async fn deletion(soak: &Soak, random: &mut Rng) {
    let repository = random.choice(REPOSITORIES).unwrap_or("bulk");
    // Nothing is pushed there meanwhile, so that the order of the two is known.
    let Some(Ok(_alone)) = soak.repository_locks.get(repository).map(|lock| lock.try_write()) else { return };
    let Some(digest) = soak.model.delete_by_others(repository, random) else { return };
    let url = format!("{}/v2/{repository}/manifests/{digest}", soak.host.url());
    if soak.puller.delete(url).send().await.is_ok_and(|answer| answer.status().as_u16() == 202) {
        soak.report.count("disturbance: deleted by another client");
    }
}

/// A tag without a manifest, as a crash of the registry leaves it.
fn dangling_tag(soak: &Soak, random: &mut Rng) {
    let repository = random.choice(REPOSITORIES).unwrap_or("bulk");
    soak.host.store().write_dangling_tag(repository, &format!("dangling-{}", random.u32(0..8)));
    soak.report.count("disturbance: dangling tag");
}

/// A blob that nothing refers to, as an interrupted push leaves it.
fn stray(soak: &Soak, random: &mut Rng) {
    let bytes: Vec<u8> = (0..random.usize(10..3000)).map(|_| random.u8(..)).collect();
    if soak.host.add_blob(&digest(&bytes), &bytes) {
        soak.report.count("disturbance: stray blob");
    }
}

async fn restart(soak: &Arc<Soak>) {
    let host = soak.host.clone();
    tokio::task::spawn_blocking(move || host.restart()).await.unwrap();
    soak.report.count("disturbance: registry restarted");
}

async fn kill(soak: &Soak, random: &mut Rng) {
    let mut service = soak.service.lock().await;
    service.kill();
    soak.host.mark_last_sweep_cut();
    soak.report.count("disturbance: regsweep killed");
    tokio::time::sleep(Duration::from_millis(random.u64(0..1500))).await;
    soak.up(&mut service).await;
}

/// Kills it while the registry is stopped for a collection, if that happens soon.
async fn kill_in_a_collection(soak: &Soak, random: &mut Rng) {
    for _ in 0..600 {
        if soak.host.is_being_collected() {
            tokio::time::sleep(Duration::from_millis(random.u64(0..1500))).await;
            let mut service = soak.service.lock().await;
            service.kill();
            soak.host.mark_last_sweep_cut();
            soak.report.count("disturbance: regsweep killed in a collection");
            tokio::time::sleep(Duration::from_millis(random.u64(0..800))).await;
            return soak.up(&mut service).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn stop(soak: &Soak, random: &mut Rng) {
    let mut service = soak.service.lock().await;
    if let Err(why) = service.stop().await {
        soak.report.violation(Guarantee::Alive, why);
    }
    soak.report.count("disturbance: regsweep stopped and started");
    tokio::time::sleep(Duration::from_millis(random.u64(0..500))).await;
    soak.up(&mut service).await;
}

async fn reload(soak: &Soak, random: &mut Rng) {
    let service = soak.service.lock().await;
    service.configure(&Variant::any(random));
    service.signal("HUP");
    soak.report.count("disturbance: another policy");
}

async fn ask(soak: &Soak) {
    let service = soak.service.lock().await;
    match service.start_run().await {
        Ok(true) => soak.report.count("disturbance: asked for a run"),
        Ok(false) => soak.report.count("asked for a run while one was under way"),
        Err(why) => soak.report.violation(Guarantee::Alive, why),
    }
}

async fn refuse(soak: &Arc<Soak>, random: &mut Rng) {
    soak.report.count("disturbance: connections refused");
    let (refusing, pause) = (soak.clone(), Duration::from_millis(random.u64(100..3000)));
    tokio::task::spawn_blocking(move || {
        refusing.faults.proxy.refuse_connections(true);
        std::thread::sleep(pause);
        refusing.faults.proxy.refuse_connections(false);
    })
    .await
    .unwrap();
}

fn delay_sweeps(soak: &Soak, random: &mut Rng) {
    let mut some = || if random.bool() { 0.0 } else { random.f32() };
    soak.host.delay_sweeps(some(), some());
}
