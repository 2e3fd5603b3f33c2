//! regsweep against those who mean it harm: registries that lie without end, images made to be read badly,
//! configurations that are bombs. It ends, says what is wrong, and deletes nothing that it did not understand.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "this is test code: a failure is a panic")]

#[path = "../support/mod.rs"]
mod support;

mod bombs;
mod lists;
mod manifests;
mod words;
mod world;
