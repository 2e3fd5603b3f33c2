//! `regsweep gc`: have registries free the bytes of what was deleted, now.

use serde_json::json;

use super::Exit;
use super::args::{Form, GcArguments, Selection};
use super::bars::Bar;
use super::session::{Session, clock, open};
use super::table::bytes;
use crate::config::{Config, Env};
use crate::engine::{Grace, blocked, collect, recover, survey};
use crate::report::{Collected, CollectionOutcome, collection_document};
use crate::state::State;

pub(super) async fn gc(config: &Config, arguments: &GcArguments, env: Env<'_>) -> anyhow::Result<Exit> {
    let selection = Selection { registry: arguments.registry.clone(), repository: Vec::new() };
    let state = State::open(&config.state_dir)?;
    let sessions = open(config, &selection, None, Some(&state))?;
    anyhow::ensure!(
        sessions.iter().any(|session| session.registry.gc.is_some()),
        "none of these registries says in the configuration how it is collected: give one a `gc`"
    );
    let mut exit = Exit::Done;
    for session in sessions.iter().filter(|session| session.registry.gc.is_some()) {
        let name = &session.registry.name;
        match collect_one(session, &state, env, arguments.no_grace).await {
            Ok(Some(collected)) => {
                if arguments.output.form == Form::Json {
                    let mut document = collection_document(&collected);
                    document["version"] = json!(1);
                    document["registry"] = json!(name);
                    println!("{document}");
                    exit = exit.and(exit_of(&collected));
                } else {
                    exit = exit.and(print_collection(name, &collected));
                }
            }
            Ok(None) => {}
            Err(error) => {
                eprintln!("error: {name}: {error:#}");
                exit = exit.and(Exit::Failed);
            }
        }
    }
    Ok(exit)
}

async fn collect_one(
    session: &Session<'_>,
    state: &State,
    env: Env<'_>,
    no_grace: bool,
) -> anyhow::Result<Option<Collected>> {
    let Some(collector) = session.collector(env)? else { return Ok(None) };
    let site = session.site(None);
    recover(site, &collector, state, &clock).await?;
    let grace = if no_grace { Grace::Overridden } else { Grace::Respected };
    if let Some(why) = blocked(site, state, grace, clock()).await? {
        return Ok(Some(Collected::skipped(clock(), why.to_string())));
    }
    let found = survey(site, &Bar::new(&session.registry.name), async |_| Ok(None)).await?;
    Ok(Some(collect(site, &collector, state, &found.kept, &clock).await?))
}

/// Says what a collection came to.
pub(super) fn print_collection(registry: &str, collected: &Collected) -> Exit {
    let error = collected.error.as_deref().unwrap_or_default();
    match collected.outcome {
        CollectionOutcome::Success => println!(
            "{registry}: collected {} in {} blobs; the registry was away for {:.1} s",
            bytes(collected.bytes),
            collected.blobs,
            collected.downtime.as_secs_f64()
        ),
        CollectionOutcome::Skipped => println!("{registry}: nothing was collected: {error}"),
        CollectionOutcome::Failed => eprintln!("error: {registry}: the collection failed: {error}"),
    }
    exit_of(collected)
}

pub(super) fn exit_of(collected: &Collected) -> Exit {
    match collected.outcome {
        CollectionOutcome::Success | CollectionOutcome::Skipped => Exit::Done,
        CollectionOutcome::Failed => Exit::Failed,
    }
}
