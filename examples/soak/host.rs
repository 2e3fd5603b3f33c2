//! A real registry on this host with the in-memory cache, which scripts stop, collect and start, as an init system
//! does.
//!
//! The scripts also measure the bytes that a sweep frees on the disk.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::registry_program::registry_program;
use crate::support::store::Store;

/// A registry and its scripts in one folder.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    folder: PathBuf,
    port: u16,
}

/// One sweep, as measured on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sweep {
    pub(crate) bytes: u64,
    /// Whether regsweep was killed, or the registry started again, before the sweep had ended.
    pub(crate) cut: bool,
}

impl Host {
    pub(crate) fn start(folder: &Path) -> Self {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let host = Self { folder: folder.to_owned(), port };
        fs::create_dir_all(host.folder.join("store")).unwrap();
        fs::write(host.config(), host.yaml()).unwrap();
        fs::write(host.folder.join("sweeps"), "").unwrap();
        let scripts =
            [("before", BEFORE), ("collect", COLLECT), ("after", AFTER), ("restart", RESTART), ("add", ADD)];
        for (name, text) in scripts {
            let script = format!("{FUNCTIONS}{text}")
                .replace("FOLDER", &host.folder.display().to_string())
                .replace("REGISTRY", registry_program());
            fs::write(host.script(name), script).unwrap();
        }
        host.run("after");
        host
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn store(&self) -> Store {
        Store::at(self.folder.join("store"))
    }

    /// What a configuration says under `gc.command`.
    pub(crate) fn commands(&self) -> String {
        let (before, after) = (self.script("before"), self.script("after"));
        let (collect, config) = (self.script("collect"), self.config());
        format!(
            "before: [sh, {}], run: [sh, {}, garbage-collect, {}], after: [sh, {}]",
            before.display(),
            collect.display(),
            config.display(),
            after.display()
        )
    }

    /// Makes the next sweeps wait so many seconds before and after their work.
    pub(crate) fn delay_sweeps(&self, before: f32, after: f32) {
        fs::write(self.folder.join("delay_sweeps"), format!("{before} {after}\n")).unwrap();
    }

    /// Stops and starts it, unless a collection has it. Blocks for a moment.
    pub(crate) fn restart(&self) {
        self.run("restart");
    }

    /// Whether a collection has stopped it.
    pub(crate) fn is_being_collected(&self) -> bool {
        self.folder.join("collecting").exists()
    }

    /// Adds a blob that nothing refers to, unless a collection is under way. Whether it did.
    pub(crate) fn add_blob(&self, digest: &str, bytes: &[u8]) -> bool {
        let to = self.store().blob_path(digest);
        fs::write(self.folder.join("stray"), bytes).unwrap();
        let script = self.script("add");
        Command::new("sh").arg(script).arg(to).status().unwrap().success()
    }

    pub(crate) fn sweeps(&self) -> Vec<Sweep> {
        let text = fs::read_to_string(self.folder.join("sweeps")).unwrap();
        let sweep = |line: &str| {
            let mut words = line.split(' ');
            let (how, before, after) = (words.next()?, words.next()?, words.next()?);
            let (before, after): (u64, u64) = (before.parse().ok()?, after.parse().ok()?);
            Some(Sweep { bytes: before.saturating_sub(after), cut: how == "cut" })
        };
        text.lines().filter_map(sweep).collect()
    }

    /// Marks a sweep that ended just before regsweep was killed as cut: regsweep may not have recorded it.
    pub(crate) fn mark_last_sweep_cut(&self) {
        let file = self.folder.join("sweeps");
        let changed = fs::metadata(&file).unwrap().modified().unwrap();
        let recent = changed.elapsed().is_ok_and(|elapsed| elapsed < Duration::from_secs(10));
        let text = fs::read_to_string(&file).unwrap();
        if let Some(position) = text.rfind("whole").filter(|_| recent) {
            fs::write(file, [&text[..position], "cut", &text[position + "whole".len()..]].concat()).unwrap();
        }
    }

    pub(crate) fn access_log(&self) -> String {
        fs::read_to_string(self.folder.join("access.log")).unwrap_or_default()
    }

    /// Stops it at the end.
    pub(crate) fn stop(&self) {
        self.run("before");
    }

    fn run(&self, script: &str) {
        let status = Command::new("sh").arg(self.script(script)).stdin(Stdio::null()).status().unwrap();
        assert!(status.success(), "{script}: {status}");
    }

    fn script(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn config(&self) -> PathBuf {
        self.folder.join("registry.yml")
    }

    /// A stop lets pending requests end: the registry's writes are not atomic, and what a kill leaves of one is
    /// not what this tests.
    fn yaml(&self) -> String {
        format!(
            "version: 0.1\nlog: {{ level: info }}\nstorage:\n  \
               filesystem: {{ rootdirectory: {} }}\n  \
               delete: {{ enabled: true }}\n  \
               maintenance: {{ uploadpurging: {{ enabled: false }} }}\n  \
               cache: {{ blobdescriptor: inmemory }}\n\
             http:\n  addr: {}\n  secret: soak\n  draintimeout: 20s\n",
            self.folder.join("store").display(),
            self.address()
        )
    }
}

/// A lock separates a restart from a collection, as `systemctl` does.
const FUNCTIONS: &str = r#"cd FOLDER || exit 1
exec 9>lock
stop() {
    pid=$(cat pid 2>/dev/null) || return 0
    kill "$pid" 2>/dev/null
    while [ -e "/proc/$pid/exe" ]; do sleep 0.01; done
}
start() {
    if [ -s pid ] && [ -e "/proc/$(cat pid)/exe" ]; then return 0; fi
    REGISTRY serve FOLDER/registry.yml >>access.log 2>>registry.log 9>&- &
    echo $! >pid
}
bytes() { find FOLDER/store/docker/registry/v2/blobs -type f -name data -printf '%s\n' | awk '{ sum += $1 } END { printf "%d\n", sum }'; }
"#;

const BEFORE: &str = "flock 9\ntouch collecting\nstop\n";

/// A dry run is the registry's own. A sweep is measured and delayed. A sweep whose parent process ended is cut.
const COLLECT: &str = r#"case "$*" in *--dry-run*) exec REGISTRY "$@" 9>&- ;; esac
[ -s delay_sweeps ] && read -r first last <delay_sweeps
bytes >sweep-open
sleep "${first:-0}"
REGISTRY "$@" 9>&-
code=$?
sleep "${last:-0}"
if [ -s sweep-open ]; then
    how=cut
    [ -e "/proc/$PPID/exe" ] && how=whole
    echo "$how $(cat sweep-open) $(bytes)" >>sweeps
    rm -f sweep-open
fi
exit $code
"#;

const AFTER: &str = r#"flock 9
if [ -s sweep-open ]; then
    echo "cut $(cat sweep-open) $(bytes)" >>sweeps
    rm -f sweep-open
fi
rm -f collecting
start
"#;

const RESTART: &str = "flock 9\n[ -e collecting ] && exit 0\nstop\nstart\n";

const ADD: &str = "flock 9\n[ -e collecting ] && exit 1\nmkdir -p \"$(dirname \"$1\")\" && mv stray \"$1\"\n";
