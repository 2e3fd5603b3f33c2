//! A folder with a Docker configuration, helpers and a configuration of regsweep, in which the program runs.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use regsweep::config;
use regsweep::model::{RepositoryName, Tag};
use regsweep::registry::{Error, Reader, Reference, Resolved, Retry};

use crate::support::fake_registry::FakeRegistry;
use crate::support::image::Image;
use crate::support::real_registry::{Options, RealRegistry};
use crate::support::regsweep::{OLD_TAGS_EXPIRE, ProgramOutput};

/// Secrets that only the registry and its token service may receive.
pub(crate) const SECRET: &str = "hunter2-of-ann";

/// Reading the system's certificates takes longer than a request, and nothing is encrypted here.
const PLAIN: &str = "tls: { insecure_skip_verify: true }";

/// Retries that take no time in a test.
const QUICK: Retry = Retry {
    attempts: 3,
    initial_backoff: Duration::from_millis(1),
    max_backoff: Duration::from_millis(20),
    outage_timeout: Duration::from_millis(200),
    open_duration: Duration::from_millis(200),
};

pub(crate) fn base64(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

/// A Docker configuration with one entry.
pub(crate) fn auths(key: &str, entry: &str) -> String {
    format!("{{\"auths\":{{\"{key}\":{entry}}}}}")
}

/// An entry with a user and a password.
pub(crate) fn pair(user: &str, password: &str) -> String {
    format!("{{\"auth\":\"{}\"}}", base64(&format!("{user}:{password}")))
}

/// A folder with files, and the environment of the program.
pub(crate) struct Installation {
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

impl Installation {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), environment: Vec::new() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file atomically.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let (draft, path) = (self.path("draft"), self.path(name));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, &path).unwrap();
        path
    }

    /// A program on the PATH. A child process writes it: a file that another test's child process has inherited open
    /// for writing cannot be executed.
    pub(crate) fn helper(&self, name: &str, script: &str) -> PathBuf {
        let path = self.path(&format!("docker-credential-{name}"));
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && chmod 755 \"$2\"";
        let status = Command::new("sh").args(["-c", write, "sh", script]).arg(&path).status().unwrap();
        assert!(status.success());
        path
    }

    /// The text of a file; empty if it does not exist.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// A configuration of regsweep for the registry at this URL, with these lines about it.
    pub(crate) fn configure(&self, url: &str, lines: &str) -> PathBuf {
        let lines = lines.replace('\n', "\n    ");
        let head = format!("mode: enforce\nregistries:\n  - name: main\n    url: {url}\n    {lines}\n");
        self.file("regsweep.yaml", &(head + OLD_TAGS_EXPIRE))
    }

    /// The same, with this as the Docker configuration.
    pub(crate) fn configure_docker(&self, url: &str, config: &str) -> PathBuf {
        let path = self.file("docker.json", config);
        self.configure(url, &format!("{PLAIN}\nauth: {{ docker_config: {} }}", path.display()))
    }

    /// The program, which finds helpers here, with only the configured environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regsweep"));
        command.args(arguments).arg("--config").arg(self.path("regsweep.yaml")).stdin(Stdio::null());
        command.env_clear().current_dir(self.folder.path());
        command.env("PATH", format!("{}:/usr/bin:/bin", self.folder.path().display()));
        command.env("STATE_DIRECTORY", self.path("state"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> ProgramOutput {
        ProgramOutput::from(self.command(arguments).output().unwrap())
    }

    /// A reader of the registry of [`Installation::configure`].
    pub(crate) fn reader(&self) -> Reader {
        let env = |name: &str| (name == "SECRET").then(|| SECRET.to_owned());
        let config = config::parse(&self.read("regsweep.yaml"), "f", &env).unwrap_or_else(|e| panic!("{e}"));
        Reader::new(&config.registries[0], QUICK, Arc::new(())).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// A reader of this registry, with these lines in its configuration.
    pub(crate) fn reader_of(fake: &FakeRegistry, lines: &str) -> Reader {
        let installation = Self::new();
        installation.configure(&fake.url(), &format!("{PLAIN}\n{lines}"));
        installation.reader()
    }

    /// Configured for this registry with this Docker configuration, which exists as long as the installation.
    pub(crate) fn by(fake: &FakeRegistry, config: &str) -> Self {
        let installation = Self::new();
        installation.configure_docker(&fake.url(), config);
        installation
    }
}

/// Reads the manifest of a tag.
pub(crate) async fn read(reader: &Reader, tag: &str) -> Result<(), Error> {
    let (app, tag) = (RepositoryName::parse("app").unwrap(), Tag::parse(tag).unwrap());
    let found = reader.manifest(&app, Reference::Tag { tag: &tag, known: None }).await?;
    assert!(matches!(found, Resolved::Found(_)), "{found:?}");
    Ok(())
}

/// Pushes this many tags `t0`, `t1` and so on.
pub(crate) fn fill(fake: &FakeRegistry, tags: usize) {
    for number in 0..tags {
        fake.push("app", &format!("t{number}"), &Image::new("one").build());
    }
}

/// Reads all of them at once: the errors.
pub(crate) async fn read_all(reader: &Reader, tags: usize) -> Vec<Error> {
    let names: Vec<String> = (0..tags).map(|number| format!("t{number}")).collect();
    let all = futures_util::future::join_all(names.iter().map(|tag| read(reader, tag))).await;
    all.into_iter().filter_map(Result::err).collect()
}

/// Asserts that no text contains one of these secrets, or its base64 form as a whole pair.
#[track_caller]
pub(crate) fn assert_hidden(texts: &[&str], secrets: &[String]) {
    for text in texts {
        for secret in secrets {
            let found = text.find(secret.as_str());
            let around = found.map(|at| text[at.saturating_sub(300)..].chars().take(700).collect::<String>());
            assert_eq!(around, None, "{secret} is shown");
        }
    }
}

/// A real registry with a kept and an expired image.
pub(crate) fn started(options: Options) -> RealRegistry {
    let registry = options.start();
    for (tag, name) in [("keep", "kept"), ("old", "expired")] {
        let image = Image::new(name).created("2020-01-01T00:00:00Z").build();
        registry.store().write("app", &[tag], &image);
    }
    registry
}
