//! Signals that end a command: SIGINT, SIGTERM, and SIGHUP of a closed terminal.
//!
//! A signal only requests the end; the run decides what has to be finished first.

use std::task::Poll;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use crate::run::Cancellation;

/// Receives signals until it is dropped.
pub(super) struct Watcher(JoinHandle<()>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Turns the first signal into a stop between two deletions and the end of collections. Later signals change nothing:
/// a registry must not stay stopped. An operator who cannot wait can still kill the process, and the next start
/// restarts the registry.
pub(super) fn watch(cancellation: &Cancellation) -> anyhow::Result<Watcher> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut signals = Vec::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        // A signal is ignored under `nohup`, or in a background job of a script.
        if !is_ignored(kind, &status) {
            signals.push(signal(kind).context("cannot receive signals")?);
        }
    }
    let cancellation = cancellation.clone();
    Ok(Watcher(tokio::spawn(async move {
        next(&mut signals).await;
        print_note!(
            "stopping after the current deletion; a collection is cancelled and its registry restarted"
        );
        cancellation.collections.cancel();
        loop {
            next(&mut signals).await;
            print_note!("already stopping: waiting only so that no registry stays stopped");
        }
    })))
}

/// Waits for any of them.
async fn next(signals: &mut [Signal]) {
    std::future::poll_fn(|context| {
        let any = signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
        if any { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Whether this process was started with a signal ignored, according to `/proc/self/status`.
fn is_ignored(kind: SignalKind, status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    ignored >> (kind.as_raw_value() - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_stay_ignored() {
        let status = "Name:\tregsweep\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert!(is_ignored(SignalKind::hangup(), status));
        assert!(!is_ignored(SignalKind::interrupt(), status) && !is_ignored(SignalKind::terminate(), status));
        assert!(!is_ignored(SignalKind::hangup(), ""));
    }
}
