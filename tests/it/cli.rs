//! The command line: what commands print, how they end, and what they make of bad input.

mod bad_input;
mod closed_pipes;
mod json_logs;
mod naming;
