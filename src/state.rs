//! What outlives the process: the scan history, the journal of deletions, runs, collections and totals.
//!
//! It is one SQLite file in a directory that one process holds at a time. It knows no registry and decides nothing. If
//! it is lost, the history is lost and images count as younger; nothing is deleted sooner.

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
