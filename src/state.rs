//! What outlives the process: what scans have seen, what was deleted, runs, collections and totals.
//!
//! One SQLite file in a directory that one process holds at a time. It knows no registry and decides
//! nothing. Losing it loses history and makes everything look younger; nothing is deleted sooner for it.

mod error;
mod file;
mod history;
mod journal;
mod leftovers;
mod names;
mod plans;
mod read_only;
mod recovery_log;
mod registry_names;
mod reruns;
mod runs;
mod scan_history;
mod scan_history_rows;
mod schema;
mod sql;
mod store;
mod subjects;
mod summary;
mod tag_deletion;
#[cfg(test)]
mod test_support;
mod totals;

pub use error::Error;
pub use history::Filter;
pub use journal::NewJournalEntry;
pub use recovery_log::RecoveryLog;
pub use registry_names::{RegistryChanges, UnconfiguredRegistry};
pub use runs::Collection;
pub use store::State;
pub use summary::{DeletedCount, RegistrySummary};
pub use totals::{Total, TotalKind};
