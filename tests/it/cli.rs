//! The command line: what commands print, how they end, and what they make of bad input.

mod closed_pipes;
mod commands;
mod config_errors;
mod harness;
mod json_documents;
mod json_logs;
mod naming;
mod snapshots;
mod terminal;
