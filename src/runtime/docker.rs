//! A registry in a container of a Docker Engine: found, restored after a crash, and the containers of earlier jobs ended.
//!
//! It knows the Engine. What one collection does to the container it found is in [`registry`].

mod address;
mod client;
mod container;
mod job;
mod registry;

pub(crate) use registry::{JobPlace, RegistryContainer};

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use self::address::Address;
use self::client::Client;
use self::container::{Container, labels};
use crate::config::Method;
use crate::runtime::error::Error;
use crate::runtime::retry::with_retries;

/// The container of a registry, as configured.
#[derive(Debug)]
pub(crate) struct Docker {
    address: Address,
    container: String,
    method: Method,
    config_file: Option<String>,
    /// When the registry was started by the last [`Docker::restore`], in the Engine's notation.
    restored: Mutex<Option<String>>,
}

impl Docker {
    /// A container as configured. The Engine is not contacted yet.
    pub(crate) fn new(
        host: &str,
        certificates: Option<&Path>,
        container: &str,
        method: Method,
        config_file: Option<String>,
    ) -> Result<Self, Error> {
        let address = Address::parse(host, certificates)?;
        // The Engine's grammar of names. Another text could address another path of its API.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if !container.starts_with(|c: char| c.is_ascii_alphanumeric()) || !container.chars().all(is_plain) {
            return Err(Error::NoContainer { container: container.to_owned() });
        }
        Ok(Self { address, container: container.to_owned(), method, config_file, restored: Mutex::default() })
    }

    /// The address of the Engine.
    pub(crate) fn host(&self) -> &str {
        self.address.host()
    }

    /// The name or id of the container, as configured.
    pub(crate) fn container(&self) -> &str {
        &self.container
    }

    /// Finds the container. Changes nothing.
    pub(crate) async fn find(&self) -> Result<RegistryContainer, Error> {
        let client = Client::new(&self.address)?;
        let container = self.inspect(&client).await?;
        if container.runs {
            container.refuse_to_stop()?;
        }
        // Nothing can be executed in a stopped container, and it needs no stop.
        let place = if self.method == Method::Exec && container.runs {
            JobPlace::RegistryContainer
        } else {
            JobPlace::SecondContainer
        };
        Ok(RegistryContainer::new(client, container, place, self.config_file.clone()))
    }

    /// Finds the container for a collection, and ends what is left of earlier ones. A registry that was restored
    /// before may have to be restarted again after this.
    pub(crate) async fn begin(&self) -> Result<RegistryContainer, Error> {
        *self.restored() = None;
        let registry = self.find().await?;
        registry.end_jobs().await?;
        Ok(registry)
    }

    /// After a crash: ends the jobs, and restarts the registry.
    ///
    /// A registry that was restored before and runs since then is not restarted again: if it does not answer, a restart
    /// does not help, and would cut off the clients that do reach it.
    pub(crate) async fn restore(&self) -> Result<(), Error> {
        if self.runs_since_restored().await.unwrap_or_default() {
            return Ok(());
        }
        let attempt = || async {
            let client = Client::new(&self.address)?;
            job::end_all(&client, &self.container).await?;
            // Restarted, not only started: a stop that we requested may still be under way in the Engine, and a job may
            // still run inside the container.
            client.restart(&self.container).await
        };
        with_retries(attempt, Error::is_transient).await?;
        let started = self.started_at().await.unwrap_or_default();
        *self.restored() = started;
        Ok(())
    }

    /// Whether the registry was started by others after we stopped it, and after each sweep. Only times of the Engine are
    /// compared, so that no other clock matters.
    pub(crate) async fn is_running_again(&self, started: Option<&str>) -> Result<bool, Error> {
        let client = Client::new(&self.address)?;
        let registry = self.inspect(&client).await?;
        let Some(since) = registry.started_at().filter(|_| registry.runs) else { return Ok(false) };
        let jobs = client.labelled(&labels(&self.container)).await?;
        for id in &jobs {
            let job = Container::read(id, client.inspect(id).await?)?;
            if job.runs || job.finished_after(&since) {
                return Ok(false);
            }
        }
        let is_running_again = match started {
            Some(before) => before != since,
            // A sweep may have begun. A job that still exists proves that it ended before the registry was started.
            None => !jobs.is_empty(),
        };
        if is_running_again {
            job::end_all(&client, &self.container).await?;
        }
        Ok(is_running_again)
    }

    async fn runs_since_restored(&self) -> Result<bool, Error> {
        let Some(restored) = self.restored().clone() else { return Ok(false) };
        job::end_all(&Client::new(&self.address)?, &self.container).await?;
        Ok(self.started_at().await? == Some(restored))
    }

    /// When the registry was started that runs now.
    async fn started_at(&self) -> Result<Option<String>, Error> {
        let registry = self.inspect(&Client::new(&self.address)?).await?;
        Ok(registry.started_at().filter(|_| registry.runs))
    }

    async fn inspect(&self, client: &Client) -> Result<Container, Error> {
        Container::read(&self.container, client.inspect(&self.container).await?)
    }

    fn restored(&self) -> MutexGuard<'_, Option<String>> {
        // The value is replaced as a whole, so a panic elsewhere cannot have left half of it.
        self.restored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_names_that_address_another_path_of_the_api_are_refused() {
        let check = |name: &str, is_accepted: bool| {
            let docker = Docker::new("unix:///none", None, name, Method::Offline, None);
            assert_eq!(docker.is_ok(), is_accepted, "{name}");
        };
        for name in ["registry", "my_registry.1-x", "c0ffee"] {
            check(name, true);
        }
        for name in ["", "../images", "a/b", "a?b", "-a", "a b"] {
            check(name, false);
        }
    }
}
