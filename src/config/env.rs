//! The environment, passed in as a function, so that tests choose what is in it.

/// Looks up a variable of the environment.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;
