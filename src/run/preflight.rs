//! Preflight checks: whether the registry answers, shows its repositories and deletes, and whether its collection
//! would work. They change nothing.

use super::context::RegistryContext;
use super::repositories::repositories;
use crate::gc::{CheckResult, Collector};
use crate::model::RepositoryName;
use crate::plan::Intent;
use crate::registry::DeletionSupport;

/// At most this many repositories are asked whether the registry deletes.
const MAX_PROBED: usize = 5;

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Whether the registry answers and accepts the credentials.
    Reach,
    /// Which repositories the registry has.
    Repositories,
    /// Whether the registry deletes.
    Deletion,
    /// Whether the collection finds its runtime and the data of the registry.
    Collection,
}

impl Subject {
    /// Its fixed identifier.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reach => "reach",
            Self::Repositories => "repositories",
            Self::Deletion => "deletion",
            Self::Collection => "collection",
        }
    }
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was checked.
    pub subject: Subject,
    /// Whether the check succeeded.
    pub ok: bool,
    /// What was found, for people.
    pub text: String,
}

impl Check {
    /// A check that could not even begin.
    pub fn failed(subject: Subject, error: &anyhow::Error) -> Self {
        Self { subject, ok: false, text: format!("{error:#}") }
    }

    fn of<E: std::fmt::Display>(subject: Subject, result: Result<String, E>) -> Self {
        match result {
            Ok(text) => Self { subject, ok: true, text },
            Err(error) => Self { subject, ok: false, text: error.to_string() },
        }
    }
}

/// Checks everything that a run and a collection need. What depends on a check that failed is not checked.
pub async fn check(context: RegistryContext<'_>, collector: Option<&Collector>) -> Vec<Check> {
    let mut checks = Vec::new();
    let reached = context.reader.ping().await.map(|()| format!("{} answers", context.registry.url));
    let is_reached = reached.is_ok();
    checks.push(Check::of(Subject::Reach, reached));
    if is_reached {
        match repositories(context).await {
            Ok(names) => {
                let claimed: Vec<&RepositoryName> =
                    names.iter().filter(|name| context.intent_for(name) != Intent::Unclaimed).collect();
                let text = format!("{}, of which policies claim {}", names.len(), claimed.len());
                checks.push(Check::of::<String>(Subject::Repositories, Ok(text)));
                checks.push(Check::of(Subject::Deletion, deletes(context, &claimed).await));
            }
            Err(error) => checks.push(Check::of(Subject::Repositories, Err::<String, _>(error))),
        }
    }
    if let Some(collector) = collector {
        checks.push(Check::of(Subject::Collection, collector.check().await.map(|found| found_words(&found))));
    }
    checks
}

/// Whether the registry deletes, by the first repository that shows it: it is asked to delete a manifest that cannot
/// exist.
async fn deletes(context: RegistryContext<'_>, claimed: &[&RepositoryName]) -> Result<String, String> {
    let deleter = context.reader.deleter();
    let mut failed = None;
    for repository in claimed.iter().take(MAX_PROBED) {
        match deleter.probe_deletion(repository).await {
            Ok(DeletionSupport::Supported) => return Ok(format!("allowed, as {repository} shows")),
            Ok(DeletionSupport::Unsupported(why)) => return Err(why.to_owned()),
            Err(error) => failed = Some(error.to_string()),
        }
    }
    failed.map_or_else(|| Ok("unknown: no policy claims a repository to probe".to_owned()), Err)
}

fn found_words(found: &CheckResult) -> String {
    let CheckResult { runtime, sees_store, redis } = found;
    let store = if *sees_store {
        "its storage can be read"
    } else {
        "its storage cannot be read from here (or is empty), so bytes would not be measured"
    };
    let redis = redis
        .as_ref()
        .map(|place| format!(", its cache in Redis at {place} can be cleared"))
        .unwrap_or_default();
    format!("{runtime} is there, {store}{redis}")
}
