//! Runs of the service that a stop has interrupted, until the next start repeats them.
//!
//! It records only which. A run by hand is not repeated, so it is never recorded here.

use super::error::Error;
use super::sql::json;
use super::store::State;

/// The beginning of the mark of such a run; its number follows.
const MARK: &str = "interrupted run ";

impl State {
    /// Records that the next start of the service must repeat this run.
    pub fn note_for_rerun(&self, run: i64) -> Result<(), Error> {
        self.durably(|connection| {
            connection.execute("INSERT OR IGNORE INTO mark VALUES (?1)", [format!("{MARK}{run}")])?;
            Ok(())
        })
    }

    /// The registries whose latest run is to be repeated, until another run has begun there. The marks of earlier runs
    /// are deleted.
    pub fn registries_to_rerun(&self) -> Result<Vec<String>, Error> {
        let runs: Vec<i64> = self.durably(|connection| {
            let mut select = connection.prepare(
                "SELECT run.id FROM run JOIN mark ON mark.name = ?1 || run.id
                 WHERE run.id = (SELECT max(id) FROM run AS other WHERE other.registry = run.registry)
                 ORDER BY run.id",
            )?;
            let runs: Vec<i64> = select.query_map([MARK], |row| row.get(0))?.collect::<Result<_, _>>()?;
            connection.execute(
                "DELETE FROM mark WHERE name LIKE ?1 || '%' AND name NOT IN (SELECT ?1 || value FROM json_each(?2))",
                [MARK, &json(&runs)],
            )?;
            Ok(runs)
        })?;
        let registries = runs.into_iter().map(|run| Ok(self.run(run)?.map(|run| run.registry)));
        Ok(registries.collect::<Result<Vec<_>, Error>>()?.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use crate::model::TagDeletion;
    use crate::state::test_support::open;

    #[test]
    fn interrupted_run_is_repeated_until_another_one_has_begun() {
        let (_directory, state) = open();
        let begin = |registry: &str| state.begin_run(registry, DateTime::UNIX_EPOCH).unwrap();
        state.record_tag_deletion("interrupted run 1", TagDeletion::Supported).unwrap();
        let first = begin("main");
        state.note_for_rerun(first).unwrap();
        state.note_for_rerun(first).unwrap();
        state.note_for_rerun(begin("edge")).unwrap();
        begin("other");
        begin("edge");
        for _ in 0..2 {
            assert_eq!(state.registries_to_rerun().unwrap(), ["main"], "edge had another run since");
        }
        begin("main");
        assert_eq!(state.registries_to_rerun().unwrap(), [""; 0]);
        let marks = "SELECT count(*) FROM mark WHERE name LIKE 'interrupted run %'";
        let left: u32 = state.durable().query_row(marks, [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0);
        assert!(state.tag_deletion("interrupted run 1").unwrap().is_some(), "other marks stay");
    }
}
