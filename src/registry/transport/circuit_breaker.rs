//! A circuit breaker for one registry: it holds back requests while the registry does not answer.
//!
//! Closed: requests are sent. Half-open: after too many failures in a row requests wait, and single probes find out
//! whether the registry answers. Open: after the outage timeout requests fail at once, with one probe from time to
//! time.
//!
//! It sends nothing itself: its users send the probes and record the results.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::retry::Retry;
use crate::registry::lock::lock;

/// Consecutive failed attempts after which the registry is probed.
const FAILURE_THRESHOLD: u32 = 8;
/// The interval between the first two probes; it doubles from then on.
const INITIAL_PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// The longest interval between two probes while requests wait.
const MAX_PROBE_INTERVAL: Duration = Duration::from_secs(15);

/// The circuit breaker that all requests to one registry share.
pub(crate) struct CircuitBreaker {
    inner: Mutex<Inner>,
    changed: Notify,
    registry: String,
}

/// Why a request is rejected: the registry does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outage {
    /// The time since the first failed attempt.
    pub(super) duration: Duration,
    /// The error of the last failed attempt.
    pub(super) last_failure: String,
    /// The time until the registry is probed again.
    pub(super) retry_after: Duration,
}

impl CircuitBreaker {
    /// For the registry with this name.
    pub(crate) fn new(registry: &str, retry: Retry) -> Self {
        let inner = Mutex::new(Inner::new(retry));
        Self { inner, changed: Notify::new(), registry: registry.to_owned() }
    }

    /// Waits until a request may be sent: `None`; or until the registry is to be probed, which exactly one of the
    /// waiting requests has to do.
    pub(crate) async fn acquire(&self) -> Result<Option<ProbePermit<'_>>, Outage> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // No change after this line is missed.
            changed.as_mut().enable();
            let attempt = self.lock().try_acquire(Instant::now());
            match attempt {
                Acquire::Allowed => return Ok(None),
                Acquire::Probe => return Ok(Some(ProbePermit(self))),
                Acquire::Rejected(outage) => {
                    // Other requests may still wait for a probe that is not coming.
                    self.changed.notify_waiters();
                    return Err(outage);
                }
                Acquire::Wait(until) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(until) => {}
                },
            }
        }
    }

    /// Whether a request may be sent now.
    pub(crate) fn allows_requests(&self) -> bool {
        self.lock().allows_requests(Instant::now())
    }

    /// Records a complete answer that is no failure of the registry. It closes the circuit.
    pub(crate) fn record_success(&self) {
        let ended = self.lock().record_success(Instant::now());
        if let Some(duration) = ended {
            tracing::info!(registry = %self.registry, seconds = duration.as_secs_f64(), "the registry answers again");
            self.changed.notify_waiters();
        }
    }

    /// Records an attempt without a complete answer, or a failure of the registry.
    pub(crate) fn record_failure(&self, error: String) {
        let is_half_open = self.lock().record_failure(Instant::now(), error.clone());
        if is_half_open {
            self.log_half_open(&error);
        }
    }

    /// Records that a request has used up its attempts. Whether the whole registry may be down; then the next
    /// [`acquire`](Self::acquire) probes it.
    pub(crate) fn record_exhausted_attempts(&self) -> bool {
        let (may_be_down, error) = {
            let mut inner = self.lock();
            let was_closed = inner.is_closed();
            let may_be_down = inner.record_exhausted_attempts(Instant::now());
            (may_be_down, inner.last_failure().filter(|_| was_closed && may_be_down).map(str::to_owned))
        };
        if let Some(error) = error {
            self.log_half_open(&error);
        }
        may_be_down
    }

    /// Sends no request for this long, because the registry asked for it (`Retry-After`).
    pub(crate) fn delay_requests(&self, wait: Duration) {
        self.lock().delay_requests(Instant::now() + wait);
    }

    /// The number of outages that have ended.
    pub(crate) fn outages(&self) -> u64 {
        self.lock().outages
    }

    fn log_half_open(&self, error: &str) {
        tracing::debug!(registry = %self.registry, last = error, "the registry does not answer: probing it");
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

/// The right to send a probe. Another request gets it when this is dropped without a result.
pub(crate) struct ProbePermit<'a>(&'a CircuitBreaker);

impl ProbePermit<'_> {
    /// Records the result of the probe, with the reason where there was no answer.
    pub(crate) fn record(self, result: Result<(), String>) {
        match result {
            Ok(()) => self.0.record_success(),
            Err(error) => self.0.lock().record_probe_failure(Instant::now(), error),
        }
    }
}

impl Drop for ProbePermit<'_> {
    fn drop(&mut self) {
        self.0.lock().release_probe();
        self.0.changed.notify_waiters();
    }
}

/// The answer to a request that wants to be sent.
#[derive(Debug, PartialEq, Eq)]
enum Acquire {
    Allowed,
    /// Not before this moment, unless something changes.
    Wait(Instant),
    /// Send a probe and record its result.
    Probe,
    Rejected(Outage),
}

/// The state machine. It does not read the clock.
struct Inner {
    retry: Retry,
    state: State,
    /// Before this moment nothing is sent.
    not_before: Option<Instant>,
    /// Whether the registry has ever answered.
    has_answered: bool,
    outages: u64,
}

enum State {
    /// Requests are sent.
    Closed { consecutive_failures: u32, failures: Option<Failures> },
    /// Requests wait for the result of a probe.
    HalfOpen {
        failures: Failures,
        deadline: Instant,
        next_probe: Instant,
        probe_interval: Duration,
        is_probing: bool,
        /// Whether a probe has failed.
        is_outage: bool,
    },
    /// Requests are rejected.
    Open { failures: Failures, next_probe: Instant, is_probing: bool },
}

/// Failures without a success in between.
#[derive(Clone)]
struct Failures {
    since: Instant,
    last: String,
}

impl Inner {
    fn new(retry: Retry) -> Self {
        let state = State::Closed { consecutive_failures: 0, failures: None };
        Self { retry, state, not_before: None, has_answered: false, outages: 0 }
    }

    fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    fn last_failure(&self) -> Option<&str> {
        match &self.state {
            State::Closed { failures, .. } => failures.as_ref().map(|failures| failures.last.as_str()),
            State::HalfOpen { failures, .. } | State::Open { failures, .. } => Some(&failures.last),
        }
    }

    fn allows_requests(&self, now: Instant) -> bool {
        self.is_closed() && self.not_before.is_none_or(|not_before| not_before <= now)
    }

    fn try_acquire(&mut self, now: Instant) -> Acquire {
        if let State::HalfOpen { failures, deadline, .. } = &self.state
            && *deadline <= now
        {
            let (failures, next_probe) = (failures.clone(), now + self.retry.open_duration);
            self.state = State::Open { failures, next_probe, is_probing: false };
        }
        let not_before = self.not_before.filter(|not_before| *not_before > now);
        match &mut self.state {
            State::Closed { .. } => not_before.map_or(Acquire::Allowed, Acquire::Wait),
            State::HalfOpen { deadline, next_probe, is_probing, .. } => {
                let next_probe = not_before.map_or(*next_probe, |not_before| not_before.max(*next_probe));
                if *is_probing {
                    Acquire::Wait(*deadline)
                } else if next_probe > now {
                    Acquire::Wait(next_probe.min(*deadline))
                } else {
                    *is_probing = true;
                    Acquire::Probe
                }
            }
            State::Open { failures, next_probe, is_probing } => {
                if *is_probing || not_before.is_some() || *next_probe > now {
                    let next_probe = (*next_probe).max(not_before.unwrap_or(now));
                    return Acquire::Rejected(Outage {
                        duration: now.saturating_duration_since(failures.since),
                        last_failure: failures.last.clone(),
                        retry_after: next_probe.saturating_duration_since(now),
                    });
                }
                *is_probing = true;
                Acquire::Probe
            }
        }
    }

    /// How long the registry did not answer, if this ends it.
    fn record_success(&mut self, now: Instant) -> Option<Duration> {
        self.has_answered = true;
        let closed = State::Closed { consecutive_failures: 0, failures: None };
        match std::mem::replace(&mut self.state, closed) {
            State::Closed { .. } => None,
            State::HalfOpen { failures, is_outage, .. } => {
                // If the first probe succeeds, the registry was not down.
                self.outages += u64::from(is_outage);
                Some(now.saturating_duration_since(failures.since))
            }
            State::Open { failures, .. } => {
                self.outages += 1;
                Some(now.saturating_duration_since(failures.since))
            }
        }
    }

    /// Whether this failure has half-opened the circuit.
    fn record_failure(&mut self, now: Instant, error: String) -> bool {
        match &mut self.state {
            State::Closed { consecutive_failures, failures } => {
                *consecutive_failures += 1;
                let since = failures.as_ref().map_or(now, |failures| failures.since);
                *failures = Some(Failures { since, last: error });
                *consecutive_failures >= FAILURE_THRESHOLD && self.half_open(now)
            }
            State::HalfOpen { failures, .. } | State::Open { failures, .. } => {
                failures.last = error;
                false
            }
        }
    }

    /// Whether the circuit is not closed, or half-opens now, because as many consecutive attempts have failed as one
    /// request has. It does not half-open for a registry that has never answered.
    fn record_exhausted_attempts(&mut self, now: Instant) -> bool {
        match self.state {
            State::Closed { consecutive_failures, .. } => {
                self.has_answered && consecutive_failures >= self.retry.attempts && self.half_open(now)
            }
            State::HalfOpen { .. } | State::Open { .. } => true,
        }
    }

    /// Half-opens the circuit if there was a failure.
    fn half_open(&mut self, now: Instant) -> bool {
        let State::Closed { failures: Some(failures), .. } = &self.state else { return false };
        // After a delay that the registry has asked for, there is time for one more probe.
        let earliest = self.not_before.map_or(now, |not_before| not_before + INITIAL_PROBE_INTERVAL);
        self.state = State::HalfOpen {
            failures: failures.clone(),
            deadline: (now + self.retry.outage_timeout).max(earliest),
            next_probe: now,
            probe_interval: INITIAL_PROBE_INTERVAL,
            is_probing: false,
            is_outage: false,
        };
        true
    }

    fn record_probe_failure(&mut self, now: Instant, error: String) {
        match &mut self.state {
            State::Closed { .. } => {}
            State::HalfOpen { failures, next_probe, probe_interval, is_outage, .. } => {
                (failures.last, *is_outage, *next_probe) = (error, true, now + *probe_interval);
                *probe_interval = (*probe_interval * 2).min(MAX_PROBE_INTERVAL);
            }
            State::Open { failures, next_probe, .. } => {
                (failures.last, *next_probe) = (error, now + self.retry.open_duration);
            }
        }
    }

    /// The probe has ended or was given up.
    fn release_probe(&mut self) {
        match &mut self.state {
            State::Closed { .. } => {}
            State::HalfOpen { is_probing, .. } | State::Open { is_probing, .. } => *is_probing = false,
        }
    }

    fn delay_requests(&mut self, until: Instant) {
        self.not_before = Some(self.not_before.map_or(until, |not_before| not_before.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn breaker() -> CircuitBreaker {
        CircuitBreaker::new("main", Retry::default())
    }

    fn fail(breaker: &CircuitBreaker, times: u32) {
        for _ in 0..times {
            breaker.record_failure("refused".to_owned());
        }
    }

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    /// Acquires as a request does, from a registry that answers from `up_at` on. The times of the probes go into
    /// `probes`, in milliseconds since `begin`.
    async fn acquire(
        breaker: &CircuitBreaker,
        begin: Instant,
        up_at: Duration,
        probes: &RefCell<Vec<u64>>,
    ) -> Result<(), Outage> {
        while let Some(permit) = breaker.acquire().await? {
            probes.borrow_mut().push(begin.elapsed().as_millis() as u64);
            let is_up = begin.elapsed() >= up_at;
            permit.record(if is_up { Ok(()) } else { Err("still refused".to_owned()) });
        }
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn failures_half_open_the_circuit_only_when_consecutive() {
        let breaker = breaker();
        for _ in 0..3 {
            fail(&breaker, FAILURE_THRESHOLD - 1);
            assert!(breaker.allows_requests());
            breaker.record_success();
        }
        fail(&breaker, FAILURE_THRESHOLD);
        assert!(!breaker.allows_requests());
    }

    #[tokio::test(start_paused = true)]
    async fn first_probe_closes_the_circuit_when_the_registry_answers() {
        let (breaker, probes) = (breaker(), RefCell::default());
        fail(&breaker, FAILURE_THRESHOLD);
        acquire(&breaker, Instant::now(), Duration::ZERO, &probes).await.unwrap();
        assert_eq!((probes.into_inner(), breaker.outages()), (vec![0], 0));
        assert!(breaker.allows_requests());
    }

    #[tokio::test(start_paused = true)]
    async fn half_open_circuit_lets_one_request_probe_while_the_others_wait() {
        let (breaker, probes, begin) = (breaker(), RefCell::default(), Instant::now());
        fail(&breaker, FAILURE_THRESHOLD);
        let requests = (0..20).map(|_| acquire(&breaker, begin, seconds(20), &probes));
        let results = futures_util::future::join_all(requests).await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        assert_eq!(probes.into_inner(), [0, 1000, 3000, 7000, 15_000, 30_000]);
        assert_eq!(breaker.outages(), 1);
        assert!(begin.elapsed() < seconds(31), "{:?}", begin.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn open_circuit_rejects_requests_and_probes_at_intervals() {
        let (breaker, probes, begin) = (breaker(), RefCell::default(), Instant::now());
        fail(&breaker, FAILURE_THRESHOLD);
        let never = seconds(9999);
        let requests = (0..20).map(|_| acquire(&breaker, begin, never, &probes));
        let results = futures_util::future::join_all(requests).await;
        let (duration, last_failure) = (seconds(60), "still refused".to_owned());
        let outage = Outage { duration, last_failure, retry_after: seconds(30) };
        assert!(results.iter().all(|result| *result == Err(outage.clone())), "{results:?}");
        assert_eq!(probes.take(), [0, 1000, 3000, 7000, 15_000, 30_000, 45_000]);
        assert!((seconds(60)..seconds(61)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
        // Requests are rejected at once, without a probe.
        tokio::time::advance(seconds(29)).await;
        assert_eq!(acquire(&breaker, begin, never, &probes).await.unwrap_err().retry_after, seconds(1));
        assert!(probes.take().is_empty());
        tokio::time::advance(seconds(1)).await;
        for expected in [30, 30] {
            let outage = acquire(&breaker, begin, never, &probes).await.unwrap_err();
            assert_eq!(outage.retry_after, seconds(expected));
        }
        assert_eq!(probes.take(), [90_000]);
        tokio::time::advance(seconds(40)).await;
        acquire(&breaker, begin, seconds(100), &probes).await.unwrap();
        assert_eq!((probes.take(), breaker.outages()), (vec![130_000], 1));
        assert!(breaker.allows_requests());
    }

    #[tokio::test(start_paused = true)]
    async fn probe_permit_that_is_dropped_goes_to_the_next_request() {
        let breaker = breaker();
        fail(&breaker, FAILURE_THRESHOLD);
        let permit = breaker.acquire().await.unwrap().unwrap();
        let (next, ()) = tokio::join!(breaker.acquire(), async { drop(permit) });
        assert!(next.unwrap().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn success_of_any_request_ends_an_outage() {
        let (breaker, begin) = (breaker(), Instant::now());
        fail(&breaker, FAILURE_THRESHOLD);
        breaker.acquire().await.unwrap().unwrap().record(Err("no".to_owned()));
        let (next, ()) = tokio::join!(breaker.acquire(), async { breaker.record_success() });
        assert!(next.unwrap().is_none());
        assert_eq!((begin.elapsed(), breaker.outages()), (Duration::ZERO, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn exhausted_attempts_half_open_the_circuit_of_a_registry_that_has_answered_before() {
        let breaker = breaker();
        fail(&breaker, 5);
        assert!(!breaker.record_exhausted_attempts(), "it has never answered");
        breaker.record_success();
        fail(&breaker, 4);
        assert!(!breaker.record_exhausted_attempts(), "it has answered another request meanwhile");
        fail(&breaker, 1);
        assert!(breaker.record_exhausted_attempts() && !breaker.allows_requests());
    }

    #[tokio::test(start_paused = true)]
    async fn delay_holds_back_all_requests() {
        let (breaker, begin) = (breaker(), Instant::now());
        breaker.delay_requests(seconds(20));
        breaker.delay_requests(seconds(10));
        assert!(!breaker.allows_requests());
        let requests = (0..5).map(|_| breaker.acquire());
        let results = futures_util::future::join_all(requests).await;
        assert!(results.into_iter().all(|result| result.unwrap().is_none()));
        assert!((seconds(20)..seconds(21)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn delay_holds_back_probes() {
        let (breaker, probes, begin) = (breaker(), RefCell::default(), Instant::now());
        breaker.delay_requests(seconds(90));
        fail(&breaker, FAILURE_THRESHOLD);
        acquire(&breaker, begin, seconds(90), &probes).await.unwrap();
        assert_eq!((probes.into_inner(), breaker.outages()), (vec![90_000], 0));
    }
}
