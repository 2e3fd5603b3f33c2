//! Where a registry caches which blobs it has, as its own configuration says.
//!
//! It parses text, and opens no file.

use serde_yaml::{Mapping, Value};

/// Where the cache is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cache {
    /// In the registry's memory, or nowhere: a restart empties it.
    Restarted,
    /// In Redis.
    Redis {
        /// The number of the database; `None` if it is no number.
        db: Option<u64>,
        /// Whether the keys are spread over several servers.
        cluster: bool,
    },
    /// It cannot be known, for this reason.
    Unknown(String),
}

impl Cache {
    /// Reads the configuration's text and the variables of the environment (`NAME=value`), which override it.
    pub(super) fn read(text: &str, env: &[String]) -> Self {
        let config = match overridden(text, env) {
            Ok(config) => config,
            Err(why) => return Self::Unknown(format!("its configuration cannot be parsed: {why}")),
        };
        let cache = config.get("storage").and_then(|storage| storage.get("cache"));
        // The second is the first name of it in 2.x, which is still read.
        let kind = cache.and_then(|cache| cache.get("blobdescriptor").or_else(|| cache.get("layerinfo")));
        if kind.and_then(Value::as_str) != Some("redis") {
            return Self::Restarted;
        }
        let redis = config.get("redis");
        let setting = |key: &str| redis.and_then(|redis| redis.get(key)).filter(|value| !value.is_null());
        let servers = setting("addrs").and_then(Value::as_sequence).map_or(1, Vec::len);
        Self::Redis {
            db: setting("db").map_or(Some(0), Value::as_u64),
            // Several servers and a name of their master are Sentinels.
            cluster: servers > 1 && setting("mastername").is_none(),
        }
    }
}

/// Whether the registry stores in S3, by the same text and variables.
pub(super) fn is_on_s3(text: &str, env: &[String]) -> bool {
    let storage = overridden(text, env).ok().and_then(|config| config.get("storage").cloned());
    // The driver has had other names, such as s3aws.
    let is_s3 = |driver: &Value| driver.as_str().is_some_and(|driver| driver.starts_with("s3"));
    match storage {
        Some(Value::Mapping(map)) => map.keys().any(is_s3),
        Some(driver) => is_s3(&driver),
        None => false,
    }
}

/// The configuration with the environment's overrides of storage and Redis. Distribution reads a variable as a path of keys
/// with a value in YAML, in the order of the names, so that deeper keys come later.
fn overridden(text: &str, env: &[String]) -> Result<Value, String> {
    let mut config: Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    let mut variables: Vec<(&str, &str)> =
        env.iter().filter_map(|variable| variable.strip_prefix("REGISTRY_")?.split_once('=')).collect();
    variables.sort_unstable();
    for (name, value) in variables {
        let path: Vec<String> = name.split('_').map(str::to_ascii_lowercase).collect();
        if path.first().is_some_and(|key| key == "storage" || key == "redis") {
            let value = serde_yaml::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
            put(&mut config, &path, value);
        }
    }
    Ok(config)
}

fn put(place: &mut Value, path: &[String], value: Value) {
    let Some((key, rest)) = path.split_first() else {
        *place = value;
        return;
    };
    if !place.is_mapping() {
        *place = Value::Mapping(Mapping::new());
    }
    if let Value::Mapping(map) = place {
        let inner = map.entry(Value::String(key.clone())).or_insert(Value::Null);
        put(inner, rest, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REDIS: &str =
        "storage: { filesystem: {}, cache: { blobdescriptor: redis } }\nredis: { addr: 'r:6379', db: 2 }";
    const MEMORY: &str = "storage: { filesystem: {}, cache: { blobdescriptor: inmemory } }";

    fn read(text: &str, env: &[&str]) -> Cache {
        let env: Vec<String> = env.iter().map(|variable| (*variable).to_owned()).collect();
        Cache::read(text, &env)
    }

    fn in_redis(db: u64) -> Cache {
        Cache::Redis { db: Some(db), cluster: false }
    }

    #[test]
    fn cache_in_redis_is_read_in_every_notation() {
        assert_eq!(read(REDIS, &[]), in_redis(2));
        assert_eq!(read("storage: { cache: { layerinfo: redis } }\nredis: { addr: r }", &[]), in_redis(0));
        assert_eq!(
            read(MEMORY, &["REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR=redis", "REGISTRY_REDIS_DB=5"]),
            in_redis(5)
        );
        assert_eq!(read(MEMORY, &["REGISTRY_STORAGE_CACHE={blobdescriptor: redis}"]), in_redis(0));
        assert_eq!(read(MEMORY, &["REGISTRY_STORAGE={s3: {}, cache: {blobdescriptor: redis}}"]), in_redis(0));
        assert_eq!(
            read("version: 0.1", &["REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR=redis", "REGISTRY_STORAGE=s3"]),
            in_redis(0)
        );
        assert_eq!(read(REDIS, &["REGISTRY_REDIS={addr: other}"]), in_redis(0));
        assert_eq!(read(REDIS, &["REGISTRY_REDIS_DB=many"]), Cache::Redis { db: None, cluster: false });
    }

    #[test]
    fn cache_outside_redis_ends_with_the_registry() {
        for (text, env) in [
            (MEMORY, &[][..]),
            ("storage: { filesystem: {} }", &[]),
            ("storage: filesystem\nredis: { addr: r }", &[]),
            (REDIS, &["REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR="]),
            (REDIS, &["REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR=inmemory"]),
            (REDIS, &["REGISTRY_STORAGE=filesystem"]),
        ] {
            assert_eq!(read(text, env), Cache::Restarted, "{text} {env:?}");
        }
        assert!(matches!(read("a: [", &[]), Cache::Unknown(_)));
    }

    #[test]
    fn s3_is_distinguished_from_other_storages() {
        let check = |text: &str, env: &[&str], expected: bool| {
            let env: Vec<String> = env.iter().map(|variable| (*variable).to_owned()).collect();
            assert_eq!(is_on_s3(text, &env), expected, "{text} {env:?}");
        };
        check("storage: { s3: { bucket: b }, redirect: { disable: true } }", &[], true);
        check("storage: { filesystem: {} }", &["REGISTRY_STORAGE=s3", "REGISTRY_STORAGE_S3_BUCKET=b"], true);
        check("version: 0.1", &["REGISTRY_STORAGE_S3AWS_BUCKET=b"], true);
        check(MEMORY, &[], false);
        check("storage: { gcs: { bucket: s3 } }", &[], false);
        check("storage: { s3: {} }", &["REGISTRY_STORAGE=filesystem"], false);
        check("a: [", &[], false);
    }

    #[test]
    fn redis_with_several_servers_is_a_cluster_or_has_sentinels() {
        let cluster = |env: &[&str]| matches!(read(REDIS, env), Cache::Redis { cluster: true, .. });
        assert!(cluster(&["REGISTRY_REDIS_ADDRS=[a:1, b:1]"]));
        assert!(!cluster(&["REGISTRY_REDIS_ADDRS=[a:1]"]));
        assert!(!cluster(&["REGISTRY_REDIS_ADDRS=[a:1, b:1]", "REGISTRY_REDIS_MASTERNAME=main"]));
    }
}
