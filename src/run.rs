//! One run over one registry: scan, plan, recheck, delete, collect, undo.
//!
//! [`scan_and_plan`] reads the registry and plans. [`apply`] deletes what that plan deletes, after a recheck of each
//! repository. [`collect`] has the registry remove the data of what was deleted. [`run()`] makes a whole run of the
//! three and records it. A dry run is a caller that stops after the plan: no flag in here switches deletions off.

mod apply;
mod apply_repository;
mod blocking;
mod bounds;
mod collect;
mod context;
mod dependents;
mod error;
mod evaluate;
mod features;
mod full_run;
mod grace;
mod hidden_tags;
mod history;
mod image_name;
mod inspect;
mod journal;
mod memory_share;
mod precondition;
pub mod preflight;
mod progress;
mod reachability;
mod recheck;
mod recover;
mod recovery_pause;
mod repositories;
mod retained;
mod scan;
mod scan_and_plan;
mod scan_history;
mod send;
mod stop;
mod subjects;
mod swept;
mod time_argument;
mod undo;
mod work;

pub use apply::{ApplyOptions, LimitMode, apply};
pub use collect::collect;
pub use context::{Clock, RegistryContext};
pub use error::Error;
pub use full_run::{RunOptions, RunResult, run, store_plan};
pub use grace::{grace_ends, held_back};
pub use history::history;
pub use image_name::{ImageError, ImageTarget, Name, Reference, no_image, parse_image, prefixes};
pub use inspect::inspect;
pub use journal::Journal;
pub use precondition::{Blocked, GraceMode, blocked};
pub use progress::Progress;
pub use reachability::answers_now;
pub use recover::{recover, recover_after};
pub use recovery_pause::recovery_pause;
pub use repositories::repositories;
pub use retained::RetainedDigests;
pub use scan_and_plan::{ScannedPlan, scan_and_plan};
pub use stop::Cancellation;
pub use time_argument::TimeArgument;
pub use undo::undo;
