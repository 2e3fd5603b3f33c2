//! Advice on a valid configuration that probably does not do what the operator wants.
//!
//! It sees only validated settings, and so knows no lines.

use std::sync::Arc;

use crate::config::settings::{Collector, Config, Interruption, Registry};
use crate::model::duration;
use crate::policy::Policy;

impl Config {
    /// Settings that the operator should reconsider, each with the remedy. The configuration is valid all the same.
    pub fn advice(&self) -> Vec<String> {
        let of = |registry| {
            [grace_never_ends(registry), cache_unknown(registry), collected_while_running(registry)]
        };
        let each = self.registries.iter().flat_map(of).flatten();
        let unclaimed = self.registries.iter().filter_map(|registry| self.unclaimed(registry));
        self.unscheduled().into_iter().chain(unclaimed).chain(each).collect()
    }

    /// Registries without a schedule: the service never starts a run for them.
    fn unscheduled(&self) -> Option<String> {
        let all: Vec<&Registry> =
            self.registries.iter().filter(|registry| registry.schedule.is_none()).collect();
        let names: Vec<&str> = all.iter().map(|registry| registry.name.as_str()).collect();
        let advice = "write one, such as `schedule: \"0 3 * * *\"` at the top level, unless something else starts `regsweep run`";
        match names.as_slice() {
            [] => None,
            names if names.len() == self.registries.len() => {
                Some(format!("there is no `schedule`, so `regsweep serve` starts no runs: {advice}"))
            }
            names => Some(format!(
                "`regsweep serve` starts no runs for registries without a `schedule`: {}: {advice}",
                names.join(", ")
            )),
        }
    }

    /// A registry none of whose repositories any policy claims. The repositories in its catalog are not known here.
    fn unclaimed(&self, registry: &Registry) -> Option<String> {
        let name = &registry.name;
        let is_for = |policy: &&Policy| policy.registries.as_ref().is_none_or(|names| names.contains(name));
        let mut policies = self.policies.iter().map(Arc::as_ref).filter(is_for).peekable();
        let none = "so nothing in it is ever deleted: add it to the `registries` of a policy, or remove it";
        if policies.peek().is_none() {
            return Some(format!("registry {name}: no policy applies to it, {none}"));
        }
        let quoted_list = registry.repositories.as_ref()?;
        let claims = |policy: &Policy| quoted_list.iter().any(|repository| policy.claims(name, repository));
        (!policies.any(claims))
            .then(|| format!("registry {name}: no policy claims any of its `repositories`, {none}"))
    }
}

/// A grace that never ends while every run deletes something: the most recent deletion is then never older than the
/// interval between two runs, so the grace has to be shorter.
fn grace_never_ends(registry: &Registry) -> Option<String> {
    let (schedule, gc) = (registry.schedule.as_ref()?, registry.gc.as_ref()?);
    if schedule.has_interval_longer_than(gc.grace) {
        return None;
    }
    Some(format!(
        "registry {}: its `gc.grace` of {} is not shorter than the interval between two runs (`schedule: {}`), so no \
         collection starts as long as every run deletes something: choose a longer interval or a shorter `grace`",
        registry.name,
        duration::exact(gc.grace),
        schedule.as_str()
    ))
}

/// A command whose registry may have its cache in Redis. Only the arguments of `garbage-collect` name the configuration
/// file that tells.
fn cache_unknown(registry: &Registry) -> Option<String> {
    let gc = registry.gc.as_ref().filter(|gc| gc.cache.is_none() && gc.redis.is_none())?;
    let Collector::Command { run, .. } = &gc.collector else { return None };
    (!Collector::runs_garbage_collect(run)).then(|| {
        format!(
            "registry {}: regsweep cannot find out whether its cache is in Redis, because `gc.command.run` is not a \
             `garbage-collect` with a configuration file; its collections are refused until you write `gc.cache` \
             (`none` or `inmemory`)",
            registry.name
        )
    })
}

/// A `garbage-collect` of a running registry, which is safe for very few registries.
fn collected_while_running(registry: &Registry) -> Option<String> {
    let gc = registry.gc.as_ref().filter(|gc| gc.interruption == Interruption::None)?;
    let Collector::Command { run, .. } = &gc.collector else { return None };
    Collector::runs_garbage_collect(run).then(|| {
        format!(
            "registry {}: its `garbage-collect` runs while the registry is running (`interruption: none`): it can delete \
             layers that are being pushed, and an in-memory cache then names deleted blobs: prevent pushes during \
             collections and disable that cache, or write `before` and `after`",
            registry.name
        )
    })
}

#[cfg(test)]
mod tests {
    use crate::config::parse;
    use crate::config::tests::{self, POLICIES};

    fn advice(settings: &str) -> Vec<String> {
        let schedule = if settings.contains("schedule: ") { "" } else { "schedule: '0 3 * * SUN'\n" };
        let text =
            format!("{schedule}registries: [{{ name: main, url: 'https://r', {settings} }}]\n{POLICIES}");
        parse(&text, "f", &tests::env).unwrap().advice()
    }

    #[test]
    fn grace_is_shorter_than_the_interval_between_runs() {
        let check = |schedule: &str, grace: &str, expected: usize| {
            let text =
                format!("schedule: '{schedule}', gc: {{ grace: {grace}, docker: {{ container: r }} }}");
            assert_eq!(advice(&text).len(), expected, "{schedule} {grace}");
        };
        check("0 3 * * *", "0s", 0);
        check("0 3 * * *", "20h", 0);
        check("0 3 * * *", "1d", 1);
        check("0 3 * * SUN", "6d", 0);
        check("0 3 * * SUN", "7d", 1);
        check("* * * * * *", "0s", 0);
    }

    #[test]
    fn cache_of_an_unknown_command_should_be_stated() {
        let check = |gc: &str, expected: usize| {
            assert_eq!(advice(&format!("gc: {{ {gc} }}")).len(), expected, "{gc}");
        };
        check("command: { before: [b], run: [sweep] }", 1);
        check("command: { before: [b], run: [sweep] }, cache: inmemory", 0);
        check("command: { before: [b], run: [registry, garbage-collect, /etc/registry.yml] }", 0);
        check("docker: { container: r }", 0);
    }

    #[test]
    fn garbage_collect_of_a_running_registry_gets_advice() {
        let check = |gc: &str, expected: usize| {
            assert_eq!(advice(&format!("gc: {{ {gc} }}")).len(), expected, "{gc}");
        };
        check("interruption: none, command: { run: [registry, garbage-collect, /etc/registry.yml] }", 1);
        check("interruption: none, cache: none, command: { run: [curl, -X, POST, 'http://h/gc'] }", 0);
    }

    #[test]
    fn grace_without_a_schedule_gets_no_advice() {
        let text = format!(
            "registries: [{{ name: main, url: 'https://r', gc: {{ grace: 7d, docker: {{ container: r }} }} }}]\n{POLICIES}"
        );
        let advice_of = parse(&text, "f", &tests::env).unwrap().advice();
        assert!(advice_of.len() == 1 && advice_of[0].starts_with("there is no `schedule`"), "{advice_of:?}");
        assert_eq!(advice("schedule: '0 3 * * *'"), [""; 0]);
    }

    #[test]
    fn registries_without_a_schedule_get_advice() {
        let check = |registries: &str, expected: &[&str]| {
            let text = format!("registries: [{registries}]\n{POLICIES}");
            let advice = parse(&text, "f", &tests::env).unwrap().advice();
            assert_eq!(advice.len(), expected.len(), "{advice:?}");
            advice
                .iter()
                .zip(expected)
                .for_each(|(advice, start)| assert!(advice.starts_with(start), "{advice}"));
        };
        check(
            "{ name: a, url: 'https://r' }",
            &["there is no `schedule`, so `regsweep serve` starts no runs"],
        );
        check("{ name: a, url: 'https://r', schedule: '0 3 * * *' }", &[]);
        check(
            "{ name: a, url: 'https://r', schedule: '0 3 * * *' }, { name: b, url: 'https://s' }, { name: c, url: 'https://t' }",
            &["`regsweep serve` starts no runs for registries without a `schedule`: b, c: write one"],
        );
    }

    #[test]
    fn registries_that_no_policy_claims_get_advice() {
        let check = |repositories: &str, policies: &str, expected: &[&str]| {
            let text = format!(
                "schedule: '0 3 * * *'\nregistries: [{{ name: main, url: 'https://r' {repositories} }}, {{ name: b, url: 'https://s' }}]\n\
                 policies:\n{policies}"
            );
            let advice = parse(&text, "f", &tests::env).unwrap().advice();
            assert_eq!(advice.len(), expected.len(), "{advice:?}");
            advice
                .iter()
                .zip(expected)
                .for_each(|(advice, start)| assert!(advice.starts_with(start), "{advice}"));
        };
        let policy = |name: &str, registries: &str, repositories: &str| {
            format!(
                "- {{ name: {name}, {registries} repositories: '{repositories}', rules: [{{ name: r, tags: '.*', keep: all }}] }}\n"
            )
        };
        check("", &policy("all", "", ".*"), &[]);
        check("", &policy("one", "registries: [b],", ".*"), &["registry main: no policy applies to it"]);
        check(
            "",
            &(policy("one", "registries: [b],", ".*") + &policy("two", "registries: [main],", "x")),
            &[],
        );
        check(", repositories: [team/app]", &policy("all", "", "team/.*"), &[]);
        check(
            ", repositories: [team/app, team/web]",
            &policy("all", "", "other/.*"),
            &["registry main: no policy claims any of its `repositories`"],
        );
    }

    #[test]
    fn grace_is_compared_with_the_inherited_schedule() {
        let text = format!(
            "schedule: '0 3 * * *'\nregistries:\n- {{ name: a, url: 'https://r', gc: {{ grace: 2d, docker: {{ container: r }} }} }}\n\
             - {{ name: b, url: 'https://s', schedule: '0 3 * * SUN', gc: {{ grace: 2d, docker: {{ container: r }} }} }}\n{POLICIES}"
        );
        let advice = parse(&text, "f", &tests::env).unwrap().advice();
        assert_eq!(advice.len(), 1, "{advice:?}");
        assert!(advice[0].starts_with("registry a: "), "{advice:?}");
    }
}
