//! The open state: one SQLite file in a directory, and the lock of the process that holds it.
//!
//! It must not know what the tables hold.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::error::Error;
use super::file::{self, BUSY_TIMEOUT, FILE, LOCK, LOSS_NOTE};
use super::names::RegistryNames;
use super::schema;

/// Statements that stay prepared: there are fewer in this module.
const STATEMENTS: usize = 64;

/// The open state. Clones share it.
#[derive(Clone)]
pub struct State {
    open: Arc<Open>,
}

/// Fields are dropped in this order: both connections are closed before the lock is released.
struct Open {
    /// For transactions that must be on the disk when the call returns.
    durable: Mutex<Connection>,
    /// For the scan history: a power failure may undo its latest changes, which the next scan finds again. A view has
    /// no second connection, because it writes nothing.
    quick: Option<Mutex<Connection>>,
    /// Only one connection to a file can write at a time. SQLite would poll; this mutex waits.
    writing: Mutex<()>,
    /// The names of the registries.
    names: RwLock<Arc<RegistryNames>>,
    /// Whether an earlier state was lost.
    history_lost: bool,
    /// A view holds no lock, and writes nothing.
    writable: bool,
    /// Why the state is lost that this view takes the place of.
    lost: Option<String>,
    _lock: Option<File>,
}

impl State {
    /// Opens the state in this directory, and creates both if necessary. An unusable file is set aside, with an error
    /// in the log, and a new one is created.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let io = |error| Error::Directory(directory.to_owned(), error);
        std::fs::create_dir_all(directory).map_err(io)?;
        // A lock without a state means that the state was lost.
        let known = directory.join(LOCK).exists();
        let lock = File::create(directory.join(LOCK)).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {
                let lost = Self::set_aside_what_is_unusable(directory, known)?;
                let state = Self::begin(directory, Some(lock), lost)?;
                if let Err(error) = file::leave_to_owner(directory) {
                    tracing::warn!(directory = %directory.display(), %error, "the files of the state stay root's");
                }
                let unwritable = || io(ErrorKind::PermissionDenied.into());
                state.is_writable().then_some(state).ok_or_else(unwritable)
            }
            Err(TryLockError::WouldBlock) => Err(Error::Locked(directory.to_owned())),
            Err(TryLockError::Error(error)) => Err(io(error)),
        }
    }

    /// Whether changes are saved.
    pub fn is_writable(&self) -> bool {
        self.open.writable
    }

    /// Why the state is lost, if it is: a read-only command then sees an empty view in place of the new state that the
    /// next run will create.
    pub fn lost(&self) -> Option<&str> {
        self.open.lost.as_deref()
    }

    /// Sets an unusable file aside, with an error in the log. Returns whether a state was lost; `known` says that
    /// there was one.
    fn set_aside_what_is_unusable(directory: &Path, known: bool) -> Result<bool, Error> {
        let path = directory.join(FILE);
        if let Some(why) = file::unusable(&path)? {
            let renamed =
                file::set_aside(&path).map_err(|error| Error::Directory(directory.to_owned(), error))?;
            tracing::error!(
                file = %path.display(),
                set_aside = %renamed.display(),
                "the state could not be used ({why}), so it was set aside and a new one was begun. {LOSS_NOTE}"
            );
            return Ok(true);
        }
        if known && file::is_empty(&path) {
            tracing::error!(
                file = %path.display(), "the state is gone from where it was, so a new one was begun. {LOSS_NOTE}"
            );
        }
        Ok(known)
    }

    /// Opens the file or creates it. The caller holds the lock meanwhile.
    pub(super) fn begin(directory: &Path, lock: Option<File>, lost: bool) -> Result<Self, Error> {
        let path = directory.join(FILE);
        let durable = connect(&path, OpenFlags::default(), "FULL")?;
        schema::prepare(&durable, &path, lost)?;
        let quick = connect(&path, OpenFlags::default(), "NORMAL")?;
        let writable = !durable.is_readonly(rusqlite::MAIN_DB)?;
        let history_lost = schema::is_history_lost(&durable)?;
        let (durable, quick, writing) = (Mutex::new(durable), Some(Mutex::new(quick)), Mutex::new(()));
        let names = RwLock::default();
        let open = Open { durable, quick, writing, names, history_lost, writable, lost: None, _lock: lock };
        Ok(Self { open: Arc::new(open) })
    }

    /// A read-only view.
    pub(super) fn view(connection: Connection, lost: Option<String>) -> Result<Self, Error> {
        connection.pragma_update(None, "query_only", true)?;
        let history_lost = schema::is_history_lost(&connection)?;
        let (durable, writing) = (Mutex::new(connection), Mutex::new(()));
        let names = RwLock::default();
        let open =
            Open { durable, quick: None, writing, names, history_lost, writable: false, lost, _lock: None };
        Ok(Self { open: Arc::new(open) })
    }

    /// The present names of the registries.
    pub(super) fn names(&self) -> Arc<RegistryNames> {
        self.open.names.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the names of the registries.
    pub(super) fn set_names(&self, names: RegistryNames) {
        let mut present = self.open.names.write().unwrap_or_else(PoisonError::into_inner);
        *present = Arc::new(names.with_former(&present));
    }

    /// The key of the registry of this name in the tables.
    pub(super) fn key(&self, name: &str) -> String {
        self.names().key(name).to_owned()
    }

    /// Whether this state took the place of one that was lost.
    pub(super) fn is_history_lost(&self) -> bool {
        self.open.history_lost
    }

    /// Commits all of the work or nothing. When this returns, it is on the disk.
    pub(super) fn durably<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<T, Error> {
        self.write(self.durable(), work)
    }

    /// Commits all of the work or nothing. A power failure may undo it.
    pub(super) fn quickly<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<T, Error> {
        self.write(self.quick(), work)
    }

    fn write<T>(
        &self,
        mut connection: MutexGuard<'_, Connection>,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<T, Error> {
        let _turn = self.open.writing.lock().unwrap_or_else(PoisonError::into_inner);
        // A transaction that takes the write lock at once cannot fail later because another one has written.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }

    pub(super) fn durable(&self) -> MutexGuard<'_, Connection> {
        // A panic rolls its transaction back, so the connection is in a consistent state.
        self.open.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn quick(&self) -> MutexGuard<'_, Connection> {
        let quick = self.open.quick.as_ref().unwrap_or(&self.open.durable);
        quick.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connect(path: &Path, flags: OpenFlags, synchronous: &str) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FirstScan, ScanHistory};
    use crate::state::NewJournalEntry;
    use crate::state::test_support::{at, name, new_entry, open};

    #[test]
    fn state_is_held_by_one_process() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(directory.path()).unwrap();
        let second = State::open(directory.path()).err().unwrap();
        assert!(second.to_string().contains("in use by another regsweep"), "{second}");
        drop(state);
        State::open(directory.path()).unwrap();
    }

    #[test]
    fn file_of_a_later_version_is_not_changed() {
        let directory = tempfile::tempdir().unwrap();
        drop(State::open(directory.path()).unwrap());
        let file = Connection::open(directory.path().join("state.sqlite")).unwrap();
        file.pragma_update(None, "user_version", 99).unwrap();
        drop(file);
        assert!(matches!(State::open(directory.path()).err(), Some(Error::TooNew(_, 99))));
    }

    fn forgets(state: &State) -> bool {
        state.load_scan_history("main", &name()).unwrap().first_scan == FirstScan::Lost
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The directory of a closed state with some pages.
    fn some() -> tempfile::TempDir {
        let (directory, state) = open();
        let run = state.begin_run("main", at(0)).unwrap();
        for number in 0..50 {
            let new_entry = new_entry(&number.to_string(), &["v1"], 10);
            state
                .record_intent(run, "main", &NewJournalEntry { body: vec![7; 3000], ..new_entry }, at(1))
                .unwrap();
        }
        assert!(!forgets(&state));
        directory
    }

    #[test]
    fn damaged_file_is_set_aside_for_a_new_one() {
        type Break = fn(&mut Vec<u8>);
        let breaks: [(&str, Break); 5] = [
            ("noise", |bytes| {
                let noise = |n: u32| n.wrapping_mul(2_654_435_761).to_be_bytes()[1];
                *bytes = (0..9000).map(noise).collect();
            }),
            ("text", |bytes| *bytes = b"not a database".to_vec()),
            ("half of it", |bytes| bytes.truncate(bytes.len() / 2)),
            ("a page of zeros", |bytes| bytes[20 * 4096..21 * 4096].fill(0)),
            ("no header", |bytes| bytes[..4096].fill(0)),
        ];
        for (what, destroy) in breaks {
            let directory = some();
            let path = directory.path().join(FILE);
            let mut bytes = std::fs::read(&path).unwrap();
            destroy(&mut bytes);
            std::fs::write(&path, &bytes).unwrap();
            let state = State::open(directory.path()).unwrap();
            assert!(forgets(&state), "{what}");
            assert_eq!(state.runs(9).unwrap(), [], "{what}");
            assert_eq!(
                std::fs::read(directory.path().join("state.sqlite.set-aside-1")).unwrap(),
                bytes,
                "{what}"
            );
            state.begin_run("main", at(0)).unwrap();
            drop(state);
            let state = State::open(directory.path()).unwrap();
            assert!(forgets(&state), "{what}");
            assert_eq!(state.runs(9).unwrap().len(), 1, "{what}");
            drop(state);
            let again = "state.sqlite.set-aside-2";
            assert!(!directory.path().join(again).exists(), "{what}");
        }
    }

    #[test]
    fn file_is_set_aside_with_its_log_and_replaces_none() {
        let directory = some();
        let path = |name: &str| directory.path().join(name);
        for name in ["state.sqlite", "state.sqlite-wal", "state.sqlite.set-aside-2-wal"] {
            std::fs::write(path(name), name).unwrap();
        }
        std::fs::write(path("state.sqlite.set-aside-1"), "older").unwrap();
        State::open(directory.path()).unwrap();
        let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
        assert_eq!(read("state.sqlite.set-aside-1"), "older");
        assert_eq!(read("state.sqlite.set-aside-2-wal"), "state.sqlite.set-aside-2-wal");
        assert_eq!(read("state.sqlite.set-aside-3"), "state.sqlite");
        assert_eq!(read("state.sqlite.set-aside-3-wal"), "state.sqlite-wal");
    }

    #[test]
    fn database_of_another_program_is_set_aside_unchanged() {
        let sqls = [
            "CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('x')",
            "CREATE TABLE run (id); PRAGMA user_version = 1",
            "CREATE TABLE notes (text TEXT); PRAGMA user_version = 99",
            "PRAGMA application_id = 5",
        ];
        for sql in sqls {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join(FILE);
            Connection::open(&path).unwrap().execute_batch(sql).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let state = State::open(directory.path()).unwrap();
            assert!(forgets(&state), "{sql}");
            assert_eq!(
                std::fs::read(directory.path().join("state.sqlite.set-aside-1")).unwrap(),
                bytes,
                "{sql}"
            );
        }
    }

    #[test]
    fn missing_or_empty_file_where_a_state_was_is_a_loss() {
        for lose in [
            |path: &Path| std::fs::remove_file(path).unwrap(),
            |path: &Path| std::fs::write(path, "").unwrap(),
        ] {
            let directory = some();
            lose(&directory.path().join(FILE));
            std::fs::write(directory.path().join("state.sqlite-wal"), "of another file").unwrap();
            let state = State::open(directory.path()).unwrap();
            assert!(forgets(&state));
            let scanned = ScanHistory { first_scan: FirstScan::AfterLoss(at(4)), ..ScanHistory::default() };
            state.save_scan_history("main", &name(), &ScanHistory::default(), &scanned, at(4)).unwrap();
            assert_eq!(state.load_scan_history("main", &name()).unwrap(), scanned);
            assert_eq!(names(directory.path()), ["lock", FILE, "state.sqlite-shm", "state.sqlite-wal"]);
        }
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE), "").unwrap();
        assert!(!forgets(&State::open(directory.path()).unwrap()));
    }

    #[test]
    fn file_of_the_first_version_keeps_its_data() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(LOCK), "").unwrap();
        let file = Connection::open(directory.path().join(FILE)).unwrap();
        schema::first_version(&file);
        file.execute_batch(
            "INSERT INTO run (registry, started, finished, outcome, deleted) VALUES
                 ('main', '2027-01-15 08:00:00+00:00', '2027-01-15 08:00:05+00:00', 'success', 3);
             INSERT INTO collection (registry, at, outcome, duration, downtime, blobs, bytes)
                 VALUES ('main', '2027-01-15 08:00:20+00:00', 'success', 2.5, 1.5, 2, 40);
             INSERT INTO total VALUES ('reclaimable', 'main', '', 150);
             INSERT INTO stopped VALUES ('main');",
        )
        .unwrap();
        drop(file);
        let state = State::open(directory.path()).unwrap();
        assert!(!forgets(&state));
        let runs = state.runs(9).unwrap();
        assert_eq!((runs.len(), runs[0].deleted, runs[0].started), (1, 3, at(0)));
        assert_eq!(state.collections(9).unwrap()[0].collected.at, at(20));
        assert_eq!(state.reclaimable("main").unwrap(), 150);
        assert_eq!(state.stopped().unwrap(), ["main"]);
        assert_eq!(state.recovery_log("main").down_since().unwrap(), None);
        let entry = state.record_intent(runs[0].id, "main", &new_entry("a", &["v1"], 5), at(30)).unwrap();
        state.record_deleted(entry).unwrap();
        drop(state);
        let state = State::open(directory.path()).unwrap();
        assert_eq!(state.reclaimable("main").unwrap(), 155);
        assert_eq!(names(directory.path()).iter().filter(|name| name.contains("aside")).count(), 0);
    }

    #[test]
    fn read_only_command_without_a_holder_may_save_and_blocks_none() {
        let directory = tempfile::tempdir().unwrap();
        assert!(State::open_to_read(&directory.path().join("none")).unwrap().is_none());
        assert_eq!(names(directory.path()).len(), 0);
        assert!(State::open_to_read(directory.path()).unwrap().is_none());
        assert_eq!(names(directory.path()).len(), 0);
        drop(State::open(directory.path()).unwrap());
        let state = State::open_to_read(directory.path()).unwrap().unwrap();
        assert!(state.is_writable());
        let holder = State::open(directory.path()).unwrap();
        let scanned = ScanHistory { first_scan: FirstScan::At(at(4)), ..ScanHistory::default() };
        state.save_scan_history("main", &name(), &ScanHistory::default(), &scanned, at(4)).unwrap();
        assert_eq!(holder.load_scan_history("main", &name()).unwrap(), scanned);
    }

    #[test]
    fn read_only_view_sees_what_the_holder_commits() {
        let (directory, holder) = open();
        let view = State::open_to_read(directory.path()).unwrap().unwrap();
        assert!(!view.is_writable());
        assert_eq!(view.runs(9).unwrap(), []);
        let run = holder.begin_run("main", at(0)).unwrap();
        assert_eq!(view.runs(9).unwrap().len(), 1);
        let scanned = ScanHistory { first_scan: FirstScan::At(at(4)), ..ScanHistory::default() };
        holder.save_scan_history("main", &name(), &ScanHistory::default(), &scanned, at(4)).unwrap();
        assert_eq!(view.load_scan_history("main", &name()).unwrap(), scanned);
        let other = ScanHistory { first_scan: FirstScan::At(at(5)), ..ScanHistory::default() };
        view.save_scan_history("main", &name(), &scanned, &other, at(5)).unwrap();
        view.prune_scan_history("main", at(9)).unwrap();
        view.prune(at(9)).unwrap();
        assert_eq!(view.load_scan_history("main", &name()).unwrap(), scanned);
        assert!(view.record_intent(run, "main", &new_entry("a", &["v1"], 1), at(1)).is_err());
        drop(holder);
        State::open(directory.path()).unwrap();
        assert_eq!(view.load_scan_history("main", &name()).unwrap(), scanned);
    }

    #[test]
    fn read_only_view_sets_nothing_aside() {
        let directory = some();
        let lock = File::create(directory.path().join(LOCK)).unwrap();
        lock.lock().unwrap();
        std::fs::write(directory.path().join(FILE), "noise").unwrap();
        assert!(matches!(State::open_to_read(directory.path()).err(), Some(Error::Unreadable(..))));
        std::fs::remove_file(directory.path().join(FILE)).unwrap();
        assert!(matches!(State::open_to_read(directory.path()).err(), Some(Error::Unreadable(..))));
        assert_eq!(names(directory.path()), [LOCK]);
    }

    #[test]
    fn read_only_view_migrates_a_copy_of_an_older_file() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(LOCK), "").unwrap();
        let file = Connection::open(directory.path().join(FILE)).unwrap();
        schema::first_version(&file);
        file.execute_batch(
            "INSERT INTO run (registry, started, deleted) VALUES ('main', '2027-01-15 08:00:00+00:00', 3)",
        )
        .unwrap();
        // Another process holds the state, perhaps of that version.
        let lock = File::create(directory.path().join(LOCK)).unwrap();
        lock.lock().unwrap();
        let view = State::open_to_read(directory.path()).unwrap().unwrap();
        assert_eq!((view.runs(9).unwrap().len(), view.is_writable()), (1, false));
        drop(lock);
        let version: i64 = file.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, 1);
    }

    #[test]
    fn durable_connection_syncs_fully() {
        let (_directory, state) = open();
        let pragma = |connection: &Connection, name: &str| -> i64 {
            connection.pragma_query_value(None, name, |row| row.get(0)).unwrap()
        };
        let (full, normal, incremental) = (2, 1, 2);
        assert_eq!(pragma(&state.durable(), "synchronous"), full);
        assert_eq!(pragma(&state.quick(), "synchronous"), normal);
        assert_eq!(pragma(&state.durable(), "auto_vacuum"), incremental);
    }
}
