//! What the integration tests share: content, ways to store it, and registries.
//!
//! All but `cli` and `regsweep`, which run regsweep, know nothing of it, so they cannot share its mistakes.

pub mod docker_engine;
pub mod fake_registry;
pub mod fault_proxy;
pub mod holding_proxy;
pub mod contents;
pub mod image;
pub mod registry_program;
pub mod push;
pub mod redis;
pub mod regsweep;
pub mod real_registry;
pub mod skopeo;
pub mod store;
pub mod cli;
