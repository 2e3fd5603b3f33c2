//! Where a registry stores its blobs, as its own configuration says.
//!
//! It parses text, and opens no file.

use serde_yaml::Value;

use crate::model::Digest;

/// Keys of `storage` that are not drivers.
const SETTINGS: &[&str] = &["cache", "delete", "maintenance", "redirect", "tag"];

/// Where the registry stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Storage {
    /// In files below this folder.
    Files { root: String },
    /// Elsewhere, such as in an object store.
    Elsewhere,
}

impl Storage {
    /// Reads the configuration's text and the variables of the environment (`NAME=value`), which override it. Relative paths
    /// begin in `folder`. Errors are for people.
    pub(super) fn read(text: &str, env: &[String], folder: &str) -> Result<Self, String> {
        let config: Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        let storage = config.get("storage");
        let mut drivers: Vec<String> = match storage {
            Some(Value::String(driver)) => vec![driver.clone()],
            Some(Value::Mapping(map)) => map.keys().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(Value::Null) | None => Vec::new(),
            Some(_) => return Err("`storage` is not a map".to_owned()),
        };
        let mut root = storage
            .and_then(|storage| storage.get("filesystem"))
            .and_then(|filesystem| filesystem.get("rootdirectory"))
            .and_then(Value::as_str)
            .unwrap_or("/var/lib/registry")
            .to_owned();
        for variable in env {
            let Some((name, value)) = variable.split_once('=') else { continue };
            match name.strip_prefix("REGISTRY_STORAGE") {
                // It replaces all of `storage`. Its value is YAML, so it may be a map.
                Some("") => return Self::read(&format!("storage: {value}"), &deeper(env), folder),
                Some("_FILESYSTEM_ROOTDIRECTORY") => {
                    root = value.to_owned();
                    drivers.push("filesystem".to_owned());
                }
                Some(rest) => {
                    let driver = rest.trim_start_matches('_').split('_').next().unwrap_or_default();
                    drivers.push(driver.to_ascii_lowercase());
                }
                None => {}
            }
        }
        drivers.retain(|driver| !SETTINGS.contains(&driver.as_str()));
        match drivers.first() {
            None => Err("it names no storage".to_owned()),
            Some(_) if drivers.iter().all(|driver| driver == "filesystem") => {
                let root = root.trim_end_matches('/');
                let root = if root.starts_with('/') || root.is_empty() {
                    root.to_owned()
                } else {
                    format!("{}/{root}", folder.trim_end_matches('/'))
                };
                Ok(Self::Files { root })
            }
            Some(_) => Ok(Self::Elsewhere),
        }
    }

    /// The folder of all blobs.
    pub(super) fn blobs(&self) -> Option<String> {
        match self {
            Self::Files { root } => Some(format!("{root}/docker/registry/v2/blobs")),
            Self::Elsewhere => None,
        }
    }

    /// The file of one blob.
    pub(super) fn blob(&self, digest: &Digest) -> Option<String> {
        let (algorithm, hex) = digest.as_str().split_once(':')?;
        Some(format!("{}/{algorithm}/{}/{hex}/data", self.blobs()?, hex.get(..2)?))
    }
}

/// The variables that override keys inside `storage`.
fn deeper(env: &[String]) -> Vec<String> {
    env.iter().filter(|variable| variable.starts_with("REGISTRY_STORAGE_")).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, env: &[&str], expected: Option<&str>) {
        let env: Vec<String> = env.iter().map(|variable| (*variable).to_owned()).collect();
        let expected = match expected {
            Some(root) => Storage::Files { root: root.to_owned() },
            None => Storage::Elsewhere,
        };
        assert_eq!(Storage::read(text, &env, "/srv").unwrap(), expected, "{text} {env:?}");
    }

    #[test]
    fn root_directory_is_read_in_every_notation() {
        let both =
            "version: 0.1\nstorage:\n  delete: { enabled: true }\n  cache: { blobdescriptor: inmemory }\n";
        check(&format!("{both}  filesystem: {{ rootdirectory: /data/ }}\n"), &[], Some("/data"));
        check(&format!("{both}  filesystem: {{ rootdirectory: data }}\n"), &[], Some("/srv/data"));
        check(&format!("{both}  filesystem:\n"), &[], Some("/var/lib/registry"));
        check("storage: filesystem", &[], Some("/var/lib/registry"));
        check("storage: { filesystem: { rootdirectory: / } }", &[], Some(""));
    }

    #[test]
    fn environment_overrides_the_file() {
        let file = "storage: { filesystem: { rootdirectory: /data } }";
        let root = "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/other";
        check(file, &["PATH=/bin", root], Some("/other"));
        check("version: 0.1", &[root], Some("/other"));
        check(file, &["REGISTRY_STORAGE_DELETE_ENABLED=true", "REGISTRY_HTTP_ADDR=:80"], Some("/data"));
        check(file, &["REGISTRY_STORAGE=filesystem"], Some("/var/lib/registry"));
        check(file, &["REGISTRY_STORAGE=filesystem", root], Some("/other"));
        check(file, &["REGISTRY_STORAGE={filesystem: {rootdirectory: /third}}"], Some("/third"));
        check(file, &["REGISTRY_STORAGE_FILESYSTEM_MAXTHREADS=50"], Some("/data"));
    }

    #[test]
    fn other_storages_have_no_files() {
        check("storage: { s3: { bucket: images } }", &[], None);
        check("storage: { filesystem: }", &["REGISTRY_STORAGE=s3", "REGISTRY_STORAGE_S3_BUCKET=b"], None);
        check("storage: inmemory", &[], None);
    }

    #[test]
    fn configuration_without_a_storage_is_an_error() {
        for text in ["version: 0.1", "storage: { delete: { enabled: true } }", "storage: [1]", "a: [", ""] {
            assert!(Storage::read(text, &[], "/").is_err(), "{text}");
        }
    }

    #[test]
    fn blob_path_is_that_of_distribution() {
        let digest = Digest::of(b"");
        let storage = Storage::Files { root: "/data".into() };
        assert_eq!(
            storage.blob(&digest).unwrap(),
            "/data/docker/registry/v2/blobs/sha256/e3/\
             e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/data"
        );
        assert_eq!(Storage::Elsewhere.blob(&digest), None);
    }
}
