//! The address of a Docker Engine.
//!
//! It knows addresses and certificates, and nothing of containers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};

use crate::runtime::error::Error;

/// How long the Engine may take until an answer begins. The answer to a `stop` begins when the registry has stopped.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(120);

/// Where the Engine listens.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    host: String,
    transport: Transport,
}

#[derive(Debug, Clone)]
enum Transport {
    Unix,
    Http,
    Https { certificates: PathBuf },
}

impl Address {
    /// Reads an address in the form of `$DOCKER_HOST`.
    pub(crate) fn parse(host: &str, certificates: Option<&Path>) -> Result<Self, Error> {
        let refuse = |why: &str| Err(Error::Address { host: host.to_owned(), why: why.to_owned() });
        let (scheme, rest) = match host.split_once("://") {
            Some(parts) => parts,
            None if host.starts_with('/') => ("unix", host),
            None => return refuse("it has no scheme"),
        };
        if rest.is_empty() {
            return refuse("it names no host or socket");
        }
        let transport = match (scheme, certificates) {
            ("unix", _) => Transport::Unix,
            ("http", _) | ("tcp", None) => Transport::Http,
            ("https" | "tcp", Some(folder)) => Transport::Https { certificates: folder.to_owned() },
            ("https", None) => return refuse("it needs certificates, see DOCKER_CERT_PATH"),
            _ => return refuse("its scheme is not supported"),
        };
        Ok(Self { host: format!("{scheme}://{rest}"), transport })
    }

    /// The address, for people.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// A client. Over HTTP it connects with the first request. The requests name no version of the API, so the Engine
    /// uses its own.
    pub(crate) fn client(&self) -> Result<Docker, Error> {
        let seconds = FIRST_BYTE_TIMEOUT.as_secs();
        let client = match &self.transport {
            Transport::Unix => Docker::connect_with_unix(&self.host, seconds, API_DEFAULT_VERSION),
            Transport::Http => Docker::connect_with_http(&self.host, seconds, API_DEFAULT_VERSION),
            Transport::Https { certificates } => {
                let file = |name| certificates.join(name);
                let (key, cert, ca) = (file("key.pem"), file("cert.pem"), file("ca.pem"));
                return Docker::connect_with_ssl(&self.host, &key, &cert, &ca, seconds, API_DEFAULT_VERSION)
                    .map_err(|source| Error::Certificates { folder: certificates.clone(), source });
            }
        };
        client.map_err(|error| Error::Unreachable { host: self.host.clone(), why: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_docker_reads_them() {
        let check = |host: &str, certificates: Option<&str>, expected: Result<&str, &str>| {
            let address = Address::parse(host, certificates.map(Path::new));
            match expected {
                Ok(read) => assert_eq!(address.unwrap().host(), read),
                Err(why) => assert!(address.unwrap_err().to_string().contains(why), "{host}"),
            }
        };
        check("unix:///var/run/docker.sock", None, Ok("unix:///var/run/docker.sock"));
        check("/run/docker.sock", None, Ok("unix:///run/docker.sock"));
        check("tcp://10.0.0.1:2375", None, Ok("tcp://10.0.0.1:2375"));
        check("tcp://10.0.0.1:2376", Some("/certs"), Ok("tcp://10.0.0.1:2376"));
        check("https://docker:2376", None, Err("certificates"));
        check("ssh://root@docker", None, Err("scheme"));
        check("docker", None, Err("scheme"));
        check("unix://", None, Err("no host"));
    }
}
