//! Whether a registry deletes single tags, as it has shown in a run, for plans without a run.

use rusqlite::OptionalExtension as _;

use super::error::Error;
use super::store::State;
use crate::model::TagDeletion;

impl State {
    /// Records whether a registry deletes single tags.
    pub fn record_tag_deletion(&self, registry: &str, learned: TagDeletion) -> Result<(), Error> {
        if self.tag_deletion(registry)? == Some(learned) {
            return Ok(());
        }
        let registry = self.key(registry);
        self.durably(|connection| {
            for one in [TagDeletion::Supported, TagDeletion::Unsupported] {
                let sql = if one == learned {
                    "INSERT INTO mark VALUES (?1)"
                } else {
                    "DELETE FROM mark WHERE name = ?1"
                };
                connection.execute(sql, [mark(&registry, one)])?;
            }
            Ok(())
        })
    }

    /// Whether a registry deletes single tags, if that is recorded.
    pub fn tag_deletion(&self, registry: &str) -> Result<Option<TagDeletion>, Error> {
        let registry = self.key(registry);
        let connection = self.durable();
        let mut select = connection.prepare_cached("SELECT 1 FROM mark WHERE name = ?1")?;
        for one in [TagDeletion::Supported, TagDeletion::Unsupported] {
            if select.query_row([mark(&registry, one)], |_| Ok(())).optional()?.is_some() {
                return Ok(Some(one));
            }
        }
        Ok(None)
    }
}

fn mark(registry: &str, deletion: TagDeletion) -> String {
    match deletion {
        TagDeletion::Supported => format!("removes tags: {registry}"),
        TagDeletion::Unsupported => format!("keeps tags: {registry}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::test_support::open;

    #[test]
    fn latest_record_counts() {
        let (_directory, state) = open();
        assert_eq!(state.tag_deletion("main").unwrap(), None);
        for learned in [TagDeletion::Supported, TagDeletion::Supported, TagDeletion::Unsupported] {
            state.record_tag_deletion("main", learned).unwrap();
            assert_eq!(state.tag_deletion("main").unwrap(), Some(learned));
            assert_eq!(state.tag_deletion("other").unwrap(), None);
        }
    }
}
