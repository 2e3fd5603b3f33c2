//! regsweep applies retention rules to container registries: it reads the rules from YAML, plans which manifests no rule
//! keeps, and deletes them, by hand or as a service. Whatever it deletes is in a plan that could have been printed
//! first, with a reason for each image. What is unknown is kept.
//!
//! # The life of one run
//!
//! [`cli`] parses the arguments and has [`config`] read the file, or [`daemon`] begins a run by the schedule.
//! [`run::scan_and_plan`] has [`registry::Reader`] read each repository that a policy claims into a
//! [`model::Snapshot`], and [`plan::plan`] gives each manifest a verdict with reasons. The [`plan::Plan`] is what is
//! printed. [`run::apply`] scans and plans each repository once more, and has [`registry::Deleter`] delete what
//! both plans delete. [`run::collect`] has [`gc`] free the bytes. [`state`] records each step before it is made,
//! [`report`] contains what was done, and [`metrics`] and [`http`] publish it.
//!
//! docs/terminology.md defines the terms.
//!
//! # The modules, lowest first
//!
//! A module uses only modules above it in this list; a test checks it.
//!
//! 1. [`model`]: what a registry holds.
//! 2. [`policy`]: what the operator wants.
//! 3. [`plan`]: snapshot, intent and the present moment become verdicts. Up to here, nothing does IO, reads a clock,
//!    logs or fails.
//! 4. [`report`]: what runs did, and the JSON documents. [`config`]: YAML becomes a validated configuration.
//! 5. [`registry`]: the HTTP API, in a reading, a deleting and a restoring half. [`runtime`]: the Docker Engine or
//!    the commands that stop and start a registry. [`state`]: what is stored on disk. Below them [`process`](#the-modules-lowest-first)
//!    runs child processes and kills what they started.
//! 6. [`gc`]: garbage collection, which frees the bytes of deleted images.
//! 7. [`run`]: one run, start to end.
//! 8. [`metrics`]: for Prometheus. [`http`]: the web page, the API, the probes.
//! 9. [`daemon`]: the service: schedule, reload, signals.
//! 10. [`telemetry`], [`cli`]: logs and the command line. Only here are the clock and the environment read.
//!
//! [`fuzzing`](#the-modules-lowest-first) gives the fuzz targets every parser of foreign bytes; it exists only for them
//! and for tests.
//!
//! # Invariants
//!
//! - A manifest is deleted only if every tag on it is expired, and only by its digest.
//! - What a kept manifest needs is kept; what only expired manifests need is deleted with them.
//! - A plan of an incomplete snapshot deletes nothing.
//! - Code without a [`registry::Deleter`] cannot delete anything.
//! - A registry that was stopped for a collection is started again, by this process or the next.

pub mod cli;
pub mod config;
pub mod daemon;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod gc;
pub mod http;
pub mod metrics;
pub mod model;
pub mod plan;
pub mod policy;
mod process;
pub mod registry;
pub mod report;
pub mod run;
pub mod runtime;
pub mod state;
pub mod telemetry;
