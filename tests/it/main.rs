//! The integration tests, in one binary, by subject.
//!
//! Most of them wait for programs, so `make check` runs twice as many at the same time as there are cores. Tests that need
//! a whole core are `#[serial(cpu)]`: one of them runs at a time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "this is test code: a failure is a panic"
)]

mod architecture;
mod cli;
mod compatibility;
mod credentials;
mod fake_conformance;
mod fake_scripts;
mod faults;
mod gc;
mod http;
mod monitoring;
mod packaging;
mod restore;
mod safety;
mod scale;
mod service;
mod state;
#[allow(dead_code, unreachable_pub, reason = "the examples include some of these files by #[path]")]
mod support;
mod support_checks;
mod untrusted;
