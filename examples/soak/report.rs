//! What happened: counts, samples, and everything that should not have happened.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The promises that the soak watches over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// What is protected, or held by a rule that keeps all, is there and can be pulled whole.
    Held,
    /// What a plan keeps can be pulled whole.
    Kept,
    /// Nothing younger than `protect.newer_than` goes.
    Young,
    /// The journal and the registry's own log tell of the same deletions.
    Journal,
    /// The counters tell the same as the journal and the disk.
    Counters,
    /// The service lives, answers, and stays small.
    Alive,
    /// What was deleted last comes back byte for byte.
    Undo,
    /// The registry is never left stopped, and whoever pushes succeeds in the end.
    Registry,
}

impl Promise {
    fn text(self) -> &'static str {
        match self {
            Self::Held => "what is protected or held by `keep: all` can be pulled whole",
            Self::Kept => "what the plan keeps can be pulled whole",
            Self::Young => "nothing younger than protect.newer_than is deleted",
            Self::Journal => "the journal has each deletion of the access log once, and no other",
            Self::Counters => "the metrics equal the journal and the disk",
            Self::Alive => "the service lives, answers and stays small",
            Self::Undo => "the last run can be undone byte for byte",
            Self::Registry => "the registry comes back and takes every push in the end",
        }
    }
}

/// Counts and complaints. It is shared by everything that runs.
#[derive(Debug)]
pub struct Report {
    begin: Instant,
    counts: Mutex<BTreeMap<String, u64>>,
    broken: Mutex<Vec<(Promise, String)>>,
    notes: Mutex<Vec<String>>,
    known: Mutex<BTreeSet<String>>,
}

impl Report {
    pub fn new() -> Self {
        Self {
            begin: Instant::now(),
            counts: Mutex::default(),
            broken: Mutex::default(),
            notes: Mutex::default(),
            known: Mutex::default(),
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// One more of these.
    pub fn count(&self, what: &str) {
        *lock(&self.counts).entry(what.to_owned()).or_default() += 1;
    }

    /// One more of these, unless this one was counted before.
    pub fn once(&self, what: &str, which: &str) {
        if lock(&self.known).insert(format!("{what} {which}")) {
            self.count(what);
        }
    }

    /// At least this much of it.
    pub fn most(&self, what: &str, value: u64) {
        let mut counts = lock(&self.counts);
        let most = counts.entry(what.to_owned()).or_default();
        *most = value.max(*most);
    }

    pub fn get(&self, what: &str) -> u64 {
        lock(&self.counts).get(what).copied().unwrap_or_default()
    }

    /// A promise was not kept. What differs only after the first line is the same once more.
    pub fn broken(&self, promise: Promise, text: String) {
        let mut broken = lock(&self.broken);
        if !broken.iter().any(|(_, known)| known.lines().next() == text.lines().next()) {
            println!("{:>6.1} s  BROKEN: {}: {text}", self.elapsed().as_secs_f64(), promise.text());
            broken.push((promise, text));
        }
    }

    /// Something worth knowing that breaks no promise.
    pub fn note(&self, text: String) {
        let mut notes = lock(&self.notes);
        if !notes.contains(&text) {
            notes.push(text);
        }
    }

    pub fn is_sound(&self) -> bool {
        lock(&self.broken).is_empty()
    }

    /// One line for whoever waits.
    pub fn line(&self) -> String {
        let sum = |prefix: &str| -> u64 {
            let counts = lock(&self.counts);
            counts.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, count)| count).sum()
        };
        format!(
            "{:>6.1} s  {} pushes, {} tries more, {} checks, {} faults, {} disturbances, {} runs, {} deletions, \
             {} collections, {} broken",
            self.elapsed().as_secs_f64(),
            sum("push: "),
            sum("pushed again"),
            sum("check: "),
            sum("fault: "),
            sum("chaos: "),
            sum("total: runs"),
            sum("total: deletions"),
            sum("total: sweeps"),
            lock(&self.broken).len(),
        )
    }

    /// Everything, at the end.
    pub fn whole(&self) -> String {
        let mut text = String::new();
        for (name, count) in lock(&self.counts).iter() {
            let _ = writeln!(text, "  {name}: {count}");
        }
        for note in lock(&self.notes).iter() {
            let _ = writeln!(text, "  note: {note}");
        }
        for (promise, what) in lock(&self.broken).iter() {
            let _ = writeln!(text, "  BROKEN: {}: {what}", promise.text());
        }
        text
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
