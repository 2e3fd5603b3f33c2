//! What the integration tests share: content, ways to store it, and registries.
//!
//! Only `cli` and `regsweep` use regsweep; the others must not, so that they cannot repeat its mistakes.

pub mod cli;
pub mod contents;
pub mod docker_engine;
pub mod fake_registry;
pub mod fault_proxy;
pub mod holding_proxy;
pub mod image;
pub mod push;
pub mod real_registry;
pub mod redis;
pub mod registry_program;
pub mod regsweep;
pub mod skopeo;
pub mod store;
