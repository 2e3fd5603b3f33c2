//! What the integration tests share: content, ways to put it somewhere, and registries to ask.
//!
//! It knows nothing of regsweep itself, so it cannot agree with it by accident.

#![allow(dead_code, unused_imports, reason = "every test binary compiles all of this and uses a part")]
#![allow(unreachable_pub, reason = "the same files serve an example, through #[path]")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "this is test code: a failure is a panic")]

pub mod engine;
pub mod fake;
pub mod image;
pub mod push;
pub mod server;
pub mod skopeo;
pub mod store;
