//! Injects every fault of the proxy between regsweep and the registry, at random.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;

use crate::report::Report;
use crate::support::fault_proxy::{Fault, FaultProxy, ProxiedRequest};

/// The proxy, and whether it injects faults.
pub(crate) struct FaultInjector {
    pub(crate) proxy: FaultProxy,
    active: Arc<AtomicBool>,
}

impl FaultInjector {
    pub(crate) fn before(host: &str, seed: u64, report: Arc<Report>) -> Self {
        let active = Arc::new(AtomicBool::new(false));
        let inject = active.clone();
        let proxy = FaultProxy::before(host, move |seen| {
            let fault = if inject.load(Ordering::Relaxed) { choose(seen, seed) } else { Fault::None };
            if fault != Fault::None {
                report.count(&format!("fault: {}", name(fault)));
            }
            fault
        });
        Self { proxy, active }
    }

    /// Injects faults from now on.
    pub(crate) fn start(&self) {
        self.active.store(true, Ordering::Relaxed);
    }

    /// Injects no more faults.
    pub(crate) fn stop(&self) {
        self.active.store(false, Ordering::Relaxed);
    }
}

/// The fault of a request. Deletions, which matter most, get more faults.
fn choose(seen: &ProxiedRequest, seed: u64) -> Fault {
    let mut chance = seen.chance(seed);
    let often = if seen.method == "DELETE" { 5 } else { 25 };
    if chance.u32(0..often) > 0 {
        return Fault::None;
    }
    let bytes = chance.usize(0..400);
    match chance.u32(0..14) {
        0..3 => Fault::Latency(Duration::from_millis(chance.u64(10..1500))),
        3..5 => Fault::LostRequest,
        5..7 => Fault::LostAnswer,
        7 => Fault::ResetIn(bytes),
        8 => Fault::Truncate(bytes),
        9 => Fault::Unframed(bytes),
        10 => Fault::Drip { bytes: 40, every: Duration::from_millis(chance.u64(1..60)) },
        11..13 => Fault::Status(status(&mut chance), chance.bool().then_some(1)),
        _ => Fault::Masked(status(&mut chance)),
    }
}

fn status(chance: &mut Rng) -> u16 {
    chance.choice([404, 429, 500, 502, 503, 503, 504]).unwrap_or(503)
}

fn name(fault: Fault) -> &'static str {
    match fault {
        Fault::None => "none",
        Fault::Latency(_) => "latency",
        Fault::LostRequest => "lost request",
        Fault::LostAnswer => "lost answer",
        Fault::ResetIn(_) => "reset in the body",
        Fault::Truncate(_) => "cut short",
        Fault::Unframed(_) => "cut short without a sign",
        Fault::Drip { .. } => "dripping",
        Fault::Status(..) => "status of a proxy",
        Fault::Masked(_) => "status instead of the answer",
    }
}
