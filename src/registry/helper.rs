//! Credential helpers: programs that know credentials, asked as Docker asks them.
//!
//! It runs a program and understands its answer. What a program says is shown only where it can be no secret.

use std::io::ErrorKind;
use std::process::Stdio;
use std::time::Duration;

use futures_util::FutureExt as _;
use secrecy::SecretString;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use super::auth::Credentials;
use super::docker_config::read;
use crate::group::Group;

/// Some helpers ask a cloud, and some wait for a person.
const PATIENCE: Duration = Duration::from_secs(30);
/// Credentials are small; more than this is something else.
const OUTPUT_BYTES: usize = 1 << 20;
/// How long output may still come once a helper has ended: an agent that it started may hold on to the pipes.
const REST: Duration = Duration::from_millis(500);
/// Of what a helper says about its failure, this much is shown.
const SHOWN: usize = 300;
/// How a helper says that it has nothing; it exits with 1 then.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The user name that comes with an identity token.
const IDENTITY: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// What the helper `docker-credential-<name>` knows of a server; `None` if it does not know it.
///
/// It is killed, with all that it started, if it takes too long or if the returned future is dropped.
pub(super) async fn ask(name: &str, server: &str) -> Result<Option<Credentials>, String> {
    ask_program(&format!("docker-credential-{name}"), server, PATIENCE).await
}

async fn ask_program(program: &str, server: &str, patience: Duration) -> Result<Option<Credentials>, String> {
    let failed = |why: String| format!("the credential helper `{program}` {why}");
    let said = timeout(patience, run(program, server)).await;
    let said = said.map_err(|_| {
        failed(format!(
            "has not answered for {} s: call it by hand as the user of regsweep",
            patience.as_secs()
        ))
    })?;
    understand(&said.map_err(failed)?).map_err(failed)
}

/// How a helper ended and what it said.
struct Said {
    success: bool,
    out: Vec<u8>,
    err: Vec<u8>,
}

async fn run(program: &str, server: &str) -> Result<Said, String> {
    let mut command = Command::new(program);
    command.arg("get").process_group(0).kill_on_drop(true);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(
            |error| match error.kind() {
                ErrorKind::NotFound => {
                    "is not there: install it, or add its folder to the PATH of regsweep".to_owned()
                }
                _ => format!("cannot be run: {error}"),
            },
        )?;
    let mut group = Group::of(&child);
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = {
        let talk = async {
            if let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes {
                let write = async move {
                    // A helper that does not read what it is asked may know the answer all the same.
                    let _ = stdin.write_all(server.as_bytes()).await;
                };
                tokio::join!(write, receive(stdout, &mut out), receive(stderr, &mut err));
            }
        };
        let talk = talk.fuse();
        tokio::pin!(talk);
        let status = tokio::select! {
            status = child.wait() => status,
            () = &mut talk => child.wait().await,
        };
        // What is missing in the answer is told there.
        let _ = timeout(REST, talk).await;
        status
    };
    group.forget();
    let status = status.map_err(|error| format!("cannot be waited for: {error}"))?;
    if out.len().max(err.len()) > OUTPUT_BYTES {
        return Err("says more than any credentials".to_owned());
    }
    Ok(Said { success: status.success(), out, err })
}

/// Reads until there is no more, or too much.
async fn receive(from: impl AsyncRead + Unpin, bytes: &mut Vec<u8>) {
    let _ = from.take(OUTPUT_BYTES as u64 + 1).read_to_end(bytes).await;
}

fn understand(said: &Said) -> Result<Option<Credentials>, String> {
    let out = String::from_utf8_lossy(&said.out);
    if !said.success {
        return if out.contains(NOT_FOUND) {
            Ok(None)
        } else {
            Err(format!("fails{}", shown(&out, &said.err)))
        };
    }
    let answer: Answer = read(&out).map_err(|error| format!("does not answer as helpers do: {error}"))?;
    let Answer { username, secret } = answer;
    if username.is_empty() || secret.is_empty() {
        return Err("gives an empty user name or secret: log in to the registry once more".to_owned());
    }
    let secret = SecretString::from(secret);
    Ok(Some(match username.as_str() {
        IDENTITY => Credentials::Identity { username: None, token: secret },
        _ => Credentials::Basic { username, password: secret },
    }))
}

/// What a failure says of itself, unless it could be credentials after all.
fn shown(out: &str, err: &[u8]) -> String {
    let all = format!("{out} {}", String::from_utf8_lossy(err));
    let words = all.split_whitespace().collect::<Vec<_>>().join(" ");
    let clean: String = words.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    if clean.is_empty() || words.contains('{') || words.contains("Secret") {
        return ": call it by hand as the user of regsweep".to_owned();
    }
    format!(": {clean}")
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use secrecy::ExposeSecret as _;

    use super::*;

    /// A helper that runs this script. Another process writes it: while we have it open, another test might
    /// begin one that inherits it, and a file that is being written cannot be run.
    fn helper(folder: &Path, script: &str) -> PathBuf {
        let path = folder.join("helper");
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && chmod 755 \"$2\"";
        let status = std::process::Command::new("sh").args(["-c", write, "sh", script]).arg(&path).status();
        assert!(status.unwrap().success());
        path
    }

    async fn ask(script: &str, patience: Duration) -> Result<Option<Credentials>, String> {
        let folder = tempfile::tempdir().unwrap();
        let helper = helper(folder.path(), script);
        ask_program(helper.to_str().unwrap(), "r.example.com:5000", patience).await
    }

    #[tokio::test]
    async fn the_server_goes_in_and_credentials_come_out() {
        let script = r#"printf '{"ServerURL":"x","Username":"%s","Secret":"%s"}' "$1" "$(cat)""#;
        let found = ask(script, PATIENCE).await.unwrap();
        let Some(Credentials::Basic { username, password }) = found else { panic!("{found:?}") };
        assert_eq!((username.as_str(), password.expose_secret()), ("get", "r.example.com:5000"));
        let found = ask(r#"echo '{"Username":"<token>","Secret":"s"}'"#, PATIENCE).await.unwrap();
        let Some(Credentials::Identity { username: None, token }) = found else { panic!("{found:?}") };
        assert_eq!(token.expose_secret(), "s");
    }

    #[tokio::test]
    async fn what_a_helper_leaves_behind_does_not_hold_us_up() {
        let script = "sleep 100 & echo '{\"Username\":\"u\",\"Secret\":\"s\"}'";
        assert!(ask(script, PATIENCE).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_helper_that_takes_too_long_is_killed_with_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let helper = helper(folder.path(), "sleep 1000 & echo $! > \"${0%/*}/pid\"; wait");
        let error = ask_program(helper.to_str().unwrap(), "r", Duration::from_secs(4)).await.unwrap_err();
        assert!(error.contains("has not answered for 4 s"), "{error}");
        let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap();
        let state = PathBuf::from(format!("/proc/{}/stat", pid.trim()));
        // A process that was killed is there until somebody has waited for it.
        let is_alive = || std::fs::read_to_string(&state).is_ok_and(|text| !text.contains(") Z "));
        for _ in 0..1000 {
            if !is_alive() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("process {pid} is alive");
    }
}
