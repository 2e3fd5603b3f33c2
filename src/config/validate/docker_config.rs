//! The path of a Docker configuration file, as written or in one of the default locations.
//!
//! It finds the file and does not read it.

use std::path::{Path as FilePath, PathBuf};

use super::secrets::existing;
use crate::config::diagnostics::{Findings, Path};
use crate::config::env::Env;

/// The value that searches the default locations; a file of this name is written `./default`.
const DEFAULT: &str = "default";

/// The default locations of container tools: a variable, and the path below its value. Podman's variable comes first,
/// because it is only set on purpose; the file that is removed at logout comes last.
const LOCATIONS: [(&str, &str); 4] = [
    ("REGISTRY_AUTH_FILE", ""),
    ("DOCKER_CONFIG", "config.json"),
    ("HOME", ".docker/config.json"),
    ("XDG_RUNTIME_DIR", "containers/auth.json"),
];

/// The path of the file, which exists.
pub(crate) fn docker_config(
    written: Option<PathBuf>,
    at: &Path,
    env: Env<'_>,
    findings: &mut Findings,
) -> Option<PathBuf> {
    let path = match written? {
        path if findings.skips_secrets() => return Some(path),
        path if path.as_os_str() == DEFAULT => find(env).map_err(|message| findings.add(at, message)).ok()?,
        path => path,
    };
    existing(Some(path), at, findings)
}

/// The first default location that exists. One that exists and cannot be read is not skipped.
fn find(env: Env<'_>) -> Result<PathBuf, String> {
    let mut searched = Vec::new();
    for (variable, rest) in LOCATIONS {
        let Some(folder) = env(variable).filter(|folder| !folder.is_empty()) else {
            searched.push(format!("${variable} (not set)"));
            continue;
        };
        let path = if rest.is_empty() { PathBuf::from(folder) } else { FilePath::new(&folder).join(rest) };
        let is_absent = std::fs::metadata(&path).is_err_and(|error| {
            matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
        });
        if !is_absent {
            return Ok(path);
        }
        searched.push(format!("`{}`", path.display()));
    }
    Err(format!(
        "no Docker configuration found at {}: log in to the registry, or name a file",
        searched.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use crate::config::tests::POLICIES;
    use crate::config::{Auth, parse};

    fn text(written: &str) -> String {
        let auth = format!("auth: {{ docker_config: {written} }}");
        format!("registries: [{{ name: main, url: 'https://r', {auth} }}]\n{POLICIES}")
    }

    /// The path or the error if these files exist, below a directory shown as `FOLDER`.
    fn found(variables: &[(&str, &str)], files: &[&str]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().display().to_string();
        for file in files {
            let path = directory.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "{}").unwrap();
        }
        let env = |name: &str| {
            let (_, value) = variables.iter().find(|(variable, _)| *variable == name)?;
            Some(value.replace("FOLDER", &folder))
        };
        let found = match parse(&text("default"), "f", &env) {
            Ok(config) => match &config.registries[0].auth {
                Auth::DockerConfig(path) => path.display().to_string(),
                other => panic!("{other:?}"),
            },
            Err(error) => error.to_string(),
        };
        found.replace(&folder, "FOLDER")
    }

    #[test]
    fn docker_config_is_the_first_default_location_that_exists() {
        let all = [
            ("XDG_RUNTIME_DIR", "FOLDER/run"),
            ("HOME", "FOLDER/home"),
            ("DOCKER_CONFIG", "FOLDER/docker"),
            ("REGISTRY_AUTH_FILE", "FOLDER/podman.json"),
        ];
        let files =
            ["podman.json", "docker/config.json", "home/.docker/config.json", "run/containers/auth.json"];
        for (number, file) in files.iter().enumerate() {
            assert_eq!(found(&all, &files[number..]), format!("FOLDER/{file}"));
        }
        assert_eq!(found(&all[..2], &files), "FOLDER/home/.docker/config.json");
        assert_eq!(
            found(&all, &[]),
            "f: registries[0].auth.docker_config: line 1: no Docker configuration found at \
             `FOLDER/podman.json`, `FOLDER/docker/config.json`, `FOLDER/home/.docker/config.json`, \
             `FOLDER/run/containers/auth.json`: log in to the registry, or name a file"
        );
        assert_eq!(
            found(&[("HOME", "")], &[]),
            "f: registries[0].auth.docker_config: line 1: no Docker configuration found at \
             $REGISTRY_AUTH_FILE (not set), $DOCKER_CONFIG (not set), $HOME (not set), \
             $XDG_RUNTIME_DIR (not set): log in to the registry, or name a file"
        );
    }

    #[test]
    fn docker_config_that_is_a_directory_is_not_skipped() {
        let output = found(&[("REGISTRY_AUTH_FILE", "FOLDER"), ("HOME", "FOLDER")], &[".docker/config.json"]);
        assert!(output.contains("`FOLDER` is a directory: name a file"), "{output}");
    }

    #[test]
    fn docker_config_file_named_default_needs_a_directory() {
        let output = parse(&text("./default"), "f", &|_| None).unwrap_err().to_string();
        assert!(output.contains("cannot read `./default`"), "{output}");
    }
}
