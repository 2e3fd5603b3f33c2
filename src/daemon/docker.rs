//! Where the Docker Engine is, as the Docker command line finds it.

use std::path::PathBuf;

use crate::config::Env;

/// Where the Docker Engine is where the configuration does not say it.
pub struct DockerDefaults {
    /// `$DOCKER_HOST`, else the usual socket.
    pub host: String,
    /// The folder of the client's certificates, where `$DOCKER_TLS_VERIFY` asks for TLS.
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
