//! Counts of what happened, and the violations of guarantees.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The guarantees that the soak checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Guarantee {
    /// What is protected, or kept by a rule that keeps all, can be pulled completely.
    Held,
    /// What a plan keeps can be pulled completely.
    Kept,
    /// Nothing younger than `protect.newer_than` is deleted.
    Young,
    /// The journal and the registry's own log tell of the same deletions.
    Journal,
    /// The counters tell the same as the journal and the disk.
    Counters,
    /// The service lives, answers, and stays small.
    Alive,
    /// The last deletions can be undone byte for byte.
    Undo,
    /// The registry is never left stopped, and every push succeeds in the end.
    Registry,
}

impl Guarantee {
    fn text(self) -> &'static str {
        match self {
            Self::Held => "what is protected or kept by `keep: all` can be pulled completely",
            Self::Kept => "what the plan keeps can be pulled completely",
            Self::Young => "nothing younger than protect.newer_than is deleted",
            Self::Journal => "the journal has each deletion of the access log once, and no other",
            Self::Counters => "the metrics equal the journal and the disk",
            Self::Alive => "the service lives, answers and stays small",
            Self::Undo => "the last run can be undone byte for byte",
            Self::Registry => "the registry is started again and accepts every push in the end",
        }
    }
}

/// Counts and violations, shared by all tasks.
#[derive(Debug)]
pub(crate) struct Report {
    begin: Instant,
    counts: Mutex<BTreeMap<String, u64>>,
    violations: Mutex<Vec<(Guarantee, String)>>,
    notes: Mutex<Vec<String>>,
    known: Mutex<BTreeSet<String>>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self {
            begin: Instant::now(),
            counts: Mutex::default(),
            violations: Mutex::default(),
            notes: Mutex::default(),
            known: Mutex::default(),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Counts one more of these.
    pub(crate) fn count(&self, what: &str) {
        *lock(&self.counts).entry(what.to_owned()).or_default() += 1;
    }

    /// Counts one more of these, unless this one was counted before.
    pub(crate) fn once(&self, what: &str, which: &str) {
        if lock(&self.known).insert(format!("{what} {which}")) {
            self.count(what);
        }
    }

    /// At least this much of it.
    pub(crate) fn most(&self, what: &str, value: u64) {
        let mut counts = lock(&self.counts);
        let most = counts.entry(what.to_owned()).or_default();
        *most = value.max(*most);
    }

    /// A guarantee was violated. A text whose first line is known is the same violation again.
    pub(crate) fn violation(&self, guarantee: Guarantee, text: String) {
        let mut violations = lock(&self.violations);
        if !violations.iter().any(|(_, known)| known.lines().next() == text.lines().next()) {
            println!("{:>6.1} s  VIOLATED: {}: {text}", self.elapsed().as_secs_f64(), guarantee.text());
            violations.push((guarantee, text));
        }
    }

    /// Something to know that violates no guarantee.
    pub(crate) fn note(&self, text: String) {
        let mut notes = lock(&self.notes);
        if !notes.contains(&text) {
            notes.push(text);
        }
    }

    pub(crate) fn all_guarantees_held(&self) -> bool {
        lock(&self.violations).is_empty()
    }

    /// One line about the progress.
    pub(crate) fn line(&self) -> String {
        let sum = |prefix: &str| -> u64 {
            let counts = lock(&self.counts);
            counts.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, count)| count).sum()
        };
        format!(
            "{:>6.1} s  {} pushes, {} tries more, {} checks, {} faults, {} disturbances, {} runs, {} deletions, \
             {} collections, {} violations",
            self.elapsed().as_secs_f64(),
            sum("push: "),
            sum("pushed again"),
            sum("check: "),
            sum("fault: "),
            sum("disturbance: "),
            sum("total: runs"),
            sum("total: deletions"),
            sum("total: sweeps"),
            lock(&self.violations).len(),
        )
    }

    /// The full report.
    pub(crate) fn full(&self) -> String {
        let mut text = String::new();
        for (name, count) in lock(&self.counts).iter() {
            let _ = writeln!(text, "  {name}: {count}");
        }
        for note in lock(&self.notes).iter() {
            let _ = writeln!(text, "  note: {note}");
        }
        for (guarantee, what) in lock(&self.violations).iter() {
            let _ = writeln!(text, "  VIOLATED: {}: {what}", guarantee.text());
        }
        text
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
