//! What the integration tests share: content, ways to put it somewhere, and registries to ask.
//!
//! All but `regsweep`, which runs it, know nothing of regsweep, so they cannot agree with it by accident.

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
