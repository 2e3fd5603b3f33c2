//! Credentials for a registry, and the tokens of its token service.
//!
//! It decides which `Authorization` a request gets. It sends requests to token services, and none to the registry.

pub(super) mod authenticator;
pub(super) mod challenge;
pub(super) mod credentials;
pub(super) mod docker_config;
mod helper;
mod json;
mod keychain;
pub(super) mod scope;
mod token_service;
mod tokens;
