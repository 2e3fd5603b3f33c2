//! The service from its start to its end, as an operator sees it: processes, signals, files, sockets, a
//! Docker Engine, registries.

mod collecting;
mod connect;
mod crowded;
mod down;
mod first;
pub(crate) mod harness;
mod interrupted;
mod killed;
mod life;
mod numbers;
mod past;
mod probes;
mod reload;
mod reload_leaks;
mod renamed;
mod returned;
mod secret;
mod signals;
mod together;
mod told;
mod undone;
