//! The latest plan of each registry and what was done of it, for the page after a restart.

use rusqlite::{OptionalExtension as _, params};

use super::error::Error;
use super::sql::json;
use super::store::State;
use crate::report::{CompletedDeletions, PlanDocument, RunSummary};

impl State {
    /// Stores the latest plan of a registry in place of the one before. `run` is the run that made it, if one did.
    pub fn store_plan(&self, run: Option<i64>, plan: &PlanDocument) -> Result<(), Error> {
        let document = json(plan);
        let registry = self.key(&plan.registry);
        self.quickly(|connection| {
            connection.execute(
                "INSERT INTO plan (registry, at, run, document) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET at = excluded.at, run = excluded.run, document = excluded.document",
                params![registry, plan.now, run, document],
            )?;
            Ok(())
        })
    }

    /// The latest plan of a registry, with what was deleted of it; `None` if there is none that can be read.
    pub fn last_plan(&self, registry: &str) -> Result<Option<PlanDocument>, Error> {
        let found = {
            let connection = self.durable();
            let mut select =
                connection.prepare_cached("SELECT run, document FROM plan WHERE registry = ?1")?;
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            select.query_row([self.key(registry)], row).optional()?
        };
        let Some((run, document)): Option<(Option<i64>, String)> = found else { return Ok(None) };
        let Ok(mut plan) = serde_json::from_str::<PlanDocument>(&document) else { return Ok(None) };
        // The registry may have had another name then.
        registry.clone_into(&mut plan.registry);
        if let Some(run) = run {
            plan.applied = self.run_summary(run)?.is_some_and(|summary| summary.applied);
            plan.mark(&self.gone_in(run)?);
        }
        Ok(Some(plan))
    }

    /// What a run has deleted or found deleted, and no undo has restored.
    fn gone_in(&self, run: i64) -> Result<CompletedDeletions, Error> {
        let mut gone = CompletedDeletions::default();
        for entry in self.select("run = ?1 AND answer <> 'sent' AND restored IS NULL", [run])? {
            if entry.tag_only {
                let tags = entry.tags.into_iter();
                gone.tags.extend(tags.map(|tag| (entry.repository.clone(), tag)));
            } else {
                gone.manifests.insert((entry.repository, entry.digest));
            }
        }
        Ok(gone)
    }

    /// Records the summary of a run.
    pub fn summarize_run(&self, run: i64, summary: &RunSummary) -> Result<(), Error> {
        let summary = json(summary);
        self.durably(|connection| {
            connection.execute("UPDATE run SET summary = ?2 WHERE id = ?1", params![run, summary]).map(drop)
        })
    }

    /// The summary of the latest run that could read the registry.
    pub fn last_summary(&self, registry: &str) -> Result<Option<RunSummary>, Error> {
        let connection = self.durable();
        let mut select = connection.prepare_cached(
            "SELECT summary FROM run WHERE registry = ?1 AND summary IS NOT NULL ORDER BY id DESC LIMIT 1",
        )?;
        let text: Option<String> = select.query_row([self.key(registry)], |row| row.get(0)).optional()?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// The summary of a run; `None` if it did nothing, was cut off, or is of a version that recorded none.
    pub fn run_summary(&self, run: i64) -> Result<Option<RunSummary>, Error> {
        let connection = self.durable();
        let mut select = connection.prepare_cached("SELECT summary FROM run WHERE id = ?1")?;
        let text: Option<String> = select.query_row([run], |row| row.get(0)).optional()?.flatten();
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Limit, Plan};
    use crate::state::NewJournalEntry;
    use crate::state::test_support::{at, digest, new_entry, open};

    #[test]
    fn last_plan_includes_what_its_run_has_done() {
        let (directory, state) = open();
        assert_eq!(state.last_plan("main").unwrap(), None);
        let plan =
            |now| PlanDocument::of(&Plan::new("main", at(now), Vec::new(), Vec::new(), &Default::default()));
        state.store_plan(None, &plan(1)).unwrap();
        assert_eq!(state.last_plan("main").unwrap(), Some(plan(1)));
        let run = state.begin_run("main", at(2)).unwrap();
        state.store_plan(Some(run), &plan(2)).unwrap();
        assert_eq!(state.last_plan("main").unwrap(), Some(plan(2)), "it takes the place of the one before");
        let summary = RunSummary {
            applied: true,
            skipped: 3,
            failures: 1,
            refusals: vec![Limit::MaxPercent, Limit::MaxPercent],
            problems: vec!["x".into()],
        };
        assert_eq!(state.run_summary(run).unwrap(), None);
        state.summarize_run(run, &summary).unwrap();
        drop(state);
        let state = State::open(directory.path()).unwrap();
        assert_eq!(state.run_summary(run).unwrap(), Some(summary));
        let mut applied = plan(2);
        applied.applied = true;
        assert_eq!(state.last_plan("main").unwrap(), Some(applied));
        assert_eq!(state.last_plan("other").unwrap(), None);
        state.prune(at(2)).unwrap();
        assert!(state.last_plan("main").unwrap().is_some());
        state.prune(at(3)).unwrap();
        assert_eq!(state.last_plan("main").unwrap(), None, "it is too old");
    }

    #[test]
    fn completed_deletions_exclude_restored_and_unanswered_ones() {
        let (_directory, state) = open();
        let run = state.begin_run("main", at(0)).unwrap();
        let put = |text: &str, tag_only| {
            let new_entry = NewJournalEntry { tag_only, ..new_entry(text, &[text], 1) };
            state.record_intent(run, "main", &new_entry, at(1)).unwrap()
        };
        let (deleted, back, found_gone) =
            (put("deleted", false), put("back", false), put("found-gone", false));
        put("unanswered", false);
        let tag = put("tag", true);
        for entry in [deleted, back, tag] {
            state.record_deleted(entry).unwrap();
        }
        state.record_already_gone(found_gone).unwrap();
        state.record_restored(back, &[], at(5)).unwrap();
        let gone = state.gone_in(run).unwrap();
        let digests: Vec<_> = gone.manifests.into_iter().map(|(_, digest)| digest).collect();
        let mut expected = ["deleted", "found-gone"].map(digest);
        expected.sort();
        assert_eq!(digests, expected);
        let tags: Vec<_> = gone.tags.into_iter().map(|(_, tag)| tag.to_string()).collect();
        assert_eq!(tags, ["tag"]);
    }
}
