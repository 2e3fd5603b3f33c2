//! What the integration tests share: content, ways to put it somewhere, and registries to ask.
//!
//! All but `regsweep`, which runs it, know nothing of regsweep, so they cannot agree with it by accident.

#![allow(dead_code, unused_imports, reason = "every test binary compiles all of this and uses a part")]
#![allow(unreachable_pub, reason = "the same files serve an example, through #[path]")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "this is test code: a failure is a panic")]

pub mod engine;
pub mod fake;
pub mod faults;
pub mod gate;
pub mod held;
pub mod image;
pub mod program;
pub mod push;
pub mod redis;
pub mod regsweep;
pub mod server;
pub mod skopeo;
pub mod store;
pub mod sweep;
