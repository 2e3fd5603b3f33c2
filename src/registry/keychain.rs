//! Who we are to a registry, where that may change: the credentials of a Docker configuration end, and others
//! come in their place.
//!
//! It reads the file and asks helpers, when credentials are first needed and when they were refused.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use super::auth::Credentials;
use super::docker_config::{DockerConfig, Place, server};
use super::helper;

/// Where nothing new was found, nobody looks again for so long: many requests may be refused at once.
const REST: Duration = Duration::from_secs(10);

/// The credentials for one registry.
pub(super) struct Keychain {
    /// Where they come from; `None` if they never change.
    file: Option<DockerFile>,
    known: Mutex<Option<Arc<Credentials>>>,
    /// When refused credentials were last looked for anew. Whoever looks holds it, and the others wait.
    looked: tokio::sync::Mutex<Option<Instant>>,
}

impl Keychain {
    /// Credentials of the configuration itself.
    pub(super) fn fixed(credentials: Credentials) -> Self {
        Self::new(None, Some(credentials))
    }

    /// The credentials that a Docker configuration has for a registry. No helper is asked yet.
    pub(super) fn docker(path: &Path, registry: &Url) -> Result<Self, String> {
        let file = DockerFile { path: path.to_owned(), registry: registry.clone() };
        let known = match file.places()?.into_iter().next() {
            Some(Place::Here(credentials)) => Some(credentials),
            Some(Place::Helper { .. }) | None => None,
        };
        Ok(Self::new(Some(file), known))
    }

    fn new(file: Option<DockerFile>, known: Option<Credentials>) -> Self {
        Self { file, known: Mutex::new(known.map(Arc::new)), looked: tokio::sync::Mutex::default() }
    }

    /// The credentials, if nobody has to be asked for them.
    pub(super) fn known(&self) -> Option<Arc<Credentials>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The credentials.
    pub(super) async fn credentials(&self) -> Result<Arc<Credentials>, String> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let _looking = self.looked.lock().await;
        match (self.known(), &self.file) {
            (Some(known), _) => Ok(known),
            (None, Some(file)) => Ok(self.remember(file.look().await?)),
            (None, None) => Ok(Arc::new(Credentials::Anonymous)),
        }
    }

    /// Whether there are others than these, which were refused. Then [`Self::credentials`] gives the others.
    pub(super) async fn has_others(&self, refused: &Arc<Credentials>) -> Result<bool, String> {
        let Some(file) = &self.file else { return Ok(false) };
        let mut looked = self.looked.lock().await;
        if self.known().is_none_or(|known| !Arc::ptr_eq(&known, refused)) {
            return Ok(true);
        }
        if looked.is_some_and(|looked| looked.elapsed() < REST) {
            return Ok(false);
        }
        let found = file.look().await;
        *looked = Some(Instant::now());
        let found = found?;
        if found.same(refused) {
            return Ok(false);
        }
        tracing::info!(file = %file.path.display(), "the credentials were refused, and there are new ones");
        self.remember(found);
        Ok(true)
    }

    fn remember(&self, credentials: Credentials) -> Arc<Credentials> {
        let credentials = Arc::new(credentials);
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(credentials.clone());
        credentials
    }
}

/// A Docker configuration file, and the registry that is looked for in it.
#[derive(Clone)]
struct DockerFile {
    path: PathBuf,
    registry: Url,
}

impl DockerFile {
    /// Reads the file as it is now.
    fn places(&self) -> Result<Vec<Place>, String> {
        let path = self.path.display();
        let text = std::fs::read_to_string(&self.path)
            .map_err(|error| format!("cannot read `{path}`: {error}: put the file there, or name another"))?;
        let places = DockerConfig::parse(&text).and_then(|config| config.places(&self.registry));
        places.map_err(|problem| format!("`{path}`: {problem}"))
    }

    /// The credentials that are there now, helpers asked.
    async fn look(&self) -> Result<Credentials, String> {
        let file = self.clone();
        let places = tokio::task::spawn_blocking(move || file.places()).await;
        for place in places.map_err(|error| error.to_string())?? {
            let found = match place {
                Place::Here(credentials) => Some(credentials),
                Place::Helper { name, server } => {
                    let path = self.path.display();
                    helper::get(&name, &server).await.map_err(|problem| format!("`{path}`: {problem}"))?
                }
            };
            if let Some(credentials) = found {
                return Ok(credentials);
            }
        }
        let (path, server) = (self.path.display(), server(&self.registry));
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
    async fn whoever_found_nothing_new_rests_before_the_next_look() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, auths("first")).unwrap();
        let keychain = Keychain::docker(file.path(), &Url::parse("https://r/").unwrap()).unwrap();
        let first = keychain.credentials().await.unwrap();
        assert!(!keychain.has_others(&first).await.unwrap(), "they are the same");
        std::fs::write(&file, auths("second")).unwrap();
        assert!(!keychain.has_others(&first).await.unwrap(), "nobody looked");
        tokio::time::advance(REST).await;
        assert!(keychain.has_others(&first).await.unwrap());
        assert!(keychain.has_others(&first).await.unwrap(), "others were told already");
        let second = keychain.credentials().await.unwrap();
        assert!(!second.same(&first));
        assert!(!keychain.has_others(&second).await.unwrap());
    }

    #[tokio::test]
    async fn credentials_of_the_configuration_are_all_there_is() {
        let keychain = Keychain::fixed(Credentials::Anonymous);
        let known = keychain.credentials().await.unwrap();
        assert!(!keychain.has_others(&known).await.unwrap());
    }
}
