//! Hostile input: endless answers, malformed images, configurations that expand without limit. regsweep ends within
//! its limits, reports what is wrong, and deletes nothing that it could not parse.

mod configuration;
mod escaping;
mod harness;
mod lists;
mod manifests;
