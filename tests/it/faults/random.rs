//! All faults together, at random, with the same seed every time.

use std::time::Duration;

use super::harness::Scenario;
use crate::support::fault_proxy::{Fault, ProxiedRequest};

/// The fault of a request: mostly none.
fn any(seed: u64, seen: &ProxiedRequest) -> Fault {
    let mut chance = seen.chance(seed);
    if chance.f64() < 0.65 {
        return Fault::None;
    }
    match chance.u8(0..11) {
        0 => Fault::Latency(Duration::from_millis(chance.u64(1..40))),
        1 => Fault::LostRequest,
        2 | 3 => Fault::LostAnswer,
        4 => Fault::ResetIn(chance.usize(0..300)),
        5 => Fault::Truncate(chance.usize(0..300)),
        6 => Fault::Unframed(chance.usize(0..300)),
        7 => Fault::Drip { bytes: 200, every: Duration::from_millis(chance.u64(1..10)) },
        8 => Fault::Status(*chance.choice(&[500, 502, 503, 504]).unwrap(), None),
        9 => Fault::Status(429, chance.bool().then_some(0)),
        _ => Fault::Masked(*chance.choice(&[500, 502, 504]).unwrap()),
    }
}

#[tokio::test]
async fn random_faults_lose_nothing_and_everything_is_journaled() {
    for seed in 0..5 {
        let scenario = Scenario::new();
        scenario.faults.set(move |seen| any(seed, seen));
        for run in 0..3 {
            // It may fail: what counts is what it has done, and what it says that it has done.
            let _ = scenario.run().await;
            scenario.assert_sound(&format!("seed {seed}, run {run}")).await;
        }
        scenario.run_without_faults(&format!("seed {seed}")).await;
    }
}
