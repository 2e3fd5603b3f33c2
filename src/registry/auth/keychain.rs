//! The credentials for a registry, which may change: those of a Docker configuration can expire and be replaced.
//!
//! It reads the Docker configuration and runs its helpers when credentials are first needed and when they were
//! refused.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use super::credentials::Credentials;
use super::docker_config::{CredentialSource, DockerConfig, server_name};
use super::helper;
use crate::config;
use crate::registry::lock::lock;

/// After a reload that found nothing new there is none for this long: many requests may be refused at once.
const MIN_RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// The credentials for one registry.
pub(super) struct Keychain {
    /// Where they are from; `None` if they never change.
    file: Option<DockerFile>,
    current: Mutex<Option<Arc<Credentials>>>,
    /// When refused credentials were last reloaded. It is locked during a reload, so that other requests wait for it.
    last_reload: tokio::sync::Mutex<Option<Instant>>,
}

impl Keychain {
    pub(super) fn from_config(registry: &config::Registry) -> anyhow::Result<Self> {
        Ok(Self::fixed(match &registry.auth {
            config::Auth::Anonymous => Credentials::Anonymous,
            config::Auth::Basic { username, password } => {
                Credentials::Basic { username: username.clone(), password: password.clone() }
            }
            config::Auth::Bearer(token) => Credentials::Bearer(token.clone()),
            config::Auth::DockerConfig(path) => {
                return Self::docker(path, &registry.url).map_err(anyhow::Error::msg);
            }
        }))
    }

    /// Credentials that never change.
    fn fixed(credentials: Credentials) -> Self {
        Self::new(None, Some(credentials))
    }

    /// The credentials that a Docker configuration has for a registry. No helper is run yet.
    fn docker(path: &Path, registry: &Url) -> Result<Self, String> {
        let file = DockerFile { path: path.to_owned(), registry: registry.clone() };
        let current = match file.sources()?.into_iter().next() {
            Some(CredentialSource::File(credentials)) => Some(credentials),
            Some(CredentialSource::Helper { .. }) | None => None,
        };
        Ok(Self::new(Some(file), current))
    }

    fn new(file: Option<DockerFile>, current: Option<Credentials>) -> Self {
        Self { file, current: Mutex::new(current.map(Arc::new)), last_reload: tokio::sync::Mutex::default() }
    }

    /// The credentials, if they are available without running a helper.
    pub(super) fn current(&self) -> Option<Arc<Credentials>> {
        lock(&self.current).clone()
    }

    /// The credentials.
    pub(super) async fn credentials(&self) -> Result<Arc<Credentials>, String> {
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let _reloading = self.last_reload.lock().await;
        match (self.current(), &self.file) {
            (Some(current), _) => Ok(current),
            (None, Some(file)) => Ok(self.replace(file.load().await?)),
            (None, None) => Ok(Arc::new(Credentials::Anonymous)),
        }
    }

    /// Whether there are other credentials than these, which were refused. If so, [`Self::credentials`] returns them
    /// from now on.
    pub(super) async fn reload(&self, refused: &Arc<Credentials>) -> Result<bool, String> {
        let Some(file) = &self.file else { return Ok(false) };
        let mut last_reload = self.last_reload.lock().await;
        if self.current().is_none_or(|current| !Arc::ptr_eq(&current, refused)) {
            return Ok(true);
        }
        if last_reload.is_some_and(|last_reload| last_reload.elapsed() < MIN_RELOAD_INTERVAL) {
            return Ok(false);
        }
        let found = file.load().await;
        *last_reload = Some(Instant::now());
        let found = found?;
        if found.is_same_as(refused) {
            return Ok(false);
        }
        tracing::info!(file = %file.path.display(), "the credentials were refused, and there are new ones");
        self.replace(found);
        Ok(true)
    }

    fn replace(&self, credentials: Credentials) -> Arc<Credentials> {
        let credentials = Arc::new(credentials);
        *lock(&self.current) = Some(credentials.clone());
        credentials
    }
}

/// A Docker configuration file, and the registry whose credentials are read from it.
#[derive(Clone)]
struct DockerFile {
    path: PathBuf,
    registry: Url,
}

impl DockerFile {
    /// Reads the file as it is now.
    fn sources(&self) -> Result<Vec<CredentialSource>, String> {
        let path = self.path.display();
        let text = std::fs::read_to_string(&self.path)
            .map_err(|error| format!("cannot read `{path}`: {error}: put the file there, or name another"))?;
        let sources = DockerConfig::parse(&text).and_then(|config| config.sources(&self.registry));
        sources.map_err(|problem| format!("`{path}`: {problem}"))
    }

    /// The credentials that the file and its helpers have now.
    async fn load(&self) -> Result<Credentials, String> {
        let file = self.clone();
        let sources = tokio::task::spawn_blocking(move || file.sources()).await;
        for source in sources.map_err(|error| error.to_string())?? {
            let found = match source {
                CredentialSource::File(credentials) => Some(credentials),
                CredentialSource::Helper { name, server } => {
                    let path = self.path.display();
                    helper::get(&name, &server).await.map_err(|problem| format!("`{path}`: {problem}"))?
                }
            };
            if let Some(credentials) = found {
                return Ok(credentials);
            }
        }
        let (path, server) = (self.path.display(), server_name(&self.registry));
        Err(format!("`{path}`: its credential helper has nothing for `{server}`: log in to the registry"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auths(password: &str) -> String {
        format!("{{\"auths\":{{\"r\":{{\"username\":\"ann\",\"password\":\"{password}\"}}}}}}")
    }

    #[tokio::test(start_paused = true)]
    async fn reload_waits_for_the_interval_after_it_found_nothing_new() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, auths("first")).unwrap();
        let keychain = Keychain::docker(file.path(), &Url::parse("https://r/").unwrap()).unwrap();
        let first = keychain.credentials().await.unwrap();
        assert!(!keychain.reload(&first).await.unwrap(), "they are the same");
        std::fs::write(&file, auths("second")).unwrap();
        assert!(!keychain.reload(&first).await.unwrap(), "the file was not read again");
        tokio::time::advance(MIN_RELOAD_INTERVAL).await;
        assert!(keychain.reload(&first).await.unwrap());
        assert!(keychain.reload(&first).await.unwrap(), "there are other credentials already");
        let second = keychain.credentials().await.unwrap();
        assert!(!second.is_same_as(&first));
        assert!(!keychain.reload(&second).await.unwrap());
    }

    #[tokio::test]
    async fn reload_finds_nothing_for_fixed_credentials() {
        let keychain = Keychain::fixed(Credentials::Anonymous);
        let current = keychain.credentials().await.unwrap();
        assert!(!keychain.reload(&current).await.unwrap());
    }
}
