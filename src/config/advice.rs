//! What is allowed in a configuration, and still comes to nothing that anybody wants.
//!
//! It sees only what has been validated, and so knows no lines.

use super::{Collector, Config, Interruption, Registry};
use crate::plan::span;
use crate::policy::Policy;

impl Config {
    /// What the operator should think about again, each with the way out. None of it keeps the
    /// configuration from being used.
    pub fn advice(&self) -> Vec<String> {
        let of = |registry| [endless_grace(registry), unknown_cache(registry), swept_alive(registry)];
        let each = self.registries.iter().flat_map(of).flatten();
        let unclaimed = self.registries.iter().filter_map(|registry| self.unclaimed(registry));
        self.unscheduled().into_iter().chain(unclaimed).chain(each).collect()
    }

    /// A service does nothing by itself where nothing says when.
    fn unscheduled(&self) -> Option<String> {
        let all: Vec<&Registry> = self.registries.iter().filter(|one| one.schedule.is_none()).collect();
        let names: Vec<&str> = all.iter().map(|registry| registry.name.as_str()).collect();
        let advice = "write one, such as `schedule: \"0 3 * * *\"` at the top level, unless `regsweep run` is begun by others";
        match names.as_slice() {
            [] => None,
            names if names.len() == self.registries.len() => {
                Some(format!("there is no `schedule`: `regsweep serve` begins no run by itself: {advice}"))
            }
            names => Some(format!(
                "registries without a `schedule`, whose runs `regsweep serve` does not begin by itself: {}: {advice}",
                names.join(", ")
            )),
        }
    }

    /// What no policy can claim is left alone for ever. What the catalog will show is not known here.
    fn unclaimed(&self, registry: &Registry) -> Option<String> {
        let name = &registry.name;
        let is_for = |policy: &&Policy| policy.registries.as_ref().is_none_or(|names| names.contains(name));
        let mut policies = self.policies.iter().filter(is_for).peekable();
        let none = "so nothing of it is ever deleted: name it in the `registries` of a policy, or remove it";
        if policies.peek().is_none() {
            return Some(format!("registry {name}: no policy is for it, {none}"));
        }
        let listed = registry.repositories.as_ref()?;
        let claims = |policy: &Policy| listed.iter().any(|repository| policy.claims(name, repository));
        (!policies.any(claims))
            .then(|| format!("registry {name}: no policy claims any of its `repositories`, {none}"))
    }
}

/// While every run deletes something, the youngest deletion is never older than the time between two runs.
/// It is exactly as old just when the next ones come, so the grace must be shorter than that.
fn endless_grace(registry: &Registry) -> Option<String> {
    let (schedule, gc) = (registry.schedule.as_ref()?, registry.gc.as_ref()?);
    if schedule.pauses_longer_than(gc.grace) {
        return None;
    }
    Some(format!(
        "registry {}: its `gc.grace` of {} is not shorter than the time between two runs (`schedule: {}`): as long \
         as every run deletes something, the youngest deletion never gets that old, and nothing is ever collected: \
         choose a rarer `schedule` or a shorter `grace`",
        registry.name,
        span::exact(gc.grace),
        schedule.as_str()
    ))
}

/// Whether the registry's cache outlives a restart is read from its configuration, which only a collection of its
/// own names.
fn unknown_cache(registry: &Registry) -> Option<String> {
    let gc = registry.gc.as_ref().filter(|gc| gc.cache.is_none() && gc.redis.is_none())?;
    let Collector::Command { run, .. } = &gc.collector else { return None };
    (!Collector::is_official(run)).then(|| {
        format!(
            "registry {}: it cannot be known whether it keeps its cache in Redis, as its `gc.command.run` is not a \
             `garbage-collect` with a configuration file: its collections are refused until `gc.cache` states it \
             (`none` or `inmemory`)",
            registry.name
        )
    })
}

/// That is safe for very few of them, and is said once more.
fn swept_alive(registry: &Registry) -> Option<String> {
    let gc = registry.gc.as_ref().filter(|gc| gc.interruption == Interruption::None)?;
    let Collector::Command { run, .. } = &gc.collector else { return None };
    Collector::is_official(run).then(|| {
        format!(
            "registry {}: its `garbage-collect` runs beside the registry (`interruption: none`): layers that are \
             pushed meanwhile are swept, and a cache in the registry's memory goes on naming what is gone: see to it that \
             nobody can push then, and that the registry has no such cache, or write `before` and `after`",
            registry.name
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::super::tests::{self, POLICIES};

    fn advice(settings: &str) -> Vec<String> {
        let schedule = if settings.contains("schedule: ") { "" } else { "schedule: '0 3 * * SUN'\n" };
        let text =
            format!("{schedule}registries: [{{ name: main, url: 'https://r', {settings} }}]\n{POLICIES}");
        parse(&text, "f", &tests::env).unwrap().advice()
    }

    #[test]
    fn a_grace_is_shorter_than_the_time_between_two_runs() {
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
    fn a_cache_that_cannot_be_known_is_to_be_stated() {
        let check = |gc: &str, expected: usize| {
            assert_eq!(advice(&format!("gc: {{ {gc} }}")).len(), expected, "{gc}");
        };
        check("command: { before: [b], run: [sweep] }", 1);
        check("command: { before: [b], run: [sweep] }, cache: inmemory", 0);
        check("command: { before: [b], run: [registry, garbage-collect, /etc/registry.yml] }", 0);
        check("docker: { container: r }", 0);
    }

    #[test]
    fn a_registry_of_distribution_that_is_swept_while_it_runs_is_told_of() {
        let check = |gc: &str, expected: usize| {
            assert_eq!(advice(&format!("gc: {{ {gc} }}")).len(), expected, "{gc}");
        };
        check("interruption: none, command: { run: [registry, garbage-collect, /etc/registry.yml] }", 1);
        check("interruption: none, cache: none, command: { run: [curl, -X, POST, 'http://h/gc'] }", 0);
    }

    #[test]
    fn without_a_schedule_or_a_collection_there_is_nothing_to_tell() {
        let text = format!(
            "registries: [{{ name: main, url: 'https://r', gc: {{ grace: 7d, docker: {{ container: r }} }} }}]\n{POLICIES}"
        );
        let advice_of = parse(&text, "f", &tests::env).unwrap().advice();
        assert!(advice_of.len() == 1 && advice_of[0].starts_with("there is no `schedule`"), "{advice_of:?}");
        assert_eq!(advice("schedule: '0 3 * * *'"), [""; 0]);
    }

    #[test]
    fn a_service_that_does_nothing_says_so() {
        let check = |registries: &str, expected: &[&str]| {
            let text = format!("registries: [{registries}]\n{POLICIES}");
            let advice = parse(&text, "f", &tests::env).unwrap().advice();
            assert_eq!(advice.len(), expected.len(), "{advice:?}");
            advice.iter().zip(expected).for_each(|(said, begin)| assert!(said.starts_with(begin), "{said}"));
        };
        check("{ name: a, url: 'https://r' }", &["there is no `schedule`: `regsweep serve` begins no run"]);
        check("{ name: a, url: 'https://r', schedule: '0 3 * * *' }", &[]);
        check(
            "{ name: a, url: 'https://r', schedule: '0 3 * * *' }, { name: b, url: 'https://s' }, { name: c, url: 'https://t' }",
            &[
                "registries without a `schedule`, whose runs `regsweep serve` does not begin by itself: b, c: write one",
            ],
        );
    }

    #[test]
    fn a_registry_that_no_policy_can_claim_is_told() {
        let check = |repositories: &str, policies: &str, expected: &[&str]| {
            let text = format!(
                "schedule: '0 3 * * *'\nregistries: [{{ name: main, url: 'https://r' {repositories} }}, {{ name: b, url: 'https://s' }}]\n\
                 policies:\n{policies}"
            );
            let advice = parse(&text, "f", &tests::env).unwrap().advice();
            assert_eq!(advice.len(), expected.len(), "{advice:?}");
            advice.iter().zip(expected).for_each(|(said, begin)| assert!(said.starts_with(begin), "{said}"));
        };
        let policy = |name: &str, registries: &str, repositories: &str| {
            format!(
                "- {{ name: {name}, {registries} repositories: '{repositories}', rules: [{{ name: r, tags: '.*', keep: all }}] }}\n"
            )
        };
        check("", &policy("all", "", ".*"), &[]);
        check("", &policy("one", "registries: [b],", ".*"), &["registry main: no policy is for it"]);
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
    fn the_schedule_of_the_top_level_counts_where_there_is_no_other() {
        let text = format!(
            "schedule: '0 3 * * *'\nregistries:\n- {{ name: a, url: 'https://r', gc: {{ grace: 2d, docker: {{ container: r }} }} }}\n\
             - {{ name: b, url: 'https://s', schedule: '0 3 * * SUN', gc: {{ grace: 2d, docker: {{ container: r }} }} }}\n{POLICIES}"
        );
        let advice = parse(&text, "f", &tests::env).unwrap().advice();
        assert_eq!(advice.len(), 1, "{advice:?}");
        assert!(advice[0].starts_with("registry a: "), "{advice:?}");
    }
}
