//! Problems of a configuration, each with its file, line, key and remedy, and advice on a valid configuration.

mod advice;
mod findings;
mod locate;
mod path;
mod problem;
mod suggest;

pub(super) use findings::Findings;
pub(super) use locate::line_of;
pub(super) use path::{Path, Step};
pub use problem::{ConfigError, Problem};
pub(super) use suggest::{nearest, quoted_list};
