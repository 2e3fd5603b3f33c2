//! `regsweep check`: the configuration is sound, what it comes to, and what to think about again; and, if asked, whether
//! what it names is there.

use std::path::Path;

use comfy_table::Cell;
use futures_util::future::join_all;
use serde_json::json;

use super::Exit;
use super::args::{CheckArguments, Form};
use super::session::{self, Session};
use super::table::{count, table};
use crate::config::{Config, Env, Registry, load};
use crate::policy::Mode;
use crate::run::preflight::{self, Check, Subject};

pub(super) async fn check(
    config: &Config,
    path: &Path,
    arguments: &CheckArguments,
    env: Env<'_>,
) -> anyhow::Result<Exit> {
    if arguments.form == Form::Table {
        print(config, path, env);
    }
    if !arguments.connect {
        return Ok(Exit::Done);
    }
    let checks = join_all(config.registries.iter().map(|registry| look(config, registry, env))).await;
    let mut rows = table(&["REGISTRY", "CHECK", "RESULT", "WHAT WAS FOUND"]);
    for (registry, checks) in config.registries.iter().zip(&checks) {
        match arguments.form {
            Form::Json => print_line!("{}", document(&registry.name, checks)),
            Form::Table => checks.iter().for_each(|one| {
                let result = if one.ok { "ok" } else { "failed" };
                let cells = [registry.name.as_str(), one.subject.name(), result, one.text.as_str()];
                rows.add_row(cells.map(Cell::new).to_vec());
            }),
        }
    }
    if arguments.form == Form::Table {
        print_line!("{rows}");
    }
    let all_good = checks.iter().flatten().all(|one| one.ok);
    Ok(if all_good { Exit::Done } else { Exit::Failed })
}

/// What can be said without asking anybody.
fn print(config: &Config, path: &Path, env: Env<'_>) {
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
        Ok((unknown, lost)) => {
            unknown.iter().for_each(|unknown| print_line!("warning: {unknown}"));
            if let Some(lost) = lost {
                print_line!("warning: the state is lost: {lost}. The next run begins a new one");
            }
        }
        Err(error) => print_line!("note: what the state remembers was not compared with it: {error}"),
    }
}

async fn look(config: &Config, registry: &Registry, env: Env<'_>) -> Vec<Check> {
    let session = match Session::glance(config, registry) {
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
    let shown =
        checks.iter().map(|one| json!({ "check": one.subject.name(), "ok": one.ok, "text": one.text }));
    json!({
        "version": 1,
        "registry": registry,
        "ok": checks.iter().all(|one| one.ok),
        "checks": shown.collect::<Vec<_>>(),
    })
}
