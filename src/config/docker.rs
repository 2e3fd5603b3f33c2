//! A Docker configuration file: at the path that is written, or at one of the usual places.
//!
//! It finds the file and does not read it.

use std::path::{Path as FilePath, PathBuf};

use super::Env;
use super::problem::{Findings, Path};
use super::secret::existing;

/// What is written for the usual places; a file of this name is written `./default`.
const USUAL: &str = "default";

/// Where the tools of containers keep it: a variable, and the way from there. Podman's own comes first, as
/// it is only set on purpose, and the file that ends with the session last.
const PLACES: [(&str, &str); 4] = [
    ("REGISTRY_AUTH_FILE", ""),
    ("DOCKER_CONFIG", "config.json"),
    ("HOME", ".docker/config.json"),
    ("XDG_RUNTIME_DIR", "containers/auth.json"),
];

/// The file, which is there.
pub(super) fn docker_config(
    written: Option<PathBuf>,
    at: &Path,
    env: Env<'_>,
    findings: &mut Findings,
) -> Option<PathBuf> {
    let path = match written? {
        usual if findings.needs_no_secrets() => return Some(usual),
        usual if usual.as_os_str() == USUAL => find(env).map_err(|message| findings.add(at, message)).ok()?,
        path => path,
    };
    existing(Some(path), at, findings)
}

/// The first usual place where something is; what is there and cannot be read is not passed over.
fn find(env: Env<'_>) -> Result<PathBuf, String> {
    let mut looked = Vec::new();
    for (variable, rest) in PLACES {
        let Some(folder) = env(variable).filter(|folder| !folder.is_empty()) else {
            looked.push(format!("${variable} (not set)"));
            continue;
        };
        let path = if rest.is_empty() { PathBuf::from(folder) } else { FilePath::new(&folder).join(rest) };
        let is_absent = std::fs::metadata(&path).is_err_and(|error| {
            matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
        });
        if !is_absent {
            return Ok(path);
        }
        looked.push(format!("`{}`", path.display()));
    }
    Err(format!(
        "there is no Docker configuration at the usual places, which are {}: log in to the registry, or name a file",
        looked.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::super::tests::POLICIES;
    use super::super::{Auth, parse};

    fn text(written: &str) -> String {
        let auth = format!("auth: {{ docker_config: {written} }}");
        format!("registries: [{{ name: main, url: 'https://r', {auth} }}]\n{POLICIES}")
    }

    /// What is found where these files are there, below a folder that is called `FOLDER`.
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
    fn the_first_of_the_usual_places_where_there_is_one() {
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
            "f: registries[0].auth.docker_config: line 1: there is no Docker configuration at the usual places, \
             which are `FOLDER/podman.json`, `FOLDER/docker/config.json`, `FOLDER/home/.docker/config.json`, \
             `FOLDER/run/containers/auth.json`: log in to the registry, or name a file"
        );
        assert_eq!(
            found(&[("HOME", "")], &[]),
            "f: registries[0].auth.docker_config: line 1: there is no Docker configuration at the usual places, \
             which are $REGISTRY_AUTH_FILE (not set), $DOCKER_CONFIG (not set), $HOME (not set), \
             $XDG_RUNTIME_DIR (not set): log in to the registry, or name a file"
        );
    }

    #[test]
    fn what_is_there_and_is_no_file_is_not_passed_over() {
        let said = found(&[("REGISTRY_AUTH_FILE", "FOLDER"), ("HOME", "FOLDER")], &[".docker/config.json"]);
        assert!(said.contains("`FOLDER` is a directory: name a file"), "{said}");
    }

    #[test]
    fn a_file_of_that_name_is_written_with_its_folder() {
        let said = parse(&text("./default"), "f", &|_| None).unwrap_err().to_string();
        assert!(said.contains("cannot read `./default`"), "{said}");
    }
}
