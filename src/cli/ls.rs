//! `regsweep ls`: what registries hold.

use comfy_table::Cell;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::Exit;
use super::args::{Form, LsArguments};
use super::bars::Bar;
use super::narrowed::Narrowed;
use super::session::{Recalled, Session, open};
use super::table::{age, bytes, count, right, table, tags};
use crate::config::Config;
use crate::model::RepositoryName;
use crate::plan::{Failure, RepositoryPlan};
use crate::report::{FailureDocument, StateUse, Trouble};
use crate::run::{Progress as _, inspect, repositories};

pub(super) async fn ls(config: &Config, arguments: &LsArguments) -> anyhow::Result<Exit> {
    let narrowed = Narrowed::to(&arguments.selection.repository);
    let mut exit = Exit::Done;
    let form = arguments.output.form;
    let Recalled { state, memory, missing } = Recalled::of(config, &arguments.remembering);
    let sessions = open(config, &arguments.selection, None, state.as_ref())?;
    if let Some(why) = missing {
        for session in sessions.iter().filter(|_| form == Form::Json) {
            let trouble = Trouble { text: &why, kind: Some("state") };
            print_line!("{}", document(&session.registry.name, memory, &[], &[], Some(trouble)));
        }
        anyhow::bail!(why);
    }
    let mut whole = true;
    for session in sessions {
        let name = &session.registry.name;
        let listed = list(&session, &narrowed).await;
        whole &= listed.is_ok();
        match listed {
            Err(error) => {
                if form == Form::Json {
                    let trouble = Trouble { text: &error.to_string(), kind: Some(error.kind()) };
                    print_line!("{}", document(name, memory, &[], &[], Some(trouble)));
                }
                print_error!("{name}: {error}");
                exit = exit.and(Exit::Failed);
            }
            Ok(listed) => exit = exit.and(print(name, listed, memory, form)),
        }
    }
    // Nobody knows what is in a registry that could not be read.
    Ok(if whole { exit.and(narrowed.complain()) } else { exit })
}

type Listed = (RepositoryName, Result<RepositoryPlan, crate::run::Error>);

async fn list(session: &Session<'_>, narrowed: &Narrowed) -> Result<Vec<Listed>, crate::run::Error> {
    let context = session.registry_context(narrowed.only());
    let bar = Bar::among(&session.registry.name, narrowed);
    let names = repositories(context).await?;
    names.iter().for_each(|name| bar.found(name));
    bar.scanning(names.len());
    let mut listed: Vec<Listed> = stream::iter(names)
        .map(async |repository| {
            let result = inspect(context, &repository).await;
            bar.scanned();
            (repository, result.map(|(_, plan)| plan))
        })
        .buffer_unordered(session.registry.concurrency.get())
        .collect()
        .await;
    listed.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(listed)
}

fn print(registry: &str, listed: Vec<Listed>, memory: StateUse, form: Form) -> Exit {
    let (mut plans, mut failures) = (Vec::new(), Vec::new());
    let mut exit = Exit::Done;
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
    match form {
        Form::Json => print_line!("{}", document(registry, memory, &plans, &failures, None)),
        Form::Table => print_table(registry, &plans),
    }
    exit
}

fn document(
    registry: &str,
    memory: StateUse,
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
        let policy = (!plan.policy.is_empty()).then_some(&plan.policy);
        json!({ "repository": plan.repository, "policy": policy, "manifests": manifests(plan), "dangling_tags": plan.dangling_tags })
    });
    let repositories = repositories.collect::<Vec<Value>>();
    json!({
        "version": 1, "registry": registry, "memory": memory, "repositories": repositories,
        "failures": failures.iter().map(FailureDocument::of).collect::<Vec<_>>(),
        "error": trouble.map(|one| one.text), "error_kind": trouble.and_then(|one| one.kind),
    })
}

fn print_table(registry: &str, plans: &[RepositoryPlan]) {
    let mut rows = table(&["REPOSITORY", "TAGS", "DIGEST", "KIND", "AGE", "SIZE"]);
    for plan in plans {
        for planned in &plan.manifests {
            rows.add_row(vec![
                Cell::new(&plan.repository),
                Cell::new(tags(&planned.tags)),
                Cell::new(planned.digest.short()),
                Cell::new(planned.kind),
                right(age(planned.age)),
                right(bytes(planned.bytes)),
            ]);
        }
        for tag in &plan.dangling_tags {
            rows.add_row(vec![Cell::new(&plan.repository), Cell::new(tag), Cell::new("no manifest")]);
        }
    }
    if !rows.is_empty() {
        print_line!("{rows}");
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
