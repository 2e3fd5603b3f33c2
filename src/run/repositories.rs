//! The repositories of a registry, from its catalog or from the configuration.

use super::context::RegistryContext;
use super::error::Error;
use crate::model::RepositoryName;
use crate::registry::Kind;

/// All repositories that the catalog or the configuration names, except those that the context excludes.
pub async fn repositories(context: RegistryContext<'_>) -> Result<Vec<RepositoryName>, Error> {
    context.reader.ping().await?;
    let names = match &context.registry.repositories {
        Some(names) => names.clone(),
        None => context.reader.repositories().await.map_err(|error| match error.kind {
            Kind::Unauthorized | Kind::Forbidden | Kind::NotFound | Kind::Unsupported => {
                Error::NoCatalog(error)
            }
            _ => Error::Registry(error),
        })?,
    };
    let wanted = |name: &RepositoryName| context.only.is_none_or(|only| only.matches(name.as_str()));
    Ok(names.into_iter().filter(wanted).collect())
}
