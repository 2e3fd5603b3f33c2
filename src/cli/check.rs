//! `regsweep check`: the configuration is sound, what it comes to, and what to think about again.

use std::path::Path;

use super::Exit;
use super::session;
use super::table::count;
use crate::config::{Config, Env, load};
use crate::policy::Mode;

pub(super) fn check(config: &Config, path: &Path, env: Env<'_>) -> Exit {
    let rules: usize = config.policies.iter().map(|policy| policy.rules.len()).sum();
    print_line!(
        "{}: {}, {}, {}; {}",
        path.display(),
        count(config.registries.len(), "registry", "registries"),
        count(config.policies.len(), "policy", "policies"),
        count(rules, "rule", "rules"),
        match config.mode {
            Mode::Plan => "mode plan: nothing is ever deleted",
            Mode::Enforce => "mode enforce: plans are carried out",
        }
    );
    // All that can still be wrong is what is not here: the service may well find it where it runs.
    if let Err(error) = load(path, env) {
        for problem in &error.problems {
            print_line!("note: {problem} (no error if the service finds it where it runs)");
        }
    }
    for advice in config.advice() {
        print_line!("note: {advice}");
    }
    match session::unknown(config) {
        Ok(unknown) => unknown.iter().for_each(|unknown| print_line!("warning: {unknown}")),
        Err(error) => print_line!("note: what the state remembers was not compared with it: {error}"),
    }
    Exit::Done
}
