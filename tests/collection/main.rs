//! Collections on a real Docker Engine with a real registry: what is freed, what stays whole, and that the
//! registry runs afterwards, whatever happened.

#![allow(clippy::unwrap_used, reason = "this is test code: a failure is a panic")]

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod docker;
mod killed;
mod redis;
mod refused;
mod world;
