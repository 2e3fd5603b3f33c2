//! `regsweep explain`: every reason for and against one image, and its relations.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Exit;
use super::args::{ExplainArguments, Form};
use super::session::{Recalled, Usage, open_for};
use super::table::{age, bytes, verdict};
use crate::config::Config;
use crate::model::{Digest, Snapshot, Tag, duration};
use crate::plan::{Evidence, MIN_OBSERVED_AGE, Plan, Planned, RepositoryPlan, Source, Verdict, Weight};
use crate::policy::Mode;
use crate::report::ManifestDocument;
use crate::run::{Name, RegistryContext, inspect, no_image, parse_image};

pub(super) async fn explain(config: &Config, arguments: &ExplainArguments) -> anyhow::Result<Exit> {
    let Recalled { state, memory, missing } = Recalled::of(config, &arguments.remembering);
    let at = arguments.at.map(|at| at.begin(config.timezone));
    let (session, name) = open_for(config, &arguments.image, at, state.as_ref())?;
    let name_of_registry = session.registry.name.as_str();
    let (repository, reference) = parse_image(name).ok_or_else(|| Usage(no_image(&arguments.image)))?;
    // What goes wrong has its document, too.
    let failed = |text: &str, kind: Option<&str>| {
        if arguments.output.form == Form::Json {
            let document = json!({
                "version": 1, "registry": name_of_registry, "repository": repository, "memory": memory,
                "error": text, "error_kind": kind,
            });
            print_line!("{document}");
        }
        print_error!("{name_of_registry}: {text}");
        Ok(Exit::Failed)
    };
    if let Some(why) = missing {
        return failed(&why, Some("state"));
    }
    let context = session.registry_context(None);
    let (snapshot, plan) = match inspect(context, &repository).await {
        Ok(found) => found,
        Err(error) => return failed(&error.to_string(), Some(error.kind())),
    };
    let reference = match reference.among(plan.manifests.iter().map(|planned| &planned.digest)) {
        Ok(reference) => reference,
        Err(why) => return failed(&format!("{repository}: {why}"), Some("ambiguous")),
    };
    let digest = match &reference {
        Some(Name::Digest(digest)) => Some(digest),
        Some(Name::Tag(tag)) => snapshot.tags.get(tag),
        None => None,
    };
    let found = digest.and_then(|digest| plan.manifests.iter().find(|planned| planned.digest == *digest));
    let Some(planned) = found else {
        let text = format!("{repository} has no such image, or none that a tag leads to");
        return failed(&text, Some("no_such_image"));
    };
    let relations = Relations::of(planned, &plan, &snapshot);
    match arguments.output.form {
        Form::Json => {
            let mut document = document(name_of_registry, &plan, planned, &relations);
            document["memory"] = json!(memory);
            document["error"] = Value::Null;
            document["error_kind"] = Value::Null;
            print_line!("{document}");
        }
        Form::Table => {
            let refusals =
                Plan::new("", context.now, vec![plan.clone()], Vec::new(), &config.limits).refusals;
            print(context, &plan, planned, &relations);
            for refusal in refusals {
                print_line!("\nBut a limit stands before it: {refusal}");
            }
        }
    }
    Ok(Exit::Done)
}

/// The manifests that have to do with one.
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
        let is_about = |referrer: &Digest, subject: &Digest| {
            let by_field = snapshot.manifests.get(referrer).and_then(|manifest| manifest.subject.as_ref());
            let by_tag = snapshot.tags.iter().filter(|(_, digest)| *digest == referrer);
            by_field == Some(subject)
                || by_tag.filter_map(|(tag, _)| tag.subject()).any(|tagged| tagged.is(subject))
        };
        let digest = &planned.digest;
        Self {
            children: all(&|other| lists(digest, other)),
            parents: all(&|other| lists(other, digest)),
            referrers: all(&|other| is_about(other, digest)),
            subjects: all(&|other| is_about(digest, other)),
        }
    }
}

fn document(registry: &str, plan: &RepositoryPlan, planned: &Planned, relations: &Relations<'_>) -> Value {
    let mut document = json!(ManifestDocument::of(planned, &plan.policy));
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
    print_line!("{}@{}", plan.repository, planned.digest);
    print_line!("  kind     {}", planned.kind);
    print_line!("  age      {}", age(planned.age));
    for evidence in &planned.evidence {
        print_line!("           {}", told(evidence, context.now));
    }
    if planned.age.is_none() {
        print_line!("           so nobody knows, and it is kept");
    }
    print_line!("  size     {}", bytes(planned.bytes));
    let tags: Vec<&str> = planned.tags.iter().map(Tag::as_str).collect();
    print_line!("  tags     {}", if tags.is_empty() { "none".to_owned() } else { tags.join(", ") });
    let policy = if plan.policy.is_empty() {
        "none claims this repository: it is left alone".to_owned()
    } else {
        let rules = if planned.rules.is_empty() { "none".to_owned() } else { planned.rules.join(", ") };
        format!("{}; rules that claim its tags: {rules}", plan.policy)
    };
    print_line!("  policy   {policy}");
    print_line!("  verdict  {}", verdict(planned.verdict));
    if planned.verdict == Verdict::Delete {
        if context.config.mode == Mode::Plan {
            print_line!("           (the mode of the configuration is plan: nothing is deleted)");
        } else if plan.held_back {
            print_line!("           (the mode of the policy is plan: it is not deleted)");
        }
    }
    for (heading, wanted) in [("kept because", Verdict::Keep), ("deleted because", Verdict::Delete)] {
        let heading = if wanted == planned.verdict {
            heading
        } else if wanted == Verdict::Keep {
            "for keeping it"
        } else {
            "against it, outweighed"
        };
        let reasons: Vec<_> = planned.reasons.iter().filter(|one| one.speaks_for() == wanted).collect();
        if !reasons.is_empty() {
            print_line!("\n{heading}:");
        }
        for reason in reasons {
            print_line!("  - {reason} [{}]", reason.code());
        }
    }
    for (heading, others) in [
        ("its children", &relations.children),
        ("indexes that list it", &relations.parents),
        ("its referrers", &relations.referrers),
        ("what it is about", &relations.subjects),
    ] {
        if !others.is_empty() {
            print_line!("\n{heading}:");
        }
        for other in others {
            let tags: Vec<&str> = other.tags.iter().map(Tag::as_str).collect();
            let tags = if tags.is_empty() { String::new() } else { format!(" ({})", tags.join(", ")) };
            print_line!("  - {} {} {}{tags}", verdict(other.verdict), other.kind, other.digest);
        }
    }
}

/// A piece of evidence of age, for people who ask as of this moment.
fn told(evidence: &Evidence, now: DateTime<Utc>) -> String {
    let at = evidence.at.format("%Y-%m-%d %H:%M:%S UTC");
    let source = match evidence.source {
        Source::Created => format!("it says that it was created {at}"),
        Source::YoungestChild => format!("its youngest child says that it was created {at}"),
        Source::Noticed => format!("regsweep noticed that it, or a tag on it, was new {at}"),
        Source::FirstScan => format!("it was there when regsweep first looked, {at}"),
    };
    let weight = match evidence.weight {
        Weight::Counts if evidence.at > now => "this counts, as if it were the moment that you ask about",
        Weight::Counts => "this counts",
        Weight::Outdated => "something later counts",
        Weight::TooOld => {
            "not believed: no image is that old, but reproducible builds and clocks that are not set say so"
        }
        Weight::Future => "not believed: it is in the future",
        Weight::TooRecent => &format!(
            "it may be much older, and counts only when that is {} ago",
            duration::exact(MIN_OBSERVED_AGE)
        ),
        Weight::Weaker => "it may be much older, and something better is known",
    };
    format!("{source} ({weight})")
}
