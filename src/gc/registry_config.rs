//! The registry's own configuration, found and read: where it stores blobs, and where its cache is.
//!
//! It knows where a runtime has the file, and nothing of what a collection does with the answers.

use crate::gc::cache::{self, Cache};
use crate::gc::error::Error;
use crate::gc::storage::Storage;
use crate::runtime::{CommandRegistry, File, Instance, RegistryContainer};

/// What a registry's own configuration says, together with the variables of its environment.
#[derive(Debug, Clone)]
pub(super) struct RegistryConfig {
    /// The file, if it can be read.
    pub(super) file: Option<File>,
    pub(super) storage: Storage,
    pub(super) cache: Cache,
    pub(super) is_on_s3: bool,
}

impl RegistryConfig {
    /// Finds and reads it. Changes nothing.
    pub(super) async fn find(registry: &Instance) -> Result<Self, Error> {
        match registry {
            Instance::Container(container) => Self::in_container(container).await,
            Instance::Commands(commands) => Ok(Self::of_command(commands).await),
        }
    }

    /// The configuration file in the registry's container.
    pub(super) async fn in_container(container: &RegistryContainer) -> Result<Self, Error> {
        let file = container.find_config().await?;
        let (text, env) = (file.text.as_str(), container.env());
        let bad_config = |why| Error::BadConfig { path: file.path.clone(), why };
        Ok(Self {
            storage: Storage::read(text, env, container.folder()).map_err(bad_config)?,
            cache: Cache::read(text, env),
            is_on_s3: cache::is_on_s3(text, env),
            file: Some(file),
        })
    }

    /// The configuration file that a command names, if it can be read on this machine.
    pub(super) async fn of_command(commands: &CommandRegistry) -> Self {
        let file = match commands.find_config().await {
            Ok(file) => file,
            Err(why) => {
                let (storage, cache) = (Storage::Elsewhere, Cache::Unknown(why));
                return Self { file: None, storage, cache, is_on_s3: false };
            }
        };
        Self {
            // Only the command knows which folder a relative root begins in, so such a root is not found.
            storage: Storage::read(&file.text, &[], "/nonexistent").unwrap_or(Storage::Elsewhere),
            cache: Cache::read(&file.text, &[]),
            is_on_s3: cache::is_on_s3(&file.text, &[]),
            file: Some(file),
        }
    }
}
