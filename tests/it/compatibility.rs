//! regsweep with every kind of registry: it deletes exactly what the plan lists, and nothing where an answer is
//! missing or unclear.

mod auth;
mod blobs;
mod catalog;
mod deletion;
mod harness;
mod products;
mod reading;
mod rechecks;
mod referrers;
mod requests;
mod restore;
mod retention;
mod retries;
mod tag_completeness;
mod tags;
