//! How a registry is collected, as written → validated.
//!
//! It knows the words of a configuration, and nothing of what a collection does.

use std::time::Duration;

use chrono::TimeDelta;

use super::cache::cache;
use super::problem::{Findings, Path, nearest};
use super::quantity::Span;
use super::registries::lasting;
use super::schedule::Schedule;
use super::values::{parsed, word};
use super::written::{self, List};
use super::{Collector, Env, Gc, GcSchedule, Interruption, Method};
use crate::plan::span;

/// Programs whose `run` does something in a container that outlives them.
const CONTAINER_CLIENTS: [&str; 5] = ["docker", "podman", "nerdctl", "docker-compose", "podman-compose"];
const GC_TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60);

/// Validates how a registry is collected. Without a history that can be used, nothing is compared with it.
pub(super) fn gc(
    written: written::Gc,
    history: Option<TimeDelta>,
    at: &Path,
    env: Env<'_>,
    findings: &mut Findings,
) -> Option<Gc> {
    let keys =
        findings.written(at, &[("docker", written.docker.is_some()), ("command", written.command.is_some())]);
    match keys.as_slice() {
        [] if !findings.is_unread_within(at) => {
            findings.add(at, "nothing to collect with: write one of `docker`, `command`, or leave `gc` out");
        }
        [_, _] => findings.add(at, "`docker` and `command` together: keep one of them"),
        _ => {}
    }
    let schedule = match written.schedule.as_deref() {
        None | Some("after-run") => Some(GcSchedule::AfterRun),
        Some(_) => parsed(written.schedule, &at.key("schedule"), findings, |text| {
            Schedule::parse(text).map_err(|message| match nearest(text, ["after-run"]) {
                Some(guess) => format!("`{text}` means nothing here: did you mean `{guess}`?"),
                None => format!("{message}, or `after-run`"),
            })
        })
        .map(GcSchedule::Cron),
    };
    let grace = grace(written.grace, history, &at.key("grace"), findings);
    let timeout = lasting(written.timeout, &at.key("timeout"), findings);
    let interruption = interruption(written.interruption.as_deref(), written.docker.is_some(), at, findings);
    // Nothing is asked of the one of two that may have to go.
    let stated = interruption.filter(|_| keys.len() == 1);
    let docker = written.docker.map(|docker| self::docker(docker, &at.key("docker"), findings));
    let command = written.command.map(|command| self::command(command, stated, &at.key("command"), findings));
    let collector = docker.or(command).flatten();
    let (cache, redis) = cache(written.cache, written.redis, collector.as_ref(), at, env, findings)?;
    Some(Gc {
        schedule: schedule?,
        min_reclaimable: written.min_reclaimable.map_or(0, |size| size.bytes),
        grace,
        timeout: timeout.unwrap_or(GC_TIMEOUT),
        interruption: interruption?,
        collector: collector?,
        cache,
        redis,
    })
}

fn grace(written: Option<Span>, history: Option<TimeDelta>, at: &Path, findings: &mut Findings) -> TimeDelta {
    let grace = written.map_or(TimeDelta::zero(), TimeDelta::from);
    if let Some(history) = history.filter(|history| grace > *history) {
        let (grace, history) = (span::exact(grace), span::exact(history));
        findings.add(
            at,
            format!(
                "a grace of {grace} is longer than the `history` of {history}, and what is forgotten cannot be \
                 undone: shorten the grace, or raise `history`"
            ),
        );
    }
    grace
}

/// What happens to the registry; `None` if what was written cannot be used.
fn interruption(
    written: Option<&str>,
    is_docker: bool,
    at: &Path,
    findings: &mut Findings,
) -> Option<Interruption> {
    let at = at.key("interruption");
    if findings.is_unread_within(&at) {
        return None;
    }
    let words = [("stop", Interruption::Stop), ("none", Interruption::None)];
    let interruption = match written {
        Some(_) => word(written, &words, &at, findings)?,
        None => Interruption::default(),
    };
    if is_docker && interruption == Interruption::None {
        findings.add(
            &at,
            "`none` goes only with `command`: `docker` stops the registry or restarts it, so leave `interruption` out",
        );
        return None;
    }
    Some(interruption)
}

fn docker(written: written::Docker, at: &Path, findings: &mut Findings) -> Option<Collector> {
    let container =
        findings.required(written.container, at, "container", "write the name of the registry's container");
    let methods = [("offline", Method::Offline), ("exec", Method::Exec)];
    let method = word(written.method.as_deref(), &methods, &at.key("method"), findings);
    let container = filled(container, &at.key("container"), findings);
    Some(Collector::Docker {
        host: filled(written.host, &at.key("host"), findings),
        container: container?,
        method: method.unwrap_or(Method::Offline),
        config_file: filled(written.config_file, &at.key("config_file"), findings),
    })
}

fn command(
    written: written::Command,
    interruption: Option<Interruption>,
    at: &Path,
    findings: &mut Findings,
) -> Option<Collector> {
    let advice = "write the command that collects, such as `[registry, garbage-collect, /etc/registry.yml]`";
    let run = findings.required(written.run, at, "run", advice);
    if run.as_ref().is_some_and(Vec::is_empty) {
        findings.add(&at.key("run"), format!("it is empty: {advice}"));
    }
    let mut words = |written: Option<List<String>>, key: &str| -> Vec<String> {
        let words = findings.elements(written.unwrap_or_default(), &at.key(key));
        if let Some((at, program)) = words.first()
            && program.is_empty()
        {
            findings.add(at, "an empty text is no program: write its name or path");
        }
        words.into_iter().map(|(_, word)| word).collect()
    };
    let before = words(written.before, "before");
    let run = run.map(|run| words(Some(run), "run"));
    let cancel = words(written.cancel, "cancel");
    let after = words(written.after, "after");
    if cancel.is_empty() && run.as_deref().is_some_and(starts_container) {
        findings.add(
            &at.key("run"),
            "it starts a container, which can go on sweeping beside the registry when its client is ended: name the \
             container (`--name NAME`), and write what removes it as `cancel`, such as `[docker, rm, --force, NAME]`",
        );
    }
    // What cannot be read may be what is missing.
    if let Some(interruption) = interruption.filter(|_| !findings.is_reported_within(at)) {
        interrupted_by(interruption, &before, &after, at, findings);
    }
    Some(Collector::Command { before, run: run?, cancel, after })
}

/// Whether the commands do to the registry what is said of it. One that runs on loses the layers of what is pushed
/// meanwhile, and believes in blobs that are gone, so that has to be the operator's own word.
fn interrupted_by(
    interruption: Interruption,
    before: &[String],
    after: &[String],
    at: &Path,
    findings: &mut Findings,
) {
    match interruption {
        Interruption::Stop if before.is_empty() => findings.add(
            &at.key("before"),
            "missing: while the registry runs, a sweep takes layers that are being pushed: write what stops the registry \
             as `before`, and what starts it as `after`, also where `run` would do both, so that the registry is \
             started if `run` is killed; or, if this registry can be collected while it runs, state that with \
             `interruption: none` in `gc`",
        ),
        Interruption::None => {
            for (key, words) in [("before", before), ("after", after)] {
                if !words.is_empty() {
                    findings.add(
                        &at.key(key),
                        "with `interruption: none` the registry is neither stopped nor started: leave this out, or \
                         `interruption`",
                    );
                }
            }
        }
        Interruption::Stop => {}
    }
}

/// Whether a command is the client of an engine that runs something for it. What comes after the registry's own
/// word is no longer about that.
fn starts_container(words: &[String]) -> bool {
    let name = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
    let mut words = words.iter().take_while(|word| *word != "garbage-collect");
    words.any(|word| CONTAINER_CLIENTS.contains(&name(word).as_str())) && words.any(|word| word == "run")
}

fn filled(written: Option<String>, at: &Path, findings: &mut Findings) -> Option<String> {
    if written.as_ref().is_some_and(String::is_empty) {
        findings.add(at, "it is empty: fill it in");
    }
    written
}
