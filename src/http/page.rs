//! The pages for people: whole documents, rendered here, without scripts and without anything from other sites.
//!
//! All text goes through maud, which escapes it: names and errors come from registries, which may be hostile.

mod alerts;
mod format;
mod frame;
mod labels;
mod overview;
mod plan;
mod run;

pub(super) use frame::STYLE;
pub(super) use overview::overview;
pub(super) use run::{no_run, run};
