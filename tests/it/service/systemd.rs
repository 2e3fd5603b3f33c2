//! What the service tells systemd.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::harness::{Host, Installation, NEVER};

struct Manager {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { folder, socket }
    }

    /// The next message that is not from the watchdog.
    fn next(&self) -> Vec<String> {
        loop {
            let message = self.any();
            if message != ["WATCHDOG=1"] {
                return message;
            }
        }
    }

    fn any(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap().lines().map(str::to_owned).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn systemd_is_notified_of_start_watchdog_reload_and_stop() {
    let host = Host::start().await;
    let installation = Installation::new(NEVER, &[host.lines()]);
    let manager = Manager::new();
    let mut command = installation.command(&["serve"]);
    command.env("NOTIFY_SOCKET", manager.folder.path().join("notify")).env("WATCHDOG_USEC", "3000000");
    let serving = installation.serve_by(command).await;
    assert_eq!(manager.next(), ["READY=1", "STATUS=enforcing: main"]);
    assert_eq!(manager.any(), ["WATCHDOG=1"]);
    assert_eq!(manager.any(), ["WATCHDOG=1"]);
    serving.signal("HUP");
    let reloading = manager.next();
    assert_eq!(reloading[0], "RELOADING=1");
    let micros = reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap().parse::<u64>().unwrap();
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let uptime = uptime.split(' ').next().unwrap().parse::<f64>().unwrap();
    assert!((micros as f64 / 1e6 - uptime).abs() < 60.0, "{micros} {uptime}");
    assert_eq!(manager.next(), ["READY=1", "STATUS=enforcing: main"]);
    // With an invalid file the service stays ready.
    installation.write("mode: nonsense\n");
    assert_eq!(manager.next()[0], "RELOADING=1");
    assert_eq!(manager.next(), ["READY=1", "STATUS=enforcing: main"]);
    serving.signal("TERM");
    assert_eq!(manager.next()[0], "STOPPING=1");
    assert_eq!(serving.ended().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchdog_of_another_process_is_ignored() {
    let host = Host::start().await;
    let installation = Installation::new(NEVER, &[host.lines()]);
    let manager = Manager::new();
    let mut command = installation.command(&["serve"]);
    command.env("NOTIFY_SOCKET", manager.folder.path().join("notify"));
    command.env("WATCHDOG_USEC", "3000000").env("WATCHDOG_PID", "1");
    let serving = installation.serve_by(command).await;
    assert_eq!(manager.any()[0], "READY=1");
    // A watchdog message would come before this one.
    serving.signal("HUP");
    assert_eq!(manager.any()[0], "RELOADING=1");
    serving.stop().await;
}
