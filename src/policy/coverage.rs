//! Whether some patterns together match everything that others match.
//!
//! It answers "yes" only when that is proven; a pattern too large to prove anything about is a "no".
//! The proof walks two automata side by side, over the bytes that the names in question can have.

use std::collections::BTreeSet;

use regex_automata::dfa::{Automaton, dense};
use regex_automata::util::primitives::StateID;
use regex_automata::util::{start, syntax};
use regex_automata::{Anchored, MatchKind};

use super::pattern::{Pattern, Patterns};

/// The bytes of a tag.
pub(super) const TAG_BYTES: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";

/// The bytes of a repository name.
pub(super) const REPOSITORY_BYTES: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789_.-/";

/// Beyond these sizes nothing is proven: checking a configuration must not take seconds.
const PATTERN_BYTES: usize = 512 << 10;
const AUTOMATON_BYTES: usize = 256 << 10;
const STATE_PAIRS: usize = 1 << 12;

/// Whether every non-empty name of these bytes that matches `later` also matches one of `earlier`.
pub(super) fn covers(earlier: &[&Pattern], later: &Patterns, bytes: &[u8]) -> bool {
    let later: Vec<&Pattern> = later.iter().collect();
    if earlier.is_empty() || later.is_empty() {
        return false;
    }
    if earlier.iter().chain(&later).map(|pattern| pattern.weight()).sum::<usize>() > PATTERN_BYTES {
        return false;
    }
    match (automaton(earlier), automaton(&later)) {
        (Some(earlier), Some(later)) => contains(&earlier, &later, bytes).unwrap_or(false),
        _ => false,
    }
}

type Automata = dense::DFA<Vec<u32>>;

fn automaton(patterns: &[&Pattern]) -> Option<Automata> {
    let sources: Vec<&str> = patterns.iter().map(|pattern| pattern.anchored()).collect();
    let limits = dense::Config::new()
        .match_kind(MatchKind::All)
        .dfa_size_limit(Some(AUTOMATON_BYTES))
        .determinize_size_limit(Some(AUTOMATON_BYTES));
    dense::Builder::new().configure(limits).syntax(syntax::Config::new()).build_many(&sources).ok()
}

/// `None` if the automaton grew too large, or a pattern has something that automata do not support.
fn contains(outer: &Automata, inner: &Automata, bytes: &[u8]) -> Option<bool> {
    let anchored = start::Config::new().anchored(Anchored::Yes);
    let first = (outer.start_state(&anchored).ok()?, inner.start_state(&anchored).ok()?);
    let mut seen = BTreeSet::from([first]);
    let mut open = vec![first];
    while let Some((outside, inside)) = open.pop() {
        for &byte in bytes {
            let next = (outer.next_state(outside, byte), inner.next_state(inside, byte));
            if inner.is_dead_state(next.1) {
                continue;
            }
            if inner.is_quit_state(next.1) || outer.is_quit_state(next.0) {
                return None;
            }
            if accepts(inner, next.1) && !accepts(outer, next.0) {
                return Some(false);
            }
            if seen.insert(next) {
                open.push(next);
            }
        }
        if seen.len() > STATE_PAIRS {
            return None;
        }
    }
    Some(true)
}

fn accepts(automaton: &Automata, state: StateID) -> bool {
    automaton.is_match_state(automaton.next_eoi_state(state))
}
