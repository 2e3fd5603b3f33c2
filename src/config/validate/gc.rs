//! The garbage collection of a registry as written → validated.
//!
//! It starts nothing, and connects to neither the registry nor Docker.

use std::time::Duration;

use chrono::TimeDelta;

use super::redis::cache;
use super::values::{keyword, non_empty, parsed, positive_duration};
use crate::config::diagnostics::{Findings, Path, nearest};
use crate::config::env::Env;
use crate::config::schedule::Schedule;
use crate::config::schema::{self, List, Span};
use crate::config::settings::{Collector, Gc, GcSchedule, Interruption, Method};
use crate::model::duration;

/// Programs whose `run` starts a container that outlives them.
const CONTAINER_CLIENTS: [&str; 5] = ["docker", "podman", "nerdctl", "docker-compose", "podman-compose"];
const GC_TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60);

/// Validates `gc`. `history` is `None` if it is invalid, and then nothing is compared with it.
pub(crate) fn gc(
    written: schema::Gc,
    history: Option<TimeDelta>,
    at: &Path,
    env: Env<'_>,
    findings: &mut Findings,
) -> Option<Gc> {
    let keys =
        findings.present(at, &[("docker", written.docker.is_some()), ("command", written.command.is_some())]);
    match keys.as_slice() {
        [] if !findings.is_unreadable_within(at) => {
            findings.add(at, "no collector: write one of `docker`, `command`, or remove `gc`");
        }
        [_, _] => findings.add(at, "`docker` and `command` cannot be combined: keep one of them"),
        _ => {}
    }
    let schedule = match written.schedule.as_deref() {
        None | Some("after-run") => Some(GcSchedule::AfterRun),
        Some(_) => parsed(written.schedule, &at.key("schedule"), findings, |text| {
            Schedule::parse(text).map_err(|message| match nearest(text, ["after-run"]) {
                Some(guess) => format!("`{text}` is not a valid value: did you mean `{guess}`?"),
                None => format!("{message}, or `after-run`"),
            })
        })
        .map(GcSchedule::Cron),
    };
    let grace = grace(written.grace, history, &at.key("grace"), findings);
    let timeout = positive_duration(written.timeout, &at.key("timeout"), findings);
    let interruption = interruption(written.interruption.as_deref(), written.docker.is_some(), at, findings);
    // With both collectors written, one has to be removed; only one collector is checked against `interruption`.
    let checked = interruption.filter(|_| keys.len() == 1);
    let docker = written.docker.map(|docker| self::docker(docker, &at.key("docker"), findings));
    let command =
        written.command.map(|command| self::command(command, checked, &at.key("command"), findings));
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
        let (grace, history) = (duration::exact(grace), duration::exact(history));
        findings.add(
            at,
            format!(
                "{grace} is longer than the `history` of {history}, after which deletions cannot be undone: \
                 shorten the grace, or raise `history`"
            ),
        );
    }
    grace
}

/// What happens to the registry during a collection; `None` if the value is invalid.
fn interruption(
    written: Option<&str>,
    is_docker: bool,
    at: &Path,
    findings: &mut Findings,
) -> Option<Interruption> {
    let at = at.key("interruption");
    if findings.is_unreadable_within(&at) {
        return None;
    }
    let values = [("stop", Interruption::Stop), ("none", Interruption::None)];
    let interruption = match written {
        Some(_) => keyword(written, &values, &at, findings)?,
        None => Interruption::default(),
    };
    if is_docker && interruption == Interruption::None {
        findings.add(
            &at,
            "`none` is only supported with `command`: `docker` stops or restarts the registry, so remove `interruption`",
        );
        return None;
    }
    Some(interruption)
}

fn docker(written: schema::Docker, at: &Path, findings: &mut Findings) -> Option<Collector> {
    let container =
        findings.required(written.container, at, "container", "write the name of the registry's container");
    let methods = [("offline", Method::Offline), ("exec", Method::Exec)];
    let method = keyword(written.method.as_deref(), &methods, &at.key("method"), findings);
    let container = non_empty(container, &at.key("container"), findings);
    Some(Collector::Docker {
        host: non_empty(written.host, &at.key("host"), findings),
        container: container?,
        method: method.unwrap_or(Method::Offline),
        config_file: non_empty(written.config_file, &at.key("config_file"), findings),
    })
}

fn command(
    written: schema::Command,
    interruption: Option<Interruption>,
    at: &Path,
    findings: &mut Findings,
) -> Option<Collector> {
    let advice = "write the command that collects, such as `[registry, garbage-collect, /etc/registry.yml]`";
    let run = findings.required(written.run, at, "run", advice);
    if run.as_ref().is_some_and(Vec::is_empty) {
        findings.add(&at.key("run"), format!("the command is empty: {advice}"));
    }
    let mut arguments = |written: Option<List<String>>, key: &str| -> Vec<String> {
        let arguments = findings.elements(written.unwrap_or_default(), &at.key(key));
        if let Some((at, program)) = arguments.first()
            && program.is_empty()
        {
            findings.add(at, "the program is empty: write its name or path");
        }
        arguments.into_iter().map(|(_, argument)| argument).collect()
    };
    let before = arguments(written.before, "before");
    let run = run.map(|run| arguments(Some(run), "run"));
    let cancel = arguments(written.cancel, "cancel");
    let after = arguments(written.after, "after");
    if cancel.is_empty() && run.as_deref().is_some_and(starts_container) {
        findings.add(
            &at.key("run"),
            "it starts a container, which can go on collecting beside the registry after its client was killed: name the \
             container (`--name NAME`), and write a `cancel` that removes it, such as `[docker, rm, --force, NAME]`",
        );
    }
    // An unreadable key may be the one that seems to be missing.
    if let Some(interruption) = interruption.filter(|_| !findings.is_reported_within(at)) {
        check_interruption(interruption, &before, &after, at, findings);
    }
    Some(Collector::Command { before, run: run?, cancel, after })
}

/// Checks that the commands match `interruption`. A registry that keeps running can lose layers that are pushed during
/// the collection, and its cache can name deleted blobs, so the operator has to ask for it explicitly.
fn check_interruption(
    interruption: Interruption,
    before: &[String],
    after: &[String],
    at: &Path,
    findings: &mut Findings,
) {
    match interruption {
        Interruption::Stop if before.is_empty() => findings.add(
            &at.key("before"),
            "missing: a collection of a running registry can delete layers that are being pushed: write the command that \
             stops the registry as `before` and the one that starts it as `after`, even if `run` does both, so that \
             the registry is started if `run` is killed; or, if this registry can be collected while it runs, \
             write `interruption: none` in `gc`",
        ),
        Interruption::None => {
            for (key, command) in [("before", before), ("after", after)] {
                if !command.is_empty() {
                    findings.add(
                        &at.key(key),
                        "with `interruption: none` the registry is neither stopped nor started: remove this key, or \
                         `interruption`",
                    );
                }
            }
        }
        Interruption::Stop => {}
    }
}

/// Whether a command starts a container through a client. The arguments from `garbage-collect` on belong to the
/// registry program.
fn starts_container(command: &[String]) -> bool {
    let name = |argument: &str| argument.rsplit('/').next().unwrap_or_default().to_owned();
    let mut arguments = command.iter().take_while(|argument| *argument != "garbage-collect");
    arguments.any(|argument| CONTAINER_CLIENTS.contains(&name(argument).as_str()))
        && arguments.any(|argument| argument == "run")
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{self, POLICIES, check_registry as check};

    #[test]
    fn gc_has_exactly_one_collector() {
        check(
            "gc: {}",
            &["registries[0].gc: line 1: no collector: write one of `docker`, `command`, or remove `gc`"],
        );
        check(
            "gc: { docker: { container: r }, command: { run: [r] } }",
            &["registries[0].gc: line 1: `docker` and `command` cannot be combined: keep one of them"],
        );
        check(
            "gc: { docker: {} }",
            &[
                "registries[0].gc.docker.container: line 1: missing: write the name of the registry's container",
            ],
        );
        check(
            "gc: { docker: { container: r, method: online } }",
            &[
                "registries[0].gc.docker.method: line 1: `online` is not a valid value: did you mean `offline`? valid values are `offline`, `exec`",
            ],
        );
        check(
            "gc: { docker: { container: '' } }",
            &["registries[0].gc.docker.container: line 1: the value is empty: add a value"],
        );
        check(
            "gc: { command: {} }",
            &[
                "registries[0].gc.command.run: line 1: missing: write the command that collects, such as `[registry, garbage-collect, /etc/registry.yml]`",
            ],
        );
        check(
            "gc: { command: { run: [] } }",
            &[
                "registries[0].gc.command.run: line 1: the command is empty: write the command that collects, such as `[registry, garbage-collect, /etc/registry.yml]`",
            ],
        );
        check(
            "gc: { command: { before: [''], run: [r, ''] } }",
            &["registries[0].gc.command.before[0]: line 1: the program is empty: write its name or path"],
        );
        for run in [
            "docker, run, --rm, registry, garbage-collect, /c.yml",
            "sudo, /usr/bin/podman, --root, /r, run, image",
            "docker, compose, run, gc",
        ] {
            check(
                &format!("gc: {{ command: {{ run: [{run}] }} }}"),
                &[
                    "registries[0].gc.command.run: line 1: it starts a container, which can go on collecting beside the registry after its client was killed: name the container (`--name NAME`), and write a `cancel` that removes it, such as `[docker, rm, --force, NAME]`",
                ],
            );
        }
        for run in [
            "docker, run, --name, gc, registry, garbage-collect, /c.yml], cancel: [docker, rm, --force, gc",
            "docker, exec, registry, registry, garbage-collect, run",
            "docker-registry, garbage-collect, docker, run",
            "run, docker",
        ] {
            check(&format!("gc: {{ command: {{ before: [b], run: [{run}] }} }}"), &[]);
        }
        check(
            "gc: { command: { run: r gc } }",
            &[
                "registries[0].gc.command.run: line 1: expected a list, found a string: write `[…]` around it, or one element per line with `- `",
            ],
        );
        check(
            "gc: { timeout: 0s, docker: { container: r } }",
            &["registries[0].gc.timeout: line 1: 0 is not allowed: write a duration above zero"],
        );
        check(
            "gc: { schedule: after_run, docker: { container: r } }",
            &[
                "registries[0].gc.schedule: line 1: `after_run` is not a valid value: did you mean `after-run`?",
            ],
        );
        check(
            "gc: { dockre: { container: r } }",
            &[
                "registries[0].gc.dockre: line 1: unknown key: did you mean `docker`? valid keys are `schedule`, `min_reclaimable`, `grace`, `timeout`, `interruption`, `docker`, `command`, `cache`, `redis`",
            ],
        );
        check(
            "gc: { grace: 7, docker: { container: r } }",
            &["registries[0].gc.grace: line 1: `7` has no unit: write `7s`, or min, h, d or w"],
        );
        check(
            "gc: { schedule: '0 4 * * 0', min_reclaimable: 1GiB, command: { before: [b], run: [r] } }",
            &[],
        );
    }

    #[test]
    fn commands_stop_the_registry_unless_interruption_is_none() {
        let missing = "registries[0].gc.command.before: line 1: missing: a collection of a running registry can delete layers that are being pushed: write the command that stops the registry as `before` and the one that starts it as `after`, even if `run` does both, so that the registry is started if `run` is killed; or, if this registry can be collected while it runs, write `interruption: none` in `gc`";
        check("gc: { command: { run: [r] } }", &[missing]);
        check("gc: { command: { before: [], run: [r], after: [a] } }", &[missing]);
        check("gc: { interruption: stop, command: { run: [r] } }", &[missing]);
        check("gc: { interruption: stop, command: { before: [b], run: [r], after: [a] } }", &[]);
        check("gc: { interruption: none, command: { run: [r] } }", &[]);
        check("gc: { interruption: none, command: { run: [r], cancel: [c] } }", &[]);
        let neither = "with `interruption: none` the registry is neither stopped nor started: remove this key, or `interruption`";
        check(
            "gc: { interruption: none, command: { before: [b], run: [r], after: [a] } }",
            &[
                &format!("registries[0].gc.command.before: line 1: {neither}"),
                &format!("registries[0].gc.command.after: line 1: {neither}"),
            ],
        );
        check(
            "gc: { interruption: none, docker: { container: r } }",
            &[
                "registries[0].gc.interruption: line 1: `none` is only supported with `command`: `docker` stops or restarts the registry, so remove `interruption`",
            ],
        );
        check(
            "gc: { interruption: nono, command: { run: [r] } }",
            &[
                "registries[0].gc.interruption: line 1: `nono` is not a valid value: did you mean `none`? valid values are `stop`, `none`",
            ],
        );
    }

    #[test]
    fn grace_is_at_most_the_history() {
        let check = |history: &str, grace: &str, expected: &[&str]| {
            let gc = format!("url: 'https://r', gc: {{ grace: {grace}, docker: {{ container: r }} }}");
            tests::check(&format!("registries: [{{ name: main, {gc} }}]\n{POLICIES}{history}\n"), expected);
        };
        check("", "0s", &[]);
        check("", "180d", &[]);
        check(
            "",
            "181d",
            &[
                "registries[0].gc.grace: line 1: 181d is longer than the `history` of 180d, after which deletions cannot be undone: shorten the grace, or raise `history`",
            ],
        );
        check("history: 200d", "181d", &[]);
        check(
            "history: 3d",
            "73h",
            &[
                "registries[0].gc.grace: line 1: 73h is longer than the `history` of 3d, after which deletions cannot be undone: shorten the grace, or raise `history`",
            ],
        );
        // An invalid history is the only problem then.
        check(
            "history: 3h",
            "7d",
            &["history: line 3: 3h is too short to undo deletions: write at least `1d`"],
        );
        check("history: 3", "7d", &["history: line 3: `3` has no unit: write `3s`, or min, h, d or w"]);
    }
}
