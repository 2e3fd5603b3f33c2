//! The tables, and the migrations between their versions.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _};

use super::error::Error;

/// The mark of a state in the header of the file: "regs".
const APPLICATION: i64 = 0x7265_6773;

/// Each step migrates a file from one version to the next. A released step never changes.
const STEPS: &[&str] = &[
    "
    CREATE TABLE run (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        registry TEXT NOT NULL,
        started TEXT NOT NULL,
        finished TEXT,
        outcome TEXT,
        deleted INTEGER NOT NULL DEFAULT 0,
        untagged INTEGER NOT NULL DEFAULT 0,
        error TEXT
    ) STRICT;
    CREATE TABLE collection (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        registry TEXT NOT NULL,
        at TEXT NOT NULL,
        outcome TEXT NOT NULL,
        duration REAL NOT NULL,
        downtime REAL NOT NULL,
        blobs INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        error TEXT
    ) STRICT;
    CREATE TABLE total (
        kind TEXT NOT NULL,
        registry TEXT NOT NULL,
        policy TEXT NOT NULL,
        value INTEGER NOT NULL,
        PRIMARY KEY (kind, registry, policy)
    ) STRICT, WITHOUT ROWID;
    -- Registries that we stopped and have not seen answer again.
    CREATE TABLE stopped (registry TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
    -- Blobs that a collection was about to sweep, until they are counted.
    CREATE TABLE sweep (
        registry TEXT NOT NULL,
        digest TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        PRIMARY KEY (registry, digest)
    ) STRICT, WITHOUT ROWID;
",
    "
    -- 'forgotten' is there if this file took the place of one that was lost.
    CREATE TABLE mark (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

    -- What scans of repositories have found. Without a first_look there was none with this file.
    CREATE TABLE repository (
        id INTEGER PRIMARY KEY,
        registry TEXT NOT NULL,
        name TEXT NOT NULL,
        first_look TEXT,
        last_look TEXT NOT NULL,
        UNIQUE (registry, name)
    ) STRICT;
    -- What is known of a digest is known of it in all repositories. The higher `known`, the more that is:
    -- 0 nothing, 1 the manifest, 2 that its configuration tells nothing, 3 its configuration.
    CREATE TABLE manifest (
        id INTEGER PRIMARY KEY,
        digest TEXT NOT NULL UNIQUE,
        known INTEGER NOT NULL DEFAULT 0,
        kind TEXT,
        size INTEGER,
        subject TEXT,
        children TEXT,
        blobs TEXT,
        created TEXT,
        labels TEXT,
        why TEXT
    ) STRICT;
    CREATE TABLE tag (
        repository INTEGER NOT NULL REFERENCES repository ON DELETE CASCADE,
        tag TEXT NOT NULL,
        manifest INTEGER NOT NULL REFERENCES manifest,
        PRIMARY KEY (repository, tag)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX tag_of_manifest ON tag (manifest);
    CREATE TABLE sighting (
        repository INTEGER NOT NULL REFERENCES repository ON DELETE CASCADE,
        manifest INTEGER NOT NULL REFERENCES manifest,
        noticed TEXT NOT NULL,
        left_at TEXT,
        restored TEXT,
        PRIMARY KEY (repository, manifest)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX sighting_of_manifest ON sighting (manifest);

    -- What was deleted or is being deleted. fate is 'sent', 'deleted', or 'gone' if it was another client.
    CREATE TABLE entry (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run INTEGER NOT NULL REFERENCES run,
        registry TEXT NOT NULL,
        repository TEXT NOT NULL,
        digest TEXT NOT NULL,
        tags TEXT NOT NULL,
        alone INTEGER NOT NULL,
        kind TEXT NOT NULL,
        policy TEXT NOT NULL,
        rules TEXT NOT NULL,
        reasons TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        at TEXT NOT NULL,
        noticed TEXT,
        fate TEXT NOT NULL DEFAULT 'sent',
        restored TEXT,
        collected TEXT
    ) STRICT;
    CREATE INDEX entry_of_run ON entry (run);
    CREATE INDEX entry_of_digest ON entry (registry, repository, digest);
    CREATE INDEX entry_unanswered ON entry (registry) WHERE fate = 'sent';
    CREATE INDEX entry_waiting ON entry (registry, at)
        WHERE collected IS NULL AND restored IS NULL AND alone = 0 AND fate <> 'gone';
    CREATE TABLE body (
        entry INTEGER PRIMARY KEY REFERENCES entry ON DELETE CASCADE,
        media_type TEXT NOT NULL,
        bytes BLOB NOT NULL
    ) STRICT;
    -- Digests that are to go after an entry: what they belonged to is gone with it.
    CREATE TABLE leftover (
        registry TEXT NOT NULL,
        repository TEXT NOT NULL,
        digest TEXT NOT NULL,
        entry INTEGER NOT NULL REFERENCES entry ON DELETE CASCADE,
        PRIMARY KEY (registry, repository, digest, entry)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX leftover_of_entry ON leftover (entry);
",
    "
    -- Since when the registry is down. Unknown where an older version stopped it.
    ALTER TABLE stopped ADD COLUMN since TEXT;
",
    "
    -- When the registry was started that was to be stopped, in the words of what runs it; unknown once a sweep
    -- may have begun, after which that says nothing.
    ALTER TABLE stopped ADD COLUMN started TEXT;
",
    "
    -- What something in a repository is about and was seen there once. What was never seen may be elsewhere.
    CREATE TABLE seen_subject (
        repository INTEGER NOT NULL REFERENCES repository ON DELETE CASCADE,
        digest TEXT NOT NULL,
        PRIMARY KEY (repository, digest)
    ) STRICT, WITHOUT ROWID;
",
    "
    -- Blobs that a registry's cache may name though a collection has swept them, until it is cleared of them.
    CREATE TABLE stale (
        registry TEXT NOT NULL,
        digest TEXT NOT NULL,
        PRIMARY KEY (registry, digest)
    ) STRICT, WITHOUT ROWID;
",
    "
    -- Blobs that an index lists counted as children. An index is read again of which not all children are known.
    UPDATE manifest SET known = 0 WHERE kind = 'index' AND EXISTS (
        SELECT 1 FROM json_each(CASE WHEN json_valid(manifest.children) THEN manifest.children ELSE '[]' END) AS child
        WHERE NOT EXISTS (SELECT 1 FROM manifest AS one WHERE one.digest = child.value AND one.known > 0)
    );
",
    "
    -- The latest plan of each registry, and the run that made it.
    CREATE TABLE plan (
        registry TEXT PRIMARY KEY,
        at TEXT NOT NULL,
        run INTEGER,
        document TEXT NOT NULL
    ) STRICT;
    -- What a run came to, beyond what it deleted.
    ALTER TABLE run ADD COLUMN summary TEXT;
    -- What the key of a registry in the other tables is called now, and where it is. Older versions noted neither: there the
    -- key is the name.
    CREATE TABLE registry (
        key TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        address TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    "
    -- Standard terms: what scans observe, and journal entries with the answers that they got.
    ALTER TABLE sighting RENAME TO observation;
    ALTER TABLE repository RENAME COLUMN first_look TO first_scan;
    ALTER TABLE repository RENAME COLUMN last_look TO last_scan;
    ALTER TABLE entry RENAME COLUMN alone TO tag_only;
    ALTER TABLE entry RENAME COLUMN fate TO answer;
    UPDATE mark SET name = 'history lost' WHERE name = 'forgotten';
",
    r#"
    -- The same terms in stored JSON. Quotes within its strings are escaped, so these match names of fields only.
    UPDATE plan SET document = replace(document, '"ghosts":', '"dangling_tags":'); -- old name
    UPDATE plan SET document = replace(document, '"source":"first-look"', '"source":"first-scan"');
    UPDATE run SET summary = replace(summary, '"spared":', '"skipped":') WHERE summary IS NOT NULL; -- old name
"#,
];

/// Migrates a file to the present version. `lost` says that a new file takes the place of a lost one.
pub(super) fn prepare(connection: &Connection, path: &Path, lost: bool) -> Result<(), Error> {
    // SQLite applies this only to a file without tables. Other files reuse their free pages and never shrink.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let version = version(connection)?;
    let done = usize::try_from(version).ok().filter(|done| *done <= STEPS.len());
    let Some(done) = done else { return Err(Error::TooNew(path.to_owned(), version)) };
    if done == STEPS.len() {
        return Ok(());
    }
    let steps = STEPS[done..].concat();
    let mark = if lost && done == 0 { "INSERT INTO mark VALUES ('history lost');" } else { "" };
    let present = STEPS.len();
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {steps} {mark}
         PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {present}; COMMIT;"
    ))?;
    Ok(())
}

/// Whether a file is a state, or empty. A state of a later version is an error.
pub(super) fn is_ours(connection: &Connection, path: &Path) -> Result<bool, Error> {
    let version = version(connection)?;
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let ours = match (application, version) {
        (APPLICATION, _) => true,
        (0, 0) => tables(connection, "TRUE")? == 0,
        // The first version had no mark, only its tables.
        (0, _) => tables(connection, "name IN ('run', 'collection', 'total', 'stopped', 'sweep')")? == 5,
        _ => false,
    };
    match usize::try_from(version) {
        Ok(version) if version <= STEPS.len() => Ok(ours),
        _ if ours => Err(Error::TooNew(path.to_owned(), version)),
        _ => Ok(false),
    }
}

fn tables(connection: &Connection, which: &str) -> Result<i64, rusqlite::Error> {
    let sql = format!("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND {which}");
    connection.query_row(&sql, [], |row| row.get(0))
}

/// Whether a file is of the present version.
pub(super) fn is_present(connection: &Connection) -> Result<bool, rusqlite::Error> {
    Ok(usize::try_from(version(connection)?) == Ok(STEPS.len()))
}

/// Whether a file took the place of one that was lost.
pub(super) fn is_history_lost(connection: &Connection) -> Result<bool, rusqlite::Error> {
    let mark = connection.query_row("SELECT 1 FROM mark WHERE name = 'history lost'", [], |_| Ok(()));
    Ok(mark.optional()?.is_some())
}

fn version(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// The tables of the first version.
#[cfg(test)]
pub(super) fn first_version(connection: &Connection) {
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.execute_batch(&format!("BEGIN; {} PRAGMA user_version = 1; COMMIT;", STEPS[0])).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, Kind};
    use crate::state::test_support::{digest, name, open};

    /// An empty file of that version.
    fn file_of(version: usize) -> (tempfile::TempDir, Connection) {
        let (directory, state) = open();
        drop(state);
        let path = directory.path().join(crate::state::file::FILE);
        std::fs::remove_file(&path).unwrap();
        let file = Connection::open(&path).unwrap();
        file.execute_batch(&format!(
            "BEGIN; {} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {version}; COMMIT;",
            STEPS[..version].concat(),
        ))
        .unwrap();
        (directory, file)
    }

    /// A file of that version in which a repository has these indexes, each with its children as text.
    fn remembering(version: usize, indexes: &[(&str, &str)]) -> (tempfile::TempDir, crate::state::State) {
        let (directory, file) = file_of(version);
        file.execute(
            "INSERT INTO repository VALUES (1, 'main', ?1, '2027-01-15 08:00:00+00:00', '2027-01-15 08:00:00+00:00')",
            [name().as_str()],
        )
        .unwrap();
        let all = indexes.iter().map(|(word, children)| (*word, Kind::Index, *children));
        for (word, kind, children) in all.chain([("child", Kind::Image, "[]")]) {
            file.execute(
                "INSERT INTO manifest (digest, known, kind, size, children, blobs, labels)
                 VALUES (?1, 3, ?2, 5, ?3, '[]', '{}')",
                [digest(word).as_str(), kind.name(), children],
            )
            .unwrap();
            file.execute(
                "INSERT INTO sighting (repository, manifest, noticed)
                 SELECT 1, id, '2027-01-15 08:00:00+00:00' FROM manifest WHERE digest = ?1",
                [digest(word).as_str()],
            )
            .unwrap();
        }
        drop(file);
        let state = crate::state::State::open(directory.path()).unwrap();
        (directory, state)
    }

    #[test]
    fn index_whose_children_may_be_blobs_is_read_again() {
        let list = |words: &[&str]| {
            crate::state::sql::json(words.iter().map(|word| digest(word)).collect::<Vec<_>>())
        };
        let indexes = [
            ("whole", list(&["child"])),
            ("cache", list(&["layer", "config"])),
            ("mixed", list(&["child", "layer"])),
            ("empty", list(&[])),
            ("odd", "no list".to_owned()),
        ];
        let indexes = indexes.each_ref().map(|(word, children)| (*word, children.as_str()));
        let (_directory, state) = remembering(4, &indexes);
        let history = state.load_scan_history("main", &name()).unwrap();
        let read: Vec<&Digest> = history.manifests.keys().collect();
        let mut expected = ["whole", "empty", "child"].map(digest);
        expected.sort();
        assert_eq!(read, expected.each_ref());
        assert_eq!(history.observations.len(), 6, "when they were noticed is known all the same");
    }

    #[test]
    fn last_plan_and_summary_of_an_earlier_version_are_read() {
        let plan_field = "ghosts"; // old name
        let summary_field = "spared"; // old name
        let (directory, file) = file_of(8);
        let plan = format!(
            r#"{{"version":1,"registry":"main","now":"2026-01-01T00:00:00Z","applied":false,"repositories":[
                {{"repository":"team/app","policy":"apps","held_back":false,"tags":1,"kept":0,"expired_bytes":5,
                "referenced_bytes":0,"manifests":[{{"digest":"{}","tags":["a"],"kind":"image","created":null,
                "age_seconds":9,"evidence":[{{"source":"first-look","at":"2025-12-01T00:00:00Z","weight":"counts"}}],
                "bytes":5,"frees":5,"verdict":"delete","policy":"apps","rules":[],
                "reasons":[{{"code":"expired","verdict":"delete","text":"\"{plan_field}\":"}}],"gone":false}}],
                "untag":[],"{plan_field}":["<b>"]}}],"refusals":[],"failures":[],"totals":{{"repositories":1,
                "tags":1,"manifests":1,"delete":1,"untag":0,"expired_bytes":5,"referenced_bytes":0}}}}"#,
            digest("a"),
        );
        let summary = format!(
            r#"{{"applied":true,"{summary_field}":3,"failures":1,"refusals":["max_percent"],
                "problems":["\"{summary_field}\":"]}}"#
        );
        let sql = "INSERT INTO run (id, registry, started, summary) VALUES (1, 'main', '2026-01-01 00:00:00+00:00', ?1)";
        file.execute(sql, [&summary]).unwrap();
        let sql = "INSERT INTO plan VALUES ('main', '2026-01-01 00:00:00+00:00', 1, ?1)";
        file.execute(sql, [&plan]).unwrap();
        drop(file);
        let state = crate::state::State::open(directory.path()).unwrap();
        let summary = state.last_summary("main").unwrap().unwrap();
        assert_eq!((summary.skipped, summary.problems), (3, vec![format!("\"{summary_field}\":")]));
        let plan = state.last_plan("main").unwrap().unwrap();
        assert!(plan.applied, "{plan:?}");
        assert_eq!(plan.repositories[0].dangling_tags, ["<b>"]);
        let manifest = &plan.repositories[0].manifests[0];
        assert_eq!(manifest.reasons[0].text, format!("\"{plan_field}\":"));
        assert_eq!(serde_json::to_value(manifest).unwrap()["evidence"][0]["source"], "first-scan");
    }
}
