//! Watches that the service runs, answers and stays small, and that the registry is started again.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Soak;
use crate::access_log::AccessLog;
use crate::report::Guarantee;

/// `/healthz` computes nothing, but all tasks here share two cores.
const MAX_ANSWER_TIME: Duration = Duration::from_secs(5);
/// A debug build with a few hundred images needs a few dozen.
const MAX_RESIDENT_KIB: u64 = 300 * 1024;
/// A registry that is down for longer was left stopped.
const MAX_DOWNTIME: Duration = Duration::from_secs(90);

/// Watches until it is dropped.
pub(crate) async fn run(soak: Arc<Soak>) {
    let mut last_answer = Instant::now();
    let mut last_line = Instant::now();
    let mut first_memory = None;
    loop {
        tokio::time::sleep(Duration::from_millis(250)).await;
        service(&soak, &mut first_memory).await;
        if soak.puller.get(format!("{}/v2/", soak.host.url())).send().await.is_ok() {
            last_answer = Instant::now();
        }
        soak.report.most("longest downtime of the registry in seconds", last_answer.elapsed().as_secs());
        if last_answer.elapsed() > MAX_DOWNTIME {
            soak.report.violation(Guarantee::Registry, "the registry was left stopped".into());
        }
        if last_line.elapsed() > Duration::from_secs(5) {
            last_line = Instant::now();
            totals(&soak).await;
            soak.faults.proxy.forget();
            println!("{}", soak.report.line());
        }
    }
}

/// Totals from regsweep and the files.
pub(crate) async fn totals(soak: &Soak) {
    // It may be down.
    if let Ok(runs) = soak.service.lock().await.json("api/v1/runs?limit=1").await {
        soak.report.most("total: runs", runs["runs"][0]["run"].as_u64().unwrap_or_default());
    }
    soak.report.most("total: deletions", AccessLog::read(soak).deleted() as u64);
    soak.report.most("total: sweeps", soak.host.sweeps().len() as u64);
}

async fn service(soak: &Soak, first_memory: &mut Option<u64>) {
    let mut service = soak.service.lock().await;
    if let Some(status) = service.ended() {
        soak.report.violation(Guarantee::Alive, format!("the service ended by itself: {status}"));
        return soak.up(&mut service).await;
    }
    if !service.is_up() {
        return;
    }
    match service.healthy().await {
        Ok(taken) => {
            let milliseconds = u64::try_from(taken.as_millis()).unwrap_or(u64::MAX);
            soak.report.most("longest wait for /healthz in milliseconds", milliseconds);
            if taken > MAX_ANSWER_TIME {
                soak.report.violation(Guarantee::Alive, format!("/healthz took {taken:?}"));
            }
        }
        Err(why) => soak.report.violation(Guarantee::Alive, format!("/healthz: {why}")),
    }
    if let Some(memory) = service.resident() {
        soak.report.most("most memory in KiB", memory);
        if first_memory.is_none() {
            *first_memory = Some(memory);
            soak.report.most("memory at first in KiB", memory);
        }
        if memory > MAX_RESIDENT_KIB {
            soak.report.violation(Guarantee::Alive, format!("it holds {memory} KiB of memory"));
        }
    }
}

/// Panics and errors in the log.
pub(crate) async fn log(soak: &Soak) {
    let log = fs::read_to_string(soak.service.lock().await.log_file()).unwrap_or_default();
    for line in log.lines().filter(|line| line.contains("panicked")) {
        soak.report.violation(Guarantee::Alive, line.to_owned());
    }
    for line in log.lines().filter(|line| line.contains("\"ERROR\"")) {
        let message = line.split("\"message\":\"").nth(1).and_then(|rest| rest.split('"').next());
        soak.report.count(&format!("logged: {}", message.unwrap_or("an error")));
    }
}
