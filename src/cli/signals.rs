//! Signals that end a command: an interrupt, a termination, a terminal that is closed.

use std::task::Poll;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use crate::run::Stop;

/// Listens as long as it lives.
pub(super) struct Watcher(JoinHandle<()>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Turns the first signal into a stop between two deletions and an end of collections. Later ones change nothing:
/// whoever cannot wait for the registry can still kill us, and then the next start brings it back.
pub(super) fn watch(stop: &Stop) -> anyhow::Result<Watcher> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut signals = Vec::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        // As by `nohup`, or in a job that a script has put into the background.
        if !is_ignored(kind, &status) {
            signals.push(signal(kind).context("signals cannot be received")?);
        }
    }
    let stop = stop.clone();
    Ok(Watcher(tokio::spawn(async move {
        next(&mut signals).await;
        print_note!(
            "stopping after the deletion under way; a collection is ended, and its registry brought back"
        );
        stop.request_of_collections_too();
        loop {
            next(&mut signals).await;
            print_note!("stopping already: no registry may be left stopped, and nothing else is waited for");
        }
    })))
}

/// Waits for one of them.
async fn next(signals: &mut [Signal]) {
    std::future::poll_fn(|context| {
        let any = signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
        if any { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Whether whoever started us wants a signal to be ignored, by the system's own words about us.
fn is_ignored(kind: SignalKind, status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    ignored >> (kind.as_raw_value() - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_stays_ignored() {
        let status = "Name:\tregsweep\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert!(is_ignored(SignalKind::hangup(), status));
        assert!(!is_ignored(SignalKind::interrupt(), status) && !is_ignored(SignalKind::terminate(), status));
        assert!(!is_ignored(SignalKind::hangup(), ""));
    }
}
