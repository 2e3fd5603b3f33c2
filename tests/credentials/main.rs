//! Who regsweep is to a registry: Docker's configuration files and helpers, tokens, certificates, proxies.
//!
//! It gets in where it may, it goes on when credentials change, and no secret is shown to anybody else.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "this is test code: a failure is a panic")]

#[path = "../support/mod.rs"]
mod support;

mod certificates;
mod changed;
mod docker;
mod elsewhere;
mod proxies;
mod secrets;
mod tokens;
mod world;
