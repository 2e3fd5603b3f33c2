//! What the integration tests share: content, ways to put it somewhere, and registries to ask.
//!
//! All but `regsweep`, which runs it, know nothing of regsweep, so they cannot agree with it by accident.

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
