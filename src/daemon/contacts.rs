//! Whether each registry answers, between its runs.
//!
//! It asks one small question a minute, and none where a job is under way: a run finds out by itself, and a collection
//! stops its registry on purpose.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::active_config::ActiveConfig;
use super::service::{Service, lock};
use crate::registry::{self, Probe, Reader};

/// How long a registry is left alone between two questions, on average.
const INTERVAL: TimeDelta = TimeDelta::seconds(60);

/// So much of that is left to chance, so that many services, or registries of one, are not asked all at once.
const CHANCE: f64 = 0.25;

/// One that has answered before is down when it does not answer so often in a row.
const TRIES: u32 = 3;

/// The wait between two of these.
const PAUSE: Duration = Duration::from_secs(2);

/// What is known of each registry, and when it is asked next.
#[derive(Debug, Default)]
pub(super) struct Contacts(BTreeMap<String, Contact>);

#[derive(Debug)]
struct Contact {
    /// Whether it answered last; `None` before that.
    up: Option<bool>,
    next: DateTime<Utc>,
    /// Whether a question is under way.
    asking: bool,
    /// Counts up with everything that makes the answer to an earlier question void.
    round: u64,
}

impl Contacts {
    fn of(&mut self, registry: &str, now: DateTime<Utc>) -> &mut Contact {
        let new = || Contact { up: None, next: soon(now), asking: false, round: 0 };
        self.0.entry(registry.to_owned()).or_insert_with(new)
    }

    /// A registry is in the configuration. The first time that counts as a contact.
    pub(super) fn configured(&mut self, registry: &str, now: DateTime<Utc>) {
        self.of(registry, now);
    }

    /// A job is under way there, begins or has ended, so that no question is needed for a while.
    pub(super) fn busy(&mut self, registry: &str, now: DateTime<Utc>) {
        let contact = self.of(registry, now);
        contact.round += 1;
        contact.next = soon(now);
    }

    /// It has answered, or has not.
    pub(super) fn heard(&mut self, registry: &str, up: bool, now: DateTime<Utc>) {
        self.busy(registry, now);
        self.of(registry, now).up = Some(up);
    }

    /// Whether it answered last.
    fn is_up(&self, registry: &str) -> Option<bool> {
        self.0.get(registry)?.up
    }

    /// Takes note that it is asked now, if it is time to; with the round of the question.
    fn ask(&mut self, registry: &str, now: DateTime<Utc>) -> Option<u64> {
        let contact = self.of(registry, now);
        // A clock that was set back must not silence us.
        contact.next = contact.next.min(now + INTERVAL * 2);
        if contact.asking || contact.next > now {
            return None;
        }
        contact.asking = true;
        Some(contact.round)
    }

    /// A question has come to its end. Whether its answer still says something.
    fn asked(&mut self, registry: &str, round: u64, now: DateTime<Utc>) -> bool {
        let contact = self.of(registry, now);
        contact.asking = false;
        contact.next = soon(now);
        contact.round == round
    }

    /// Nothing is known any more of a registry that is another one, or none.
    pub(super) fn forget(&mut self, registry: &str) {
        self.0.remove(registry);
    }
}

/// A minute after that, more or less.
fn soon(now: DateTime<Utc>) -> DateTime<Utc> {
    let seconds = INTERVAL.as_seconds_f64() * (1.0 + CHANCE * (2.0 * fastrand::f64() - 1.0));
    now + Duration::from_secs_f64(seconds)
}

impl Service {
    /// Asks every registry for which it is time. None of these questions is waited for, here or at the end.
    pub(super) fn ask_registries(self: &Arc<Self>, active: &Arc<ActiveConfig>) {
        let now = (self.clock)();
        for registry in &active.config.registries {
            let name = &registry.name;
            if lock(&self.jobs).is_busy(name) {
                lock(&self.contacts).busy(name, now);
                continue;
            }
            let Some(round) = lock(&self.contacts).ask(name, now) else { continue };
            let (service, active, name) = (self.clone(), active.clone(), name.clone());
            tokio::task::spawn_local(async move { service.ask(&active, &name, round).await });
        }
    }

    async fn ask(&self, active: &Arc<ActiveConfig>, name: &str, round: u64) {
        let Some(reader) = active.reader(name) else { return };
        let before = lock(&self.contacts).is_up(name);
        let answer = patiently(reader, before == Some(true)).await;
        let counts = lock(&self.contacts).asked(name, round, (self.clock)());
        let in_force = self.current().is_some_and(|current| Arc::ptr_eq(&current, active));
        if !counts || !in_force {
            return;
        }
        match &answer {
            Ok(()) if before == Some(false) => tracing::info!(registry = name, "the registry answers again"),
            Err(error) if before != Some(false) => {
                tracing::warn!(registry = name, kind = error.kind.name(), %error, "the registry does not answer");
            }
            Ok(()) | Err(_) => {}
        }
        self.up(name, answer.is_ok());
    }
}

/// Asks a registry once; where it `answered` before, more often before it counts as down. Credentials are shown only
/// where that is not known, so that it costs no token a minute.
async fn patiently(reader: &Reader, answered: bool) -> Result<(), registry::Error> {
    if !answered {
        return reader.probe(Probe::Authenticated).await;
    }
    let mut tries = 1;
    loop {
        match reader.probe(Probe::Anonymous).await {
            Err(_) if tries < TRIES => tokio::time::sleep(PAUSE).await,
            answer => return answer,
        }
        tries += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn a_registry_is_asked_about_a_minute_after_the_last_contact() {
        for _ in 0..100 {
            let mut contacts = Contacts::default();
            assert_eq!(contacts.ask("main", at(0)), None, "the start counts as well");
            assert_eq!(contacts.ask("main", at(44)), None);
            let round = contacts.ask("main", at(76)).unwrap();
            assert_eq!(contacts.ask("main", at(300)), None, "a question is under way");
            assert!(contacts.asked("main", round, at(300)));
            assert_eq!(contacts.ask("main", at(344)), None);
            contacts.busy("main", at(345));
            assert_eq!(contacts.ask("main", at(389)), None);
            assert!(contacts.ask("main", at(421)).is_some());
        }
    }

    #[test]
    fn an_answer_says_nothing_of_a_registry_that_a_job_has_changed_meanwhile() {
        let mut contacts = Contacts::default();
        contacts.heard("main", true, at(0));
        let round = contacts.ask("main", at(100)).unwrap();
        contacts.busy("main", at(101));
        assert!(!contacts.asked("main", round, at(102)));
        assert_eq!(contacts.is_up("main"), Some(true));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_silence_it_for_long() {
        let mut contacts = Contacts::default();
        contacts.busy("main", at(100_000));
        assert_eq!(contacts.ask("main", at(0)), None);
        assert!(contacts.ask("main", at(120)).is_some());
    }
}
