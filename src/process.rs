//! Running a child process with a time limit; on timeout it is killed with everything that it started.
//!
//! It knows processes, and nothing about what they are run for.

use std::io;
use std::ops::ControlFlow;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, timeout, timeout_at};

/// How long output is still read after the process has exited: a process that it left running may hold the pipes
/// open.
const OUTPUT_TIMEOUT: Duration = Duration::from_millis(500);

/// How much output is read at once.
const BUFFER_BYTES: usize = 8192;

/// Where a process writes its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// Why a process has no exit status.
#[derive(Debug)]
pub(crate) enum Error {
    /// It could not be started.
    Start(io::Error),
    /// Its exit status could not be read.
    Wait(io::Error),
    /// It was killed because it was still running at the deadline.
    Timeout,
}

/// Runs a command until it exits, and kills its process group at the deadline or when the returned future is dropped.
/// A process that has left the group is not killed.
///
/// `input` is written to its standard input; without one, that is empty. Every stream that the command pipes is
/// passed to `on_output` piece by piece; [`ControlFlow::Break`] closes that stream.
pub(crate) async fn run(
    mut command: Command,
    input: Option<&[u8]>,
    on_output: impl FnMut(Stream, &[u8]) -> ControlFlow<()>,
    deadline: Instant,
) -> Result<ExitStatus, Error> {
    command.process_group(0).kill_on_drop(true);
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn().map_err(Error::Start)?;
    let mut group = ProcessGroup::of(&child);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let ended = {
        let transfer = async {
            tokio::join!(write(stdin, input), read(stdout, stderr, on_output));
        };
        tokio::pin!(transfer);
        let exit = async {
            tokio::select! {
                status = child.wait() => {
                    let _ = timeout(OUTPUT_TIMEOUT, transfer).await;
                    status
                }
                () = &mut transfer => child.wait().await,
            }
        };
        timeout_at(deadline, exit).await
    };
    match ended {
        Ok(status) => {
            group.forget();
            status.map_err(Error::Wait)
        }
        Err(_) => {
            drop(group);
            let _ = child.wait().await;
            Err(Error::Timeout)
        }
    }
}

/// The process group that a child leads. It is killed when this is dropped.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    fn of(child: &Child) -> Self {
        let pid = |id: u32| Pid::from_raw(i32::try_from(id).ok()?);
        Self(child.id().and_then(pid))
    }

    /// Does not kill the group when dropped: the child has been waited for, and another process may get its id.
    fn forget(&mut self) {
        self.0 = None;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // It fails where no process of the group is left.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

async fn write(stdin: Option<ChildStdin>, input: Option<&[u8]>) {
    if let (Some(mut stdin), Some(input)) = (stdin, input) {
        // A process that does not read its input may succeed all the same.
        let _ = stdin.write_all(input).await;
    }
}

async fn read(
    mut stdout: Option<ChildStdout>,
    mut stderr: Option<ChildStderr>,
    mut on_output: impl FnMut(Stream, &[u8]) -> ControlFlow<()>,
) {
    let (mut out, mut err) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
    while stdout.is_some() || stderr.is_some() {
        tokio::select! {
            count = read_some(&mut stdout, &mut out), if stdout.is_some() => {
                if count == 0 || on_output(Stream::Stdout, &out[..count]).is_break() {
                    stdout = None;
                }
            }
            count = read_some(&mut stderr, &mut err), if stderr.is_some() => {
                if count == 0 || on_output(Stream::Stderr, &err[..count]).is_break() {
                    stderr = None;
                }
            }
        }
    }
}

/// The number of bytes read; 0 at the end of the stream or when it cannot be read.
async fn read_some(stream: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> usize {
    match stream {
        Some(stream) => stream.read(buffer).await.unwrap_or_default(),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn shell(script: &str, argument: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(argument);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn seconds(number: u64) -> Instant {
        Instant::now() + Duration::from_secs(number)
    }

    /// Whether a process runs; one that was killed stays a zombie until its parent has waited for it.
    fn is_running(pid: &str) -> bool {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[tokio::test]
    async fn run_passes_input_and_output() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let command = shell("cat; echo problem >&2; exit 3", Path::new(""));
        let on_output = |stream, bytes: &[u8]| {
            match stream {
                Stream::Stdout => out.extend_from_slice(bytes),
                Stream::Stderr => err.extend_from_slice(bytes),
            }
            ControlFlow::Continue(())
        };
        let status = run(command, Some(b"question"), on_output, seconds(60)).await.unwrap();
        assert_eq!((status.code(), out, err), (Some(3), b"question".to_vec(), b"problem\n".to_vec()));
    }

    #[tokio::test]
    async fn run_stops_reading_when_told_to() {
        let command = shell("while echo line; do :; done; exit 4", Path::new(""));
        let status = run(command, None, |_, _| ControlFlow::Break(()), seconds(60)).await.unwrap();
        assert!(!status.success(), "{status}");
    }

    #[tokio::test]
    async fn run_does_not_wait_for_background_processes() {
        let command = shell("sleep 100 & echo $!", Path::new(""));
        let mut pid = String::new();
        let on_output = |_, bytes: &[u8]| {
            pid.push_str(std::str::from_utf8(bytes).unwrap());
            ControlFlow::Continue(())
        };
        let status = run(command, None, on_output, seconds(60)).await.unwrap();
        assert!(status.success());
        assert!(is_running(pid.trim()), "a background process is left alone");
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn run_kills_the_process_group_at_the_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let command = shell("sleep 1000 & echo $! > \"$1/pid\"; wait", folder.path());
        let result = run(command, None, |_, _| ControlFlow::Continue(()), seconds(4)).await;
        assert!(matches!(result, Err(Error::Timeout)), "{result:?}");
        let pid = fs::read_to_string(folder.path().join("pid")).unwrap();
        for _ in 0..1000 {
            if !is_running(pid.trim()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("process {pid} is running");
    }

    #[tokio::test]
    async fn run_reports_a_program_that_does_not_exist() {
        let result =
            run(Command::new("/nonexistent"), None, |_, _| ControlFlow::Continue(()), seconds(60)).await;
        assert!(
            matches!(&result, Err(Error::Start(error)) if error.kind() == io::ErrorKind::NotFound),
            "{result:?}"
        );
    }
}
