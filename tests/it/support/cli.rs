//! Runs the program as an operator or a script does: with a configuration file, for its exit code and output.
//!
//! It differs from `regsweep.rs` in that the test writes the whole configuration, and the environment is empty.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A folder with a configuration file, and the environment in which the program is run.
#[derive(Debug)]
pub struct Cli {
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

/// How the program ended, and what it printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliOutput {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Cli {
    /// With this configuration, in which `FOLDER` stands for its own folder.
    pub fn new(config: &str) -> Self {
        let cli = Self { folder: tempfile::tempdir().unwrap(), environment: Vec::new() };
        let folder = cli.folder.path().display().to_string();
        cli.file("regsweep.yaml", &config.replace("FOLDER", &folder));
        cli
    }

    /// Puts a file beside the configuration.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// With this variable in the environment, which is empty otherwise.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The text with the folder's path in the place of `FOLDER`.
    pub fn absolute(&self, text: &str) -> String {
        text.replace("FOLDER", &self.folder.path().display().to_string())
    }

    /// Runs the program with these arguments and this configuration.
    pub fn run(&self, arguments: &[&str]) -> CliOutput {
        let config = self.folder.path().join("regsweep.yaml");
        self.run_bare(&[&["--config", config.to_str().unwrap()], arguments].concat())
    }

    /// Runs the program with this configuration, and its standard output redirected.
    pub fn run_into(&self, out: impl Into<Stdio>, arguments: &[&str]) -> CliOutput {
        let mut command = self.command(arguments);
        command.arg("--config").arg(self.folder.path().join("regsweep.yaml"));
        self.captured(command.stdout(out).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap())
    }

    /// Runs the program with these arguments only. In its output the folder's path is `FOLDER`.
    pub fn run_bare(&self, arguments: &[&str]) -> CliOutput {
        self.captured(self.command(arguments).output().unwrap())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regsweep"));
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command.env("STATE_DIRECTORY", self.folder.path().join("state"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn captured(&self, output: Output) -> CliOutput {
        let folder = self.folder.path().display().to_string();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&folder, "FOLDER");
        CliOutput {
            code: output.status.code().expect("the program was killed"),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}
