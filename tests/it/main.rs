//! The integration tests, in one binary, by subject.

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
