//! The address of the Docker Engine from the environment, as the Docker command line finds it.

use std::path::PathBuf;

use super::env::Env;

/// The address of the Docker Engine if the configuration has none.
pub struct DockerDefaults {
    /// `$DOCKER_HOST`, or the default socket.
    pub host: String,
    /// The directory of the client's certificates, if `$DOCKER_TLS_VERIFY` requires TLS.
    pub certificates: Option<PathBuf>,
}

impl DockerDefaults {
    /// Reads the variables that the Docker command line reads.
    pub fn of(env: Env<'_>) -> Self {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        Self {
            host: set("DOCKER_HOST").unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned()),
            certificates: set("DOCKER_TLS_VERIFY").and(set("DOCKER_CERT_PATH")).map(PathBuf::from),
        }
    }
}
