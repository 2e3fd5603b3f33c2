//! Authentication: Docker configurations and helpers, tokens, certificates, proxies.
//!
//! Credentials may change during a run, and no secret is sent to another server or shown.

mod certificates;
mod docker_config;
mod harness;
mod proxies;
mod redirects;
mod rotation;
mod secrets;
mod tokens;
