//! regsweep against registries of every kind in every weather: it deletes what the plan says where the
//! sky is clear, and nothing where it could not see.

mod auth;
mod blobs;
mod case;
mod catalog;
mod deleting;
mod hidden;
mod others;
mod personalities;
mod reading;
mod rechecks;
mod referrers;
mod restoring;
mod retrying;
mod tags;
mod traffic;
