//! Secrets and other files that the configuration names.
//!
//! It does not know what they are for, and never shows what is in them.

use std::fs;
use std::io::Read as _;
use std::path::{Path as FilePath, PathBuf};

use secrecy::SecretString;

use super::Env;
use super::problem::{Findings, Path, listed};
use super::written;

/// A file that has so many bytes or more holds no secret, but something else.
const SECRET_BYTES: u64 = 64 << 10;

/// The secret itself, found where the configuration says.
pub(super) fn secret(
    written: written::Secret,
    at: &Path,
    env: Env<'_>,
    findings: &mut Findings,
) -> Option<SecretString> {
    let written::SecretPlace { file, env: variable, credential } = written.0;
    let keys = findings.written(
        at,
        &[("file", file.is_some()), ("env", variable.is_some()), ("credential", credential.is_some())],
    );
    if keys.len() > 1 {
        findings.add(at, format!("{} together: keep one of them", listed(keys)));
        return None;
    }
    let (key, found) = match (file, variable, credential) {
        (None, None, None) if findings.is_unread_within(at) => return None,
        (Some(_), _, _) | (_, Some(_), _) | (_, _, Some(_)) if findings.needs_no_secrets() => {
            return Some(SecretString::default());
        }
        (Some(file), _, _) => ("file", from_file(&file)),
        (_, Some(name), _) => ("env", from_variable(&name, env)),
        (_, _, Some(name)) => ("credential", from_credential(&name, env)),
        (None, None, None) => {
            findings.add(at, "no secret is named here: write one of `file`, `env`, `credential`");
            return None;
        }
    };
    found.map_err(|message| findings.add(&at.key(key), message)).ok()
}

fn from_variable(name: &str, env: Env<'_>) -> Result<SecretString, String> {
    let Some(value) = env(name) else {
        return Err(format!("the environment variable `{name}` is not set: set it, or use `file`"));
    };
    not_empty(value)
        .ok_or_else(|| format!("the environment variable `{name}` is empty: put the secret in it"))
}

fn from_credential(name: &str, env: Env<'_>) -> Result<SecretString, String> {
    if name.is_empty() || name == "." || name == ".." || name.contains('/') {
        return Err(format!(
            "`{name}` is not the name of a credential: write the one that the unit gives it"
        ));
    }
    let Some(directory) = env("CREDENTIALS_DIRECTORY") else {
        return Err(format!(
            "there is no $CREDENTIALS_DIRECTORY: put `LoadCredential={name}:PATH` in the systemd unit, or use `file`"
        ));
    };
    from_file(&FilePath::new(&directory).join(name))
}

fn from_file(path: &FilePath) -> Result<SecretString, String> {
    let mut text = String::new();
    let read = fs::File::open(path).and_then(|file| file.take(SECRET_BYTES).read_to_string(&mut text));
    if read.map_err(|error| unreadable(path, &error))? as u64 == SECRET_BYTES {
        return Err(format!("`{}` is longer than any secret: name the right file", path.display()));
    }
    not_empty(text).ok_or_else(|| format!("`{}` is empty: put the secret in it", path.display()))
}

/// The secret without the line break that every editor puts behind it.
fn not_empty(text: String) -> Option<SecretString> {
    let secret = text.trim_end_matches(['\r', '\n']);
    (!secret.is_empty()).then(|| SecretString::from(secret))
}

/// A file that must be there, though not read here.
pub(super) fn existing(path: Option<PathBuf>, at: &Path, findings: &mut Findings) -> Option<PathBuf> {
    let path = path?;
    if findings.needs_no_secrets() {
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
    let way_out = match error.kind() {
        std::io::ErrorKind::PermissionDenied => "let the user that regsweep runs as read it",
        _ => "put the file there, or name another",
    };
    format!("cannot read `{}`: {error}: {way_out}", path.display())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::super::tests::{self, POLICIES};
    use super::super::{Auth, parse};

    fn text(place: &str) -> String {
        format!("registries: [{{ name: main, url: 'https://r', auth: {{ bearer: {place} }} }}]\n{POLICIES}")
    }

    #[test]
    fn a_secret_is_taken_from_a_file_a_variable_or_a_credential() {
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
    fn a_secret_that_is_not_there_says_where_it_was_looked_for() {
        let check = |place: &str, expected: &str| {
            tests::check(&text(place), &[&format!("registries[0].auth.bearer{expected}")]);
        };
        check(
            "{ file: /nowhere/token }",
            ".file: line 1: cannot read `/nowhere/token`: No such file or directory (os error 2): put the file there, or name another",
        );
        check("{ file: /dev/null }", ".file: line 1: `/dev/null` is empty: put the secret in it");
        check(
            "{ env: NOWHERE }",
            ".env: line 1: the environment variable `NOWHERE` is not set: set it, or use `file`",
        );
        check(
            "{ env: EMPTY }",
            ".env: line 1: the environment variable `EMPTY` is empty: put the secret in it",
        );
        check(
            "{ credential: token }",
            ".credential: line 1: there is no $CREDENTIALS_DIRECTORY: put `LoadCredential=token:PATH` in the systemd unit, or use `file`",
        );
        check(
            "{ credential: ../token }",
            ".credential: line 1: `../token` is not the name of a credential: write the one that the unit gives it",
        );
        check("{}", ": line 1: no secret is named here: write one of `file`, `env`, `credential`");
        check("{ env: PASSWORD, file: /dev/null }", ": line 1: `file`, `env` together: keep one of them");
    }
}
