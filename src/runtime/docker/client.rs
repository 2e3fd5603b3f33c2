//! The requests to the Docker Engine that regsweep needs, with errors that say how to mend them.
//!
//! It knows the Engine's API and nothing of registries.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error as Failure;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, ContainerInspectResponse, ContainerState};
use bollard::query_parameters::{
    ContainerArchiveInfoOptionsBuilder, DownloadFromContainerOptionsBuilder, ListContainersOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, RestartContainerOptionsBuilder,
    StopContainerOptionsBuilder,
};
use futures_util::{Stream as Bytes, StreamExt as _};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::process::Stream;
use crate::runtime::deadline::Deadline;
use crate::runtime::docker::address::Address;
use crate::runtime::error::Error;
use crate::runtime::job::OutputSink;

/// Seconds that a registry is given to end by itself before it is killed.
const STOP_SECONDS: i32 = 10;
/// A configuration file of a registry is smaller than this by far.
const FILE_LIMIT: u64 = 4 << 20;
/// Requests in a row that may fail while the end of a job is polled: an Engine may be restarting.
const MAX_FAILED_POLLS: u32 = 20;
/// How long an answer may take from the request to its last byte, and how long each piece of a long one. The client's
/// own limit ends with the first byte, and an Engine (or a proxy before it) may send nothing more after that.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(150);
/// How long the rest of an output may take after its process has ended.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client of one Docker Engine.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    docker: Docker,
    host: String,
}

impl Client {
    pub(crate) fn new(address: &Address) -> Result<Self, Error> {
        Ok(Self { docker: address.client()?, host: address.host().to_owned() })
    }

    /// The Engine's description of a container.
    pub(crate) async fn inspect(&self, container: &str) -> Result<ContainerInspectResponse, Error> {
        let found = self.answer_of(self.docker.inspect_container(container, None)).await;
        found.map_err(|error| self.about(container, "inspect the container", error))
    }

    /// The bytes of a file or folder; `None` if there is none at this path. Volumes are seen, and the
    /// container need not run.
    pub(crate) async fn stat(&self, container: &str, path: &str) -> Result<Option<u64>, Error> {
        let options = ContainerArchiveInfoOptionsBuilder::default().path(path).build();
        match self.answer_of(self.docker.get_container_archive_info(container, Some(options))).await {
            Ok(found) => Ok(Some(u64::try_from(found.size).unwrap_or_default())),
            Err(Failure::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(self.failed("find a file in the container (archive)", error)),
        }
    }

    /// The text of a file; `None` if there is none.
    pub(crate) async fn read(&self, container: &str, path: &str) -> Result<Option<String>, Error> {
        let action = "read a file in the container (archive)";
        let options = ContainerArchiveInfoOptionsBuilder::default().path(path).build();
        let found =
            match self.answer_of(self.docker.get_container_archive_info(container, Some(options))).await {
                Ok(found) => found,
                Err(Failure::DockerResponseServerError { status_code: 404, .. }) => return Ok(None),
                Err(error) => return Err(self.failed(action, error)),
            };
        // The Engine would archive a symbolic link itself, and names its target here.
        let path = if found.link_target.is_empty() { path } else { &found.link_target };
        let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
        let mut archive = Vec::new();
        let mut pieces = self.docker.download_from_container(container, Some(options));
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            let piece = timeout_at(deadline, pieces.next()).await;
            let Some(piece) = piece.unwrap_or(Some(Err(Failure::RequestTimeoutError))) else { break };
            match piece {
                Ok(piece) => archive.extend_from_slice(&piece),
                Err(Failure::DockerResponseServerError { status_code: 404, .. }) => return Ok(None),
                Err(error) => return Err(self.failed(action, error)),
            }
            if archive.len() as u64 > FILE_LIMIT {
                return Err(Error::UnreadableFile {
                    path: path.to_owned(),
                    why: "it is too large".to_owned(),
                });
            }
        }
        let unreadable =
            |error: io::Error| Error::UnreadableFile { path: path.to_owned(), why: error.to_string() };
        let mut archive = tar::Archive::new(archive.as_slice());
        for entry in archive.entries().map_err(unreadable)? {
            let mut entry = entry.map_err(unreadable)?;
            if entry.header().entry_type().is_file() {
                let mut text = String::new();
                entry.read_to_string(&mut text).map_err(unreadable)?;
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    pub(crate) async fn start(&self, container: &str) -> Result<(), Error> {
        let started = self.answer_of(self.docker.start_container(container, None)).await;
        started.map_err(|error| self.about(container, "start the container", error))
    }

    pub(crate) async fn stop(&self, container: &str) -> Result<(), Error> {
        let options = StopContainerOptionsBuilder::default().t(STOP_SECONDS).build();
        let stopped = self.answer_of(self.docker.stop_container(container, Some(options))).await;
        stopped.map_err(|error| self.about(container, "stop the container", error))
    }

    pub(crate) async fn restart(&self, container: &str) -> Result<(), Error> {
        let options = RestartContainerOptionsBuilder::default().t(STOP_SECONDS).build();
        let restarted = self.answer_of(self.docker.restart_container(container, Some(options))).await;
        restarted.map_err(|error| self.about(container, "restart the container", error))
    }

    /// Creates a container and returns its id.
    pub(crate) async fn create(&self, body: ContainerCreateBody) -> Result<String, Error> {
        let created = self.answer_of(self.docker.create_container(None, body)).await;
        Ok(created.map_err(|error| self.failed("create a container", error))?.id)
    }

    /// Removes a container, running or not. Its anonymous volumes stay: they are the registry's.
    pub(crate) async fn remove(&self, container: &str) -> Result<(), Error> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(false).build();
        match self.answer_of(self.docker.remove_container(container, Some(options))).await {
            // It does not exist, or is being removed already.
            Ok(()) | Err(Failure::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(()),
            Err(error) => Err(self.failed("remove a container", error)),
        }
    }

    /// The ids of the containers that carry all these labels, running or not.
    pub(crate) async fn labelled(&self, labels: &[String]) -> Result<Vec<String>, Error> {
        let filters = HashMap::from([("label", labels.to_vec())]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let found = self.answer_of(self.docker.list_containers(Some(options))).await;
        let found = found.map_err(|error| self.failed("list containers", error))?;
        Ok(found.into_iter().filter_map(|container| container.id).collect())
    }

    /// Starts a created container, waits until it ends, and takes in what it printed: its exit code.
    pub(crate) async fn run(
        &self,
        container: &str,
        output: &mut dyn OutputSink,
        deadline: Deadline,
    ) -> Result<i64, Error> {
        self.start(container).await?;
        let ended = |state: ContainerState| {
            let running = state.running.unwrap_or_default() || state.restarting.unwrap_or_default();
            (!running).then(|| state.exit_code.unwrap_or_default())
        };
        // Polled, since a proxy before the Engine may cut a request that waits for long.
        let exit = self.poll(deadline, || async { Ok(self.inspect(container).await?.state.and_then(ended)) });
        let exit = exit.await?;
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
        let logs = self.docker.logs(container, Some(options));
        // It has ended, so the Engine has nothing to wait for.
        deadline.limit(self.drain(logs, output, Some(ANSWER_TIMEOUT))).await??;
        Ok(exit)
    }

    /// Runs a command inside a running container and takes in what it prints: its exit code. At the
    /// deadline it goes on by itself: the Engine can end it only together with the container.
    pub(crate) async fn exec(
        &self,
        container: &str,
        command: Vec<String>,
        output: &mut dyn OutputSink,
        deadline: Deadline,
    ) -> Result<i64, Error> {
        let action = "run a command in the container (exec)";
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(false),
            cmd: Some(command),
            ..CreateExecOptions::default()
        };
        let created = self.answer_of(self.docker.create_exec(container, options)).await;
        let exec = created.map_err(|error| self.about(container, action, error))?.id;
        let started = self.answer_of(self.docker.start_exec(&exec, None)).await;
        let StartExecResults::Attached { output: stream, .. } =
            started.map_err(|error| self.failed(action, error))?
        else {
            return Err(Error::Engine { action, message: "it did not attach".to_owned() });
        };
        // The stream may be cut by a proxy, which does not end the process: only the Engine's description counts.
        let ended = self.poll(deadline, || async {
            let found = self.answer_of(self.docker.inspect_exec(&exec)).await;
            let found = found.map_err(|error| self.failed(action, error))?;
            // Before it runs, Docker says nothing of an exit code; Podman says 0.
            Ok(if found.running == Some(false) { found.exit_code } else { None })
        });
        // A job may print nothing for any time.
        let drained = self.drain(stream, output, None);
        tokio::pin!(ended, drained);
        tokio::select! {
            exit = &mut ended => {
                let exit = exit?;
                match timeout(OUTPUT_TIMEOUT, &mut drained).await {
                    Ok(drained) => drained.map(|()| exit),
                    Err(_) => Err(Error::Engine { action, message: "its output does not end".to_owned() }),
                }
            }
            drained = &mut drained => {
                let exit = (&mut ended).await?;
                drained.map(|()| exit)
            }
        }
    }

    /// Repeats a request until it gives an answer.
    async fn poll<T, F: Future<Output = Result<Option<T>, Error>>>(
        &self,
        deadline: Deadline,
        ask: impl Fn() -> F,
    ) -> Result<T, Error> {
        let mut pause = Duration::from_millis(20);
        let mut failures = 0;
        loop {
            match ask().await {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => failures = 0,
                Err(error) if error.is_transient() && failures < MAX_FAILED_POLLS => failures += 1,
                Err(error) => return Err(error),
            }
            deadline.check()?;
            sleep(pause.min(deadline.remaining())).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    async fn drain(
        &self,
        mut frames: impl Bytes<Item = Result<LogOutput, Failure>> + Unpin,
        output: &mut dyn OutputSink,
        silence: Option<Duration>,
    ) -> Result<(), Error> {
        let silence = silence.unwrap_or(Duration::MAX);
        while let Some(frame) =
            timeout(silence, frames.next()).await.unwrap_or(Some(Err(Failure::RequestTimeoutError)))
        {
            match frame {
                Ok(LogOutput::StdErr { message }) => output.take(Stream::Stderr, &message),
                Ok(LogOutput::StdOut { message } | LogOutput::Console { message }) => {
                    output.take(Stream::Stdout, &message);
                }
                Ok(LogOutput::StdIn { .. }) => {}
                Err(error) => return Err(self.failed("read the output of a container", error)),
            }
        }
        Ok(())
    }

    /// The answer to its end, or an error if that takes too long.
    async fn answer_of<T>(&self, answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        timeout(ANSWER_TIMEOUT, answer).await.unwrap_or(Err(Failure::RequestTimeoutError))
    }

    /// The error of a request about one container.
    fn about(&self, container: &str, action: &'static str, error: Failure) -> Error {
        match error {
            Failure::DockerResponseServerError { status_code: 404, .. } => {
                Error::NoContainer { container: container.to_owned() }
            }
            other => self.failed(action, other),
        }
    }

    fn failed(&self, action: &'static str, error: Failure) -> Error {
        let host = self.host.clone();
        match error {
            Failure::DockerResponseServerError { status_code: 403, message } => {
                Error::Forbidden { host, action, message: printable(&message) }
            }
            Failure::DockerResponseServerError { status_code, message } => {
                Error::Engine { action, message: format!("{status_code}: {}", printable(&message)) }
            }
            Failure::RequestTimeoutError => {
                Error::Unreachable { host, why: "it does not answer in time".to_owned() }
            }
            Failure::HyperLegacyError { err } => match cause(&err) {
                Some(error) if error.kind() == io::ErrorKind::PermissionDenied => Error::Permission { host },
                Some(error) => Error::Unreachable { host, why: error.to_string() },
                None => Error::Unreachable { host, why: err.to_string() },
            },
            other => Error::Engine { action, message: printable(&other.to_string()) },
        }
    }
}

/// The error of the operating system, which is the last source of a client's error.
fn cause(error: &dyn std::error::Error) -> Option<&io::Error> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// A message of the Engine (or of a proxy, which may send a page of HTML) on one short line.
fn printable(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    clean.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{UnixListener, UnixStream};

    use super::*;

    /// A sink that keeps nothing.
    struct Discard;

    impl OutputSink for Discard {
        fn take(&mut self, _: Stream, _: &[u8]) {}
    }

    /// What the test's Engine does after the head of an answer that it never ends.
    #[derive(Debug, Clone, Copy)]
    enum AfterHead {
        Silence,
        /// One byte now and then, of a file or of a line that has no end.
        Drip,
    }

    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    /// The description of a file: `{"name":"c","size":1,"mode":420,"mtime":"2026-01-01T00:00:00Z","linkTarget":""}`.
    const STAT: &str = "X-Docker-Container-Path-Stat: \
        eyJuYW1lIjoiYyIsInNpemUiOjEsIm1vZGUiOjQyMCwibXRpbWUiOiIyMDI2LTAxLTAxVDAwOjAwOjAwWiIsImxpbmtUYXJnZXQiOiIifQ==\r\n";
    const ENDED: &str = r#"{"State":{"Running":false,"ExitCode":0}}"#;

    /// An Engine that answers each request, except that it sends only the head of the answer to the request whose
    /// first line contains `never`.
    fn engine(never: &'static str, then: AfterHead) -> (TempDir, Client) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, never, then));
            }
        });
        let address = Address::parse(&format!("unix://{}", socket.display()), None).unwrap();
        (folder, Client::new(&address).unwrap())
    }

    async fn answer(mut stream: UnixStream, never: &str, then: AfterHead) -> io::Result<()> {
        loop {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await?);
            }
            let request = String::from_utf8(request).unwrap();
            if !request.lines().next().unwrap().contains(never) {
                let body = if request.starts_with("GET") && request.contains("/json") { ENDED } else { "" };
                let length = body.len();
                let whole = format!("{HEAD}{STAT}Content-Length: {length}\r\n\r\n{body}");
                stream.write_all(whole.as_bytes()).await?;
                continue;
            }
            let begun = format!("{HEAD}{STAT}Content-Length: 1000000\r\n\r\n");
            stream.write_all(begun.as_bytes()).await?;
            loop {
                match then {
                    AfterHead::Silence => std::future::pending().await,
                    AfterHead::Drip => sleep(Duration::from_secs(20)).await,
                }
                // A frame of an output with one character in it; as good a beginning of a file as any.
                stream.write_all(b"\x01\0\0\0\0\0\0\x01x").await?;
            }
        }
    }

    /// The error of a request whose answer never ends, and the seconds until then.
    async fn error_of<T: std::fmt::Debug>(
        ask: impl Future<Output = Result<T, Error>>,
    ) -> (&'static str, u64) {
        let begin = Instant::now();
        let ended = timeout(Duration::from_secs(100_000), ask).await.expect("it waits for ever");
        (ended.unwrap_err().kind(), begin.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn engine_that_stops_answering_is_not_waited_for_for_ever() {
        for then in [AfterHead::Silence, AfterHead::Drip] {
            let (_folder, silent) = engine("/containers/c/json", then);
            let (kind, seconds) = error_of(silent.inspect("c")).await;
            assert_eq!(kind, "unreachable", "{then:?}");
            assert!(seconds <= ANSWER_TIMEOUT.as_secs(), "{then:?}: {seconds} s");

            let (_folder, silent) = engine("GET /containers/c/archive", then);
            let (kind, seconds) = error_of(silent.read("c", "/config.yml")).await;
            assert_eq!(kind, "unreachable", "{then:?}");
            assert!(seconds <= ANSWER_TIMEOUT.as_secs(), "{then:?}: {seconds} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn output_may_last_until_the_deadline_but_not_pause_for_long() {
        let limit = Duration::from_secs(3600);
        for (then, expected, least) in
            [(AfterHead::Silence, "unreachable", 0), (AfterHead::Drip, "timeout", 3600)]
        {
            let (_folder, silent) = engine("/containers/c/logs", then);
            let mut output = Discard;
            let run = silent.run("c", &mut output, Deadline::after(limit));
            let (kind, seconds) = error_of(run).await;
            assert_eq!(kind, expected, "{then:?}");
            let most = if least == 0 { ANSWER_TIMEOUT.as_secs() } else { least };
            assert!((least..=most + 1).contains(&seconds), "{then:?}: {seconds} s");
        }
    }
}
