//! The web server as scrapers, probes, scanners and people use it.

mod admin;
mod api;
mod connections;
mod harness;
mod health;
mod history;
mod metrics;
mod page;
mod security;
