//! Collections on a real Docker Engine with a real registry: what is freed, what stays whole, and that the
//! registry runs afterwards, whatever happened.

mod commands;
mod docker;
mod harness;
mod killed;
mod redis;
mod refused;
