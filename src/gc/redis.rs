//! A registry's cache in Redis, which a restart of the registry does not empty.
//!
//! It knows distribution's keys, the same in 2.8 and 3.x, and nothing of the steps of a collection:
//!
//! - `blobs::DIGEST`, a hash: there is such a blob, wherever it belongs
//! - `repository::NAME::blobs`, a set of digests: these blobs belong to the repository
//! - `repository::NAME::blobs::DIGEST`, a hash: the media type of the blob in this repository
//!
//! For an entry that was removed, the registry reads its storage once. If an entry of a swept blob is left, the registry
//! answers that the blob exists, and a push leaves it out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo as _,
    RedisConnectionInfo, RedisError, TlsCertificates, cmd,
};
use secrecy::ExposeSecret as _;

use crate::config;
use crate::gc::error::Error;
use crate::model::Digest;

/// How long a connection, or an answer, may take.
const REDIS_TIMEOUT: Duration = Duration::from_secs(10);
/// Keys that one request reads or removes: few enough that Redis serves other clients in between.
const BATCH: usize = 1000;

/// A Redis with a registry's cache. Each operation makes a new connection.
#[derive(Debug, Clone)]
pub(super) struct Redis {
    client: Client,
    /// Its address and database, for messages.
    address: String,
    db: u16,
}

impl Redis {
    /// A client as configured. Redis is not contacted yet.
    pub(super) fn new(redis: &config::Redis) -> Result<Self, Error> {
        let (host, port) = (redis.host.clone(), redis.port);
        let address = format!("{host}:{port}, database {}", redis.db);
        let failed = |why: String| Error::Redis { address: address.clone(), db: redis.db, why };
        let read =
            |path: &Path| fs::read(path).map_err(|error| failed(format!("{}: {error}", path.display())));
        let mut settings = RedisConnectionInfo::default().set_db(redis.db.into());
        if let Some(username) = &redis.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &redis.password {
            settings = settings.set_password(password.expose_secret());
        }
        let client = match &redis.tls {
            None => ConnectionAddr::Tcp(host, port)
                .into_connection_info()
                .and_then(|info| Client::open(info.set_redis_settings(settings))),
            Some(tls) => {
                let identity = tls.identity.as_ref();
                let client_tls: Option<Result<_, Error>> = identity.map(|own| {
                    Ok(ClientTlsConfig {
                        client_cert: read(&own.cert_file)?,
                        client_key: read(&own.key_file)?,
                    })
                });
                let certificates = TlsCertificates {
                    client_tls: client_tls.transpose()?,
                    root_cert: tls.ca_file.as_deref().map(read).transpose()?,
                };
                ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
                    .into_connection_info()
                    .and_then(|info| Client::build_with_tls(info.set_redis_settings(settings), certificates))
            }
        };
        let client = client.map_err(|error| failed(error.to_string()))?;
        Ok(Self { client, address, db: redis.db })
    }

    /// The number of its database.
    pub(super) fn db(&self) -> u16 {
        self.db
    }

    /// Its address and database, for messages.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// An error if entries cannot be removed, or if there are none.
    pub(super) async fn check(&self) -> Result<(), Error> {
        match self.probe().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::NoCache { address: self.address.clone() }),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Removes the entries of these blobs, in all repositories, and returns how many these were.
    pub(super) async fn clear(&self, digests: &BTreeSet<Digest>) -> Result<u64, Error> {
        if digests.is_empty() {
            return Ok(0);
        }
        let removed = self.remove(digests).await.map_err(|error| self.failed(&error))?;
        tracing::info!(
            address = self.address,
            entries = removed,
            "cleared the registry's cache of what was swept"
        );
        Ok(removed)
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let timeouts = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(REDIS_TIMEOUT))
            .set_response_timeout(Some(REDIS_TIMEOUT));
        self.client.get_multiplexed_async_connection_with_config(&timeouts).await
    }

    /// Whether there is any entry. Fails where one could not be removed: a replica, a user without the right
    /// to write, a cluster, in which the keys of one registry are spread over several servers.
    async fn probe(&self) -> Result<bool, RedisError> {
        let mut redis = self.connect().await?;
        let nothing = format!("blobs::sha256:{}", "0".repeat(64));
        cmd("DEL").arg(&nothing).exec_async(&mut redis).await?;
        cmd("SREM").arg("repository::::blobs").arg(&nothing).exec_async(&mut redis).await?;
        let mut cursor = Vec::from(*b"0");
        loop {
            let (next, keys) = scan(&mut redis, &cursor, "blobs::*").await?;
            if !keys.is_empty() {
                return Ok(true);
            }
            if next == b"0" {
                return Ok(false);
            }
            cursor = next;
        }
    }

    async fn remove(&self, digests: &BTreeSet<Digest>) -> Result<u64, RedisError> {
        let mut redis = self.connect().await?;
        let mut names: BTreeSet<Vec<u8>> =
            digests.iter().map(|digest| digest.as_str().as_bytes().to_vec()).collect();
        aliases(&mut redis, &mut names).await?;
        let mut removed = 0;
        let keys: Vec<Vec<u8>> = names.iter().map(|name| [b"blobs::", name.as_slice()].concat()).collect();
        for keys in keys.chunks(BATCH) {
            removed += delete(&mut redis, keys).await?;
        }
        // The names of all repositories are known to the cache alone: one that is deleted is in no catalog.
        let mut cursor = Vec::from(*b"0");
        loop {
            let (next, found) = scan(&mut redis, &cursor, "repository::*::blobs*").await?;
            let mut expired = Vec::new();
            for key in found {
                match owned(&key) {
                    Owned::Set => removed += leave(&mut redis, &key, &names).await?,
                    Owned::Hash(name) if names.contains(name) => expired.push(key),
                    Owned::Hash(_) | Owned::Other => {}
                }
            }
            if !expired.is_empty() {
                removed += delete(&mut redis, &expired).await?;
            }
            if next == b"0" {
                return Ok(removed);
            }
            cursor = next;
        }
    }

    fn failed(&self, error: &RedisError) -> Error {
        // The crate's text names the kind of error and quotes the server, without secrets.
        Error::Redis { address: self.address.clone(), db: self.db, why: error.to_string() }
    }
}

/// The kind of a repository's key.
#[derive(Debug, PartialEq, Eq)]
enum Owned<'k> {
    Set,
    Hash(&'k [u8]),
    Other,
}

fn owned(key: &[u8]) -> Owned<'_> {
    const BLOBS: &[u8] = b"::blobs";
    if key.ends_with(BLOBS) {
        return Owned::Set;
    }
    // No repository has a colon in its name, so the first match is the only one.
    let position = key.windows(BLOBS.len()).position(|window| window == BLOBS);
    match position.and_then(|position| key.get(position + BLOBS.len()..)?.strip_prefix(b"::")) {
        Some(name) => Owned::Hash(name),
        None => Owned::Other,
    }
}

/// Adds the other digests of swept blobs: a registry that was asked for a blob by a digest of another algorithm caches it
/// under that digest, with the digest by which it stores the blob in the hash.
async fn aliases(redis: &mut MultiplexedConnection, names: &mut BTreeSet<Vec<u8>>) -> Result<(), RedisError> {
    let mut found = BTreeMap::new();
    let mut cursor = Vec::from(*b"0");
    loop {
        let (next, keys) = scan(redis, &cursor, "blobs::sha[!2]*").await?;
        for key in keys {
            let stored: Option<Vec<u8>> = cmd("HGET").arg(&key).arg("digest").query_async(redis).await?;
            if let Some(stored) = stored
                && let Some(name) = key.strip_prefix(b"blobs::")
            {
                found.insert(name.to_vec(), stored);
            }
        }
        if next == b"0" {
            break;
        }
        cursor = next;
    }
    let swept = found.into_iter().filter(|(_, stored)| names.contains(stored)).map(|(name, _)| name);
    let swept: Vec<Vec<u8>> = swept.collect();
    names.extend(swept);
    Ok(())
}

/// Removes these blobs from the set of a repository.
async fn leave(
    redis: &mut MultiplexedConnection,
    key: &[u8],
    names: &BTreeSet<Vec<u8>>,
) -> Result<u64, RedisError> {
    let mut removed = 0;
    let mut cursor = Vec::from(*b"0");
    loop {
        let (next, members): (Vec<u8>, Vec<Vec<u8>>) =
            cmd("SSCAN").arg(key).arg(&cursor).arg("COUNT").arg(BATCH).query_async(redis).await?;
        let swept: Vec<Vec<u8>> = members.into_iter().filter(|name| names.contains(name)).collect();
        if !swept.is_empty() {
            removed += cmd("SREM").arg(key).arg(&swept).query_async::<u64>(redis).await?;
        }
        if next == b"0" {
            return Ok(removed);
        }
        cursor = next;
    }
}

async fn delete(redis: &mut MultiplexedConnection, keys: &[Vec<u8>]) -> Result<u64, RedisError> {
    cmd("DEL").arg(keys).query_async(redis).await
}

async fn scan(
    redis: &mut MultiplexedConnection,
    cursor: &[u8],
    pattern: &str,
) -> Result<(Vec<u8>, Vec<Vec<u8>>), RedisError> {
    cmd("SCAN").arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(BATCH).query_async(redis).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_repository_are_distinguished() {
        let check = |key: &str, expected: Owned<'_>| assert_eq!(owned(key.as_bytes()), expected, "{key}");
        check("repository::team/app::blobs", Owned::Set);
        check("repository::team/app::blobs::sha256:ab", Owned::Hash(b"sha256:ab"));
        check("repository::team/app::blobsize", Owned::Other);
    }
}
