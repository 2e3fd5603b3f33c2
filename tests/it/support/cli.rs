//! Runs the program the way a person or a script does: a configuration file, arguments, an exit code.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A folder with a configuration file, and the environment in which the program is run.
#[derive(Debug)]
pub struct Cli {
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

/// What the program said, and how it ended.
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
    /// With this configuration; `FOLDER` in it stands for the folder that it is in.
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

    /// With a variable in the environment, which is empty otherwise.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// What it says of `FOLDER`, with the folder's own name.
    pub fn absolute(&self, text: &str) -> String {
        text.replace("FOLDER", &self.folder.path().display().to_string())
    }

    /// Runs the program with these arguments and this configuration.
    pub fn run(&self, arguments: &[&str]) -> CliOutput {
        let config = self.folder.path().join("regsweep.yaml");
        self.run_bare(&[&["--config", config.to_str().unwrap()], arguments].concat())
    }

    /// Runs the program with this configuration and its standard output there, and tells the rest.
    pub fn run_into(&self, out: impl Into<Stdio>, arguments: &[&str]) -> CliOutput {
        let mut command = self.command(arguments);
        command.arg("--config").arg(self.folder.path().join("regsweep.yaml"));
        self.said(command.stdout(out).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap())
    }

    /// Runs the program with these arguments and nothing else. The folder is called `FOLDER` in what
    /// it says.
    pub fn run_bare(&self, arguments: &[&str]) -> CliOutput {
        self.said(self.command(arguments).output().unwrap())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regsweep"));
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command.env("STATE_DIRECTORY", self.folder.path().join("state"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn said(&self, output: Output) -> CliOutput {
        let folder = self.folder.path().display().to_string();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&folder, "FOLDER");
        CliOutput {
            code: output.status.code().expect("the program was killed"),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}
