//! regsweep applies retention rules to container registries: it reads rules in YAML, evaluates what a registry holds, and
//! deletes the manifests that no rule keeps, once or as a service. Nothing is deleted that was not in a plan that could
//! have been printed first, with a reason for each image. What is unknown is kept.
//!
//! # The life of one run
//!
//! [`cli`] parses the arguments and loads the file with [`config`]; in the service, [`daemon`] starts the run on its
//! schedule. [`run::scan_and_plan`] asks [`registry::Reader`] for every repository that a policy claims, reads each into a
//! [`model::Snapshot`], and evaluates it with [`plan::plan`]. The resulting [`plan::Plan`] is printed, counted and
//! applied. [`run::apply`] reads each repository again, evaluates it again, and deletes with [`registry::Deleter`] what
//! both plans delete. [`run::collect`] frees the bytes with [`gc`]. [`state`] records each step before it is done,
//! [`report`] describes what was done, and [`metrics`] and [`http`] show it.
//!
//! docs/terminology.md defines the terms; CONTRIBUTING.md says where to find and add things.
//!
//! # The modules, lowest first
//!
//! A module uses only modules above it in this list; a test checks it.
//!
//! 1. [`model`]: what a registry holds.
//! 2. [`policy`]: what the operator wants.
//! 3. [`plan`]: a snapshot, an intent and the present moment become verdicts with reasons. Up to here no module does IO,
//!    reads a clock, logs or fails.
//! 4. [`report`]: what one run did. [`config`]: the YAML file, parsed and validated.
//! 5. [`process`](#the-modules-lowest-first): child processes with a time limit. On it [`registry`]: the HTTP API,
//!    divided into reading, deleting and restoring. [`runtime`]: the Docker Engine or the commands that stop and start a
//!    registry. [`state`]: the database.
//! 6. [`gc`]: garbage collection, which frees the bytes of deleted images.
//! 7. [`run`]: one run, from start to end.
//! 8. [`metrics`]: the Prometheus metrics. [`http`]: the web server for metrics, probes, the page and the JSON API.
//! 9. [`daemon`]: the service: schedule, reload, signals.
//! 10. [`telemetry`], [`cli`]: logging and the command line. Only here are the clock and the environment read.
//!
//! [`fuzzing`](#the-modules-lowest-first) gives the fuzz targets every parser of untrusted input; it exists only for them and
//! for tests.
//!
//! # Invariants
//!
//! - A manifest is deleted only if every tag on it is expired, and only by its digest.
//! - What a kept manifest needs is kept; what only expired manifests need is deleted with them.
//! - An incomplete snapshot decides nothing.
//! - Code without a [`registry::Deleter`] cannot delete.
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
