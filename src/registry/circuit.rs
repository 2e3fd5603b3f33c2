//! Whether a registry is there to be asked at all, and when it is to be asked again.
//!
//! While nothing answers, requests wait, and only a small question is sent now and then. It knows nothing
//! of what is asked; whoever sends requests tells it what came of them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::transport::Retry;

/// So many tries in a row without an answer mean that something is wrong with the registry itself.
const ROW: u32 = 8;
/// The wait between the first two questions; it doubles from then on.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait between two questions.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// The state of the way to one registry, for all that ask it.
pub(super) struct Circuit {
    standing: Mutex<Standing>,
    changed: Notify,
    registry: String,
}

/// Nothing answers, and it is not worth waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outage {
    /// Since the first try that got no answer.
    pub(super) lasting: Duration,
    /// The last failure.
    pub(super) last: String,
    /// When the registry is asked again at the earliest.
    pub(super) again: Duration,
}

impl Circuit {
    /// For the registry of this name or address.
    pub(super) fn new(registry: &str, retry: Retry) -> Self {
        let standing = Mutex::new(Standing::new(retry));
        Self { standing, changed: Notify::new(), registry: registry.to_owned() }
    }

    /// Waits until a request may be sent, and then there is nothing more to do; or until it is time to ask
    /// whether the registry is there, which one of those who wait is told to do.
    pub(super) async fn pass(&self) -> Result<Option<Asking<'_>>, Outage> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let turn = self.lock().turn(Instant::now());
            match turn {
                Turn::Go => return Ok(None),
                Turn::Ask => return Ok(Some(Asking(self))),
                Turn::Refused(outage) => {
                    // Others may wait for what is not going to come.
                    self.changed.notify_waiters();
                    return Err(outage);
                }
                Turn::Wait(until) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(until) => {}
                },
            }
        }
    }

    /// Whether a request may be sent at this moment.
    pub(super) fn is_open_to_all(&self) -> bool {
        self.lock().turn_of_most(Instant::now())
    }

    /// A whole answer came that is no failure of the registry.
    pub(super) fn answered(&self) {
        let ended = self.lock().answered(Instant::now());
        if let Some(lasting) = ended {
            tracing::info!(registry = %self.registry, seconds = lasting.as_secs_f64(), "the registry answers again");
            self.changed.notify_waiters();
        }
    }

    /// A try got no whole answer, or the registry failed.
    pub(super) fn failed(&self, why: String) {
        let broke = self.lock().failed(Instant::now(), why.clone());
        if broke {
            self.tell_of(&why);
        }
    }

    /// A request is out of tries. Whether that may be because the registry as a whole is down: then the
    /// next that wants to pass finds out.
    pub(super) fn doubt(&self) -> bool {
        let (doubtful, last) = {
            let mut standing = self.lock();
            let before = standing.is_whole();
            let doubtful = standing.doubt(Instant::now());
            (doubtful, standing.last().filter(|_| before && doubtful).map(str::to_owned))
        };
        if let Some(why) = last {
            self.tell_of(&why);
        }
        doubtful
    }

    /// The registry wants no request for so long.
    pub(super) fn hold(&self, wait: Duration) {
        self.lock().hold(Instant::now() + wait);
    }

    /// How often the registry was down and came back.
    pub(super) fn outages(&self) -> u64 {
        self.lock().outages
    }

    fn tell_of(&self, why: &str) {
        tracing::debug!(registry = %self.registry, last = why, "nothing answers: asking whether the registry is there");
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        // Nothing panics while it holds this, and what it guards is whole at every moment.
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to ask whether the registry is there, given back when it is dropped, also by one who stops
/// waiting.
pub(super) struct Asking<'a>(&'a Circuit);

impl Asking<'_> {
    /// What came of it; an error says why it was no answer.
    pub(super) fn hears(self, answer: Result<(), String>) {
        match answer {
            Ok(()) => self.0.answered(),
            Err(why) => self.0.lock().unasked(Instant::now(), Some(why)),
        }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.lock().unasked(Instant::now(), None);
        self.0.changed.notify_waiters();
    }
}

/// What somebody who wants to send a request has to do.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Go,
    /// Nothing before then, unless something changes.
    Wait(Instant),
    /// Ask whether the registry is there, and say what came of it.
    Ask,
    Refused(Outage),
}

/// The circuit itself, to which the time is told.
struct Standing {
    retry: Retry,
    state: State,
    /// Before this nothing is sent.
    held: Option<Instant>,
    /// Whether anything was ever answered.
    known: bool,
    outages: u64,
}

enum State {
    /// Requests go through.
    Whole { row: u32, failures: Option<Failures> },
    /// Requests wait.
    Broken { failures: Failures, give_up: Instant, next: Instant, wait: Duration, asking: bool, asked: bool },
    /// Requests are refused.
    Down { failures: Failures, again: Instant, asking: bool },
}

/// Failures without an answer between them.
#[derive(Clone)]
struct Failures {
    since: Instant,
    last: String,
}

impl Standing {
    fn new(retry: Retry) -> Self {
        let state = State::Whole { row: 0, failures: None };
        Self { retry, state, held: None, known: false, outages: 0 }
    }

    fn is_whole(&self) -> bool {
        matches!(self.state, State::Whole { .. })
    }

    fn last(&self) -> Option<&str> {
        match &self.state {
            State::Whole { failures, .. } => failures.as_ref().map(|failures| failures.last.as_str()),
            State::Broken { failures, .. } | State::Down { failures, .. } => Some(&failures.last),
        }
    }

    /// Whether a request may go, for one who does not ask.
    fn turn_of_most(&self, now: Instant) -> bool {
        self.is_whole() && self.held.is_none_or(|held| held <= now)
    }

    fn turn(&mut self, now: Instant) -> Turn {
        if let State::Broken { failures, give_up, .. } = &self.state
            && *give_up <= now
        {
            let (failures, again) = (failures.clone(), now + self.retry.open_duration);
            self.state = State::Down { failures, again, asking: false };
        }
        let held = self.held.filter(|held| *held > now);
        match &mut self.state {
            State::Whole { .. } => held.map_or(Turn::Go, Turn::Wait),
            State::Broken { give_up, next, asking, .. } => {
                let from = held.map_or(*next, |held| held.max(*next));
                if *asking {
                    Turn::Wait(*give_up)
                } else if from > now {
                    Turn::Wait(from.min(*give_up))
                } else {
                    *asking = true;
                    Turn::Ask
                }
            }
            State::Down { failures, again, asking } => {
                if *asking || held.is_some() || *again > now {
                    let again = (*again).max(held.unwrap_or(now)).saturating_duration_since(now);
                    let lasting = now.saturating_duration_since(failures.since);
                    return Turn::Refused(Outage { lasting, last: failures.last.clone(), again });
                }
                *asking = true;
                Turn::Ask
            }
        }
    }

    /// How long the registry did not answer, if that has just ended.
    fn answered(&mut self, now: Instant) -> Option<Duration> {
        self.known = true;
        let whole = State::Whole { row: 0, failures: None };
        match std::mem::replace(&mut self.state, whole) {
            State::Whole { .. } => None,
            State::Broken { failures, asked, .. } => {
                // If the first question is answered, it is not the registry that was down.
                self.outages += u64::from(asked);
                Some(now.saturating_duration_since(failures.since))
            }
            State::Down { failures, .. } => {
                self.outages += 1;
                Some(now.saturating_duration_since(failures.since))
            }
        }
    }

    /// Whether this was one too many.
    fn failed(&mut self, now: Instant, why: String) -> bool {
        match &mut self.state {
            State::Whole { row, failures } => {
                *row += 1;
                let since = failures.as_ref().map_or(now, |failures| failures.since);
                *failures = Some(Failures { since, last: why });
                *row >= ROW && self.interrupt(now)
            }
            State::Broken { failures, .. } | State::Down { failures, .. } => {
                failures.last = why;
                false
            }
        }
    }

    /// Whether requests wait or are to wait from now on, because there was no answer for as many tries as
    /// one request has. A registry that has never answered gets no more patience than that.
    fn doubt(&mut self, now: Instant) -> bool {
        match self.state {
            State::Whole { row, .. } => self.known && row >= self.retry.attempts && self.interrupt(now),
            State::Broken { .. } | State::Down { .. } => true,
        }
    }

    /// Has requests wait, if there was a failure.
    fn interrupt(&mut self, now: Instant) -> bool {
        let State::Whole { failures: Some(failures), .. } = &self.state else { return false };
        // Whoever is told to come back later gets to ask once more after that.
        let held = self.held.map_or(now, |held| held + FIRST_WAIT);
        self.state = State::Broken {
            failures: failures.clone(),
            give_up: (now + self.retry.outage_timeout).max(held),
            next: now,
            wait: FIRST_WAIT,
            asking: false,
            asked: false,
        };
        true
    }

    /// The one who asked has got no answer, for this reason, or has gone away.
    fn unasked(&mut self, now: Instant, why: Option<String>) {
        match &mut self.state {
            State::Whole { .. } => {}
            State::Broken { failures, next, wait, asking, asked, .. } => {
                *asking = false;
                if let Some(why) = why {
                    (failures.last, *asked, *next) = (why, true, now + *wait);
                    *wait = (*wait * 2).min(LONGEST_WAIT);
                }
            }
            State::Down { failures, again, asking } => {
                *asking = false;
                if let Some(why) = why {
                    (failures.last, *again) = (why, now + self.retry.open_duration);
                }
            }
        }
    }

    /// Nothing is to be sent before then.
    fn hold(&mut self, until: Instant) {
        self.held = Some(self.held.map_or(until, |held| held.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn circuit() -> Circuit {
        Circuit::new("main", Retry::default())
    }

    fn fail(circuit: &Circuit, times: u32) {
        for _ in 0..times {
            circuit.failed("refused".to_owned());
        }
    }

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    /// Passes as a request does, in a registry that answers from some moment on. The questions, in
    /// milliseconds since then.
    async fn pass(
        circuit: &Circuit,
        begin: Instant,
        up_at: Duration,
        asked: &RefCell<Vec<u64>>,
    ) -> Result<(), Outage> {
        while let Some(asking) = circuit.pass().await? {
            asked.borrow_mut().push(begin.elapsed().as_millis() as u64);
            let up = begin.elapsed() >= up_at;
            asking.hears(if up { Ok(()) } else { Err("still refused".to_owned()) });
        }
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn some_failures_are_no_outage_and_an_answer_between_them_starts_the_count_anew() {
        let circuit = circuit();
        for _ in 0..3 {
            fail(&circuit, ROW - 1);
            assert!(circuit.is_open_to_all());
            circuit.answered();
        }
        fail(&circuit, ROW);
        assert!(!circuit.is_open_to_all());
    }

    #[tokio::test(start_paused = true)]
    async fn where_only_a_part_fails_the_first_question_tells() {
        let (circuit, asked) = (circuit(), RefCell::default());
        fail(&circuit, ROW);
        pass(&circuit, Instant::now(), Duration::ZERO, &asked).await.unwrap();
        assert_eq!((asked.into_inner(), circuit.outages()), (vec![0], 0));
        assert!(circuit.is_open_to_all());
    }

    #[tokio::test(start_paused = true)]
    async fn while_nothing_answers_one_asks_and_all_wait() {
        let (circuit, asked, begin) = (circuit(), RefCell::default(), Instant::now());
        fail(&circuit, ROW);
        let waiting = (0..20).map(|_| pass(&circuit, begin, seconds(20), &asked));
        let passed = futures_util::future::join_all(waiting).await;
        assert!(passed.iter().all(Result::is_ok), "{passed:?}");
        assert_eq!(asked.into_inner(), [0, 1000, 3000, 7000, 15_000, 30_000]);
        assert_eq!(circuit.outages(), 1);
        assert!(begin.elapsed() < seconds(31), "{:?}", begin.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn patience_has_an_end_and_comes_back_for_one_question_at_a_time() {
        let (circuit, asked, begin) = (circuit(), RefCell::default(), Instant::now());
        fail(&circuit, ROW);
        let never = seconds(9999);
        let waiting = (0..20).map(|_| pass(&circuit, begin, never, &asked));
        let passed = futures_util::future::join_all(waiting).await;
        let outage = Outage { lasting: seconds(60), last: "still refused".to_owned(), again: seconds(30) };
        assert!(passed.iter().all(|one| *one == Err(outage.clone())), "{passed:?}");
        assert_eq!(asked.take(), [0, 1000, 3000, 7000, 15_000, 30_000, 45_000]);
        assert!((seconds(60)..seconds(61)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
        // Everybody hears it at once, and nobody asks.
        tokio::time::advance(seconds(29)).await;
        assert_eq!(pass(&circuit, begin, never, &asked).await.unwrap_err().again, seconds(1));
        assert!(asked.take().is_empty());
        tokio::time::advance(seconds(1)).await;
        for again in [30, 30] {
            assert_eq!(pass(&circuit, begin, never, &asked).await.unwrap_err().again, seconds(again));
        }
        assert_eq!(asked.take(), [90_000]);
        tokio::time::advance(seconds(40)).await;
        pass(&circuit, begin, seconds(100), &asked).await.unwrap();
        assert_eq!((asked.take(), circuit.outages()), (vec![130_000], 1));
        assert!(circuit.is_open_to_all());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_stops_asking_leaves_it_to_the_next() {
        let circuit = circuit();
        fail(&circuit, ROW);
        let asking = circuit.pass().await.unwrap().unwrap();
        let (waited, ()) = tokio::join!(circuit.pass(), async { drop(asking) });
        assert!(waited.unwrap().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn any_answer_ends_an_outage() {
        let (circuit, begin) = (circuit(), Instant::now());
        fail(&circuit, ROW);
        circuit.pass().await.unwrap().unwrap().hears(Err("no".to_owned()));
        let (passed, ()) = tokio::join!(circuit.pass(), async { circuit.answered() });
        assert!(passed.unwrap().is_none());
        assert_eq!((begin.elapsed(), circuit.outages()), (Duration::ZERO, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_out_of_tries_is_enough_of_a_doubt_about_a_registry_that_is_known() {
        let circuit = circuit();
        fail(&circuit, 5);
        assert!(!circuit.doubt(), "it never answered: perhaps it is not there");
        circuit.answered();
        fail(&circuit, 4);
        assert!(!circuit.doubt(), "it answered somebody meanwhile");
        fail(&circuit, 1);
        assert!(circuit.doubt() && !circuit.is_open_to_all());
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_wants_to_be_left_alone_is() {
        let (circuit, begin) = (circuit(), Instant::now());
        circuit.hold(seconds(20));
        circuit.hold(seconds(10));
        assert!(!circuit.is_open_to_all());
        let waiting = (0..5).map(|_| circuit.pass());
        let passed = futures_util::future::join_all(waiting).await;
        assert!(passed.into_iter().all(|one| one.unwrap().is_none()));
        assert!((seconds(20)..seconds(21)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn no_question_disturbs_a_registry_that_wants_to_be_left_alone() {
        let (circuit, asked, begin) = (circuit(), RefCell::default(), Instant::now());
        circuit.hold(seconds(90));
        fail(&circuit, ROW);
        pass(&circuit, begin, seconds(90), &asked).await.unwrap();
        assert_eq!((asked.into_inner(), circuit.outages()), (vec![90_000], 0));
    }
}
