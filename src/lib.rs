//! regsweep keeps container registries from filling up: it reads YAML rules of retention, judges what a
//! registry holds, and deletes the manifests that no rule keeps, by hand or as a service. What it may delete is always in a plan
//! that could have been printed first, with a reason for each image. What it does not know, it keeps.
//!
//! # The life of one run
//!
//! [`cli`] takes the arguments and has [`config`] read the file; by the schedule, [`daemon`] begins the
//! run. [`run::scan_and_plan`] asks [`registry::Reader`] for every repository that a policy claims, reads
//! each into a [`model::Snapshot`], and has [`plan::plan`] evaluate it. The [`plan::Plan`] is what people
//! see. If it is to be carried out, [`run::apply`] reads each repository once more, judges it again,
//! and has [`registry::Deleter`] delete what both plans agree on. [`run::collect`] has [`gc`] free the
//! bytes. [`state`] notes each step as it is made, [`report`] says what was done, and [`metrics`] and
//! [`http`] show it.
//!
//! docs/terminology.md defines the terms.
//!
//! # The modules, lowest first
//!
//! A module uses only what stands above it in this list; a test keeps it so.
//!
//! 1. [`model`]: what a registry holds.
//! 2. [`policy`]: what the operator wants.
//! 3. [`plan`]: the one and the other and the present moment become verdicts. Up to here nothing does
//!    IO, reads a clock, logs or fails.
//! 4. [`report`]: what one run did. [`config`]: the YAML file, as written and as meant.
//! 5. [`registry`]: the HTTP API, in a reading, a deleting and a restoring half. [`runtime`]: the Docker Engine or
//!    the commands that stop and start a registry. [`state`]: what outlives the process. Below them [`process`](#the-modules-lowest-first)
//!    runs child processes and kills what they started.
//! 6. [`gc`]: garbage collection, which frees the bytes of deleted images.
//! 7. [`run`]: one run, start to end.
//! 8. [`metrics`]: what Prometheus sees. [`http`]: what is seen with a browser, a probe or a scraper.
//! 9. [`daemon`]: the service: when something begins, reloads, signals.
//! 10. [`telemetry`], [`cli`]: the face. Only here are the clock and the environment read.
//!
//! [`fuzzing`](#the-modules-lowest-first) stands aside: it gives the fuzz targets every reader of foreign
//! bytes, and exists only for them and for tests.
//!
//! # What always holds
//!
//! - A manifest goes only if every tag on it is expired, and only by its digest.
//! - What a kept manifest needs is kept; what only expired ones need goes with them.
//! - A snapshot that is not whole decides nothing.
//! - Code without a [`registry::Deleter`] can delete nothing.
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
