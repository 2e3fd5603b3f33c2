//! `kill -9` at every step of a run: whatever reached the registry is in the journal, the next run completes
//! the work, nothing is counted twice, and all of it can be undone.

use std::collections::BTreeSet;
use std::process::Stdio;

use serde_json::Value;

use super::harness::{
    OLD_TAGS_EXPIRE, assert_all_pullable, expected_content, history, image, installation, list, rewrite, run,
    text,
};
use crate::service::harness::Installation;
use crate::state::interrupting_proxy::{InterruptingProxy, Step};
use crate::support::image::{Artifact, Content, Image, Index, signature_tag};
use crate::support::real_registry::RealRegistry;
use crate::support::store::RepositoryContent;

/// A registry with something to keep, and six manifests to delete: an index with two children and a
/// signature, and two images.
pub(crate) struct Scenario {
    pub(crate) registry: RealRegistry,
    pub(crate) kept: [(&'static str, Content); 2],
    pub(crate) before: RepositoryContent,
    count: usize,
    pub(crate) index: Content,
}

impl Scenario {
    pub(crate) fn new() -> Self {
        let registry = RealRegistry::start();
        let named = |name: &str, year: u32| Image::new(name).created(format!("{year}-01-01T00:00:00Z"));
        let [one, two] = [named("one", 2018), named("two", 2018)].map(Image::build);
        let index = Index::oci().child(&one).child(&two).build();
        let kept = [("keep", image("kept")), ("keep-index", Index::oci().child(&image("child")).build())];
        let mut store = registry.store();
        for (tag, content) in &kept {
            store.write("app", &[tag], content);
        }
        store.write("app", &["old-index"], &index);
        store.write("app", &[&signature_tag(&index.digest)], &Artifact::signature(&index.digest).build());
        store.write("app", &["old-1", "old-1b"], &named("first", 2017).build());
        store.write("app", &["old-2"], &named("last", 2019).docker().build());
        Self { before: registry.store().repository("app"), registry, kept, count: 6, index }
    }

    pub(crate) fn expected(&self) -> RepositoryContent {
        expected_content(&self.kept.each_ref().map(|(tag, content)| (*tag, content)))
    }

    pub(crate) fn now(&self) -> RepositoryContent {
        self.registry.store().repository("app")
    }

    /// An installation in which a run was killed at this step.
    pub(crate) fn killed(&self, step: Step) -> Installation {
        let proxy = InterruptingProxy::before(&self.registry.host(), step);
        let installation = installation(&format!("url: {}", proxy.url()), OLD_TAGS_EXPIRE);
        kill(&installation, &["run"], &proxy);
        rewrite(&installation, &format!("url: {}", self.registry.url()), OLD_TAGS_EXPIRE);
        installation
    }

    /// Kills a run at this step, has the next one complete it, and undoes both.
    fn check(&self, step: Step, latest_first: bool) {
        let installation = self.killed(step);
        let gone: BTreeSet<String> =
            self.before.manifests.difference(&self.now().manifests).cloned().collect();
        let (Step::Sent(number) | Step::Done(number) | Step::Answered(number)) = step;
        assert_eq!(gone.len(), if matches!(step, Step::Sent(_)) { number - 1 } else { number }, "{step:?}");
        let past = history(&installation, &[]);
        let (journaled, unanswered) = (entries(&past), unanswered(&past));
        assert!(gone.iter().all(|digest| journaled.contains(digest)), "{step:?}: {journaled:?}");
        // What belongs to the index, which goes second, was read before that went. So the next request is
        // the next deletion, which is in the journal and never reaches the registry.
        let begun = usize::from(matches!(step, Step::Answered(2..=4)));
        assert_eq!(journaled.len(), number + begun, "{step:?}");
        let is_answered = matches!(step, Step::Answered(_));
        assert_eq!(unanswered, if is_answered { begun } else { 1 }, "{step:?}");
        assert!(self.expected().manifests.is_subset(&self.now().manifests));

        run(&installation, &["run"]).exits(0);
        assert_eq!(self.now(), self.expected(), "{step:?}");
        let all: BTreeSet<String> =
            self.before.manifests.difference(&self.now().manifests).cloned().collect();
        let runs = history(&installation, &[]);
        let journaled = entries(&runs);
        assert_eq!((journaled.len(), journaled.into_iter().collect()), (self.count, all), "{step:?}");
        assert_eq!(self::unanswered(&runs), 0, "{step:?}");
        assert_eq!((runs.len(), &runs[1]["outcome"]), (2, &Value::Null), "{step:?}");
        let deleted: Vec<u64> = runs.iter().map(|run| run["deleted"].as_u64().unwrap()).collect();
        assert_eq!((deleted[1], deleted.iter().sum()), (gone.len() as u64, self.count as u64), "{step:?}");
        assert_eq!(installation.total("deleted_manifests"), self.count as u64, "{step:?}");
        let tags = self.before.tags.len() - self.expected().tags.len();
        assert_eq!(installation.total("deleted_tags"), tags as u64, "{step:?}");
        assert!(installation.total("reclaimable") > 0);
        // A run that has nothing left to do finds nothing left to count.
        run(&installation, &["run"]).exits(0);
        assert_eq!(installation.total("deleted_manifests"), self.count as u64, "{step:?}");

        for number in if latest_first { ["2", "1"] } else { ["1", "2"] } {
            // The one may have brought all of the other.
            let undone = run(&installation, &["undo", number]);
            let nothing = undone.stderr.contains("deleted nothing that can be restored");
            assert_eq!(undone.code, Some(i32::from(nothing)), "{step:?}: {}", undone.stderr);
        }
        assert_eq!(self.now(), self.before, "{step:?}");
        assert_eq!(installation.total("reclaimable"), 0, "{step:?}");
    }
}

/// Runs the program until it comes to the step of the proxy, and kills it there.
pub(crate) fn kill(installation: &Installation, arguments: &[&str], proxy: &InterruptingProxy) {
    let mut command = installation.command(arguments);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    proxy.wait();
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None);
}

fn deletions(runs: &[Value]) -> impl Iterator<Item = &Value> {
    runs.iter().flat_map(|run| list(&run["deletions"]))
}

/// What the journal has, and twice what it has twice.
fn entries(runs: &[Value]) -> Vec<String> {
    deletions(runs).map(|one| text(&one["digest"]).to_owned()).collect()
}

fn unanswered(runs: &[Value]) -> usize {
    deletions(runs).filter(|one| one["answered"] == false).count()
}

#[test]
fn run_killed_before_a_deletion_arrives_is_completed_by_the_next() {
    let scenario = Scenario::new();
    (1..=6).for_each(|number| scenario.check(Step::Sent(number), number % 2 == 0));
    assert_all_pullable(&scenario.registry);
}

#[test]
fn run_killed_before_an_answer_arrives_is_completed_by_the_next() {
    let scenario = Scenario::new();
    (1..=6).for_each(|number| scenario.check(Step::Done(number), number % 2 == 1));
    assert_all_pullable(&scenario.registry);
}

#[test]
fn run_killed_between_two_deletions_is_completed_by_the_next() {
    let scenario = Scenario::new();
    (1..=5).for_each(|number| scenario.check(Step::Answered(number), number % 2 == 0));
    assert_all_pullable(&scenario.registry);
}
