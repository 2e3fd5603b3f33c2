//! A command of the operator, run without a shell and with a deadline.
//!
//! It knows processes, and nothing of what they are for.

use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::time::Instant;

use crate::gc::Error;
use crate::gc::output::Output;
use crate::process;

/// The variable that all of a command has in its environment, so that it can be found when we are gone.
const MARK: &str = "REGSWEEP_COLLECTION";

/// How often it is looked whether what was killed has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Whether there is such a program, as it would be looked for when it is run.
pub(super) fn is_there(program: &str) -> bool {
    let runs = |path: &Path| path.metadata().is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0);
    if program.contains('/') {
        return runs(Path::new(program));
    }
    #[expect(clippy::disallowed_methods, reason = "programs are looked for where the system looks for them")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| runs(&folder.join(program)))
}

/// Runs a program with arguments: its exit code. If it takes too long (or the returned future is dropped) it
/// is killed, with everything that it started and that did not leave its group.
///
/// What it prints goes into `output`. Without one, it goes where our own messages go: a program that
/// starts a service must not be read through a pipe, which would break and kill the service when we close it.
///
/// A `mark` is what [`end`] finds it by, should we be killed first.
pub(super) async fn run(
    words: &[String],
    mark: Option<&str>,
    mut output: Option<&mut Output>,
    deadline: Instant,
) -> Result<i64, Error> {
    let failed = |why: String| Error::Command { command: words.join(" "), why };
    let Some((program, arguments)) = words.split_first() else { return Ok(0) };
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(mark) = mark {
        command.env(MARK, mark);
    }
    if output.is_some() {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    } else {
        // Not to our stdout, on which others may be reading a report.
        let (stdout, stderr) = if reader_is_gone() {
            // What starts the registry must not die of its first message.
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
    match process::run(command, None, on_output, deadline).await {
        // Killed by a signal: it has no exit code, and no success either.
        Ok(status) => Ok(status.code().map_or(-1, i64::from)),
        Err(process::Error::Start(error)) => Err(failed(format!("cannot be run: {error}"))),
        Err(process::Error::Wait(error)) => Err(failed(format!("cannot be waited for: {error}"))),
        Err(process::Error::Timeout) => Err(Error::Timeout { limit: Duration::ZERO }),
    }
}

/// Whether nobody reads our messages any more: the terminal was closed, or the other end of the pipe.
fn reader_is_gone() -> bool {
    let stderr = std::io::stderr();
    let mut asked = [PollFd::new(&stderr, PollFlags::empty())];
    let gone = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
    poll(&mut asked, Some(&Timespec::default())).is_ok() && asked[0].revents().intersects(gone)
}

/// Kills what still runs of commands with this mark that somebody before us had begun, and waits until it has
/// ended. Where there is no `/proc`, nothing is found.
pub(super) async fn end(mark: &str, deadline: Instant) -> Result<(), Error> {
    let entry = format!("{MARK}={mark}");
    loop {
        let wanted = entry.clone();
        // Nobody is found by a search that failed.
        let left = tokio::task::spawn_blocking(move || marked(&wanted)).await.unwrap_or_default();
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Error::Timeout { limit: Duration::ZERO });
        }
        for pid in left {
            tracing::warn!(process = pid.as_raw_nonzero().get(), "ending what is left of a collection");
            // It may have ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The processes that have this entry in their environment. One that has ended has none.
fn marked(entry: &str) -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_marked = |process: &std::fs::DirEntry| {
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|one| one == entry.as_bytes())
    };
    let pid = |process: std::fs::DirEntry| Pid::from_raw(process.file_name().to_str()?.parse().ok()?);
    processes.filter(is_marked).filter_map(pid).collect()
}
