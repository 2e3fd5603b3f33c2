//! Probes registries between their runs: a small request about once a minute shows whether each one answers.
//!
//! A registry with a running job is not probed: a run notices an outage itself, and a collection may stop the registry.

use std::sync::Arc;
use std::time::Duration;

use super::active_config::ActiveConfig;
use super::service::{Service, lock};
use crate::registry::{self, Probe, Reader};

/// A registry that answered before counts as down after so many failed attempts in a row.
const FAILURE_THRESHOLD: u32 = 3;

/// The pause between two of these attempts.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// Starts the probes that are due. They run in the background and are dropped at the end of the service.
pub(super) fn start_due(service: &Arc<Service>, active: &Arc<ActiveConfig>) {
    let now = service.now();
    for registry in &active.config.registries {
        let name = &registry.name;
        if service.is_busy(name) {
            lock(&service.reachability).postpone(name, now);
            continue;
        }
        let Some(version) = lock(&service.reachability).begin_probe(name, now) else { continue };
        let (service, active, name) = (service.clone(), active.clone(), name.clone());
        tokio::task::spawn_local(async move { probe(&service, &active, &name, version).await });
    }
}

async fn probe(service: &Service, active: &Arc<ActiveConfig>, name: &str, version: u64) {
    let Some(reader) = active.reader(name) else { return };
    let before = lock(&service.reachability).is_up(name);
    let answer = send(reader, before == Some(true)).await;
    let is_valid = lock(&service.reachability).end_probe(name, version, service.now());
    let is_active = service.active().is_some_and(|current| Arc::ptr_eq(&current, active));
    if !is_valid || !is_active {
        return;
    }
    match &answer {
        Ok(()) if before == Some(false) => tracing::info!(registry = name, "the registry answers again"),
        Err(error) if before != Some(false) => {
            tracing::warn!(registry = name, kind = error.kind.name(), %error, "the registry does not answer");
        }
        Ok(()) | Err(_) => {}
    }
    service.set_up(name, answer.is_ok());
}

/// Sends a probe, and repeats a failed one if the registry `was_up`. Then the probe is also anonymous, so that it does not
/// request a token each minute.
async fn send(reader: &Reader, was_up: bool) -> Result<(), registry::Error> {
    if !was_up {
        return reader.probe(Probe::Authenticated).await;
    }
    let mut attempts = 1;
    loop {
        match reader.probe(Probe::Anonymous).await {
            Err(_) if attempts < FAILURE_THRESHOLD => tokio::time::sleep(RETRY_PAUSE).await,
            answer => return answer,
        }
        attempts += 1;
    }
}
