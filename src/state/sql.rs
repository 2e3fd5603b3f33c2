//! Rust values as SQLite stores them.

/// A list or a map as one column. If it cannot be parsed later, it counts as unknown.
pub(super) fn json(value: impl serde::Serialize) -> String {
    serde_json::to_string(&value).unwrap_or_default()
}

/// SQLite has no unsigned numbers. No disk holds more bytes than a signed one can count.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
