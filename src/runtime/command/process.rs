//! A command of the operator as a process: run without a shell, ended at a deadline, found again after a crash.
//!
//! It does not know what the command is for.

use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use crate::process;
use crate::runtime::deadline::Deadline;
use crate::runtime::error::Error;
use crate::runtime::job::OutputSink;

/// The variable that a job and its children have in their environment, so that they are found after a crash.
const MARK: &str = "REGSWEEP_COLLECTION";

/// The pause between two checks whether killed processes have ended.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Whether a program exists, searched for as it would be when it is run.
pub(crate) fn is_executable(program: &str) -> bool {
    let runs = |path: &Path| path.metadata().is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0);
    if program.contains('/') {
        return runs(Path::new(program));
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "programs are searched for where the system searches for them"
    )]
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| runs(&folder.join(program)))
}

/// Runs a program with arguments: its exit code. If it takes too long (or the returned future is dropped) it
/// is killed, with everything that it started and that did not leave its group.
///
/// What it prints goes into `output`. Without one, it goes where our own messages go: a program that
/// starts a service must not write into a pipe, which would kill the service when we close it.
///
/// [`end_marked`] finds it by its `mark`, should we be killed first.
pub(crate) async fn run(
    command_line: &[String],
    mark: Option<&str>,
    mut output: Option<&mut dyn OutputSink>,
    deadline: Deadline,
) -> Result<i64, Error> {
    let failed = |why: String| Error::Command { command: command_line.join(" "), why };
    let Some((program, arguments)) = command_line.split_first() else { return Ok(0) };
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(mark) = mark {
        command.env(MARK, mark);
    }
    if output.is_some() {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    } else {
        // Not to our stdout, which may be read as a report.
        let (stdout, stderr) = if reader_is_gone() {
            // A write to a closed pipe would kill the program that starts the registry.
            (Stdio::null(), Stdio::null())
        } else {
            (std::io::stderr().into(), Stdio::inherit())
        };
        command.stdout(stdout).stderr(stderr);
    }
    let on_output = |stream, bytes: &[u8]| {
        if let Some(output) = &mut output {
            output.take(stream, bytes);
        }
        ControlFlow::Continue(())
    };
    match process::run(command, None, on_output, deadline.at()).await {
        // A process that was killed by a signal has no exit code, and did not succeed.
        Ok(status) => Ok(status.code().map_or(-1, i64::from)),
        Err(process::Error::Start(error)) => Err(failed(format!("cannot be run: {error}"))),
        Err(process::Error::Wait(error)) => Err(failed(format!("cannot be waited for: {error}"))),
        Err(process::Error::Timeout) => Err(deadline.exceeded()),
    }
}

/// Whether our messages have no reader any more: the terminal was closed, or the other end of the pipe.
fn reader_is_gone() -> bool {
    let stderr = std::io::stderr();
    let mut asked = [PollFd::new(&stderr, PollFlags::empty())];
    let gone = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
    poll(&mut asked, Some(&Timespec::default())).is_ok() && asked[0].revents().intersects(gone)
}

/// Kills the processes with this mark that an earlier process of regsweep had started, and waits until they have ended.
/// Without `/proc`, none is found.
pub(crate) async fn end_marked(mark: &str, deadline: Deadline) -> Result<(), Error> {
    let entry = format!("{MARK}={mark}");
    loop {
        let wanted = entry.clone();
        // A search that failed finds none.
        let left = tokio::task::spawn_blocking(move || marked(&wanted)).await.unwrap_or_default();
        if left.is_empty() {
            return Ok(());
        }
        deadline.check()?;
        for pid in left {
            tracing::warn!(process = pid.as_raw_nonzero().get(), "ending what is left of a collection");
            // It may have ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The processes that have this entry in their environment. A process that has ended has no environment.
fn marked(entry: &str) -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_marked = |process: &std::fs::DirEntry| {
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == entry.as_bytes())
    };
    let pid = |process: std::fs::DirEntry| Pid::from_raw(process.file_name().to_str()?.parse().ok()?);
    processes.filter(is_marked).filter_map(pid).collect()
}
