//! What the examples share with the integration tests: content, ways to store it, and registries.

#![allow(dead_code, unreachable_pub, reason = "the integration tests use the rest")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "test code panics on a failure"
)]

#[path = "../../tests/it/support/fault_proxy.rs"]
pub mod fault_proxy;
#[path = "../../tests/it/support/image.rs"]
pub mod image;
#[path = "../../tests/it/support/push.rs"]
pub mod push;
#[path = "../../tests/it/support/real_registry.rs"]
pub mod real_registry;
#[path = "../../tests/it/support/registry_program.rs"]
pub mod registry_program;
#[path = "../../tests/it/support/store.rs"]
pub mod store;
