//! `regsweep check`: reports problems and doubtful settings of the configuration; with `--connect`, checks registries.
//!
//! An invalid configuration has been reported before this is called.

use std::path::Path;

use comfy_table::Cell;
use futures_util::future::join_all;
use serde_json::json;

use super::args::{CheckArguments, OutputFormat};
use super::exit::Exit;
use super::session::{self, Session};
use super::table::{Listing, bad, count, good};
use crate::config::{Config, Env, Registry, load};
use crate::policy::Mode;
use crate::run::preflight::{self, Check, Subject};

pub(super) async fn check(
    config: &Config,
    path: &Path,
    arguments: &CheckArguments,
    env: Env<'_>,
) -> anyhow::Result<Exit> {
    if arguments.format != OutputFormat::Json {
        print_summary(config, path, env);
    }
    if !arguments.connect {
        return Ok(Exit::Success);
    }
    let checks = join_all(config.registries.iter().map(|registry| connect(config, registry, env))).await;
    let mut rows = Listing::new(&["REGISTRY", "CHECK", "RESULT", "DETAIL"], arguments.format);
    for (registry, checks) in config.registries.iter().zip(&checks) {
        match arguments.format {
            OutputFormat::Json => print_line!("{}", document(&registry.name, checks)),
            OutputFormat::Table | OutputFormat::Wide => checks.iter().for_each(|check| {
                let result = if check.ok { good("ok") } else { bad("failed") };
                rows.add(&registry.name, vec![Cell::new(check.subject.name()), result], &check.text);
            }),
        }
    }
    if let Some(text) = rows.text() {
        print_line!("{text}");
    }
    let all_ok = checks.iter().flatten().all(|check| check.ok);
    Ok(if all_ok { Exit::Success } else { Exit::Failed })
}

/// What is known without a connection.
fn print_summary(config: &Config, path: &Path, env: Env<'_>) {
    let rules: usize = config.policies.iter().map(|policy| policy.rules.len()).sum();
    print_line!(
        "{}: {}, {}, {}; {}",
        path.display(),
        count(config.registries.len(), "registry", "registries"),
        count(config.policies.len(), "policy", "policies"),
        count(rules, "rule", "rules"),
        match config.mode {
            Mode::Plan => "mode plan: nothing is ever deleted",
            Mode::Enforce => "mode enforce: runs delete what the plan says",
        }
    );
    // Only secrets can still be missing, and the service may have those that this user has not.
    if let Err(error) = load(path, env) {
        for problem in &error.problems {
            print_line!("note: {problem} (not an error if the service can read it)");
        }
    }
    for advice in config.advice() {
        print_line!("note: {advice}");
    }
    match session::unknown_registries(config) {
        Ok((unknown, lost)) => {
            unknown.iter().for_each(|unknown| print_line!("warning: {unknown}"));
            if let Some(lost) = lost {
                print_line!("warning: the state is lost: {lost}. The next run creates a new one");
            }
        }
        Err(error) => {
            print_line!("note: the registries in the state were not compared with the configuration: {error}")
        }
    }
}

async fn connect(config: &Config, registry: &Registry, env: Env<'_>) -> Vec<Check> {
    let session = match Session::for_check(config, registry) {
        Ok(session) => session,
        Err(error) => return vec![Check::failed(Subject::Reach, &error)],
    };
    match session.collector(env) {
        Ok(collector) => preflight::check(session.registry_context(None), collector.as_ref()).await,
        Err(error) => {
            let mut checks = preflight::check(session.registry_context(None), None).await;
            checks.push(Check::failed(Subject::Collection, &error));
            checks
        }
    }
}

fn document(registry: &str, checks: &[Check]) -> serde_json::Value {
    let shown = checks
        .iter()
        .map(|check| json!({ "check": check.subject.name(), "ok": check.ok, "text": check.text }));
    json!({
        "version": 1,
        "registry": registry,
        "ok": checks.iter().all(|check| check.ok),
        "checks": shown.collect::<Vec<_>>(),
    })
}
