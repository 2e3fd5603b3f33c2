//! The service from its start to its end, as an operator sees it: processes, signals, files, sockets, a
//! Docker Engine, registries.

#![allow(clippy::unwrap_used, reason = "this is test code: a failure is a panic")]

#[path = "../support/mod.rs"]
mod support;

mod collecting;
mod connect;
mod crowded;
mod down;
mod first;
mod interrupted;
mod killed;
mod life;
mod numbers;
mod past;
mod reload;
mod renamed;
mod returned;
mod secret;
mod signals;
mod together;
mod told;
mod undone;
mod world;
