//! Totals that continue after a restart.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::error::Error;
use super::sql::{signed, unsigned};
use super::store::State;

/// A total that continues after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    /// What is summed.
    pub kind: TotalKind,
    /// The registry.
    pub registry: String,
    /// The policy; empty for a total of the registry.
    pub policy: String,
    /// The sum.
    pub value: u64,
}

/// What a total sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TotalKind {
    /// Manifests deleted, by policy.
    DeletedManifests,
    /// Tags deleted, by policy.
    DeletedTags,
    /// Bytes that collections freed.
    ReclaimedBytes,
    /// Blobs that collections freed.
    ReclaimedBlobs,
    /// Bytes deleted and not yet collected.
    Reclaimable,
}

impl TotalKind {
    const ALL: [Self; 5] = [
        Self::DeletedManifests,
        Self::DeletedTags,
        Self::ReclaimedBytes,
        Self::ReclaimedBlobs,
        Self::Reclaimable,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::DeletedManifests => "deleted_manifests",
            Self::DeletedTags => "deleted_tags",
            Self::ReclaimedBytes => "reclaimed_bytes",
            Self::ReclaimedBlobs => "reclaimed_blobs",
            Self::Reclaimable => "reclaimable",
        }
    }
}

impl State {
    /// All totals.
    pub fn totals(&self) -> Result<Vec<Total>, Error> {
        let connection = self.durable();
        let names = self.names();
        let mut statement = connection.prepare("SELECT kind, registry, policy, value FROM total")?;
        let rows = statement.query_map([], |row| {
            let name: String = row.get(0)?;
            let kind = TotalKind::ALL.into_iter().find(|kind| kind.name() == name);
            let (registry, policy) = (names.name(row.get(1)?), row.get(2)?);
            Ok(kind.map(|kind| Total {
                kind,
                registry,
                policy,
                value: row.get::<_, i64>(3).map_or(0, unsigned),
            }))
        })?;
        Ok(rows.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// Bytes that were deleted in this registry and not yet collected.
    pub fn reclaimable(&self, registry: &str) -> Result<u64, Error> {
        let registry = self.key(registry);
        let connection = self.durable();
        let value: Option<i64> = connection
            .query_row(
                "SELECT value FROM total WHERE kind = ?1 AND registry = ?2",
                [TotalKind::Reclaimable.name(), &registry],
                |row| row.get(0),
            )
            .optional()?;
        Ok(value.map_or(0, unsigned))
    }
}

/// Adds to a total.
pub(super) fn add(
    connection: &Connection,
    kind: TotalKind,
    registry: &str,
    policy: &str,
    value: u64,
) -> Result<(), rusqlite::Error> {
    connection.execute(
        "INSERT INTO total (kind, registry, policy, value) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET value = value + excluded.value",
        params![kind.name(), registry, policy, signed(value)],
    )?;
    Ok(())
}
