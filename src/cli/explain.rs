//! `regsweep explain`: prints every reason for and against one image, and its relations to other manifests.
//!
//! Reasons and evidence have their texts from the plan.

use serde_json::{Value, json};

use super::args::{ExplainArguments, OutputFormat};
use super::exit::Exit;
use super::session::{LoadedState, UsageError, open_image_registry};
use super::table::{age, bad, bytes, good, inline};
use crate::config::Config;
use crate::model::{Digest, Snapshot, Tag};
use crate::plan::{Plan, Planned, RepositoryPlan, Verdict};
use crate::policy::Mode;
use crate::report::ManifestDocument;
use crate::run::{Name, RegistryContext, inspect, no_image, parse_image};

pub(super) async fn explain(config: &Config, arguments: &ExplainArguments) -> anyhow::Result<Exit> {
    let LoadedState { state, state_use, error } = LoadedState::load(config, &arguments.state);
    let at = arguments.at.map(|at| at.begin(config.timezone));
    let (session, name) = open_image_registry(config, &arguments.image, at, state.as_ref())?;
    let registry_name = session.registry.name.as_str();
    let (repository, reference) = parse_image(name).ok_or_else(|| UsageError(no_image(&arguments.image)))?;
    // A failure prints a document, too.
    let fail = |text: &str, kind: Option<&str>| {
        if arguments.output.format == OutputFormat::Json {
            let document = json!({
                "version": 1, "registry": registry_name, "repository": repository, "scan_history": state_use,
                "error": text, "error_kind": kind,
            });
            print_line!("{document}");
        }
        print_error!("{registry_name}: {text}");
        Ok(Exit::Failed)
    };
    if let Some(error) = error {
        return fail(&error, Some("state"));
    }
    let context = session.registry_context(None);
    let (snapshot, plan) = match inspect(context, &repository).await {
        Ok(found) => found,
        Err(error) => return fail(&error.to_string(), Some(error.kind())),
    };
    let reference = match reference.among(plan.manifests.iter().map(|planned| &planned.digest)) {
        Ok(reference) => reference,
        Err(why) => return fail(&format!("{repository}: {why}"), Some("ambiguous")),
    };
    let digest = match &reference {
        Some(Name::Digest(digest)) => Some(digest),
        Some(Name::Tag(tag)) => snapshot.tags.get(tag),
        None => None,
    };
    let found = digest.and_then(|digest| plan.manifests.iter().find(|planned| planned.digest == *digest));
    let Some(planned) = found else {
        let text = format!("{repository} has no such image, or no tag leads to it");
        return fail(&text, Some("no_such_image"));
    };
    let relations = Relations::of(planned, &plan, &snapshot);
    match arguments.output.format {
        OutputFormat::Json => {
            let mut document = document(registry_name, &plan, planned, &relations);
            document["scan_history"] = json!(state_use);
            document["error"] = Value::Null;
            document["error_kind"] = Value::Null;
            print_line!("{document}");
        }
        OutputFormat::Table | OutputFormat::Wide => {
            let refusals =
                Plan::new("", context.now, vec![plan.clone()], Vec::new(), &config.limits).refusals;
            print(context, &plan, planned, &relations);
            for refusal in refusals {
                print_line!("\nrefused by a limit: {refusal}");
            }
        }
    }
    Ok(Exit::Success)
}

/// The manifests that are related to one.
struct Relations<'a> {
    children: Vec<&'a Planned>,
    parents: Vec<&'a Planned>,
    referrers: Vec<&'a Planned>,
    subjects: Vec<&'a Planned>,
}

impl<'a> Relations<'a> {
    fn of(planned: &Planned, plan: &'a RepositoryPlan, snapshot: &Snapshot) -> Self {
        let all = |wanted: &dyn Fn(&Digest) -> bool| {
            plan.manifests.iter().filter(|other| wanted(&other.digest)).collect::<Vec<_>>()
        };
        let lists = |index: &Digest, child: &Digest| {
            snapshot.manifests.get(index).is_some_and(|manifest| manifest.children.contains(child))
        };
        let refers_to = |referrer: &Digest, subject: &Digest| {
            let by_field = snapshot.manifests.get(referrer).and_then(|manifest| manifest.subject.as_ref());
            let by_tag = snapshot.tags.iter().filter(|(_, digest)| *digest == referrer);
            by_field == Some(subject)
                || by_tag.filter_map(|(tag, _)| tag.subject()).any(|tagged| tagged.is(subject))
        };
        let digest = &planned.digest;
        Self {
            children: all(&|other| lists(digest, other)),
            parents: all(&|other| lists(other, digest)),
            referrers: all(&|other| refers_to(other, digest)),
            subjects: all(&|other| refers_to(digest, other)),
        }
    }
}

fn document(registry: &str, plan: &RepositoryPlan, planned: &Planned, relations: &Relations<'_>) -> Value {
    let mut document = json!(ManifestDocument::of(planned, plan.intent.policy_name()));
    let list = |others: &[&Planned]| {
        let others = others.iter().map(|other| {
            json!({ "digest": other.digest, "tags": other.tags, "kind": other.kind, "verdict": other.verdict })
        });
        others.collect::<Vec<Value>>()
    };
    document["version"] = json!(1);
    document["registry"] = json!(registry);
    document["repository"] = json!(plan.repository);
    document["children"] = json!(list(&relations.children));
    document["parents"] = json!(list(&relations.parents));
    document["referrers"] = json!(list(&relations.referrers));
    document["subjects"] = json!(list(&relations.subjects));
    document
}

fn print(context: RegistryContext<'_>, plan: &RepositoryPlan, planned: &Planned, relations: &Relations<'_>) {
    print_image(context, plan, planned);
    print_verdict(context, plan, planned);
    print_reasons(planned);
    print_relations(relations);
}

fn print_image(context: RegistryContext<'_>, plan: &RepositoryPlan, planned: &Planned) {
    print_line!("{}@{}", plan.repository, planned.digest);
    print_line!("  kind     {}", planned.kind);
    print_line!("  age      {}", age(planned.age));
    for evidence in &planned.evidence {
        print_line!("           {}", evidence.text(context.now));
    }
    if planned.age.is_none() {
        print_line!("           no evidence counts, so the age is unknown and the image is kept");
    }
    print_line!("  size     {}", bytes(planned.bytes));
    let tags: Vec<&str> = planned.tags.iter().map(Tag::as_str).collect();
    print_line!("  tags     {}", if tags.is_empty() { "none".to_owned() } else { tags.join(", ") });
    let policy = if plan.intent.policy().is_none() {
        "none claims this repository, so nothing in it is deleted".to_owned()
    } else {
        let rules = if planned.rules.is_empty() { "none".to_owned() } else { planned.rules.join(", ") };
        format!("{}; rules that claim its tags: {rules}", plan.intent.policy_name())
    };
    print_line!("  policy   {policy}");
}

fn print_verdict(context: RegistryContext<'_>, plan: &RepositoryPlan, planned: &Planned) {
    let text = match planned.verdict {
        Verdict::Keep => good(planned.verdict.name()),
        Verdict::Delete => bad(planned.verdict.name()),
    };
    print_line!("  verdict  {}", inline(text));
    if planned.verdict == Verdict::Delete {
        if context.config.mode == Mode::Plan {
            print_line!("           (not deleted: the mode of the configuration is plan)");
        } else if plan.intent.is_held_back() {
            print_line!("           (not deleted: the mode of the policy is plan)");
        }
    }
}

fn print_reasons(planned: &Planned) {
    for wanted in [Verdict::Keep, Verdict::Delete] {
        let heading = match (wanted, planned.verdict) {
            (Verdict::Keep, Verdict::Keep) => "kept because",
            (Verdict::Delete, Verdict::Delete) => "deleted because",
            (Verdict::Keep, Verdict::Delete) => "reasons to keep it, outweighed",
            (Verdict::Delete, Verdict::Keep) => "reasons to delete it, outweighed",
        };
        let reasons: Vec<_> = planned.reasons.iter().filter(|reason| reason.verdict() == wanted).collect();
        if !reasons.is_empty() {
            print_line!("\n{heading}:");
        }
        for reason in reasons {
            print_line!("  - {reason} [{}]", reason.code());
        }
    }
}

fn print_relations(relations: &Relations<'_>) {
    for (heading, others) in [
        ("children", &relations.children),
        ("indexes that list it", &relations.parents),
        ("referrers", &relations.referrers),
        ("refers to", &relations.subjects),
    ] {
        if !others.is_empty() {
            print_line!("\n{heading}:");
        }
        for other in others {
            let tags: Vec<&str> = other.tags.iter().map(Tag::as_str).collect();
            let tags = if tags.is_empty() { String::new() } else { format!(" ({})", tags.join(", ")) };
            print_line!("  - {} {} {}{tags}", other.verdict.name(), other.kind, other.digest);
        }
    }
}
