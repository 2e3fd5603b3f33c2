//! `regsweep ls`: lists what registries hold.
//!
//! It shows no verdicts.

use comfy_table::Cell;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::args::{LsArguments, OutputFormat};
use super::exit::Exit;
use super::filter::RepositoryFilter;
use super::progress::RegistryProgress;
use super::session::{LoadedState, Session, open_registries};
use super::table::{Listing, age, bytes, count};
use crate::config::Config;
use crate::model::{RepositoryName, tag_list};
use crate::plan::{Failure, RepositoryPlan};
use crate::report::{FailureDocument, ScanHistoryUse, Trouble};
use crate::run::{Progress as _, inspect, repositories};

pub(super) async fn ls(config: &Config, arguments: &LsArguments) -> anyhow::Result<Exit> {
    let filter = RepositoryFilter::new(&arguments.selection.repository);
    let mut exit = Exit::Success;
    let format = arguments.output.format;
    let LoadedState { state, state_use, error } = LoadedState::load(config, &arguments.state);
    let sessions = open_registries(config, &arguments.selection, None, state.as_ref())?;
    if let Some(error) = error {
        for session in sessions.iter().filter(|_| format == OutputFormat::Json) {
            let trouble = Trouble { text: &error, kind: Some("state") };
            print_line!("{}", document(&session.registry.name, state_use, &[], &[], Some(trouble)));
        }
        anyhow::bail!(error);
    }
    let mut all_read = true;
    for session in sessions {
        let name = &session.registry.name;
        let listed = list(&session, &filter).await;
        all_read &= listed.is_ok();
        match listed {
            Err(error) => {
                if format == OutputFormat::Json {
                    let trouble = Trouble { text: &error.to_string(), kind: Some(error.kind()) };
                    print_line!("{}", document(name, state_use, &[], &[], Some(trouble)));
                }
                print_error!("{name}: {error}");
                exit = exit.worse(Exit::Failed);
            }
            Ok(listed) => exit = exit.worse(print(name, listed, state_use, format)),
        }
    }
    // A registry that could not be read may have a match.
    Ok(if all_read { exit.worse(filter.report_unmatched()) } else { exit })
}

type Listed = (RepositoryName, Result<RepositoryPlan, crate::run::Error>);

async fn list(session: &Session<'_>, filter: &RepositoryFilter) -> Result<Vec<Listed>, crate::run::Error> {
    let context = session.registry_context(filter.patterns());
    let progress = RegistryProgress::with_filter(&session.registry.name, filter);
    let names = repositories(context).await?;
    names.iter().for_each(|name| progress.found(name));
    progress.scanning(names.len());
    let mut listed: Vec<Listed> = stream::iter(names)
        .map(async |repository| {
            let result = inspect(context, &repository).await;
            progress.scanned();
            (repository, result.map(|(_, plan)| plan))
        })
        .buffer_unordered(session.registry.concurrency.get())
        .collect()
        .await;
    listed.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(listed)
}

fn print(registry: &str, listed: Vec<Listed>, state_use: ScanHistoryUse, format: OutputFormat) -> Exit {
    let (mut plans, mut failures) = (Vec::new(), Vec::new());
    let mut exit = Exit::Success;
    for (repository, result) in listed {
        match result {
            Ok(plan) => plans.push(plan),
            Err(error) => {
                print_error!("{registry}: {repository} could not be read: {error}");
                exit = Exit::Failed;
                let (kind, error) = (error.kind(), error.to_string());
                failures.push(Failure { repository, kind, error });
            }
        }
    }
    match format {
        OutputFormat::Json => print_line!("{}", document(registry, state_use, &plans, &failures, None)),
        OutputFormat::Table | OutputFormat::Wide => print_table(registry, &plans, format),
    }
    exit
}

fn document(
    registry: &str,
    state_use: ScanHistoryUse,
    plans: &[RepositoryPlan],
    failures: &[Failure],
    trouble: Option<Trouble<'_>>,
) -> Value {
    let manifests = |plan: &RepositoryPlan| {
        let facts = plan.manifests.iter().map(|planned| {
            let age = planned.age.map(|age| age.num_seconds());
            json!({
                "digest": planned.digest, "tags": planned.tags, "kind": planned.kind,
                "created": planned.created.map(|created| created.to_rfc3339()), "age_seconds": age,
                "bytes": planned.bytes,
            })
        });
        facts.collect::<Vec<Value>>()
    };
    let repositories = plans.iter().map(|plan| {
        let policy = plan.intent.policy().map(|policy| &policy.name);
        json!({ "repository": plan.repository, "policy": policy, "manifests": manifests(plan), "dangling_tags": plan.dangling_tags })
    });
    let repositories = repositories.collect::<Vec<Value>>();
    json!({
        "version": 1, "registry": registry, "scan_history": state_use, "repositories": repositories,
        "failures": failures.iter().map(FailureDocument::of).collect::<Vec<_>>(),
        "error": trouble.map(|trouble| trouble.text), "error_kind": trouble.and_then(|trouble| trouble.kind),
    })
}

fn print_table(registry: &str, plans: &[RepositoryPlan], format: OutputFormat) {
    let mut rows = Listing::new(&["REPOSITORY", "TAGS", "DIGEST", "KIND", "AGE", "SIZE", ""], format);
    for plan in plans {
        for planned in &plan.manifests {
            let cells = vec![
                Cell::new(tag_list(&planned.tags)),
                Cell::new(planned.digest.short()),
                Cell::new(planned.kind),
                Cell::new(age(planned.age)),
                Cell::new(bytes(planned.bytes)),
            ];
            rows.add(&plan.repository, cells, "");
        }
        for tag in &plan.dangling_tags {
            rows.add(&plan.repository, vec![Cell::new(tag), Cell::new("no manifest")], "");
        }
    }
    if let Some(text) = rows.text() {
        print_line!("{text}");
    }
    let tags: usize = plans.iter().map(|plan| plan.tags).sum();
    let manifests: usize = plans.iter().map(|plan| plan.manifests.len()).sum();
    print_line!(
        "{registry}: {}, {}, {}",
        count(plans.len(), "repository", "repositories"),
        count(tags, "tag", "tags"),
        count(manifests, "manifest", "manifests"),
    );
}
