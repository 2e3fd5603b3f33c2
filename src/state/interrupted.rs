//! Runs of the service that a stop cut short, until the next start makes them up.
//!
//! It knows only which. A run by hand is nobody's to repeat, so it is never noted here.

use super::{Error, State};

/// Begins the mark of such a run; its number follows.
const MARK: &str = "interrupted run ";

impl State {
    /// Notes that the next start of the service is to make this run up.
    pub fn make_up_later(&self, run: i64) -> Result<(), Error> {
        self.durably(|connection| {
            connection.execute("INSERT OR IGNORE INTO mark VALUES (?1)", [format!("{MARK}{run}")])?;
            Ok(())
        })
    }

    /// The registries whose last run is to be made up, and forgets that.
    pub fn take_interrupted(&self) -> Result<Vec<String>, Error> {
        let runs: Vec<i64> = self.durably(|connection| {
            let mut select = connection.prepare(
                "SELECT run.id FROM run JOIN mark ON mark.name = ?1 || run.id
                 WHERE run.id = (SELECT max(id) FROM run AS other WHERE other.registry = run.registry)
                 ORDER BY run.id",
            )?;
            let runs = select.query_map([MARK], |row| row.get(0))?.collect::<Result<_, _>>()?;
            connection.execute("DELETE FROM mark WHERE name LIKE ?1 || '%'", [MARK])?;
            Ok(runs)
        })?;
        let registries = runs.into_iter().map(|run| Ok(self.run(run)?.map(|run| run.registry)));
        Ok(registries.collect::<Result<Vec<_>, Error>>()?.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::super::tests::open;
    use crate::plan::TagDeletion;

    #[test]
    fn the_last_run_of_a_registry_is_made_up_once() {
        let (_directory, state) = open();
        let begin = |registry: &str| state.begin_run(registry, DateTime::UNIX_EPOCH).unwrap();
        state.learn_tag_deletion("interrupted run 1", TagDeletion::Supported).unwrap();
        let first = begin("main");
        state.make_up_later(first).unwrap();
        state.make_up_later(first).unwrap();
        state.make_up_later(begin("edge")).unwrap();
        begin("other");
        begin("edge");
        assert_eq!(state.take_interrupted().unwrap(), ["main"], "edge had another run since");
        assert_eq!(state.take_interrupted().unwrap(), [""; 0]);
        assert!(state.tag_deletion("interrupted run 1").unwrap().is_some(), "other marks stay");
    }
}
