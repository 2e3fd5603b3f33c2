//! The configuration: YAML text → schema (as written) → settings (validated). All problems are reported at once.
//!
//! Only validated settings leave this module. It reads the configuration file and the files that it names;
//! it knows nothing of the network, of plans, or of its callers.

mod diagnostics;
mod docker_defaults;
mod env;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod load;
mod schedule;
mod schema;
mod settings;
mod validate;
mod yaml;

pub use diagnostics::{ConfigError, Problem};
pub use docker_defaults::DockerDefaults;
pub use env::Env;
pub use load::{load, load_without_secrets, parse, read_bytes};
pub use schedule::Schedule;
pub use settings::{
    Auth, Cache, ClientCertificate, Collector, Config, Gc, GcSchedule, Interruption, Method, Redis, RedisTls,
    Registry, Tls,
};

#[cfg(test)]
mod tests;
