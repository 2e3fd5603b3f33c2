//! Who regsweep is to a registry: Docker's configuration files and helpers, tokens, certificates, proxies.
//!
//! It gets in where it may, it goes on when credentials change, and no secret is shown to anybody else.

mod certificates;
mod changed;
mod docker;
mod elsewhere;
mod harness;
mod proxies;
mod secrets;
mod tokens;
