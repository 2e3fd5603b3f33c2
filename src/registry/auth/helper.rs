//! Docker credential helpers: programs that print the credentials for a server.
//!
//! It runs a helper and parses its answer. Output of a helper is shown only where it cannot contain a secret.

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::process::Stdio;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use tokio::process::Command;
use tokio::time::Instant;

use super::credentials::Credentials;
use super::json;
use crate::process::{self, Stream};

/// Some helpers ask a cloud service, and some wait for a person.
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);
/// Credentials are small; a helper that prints more than this does something else.
const MAX_OUTPUT_BYTES: usize = 1 << 20;
/// Characters of a helper's error output that are shown.
const MAX_SHOWN: usize = 300;
/// What a helper prints when it has no credentials for the server; it exits with 1 then.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The user name that a helper returns with an identity token.
const IDENTITY_USER: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// The credentials that the helper `docker-credential-<name>` has for a server; `None` if it has none.
///
/// The helper is killed, with every process that it started, if it takes too long or if the returned future is
/// dropped.
pub(super) async fn get(name: &str, server: &str) -> Result<Option<Credentials>, String> {
    get_from(&format!("docker-credential-{name}"), server, HELPER_TIMEOUT).await
}

async fn get_from(program: &str, server: &str, limit: Duration) -> Result<Option<Credentials>, String> {
    let output = run(program, server, limit).await;
    output.and_then(|output| parse(&output)).map_err(|why| format!("the credential helper `{program}` {why}"))
}

/// The exit status and the output of a helper.
struct Output {
    success: bool,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

async fn run(program: &str, server: &str, limit: Duration) -> Result<Output, String> {
    let mut command = Command::new(program);
    command.arg("get").stdout(Stdio::piped()).stderr(Stdio::piped());
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let on_output = |stream, bytes: &[u8]| {
        let collected = match stream {
            Stream::Stdout => &mut stdout,
            Stream::Stderr => &mut stderr,
        };
        collected.extend_from_slice(bytes);
        if collected.len() > MAX_OUTPUT_BYTES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let ended = process::run(command, Some(server.as_bytes()), on_output, Instant::now() + limit).await;
    let status = ended.map_err(|error| match error {
        process::Error::Start(error) if error.kind() == ErrorKind::NotFound => {
            "does not exist: install it, or add its folder to the PATH of regsweep".to_owned()
        }
        process::Error::Start(error) => format!("cannot be run: {error}"),
        process::Error::Wait(error) => format!("cannot be waited for: {error}"),
        process::Error::Timeout => {
            format!("has not answered for {} s: run it by hand as the user of regsweep", limit.as_secs())
        }
    })?;
    if stdout.len().max(stderr.len()) > MAX_OUTPUT_BYTES {
        return Err(format!("prints more than {MAX_OUTPUT_BYTES} bytes"));
    }
    Ok(Output { success: status.success(), stdout, stderr })
}

fn parse(output: &Output) -> Result<Option<Credentials>, String> {
    let stdout = String::from_utf8_lossy(&output.stdout);
    if !output.success {
        return if stdout.contains(NOT_FOUND) {
            Ok(None)
        } else {
            Err(format!("fails{}", failure_text(&stdout, &output.stderr)))
        };
    }
    let answer: Answer =
        json::parse(&stdout).map_err(|error| format!("does not answer as helpers do: {error}"))?;
    let Answer { username, secret } = answer;
    if username.is_empty() || secret.is_empty() {
        return Err("gives an empty user name or secret: log in to the registry once more".to_owned());
    }
    let secret = SecretString::from(secret);
    Ok(Some(match username.as_str() {
        IDENTITY_USER => Credentials::Identity { username: None, token: secret },
        _ => Credentials::Basic { username, password: secret },
    }))
}

/// The error output of a helper, unless it could contain credentials.
fn failure_text(stdout: &str, stderr: &[u8]) -> String {
    let all = format!("{stdout} {}", String::from_utf8_lossy(stderr));
    let text = all.split_whitespace().collect::<Vec<_>>().join(" ");
    let printable: String = text.chars().filter(|c| !c.is_control()).take(MAX_SHOWN).collect();
    if printable.is_empty() || text.contains('{') || text.contains("Secret") {
        return ": run it by hand as the user of regsweep".to_owned();
    }
    format!(": {printable}")
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use secrecy::ExposeSecret as _;

    use super::*;

    /// A helper that runs this script. A child process writes the file: a file that another thread's child process
    /// has inherited open for writing cannot be executed.
    fn helper(folder: &Path, script: &str) -> PathBuf {
        let path = folder.join("helper");
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && chmod 755 \"$2\"";
        let status = std::process::Command::new("sh").args(["-c", write, "sh", script]).arg(&path).status();
        assert!(status.unwrap().success());
        path
    }

    async fn get(script: &str, limit: Duration) -> Result<Option<Credentials>, String> {
        let folder = tempfile::tempdir().unwrap();
        let helper = helper(folder.path(), script);
        get_from(helper.to_str().unwrap(), "r.example.com:5000", limit).await
    }

    #[tokio::test]
    async fn helper_reads_the_server_and_prints_credentials() {
        let script = r#"printf '{"ServerURL":"x","Username":"%s","Secret":"%s"}' "$1" "$(cat)""#;
        let found = get(script, HELPER_TIMEOUT).await.unwrap();
        let Some(Credentials::Basic { username, password }) = found else { panic!("{found:?}") };
        assert_eq!((username.as_str(), password.expose_secret()), ("get", "r.example.com:5000"));
        let found = get(r#"echo '{"Username":"<token>","Secret":"s"}'"#, HELPER_TIMEOUT).await.unwrap();
        let Some(Credentials::Identity { username: None, token }) = found else { panic!("{found:?}") };
        assert_eq!(token.expose_secret(), "s");
    }

    #[tokio::test]
    async fn helper_with_a_background_process_is_not_waited_for() {
        let script = "sleep 100 & echo '{\"Username\":\"u\",\"Secret\":\"s\"}'";
        assert!(get(script, HELPER_TIMEOUT).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn helper_that_prints_too_much_is_an_error() {
        let error = get("while echo line; do :; done", HELPER_TIMEOUT).await.unwrap_err();
        assert!(error.ends_with("prints more than 1048576 bytes"), "{error}");
    }

    #[tokio::test]
    async fn helper_that_takes_too_long_is_an_error() {
        let error = get("sleep 1000", Duration::from_secs(1)).await.unwrap_err();
        assert!(error.contains("has not answered for 1 s"), "{error}");
    }
}
