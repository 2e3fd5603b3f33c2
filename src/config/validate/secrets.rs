//! Secrets and other files that the configuration names.
//!
//! It does not know what they are for, and never shows their contents.

use std::fs;
use std::io::Read as _;
use std::path::{Path as FilePath, PathBuf};

use secrecy::SecretString;

use crate::config::diagnostics::{Findings, Path, quoted_list};
use crate::config::env::Env;
use crate::config::schema;

/// The limit for a file with a secret: a file of this size or larger is something else.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// Reads the secret from the source that the configuration names.
pub(crate) fn secret(
    written: schema::Secret,
    at: &Path,
    env: Env<'_>,
    findings: &mut Findings,
) -> Option<SecretString> {
    let schema::SecretSource { file, env: variable, credential } = written.0;
    let keys = findings.present(
        at,
        &[("file", file.is_some()), ("env", variable.is_some()), ("credential", credential.is_some())],
    );
    if keys.len() > 1 {
        findings.add(at, format!("{} cannot be combined: keep one of them", quoted_list(keys)));
        return None;
    }
    let (key, found) = match (file, variable, credential) {
        (None, None, None) if findings.is_unreadable_within(at) => return None,
        (Some(_), _, _) | (_, Some(_), _) | (_, _, Some(_)) if findings.skips_secrets() => {
            return Some(SecretString::default());
        }
        (Some(file), _, _) => ("file", from_file(&file)),
        (_, Some(name), _) => ("env", from_variable(&name, env)),
        (_, _, Some(name)) => ("credential", from_credential(&name, env)),
        (None, None, None) => {
            findings.add(at, "no source for the secret: write one of `file`, `env`, `credential`");
            return None;
        }
    };
    found.map_err(|message| findings.add(&at.key(key), message)).ok()
}

fn from_variable(name: &str, env: Env<'_>) -> Result<SecretString, String> {
    let Some(value) = env(name) else {
        return Err(format!("the environment variable `{name}` is not set: set it, or write `file` instead"));
    };
    not_empty(value)
        .ok_or_else(|| format!("the environment variable `{name}` is empty: write the secret to it"))
}

fn from_credential(name: &str, env: Env<'_>) -> Result<SecretString, String> {
    if name.is_empty() || name == "." || name == ".." || name.contains('/') {
        return Err(format!(
            "`{name}` is not the name of a credential: write the name from `LoadCredential=` of the systemd unit"
        ));
    }
    let Some(directory) = env("CREDENTIALS_DIRECTORY") else {
        return Err(format!(
            "$CREDENTIALS_DIRECTORY is not set: add `LoadCredential={name}:PATH` to the systemd unit, or write `file` instead"
        ));
    };
    from_file(&FilePath::new(&directory).join(name))
}

fn from_file(path: &FilePath) -> Result<SecretString, String> {
    let mut text = String::new();
    let read = fs::File::open(path).and_then(|file| file.take(MAX_SECRET_BYTES).read_to_string(&mut text));
    if read.map_err(|error| unreadable(path, &error))? as u64 == MAX_SECRET_BYTES {
        return Err(format!(
            "`{}` is larger than 64 KiB, the limit for a secret: check that it is the right file",
            path.display()
        ));
    }
    not_empty(text).ok_or_else(|| format!("`{}` is empty: write the secret to it", path.display()))
}

/// The secret without the line break at the end of a file.
fn not_empty(text: String) -> Option<SecretString> {
    let secret = text.trim_end_matches(['\r', '\n']);
    (!secret.is_empty()).then(|| SecretString::from(secret))
}

/// Checks that a file exists and can be opened. It is not read here.
pub(crate) fn existing(path: Option<PathBuf>, at: &Path, findings: &mut Findings) -> Option<PathBuf> {
    let path = path?;
    if findings.skips_secrets() {
        return Some(path);
    }
    let readable = fs::File::open(&path).and_then(|file| file.metadata());
    match readable {
        Ok(metadata) if metadata.is_dir() => {
            findings.add(at, format!("`{}` is a directory: name a file", path.display()));
        }
        Ok(_) => {}
        Err(error) => findings.add(at, unreadable(&path, &error)),
    }
    Some(path)
}

fn unreadable(path: &FilePath, error: &std::io::Error) -> String {
    let advice = match error.kind() {
        std::io::ErrorKind::PermissionDenied => "allow the user that runs regsweep to read it",
        _ => "create the file, or name another",
    };
    format!("cannot read `{}`: {error}: {advice}", path.display())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use crate::config::tests::{self, POLICIES};
    use crate::config::{Auth, parse};

    fn text(place: &str) -> String {
        format!("registries: [{{ name: main, url: 'https://r', auth: {{ bearer: {place} }} }}]\n{POLICIES}")
    }

    #[test]
    fn secret_is_read_from_a_file_a_variable_or_a_credential() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("token"), "hunter2\r\n\n").unwrap();
        let directory = directory.path().display().to_string();
        let env = |name: &str| match name {
            "CREDENTIALS_DIRECTORY" => Some(directory.clone()),
            _ => tests::env(name),
        };
        for place in [&format!("{{ file: {directory}/token }}"), "{ credential: token }", "{ env: PASSWORD }"]
        {
            let config = parse(&text(place), "f", &env).unwrap();
            let Auth::Bearer(token) = &config.registries[0].auth else { panic!("{place}") };
            assert_eq!(token.expose_secret(), "hunter2", "{place}");
            assert!(!format!("{config:?}").contains("hunter2"), "{place}");
        }
    }

    #[test]
    fn secret_that_is_missing_names_its_source() {
        let check = |place: &str, expected: &str| {
            tests::check(&text(place), &[&format!("registries[0].auth.bearer{expected}")]);
        };
        check(
            "{ file: /nowhere/token }",
            ".file: line 1: cannot read `/nowhere/token`: No such file or directory (os error 2): create the file, or name another",
        );
        check("{ file: /dev/null }", ".file: line 1: `/dev/null` is empty: write the secret to it");
        check(
            "{ env: NOWHERE }",
            ".env: line 1: the environment variable `NOWHERE` is not set: set it, or write `file` instead",
        );
        check(
            "{ env: EMPTY }",
            ".env: line 1: the environment variable `EMPTY` is empty: write the secret to it",
        );
        check(
            "{ credential: token }",
            ".credential: line 1: $CREDENTIALS_DIRECTORY is not set: add `LoadCredential=token:PATH` to the systemd unit, or write `file` instead",
        );
        check(
            "{ credential: ../token }",
            ".credential: line 1: `../token` is not the name of a credential: write the name from `LoadCredential=` of the systemd unit",
        );
        check("{}", ": line 1: no source for the secret: write one of `file`, `env`, `credential`");
        check(
            "{ env: PASSWORD, file: /dev/null }",
            ": line 1: `file`, `env` cannot be combined: keep one of them",
        );
    }
}
