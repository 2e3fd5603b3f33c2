//! The service from its start to its end, as an operator sees it: processes, signals, files, sockets, a Docker Engine and
//! registries.

mod admin;
mod check_connect;
mod collection;
mod concurrency;
mod first_start;
mod gc_interruption;
pub(crate) mod harness;
mod history;
mod kill;
mod lifecycle;
mod log;
mod metrics;
mod overload;
mod probes;
mod recovery;
mod reload;
mod reload_in_process;
mod reload_registries;
mod rename;
mod requests;
mod secrets;
mod signals;
mod systemd;
