//! A folder for a service, the service as a process, and registries with old images.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::support::docker_engine::{Container, Engine, free_port};
use crate::support::holding_proxy::{HoldingProxy, Upstream};
use crate::support::image::{Content, Image, Index, digest};
use crate::support::push::Pusher;
use crate::support::real_registry::{Options, RealRegistry};
use crate::support::registry_program::registry_program;
use crate::support::regsweep::{ProgramOutput, hours_ago};
use crate::support::skopeo::skopeo_pull_all;
use crate::support::store::Store;

/// Every second.
pub(crate) const EACH_SECOND: &str = "* * * * * *";
/// Never during a test.
pub(crate) const NEVER: &str = "0 0 29 2 *";

/// Builds expire after two weeks, nothing else does, and no limit applies.
const RULES: &str = "\
protect: { newer_than: 0s, at_least: 0 }
limits: { max_percent: 100 }
policies:
  - name: apps
    repositories: '.*'
    rules: [{ name: builds, tags: 'build-.*', keep: { newer_than: 14d } }]
";

/// A folder with a configuration and a state, and a port to listen on.
pub(crate) struct Installation {
    folder: tempfile::TempDir,
    port: u16,
}

impl Installation {
    /// With this schedule and these registries, each as lines of YAML: the first is called `main`, the others `main1`
    /// and so on.
    pub(crate) fn new(schedule: &str, registries: &[String]) -> Self {
        let installation = Self { folder: tempfile::tempdir().unwrap(), port: free_port() };
        installation.configure(schedule, registries, "");
        installation
    }

    /// Writes the configuration again, with more lines at its end.
    pub(crate) fn configure(&self, schedule: &str, registries: &[String], more: &str) {
        let (port, state) = (self.port, self.state_dir());
        let mut text = format!(
            "mode: enforce\nschedule: '{schedule}'\nlisten: 127.0.0.1:{port}\nstate_dir: {}\nregistries:\n",
            state.display()
        );
        for (number, lines) in registries.iter().enumerate() {
            let number = if number == 0 { String::new() } else { number.to_string() };
            text += &format!("  - name: main{number}\n    {}\n", lines.replace('\n', "\n    "));
        }
        self.write(&format!("{text}{RULES}{more}"));
    }

    /// Replaces the configuration file atomically.
    pub(crate) fn write(&self, text: &str) {
        let draft = self.folder.path().join("draft");
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, self.config()).unwrap();
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("config.yaml")
    }

    /// The port on which the service listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The program with these arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        // A shell may start background jobs with ignored signals, which regsweep would inherit.
        let mut command = Command::new("env");
        command.arg("--default-signal").arg(env!("CARGO_BIN_EXE_regsweep"));
        command.args(arguments).arg("--config").arg(self.config()).stdin(Stdio::null());
        for name in ["RUST_LOG", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "DOCKER_HOST"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs the program until it ends.
    pub(crate) async fn run(&self, arguments: &[&str]) -> ProgramOutput {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || ProgramOutput::from(command.output().unwrap())).await.unwrap()
    }

    /// Starts the service, and waits until it serves.
    pub(crate) async fn serve(&self) -> Serving {
        self.serve_by(self.command(&["serve", "--log-format", "json"])).await
    }

    /// Starts the service by this command, and waits until it serves.
    pub(crate) async fn serve_by(&self, mut command: Command) -> Serving {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, stderr) = (log.clone(), BufReader::new(child.stderr.take().unwrap()));
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        let serving = Serving { child, log, url: format!("http://127.0.0.1:{}", self.port) };
        until("it serves", async || reqwest::get(format!("{}/healthz", serving.url)).await.is_ok()).await;
        serving
    }

    /// The first column of the first row of a query, read while the service runs.
    pub(crate) fn number(&self, sql: &str) -> u64 {
        let path = self.state_dir().join("state.sqlite");
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        let number: Option<i64> = connection.query_row(sql, [], |row| row.get(0)).unwrap();
        number.unwrap_or(0).try_into().unwrap()
    }

    /// A total of the state.
    pub(crate) fn total(&self, kind: &str) -> u64 {
        self.number(&format!("SELECT sum(value) FROM total WHERE kind = '{kind}'"))
    }

    /// The numbers of stopped registries and of blobs that may have been swept.
    pub(crate) fn unfinished_recoveries(&self) -> (u64, u64) {
        (self.number("SELECT count(*) FROM stopped"), self.number("SELECT count(*) FROM sweep"))
    }
}

/// A service that runs. It is killed when the value is dropped.
pub(crate) struct Serving {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    pub(crate) url: String,
}

impl Serving {
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end, and returns the exit code and the log.
    pub(crate) async fn ended(mut self) -> (Option<i32>, String) {
        let mut code = None;
        for _ in 0..2400 {
            if let Some(status) = self.child.try_wait().unwrap() {
                code = Some(status.code());
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        (code.unwrap_or_else(|| panic!("it does not end: {}", self.log())), self.log())
    }

    /// Stops the service and waits for its successful end.
    pub(crate) async fn stop(self) -> String {
        self.signal("TERM");
        let (code, log) = self.ended().await;
        assert_eq!(code, Some(0), "{log}");
        log
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    pub(crate) async fn until_logged(&self, text: &str) {
        until(text, async || self.log().contains(text)).await;
    }

    /// The sum of the samples of a metric that have all these labels.
    pub(crate) async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = reqwest::get(format!("{}/metrics", self.url)).await.unwrap().text().await.unwrap();
        sum(&text, name, labels)
    }

    /// The samples of a metric that have all these labels; none if it is not there.
    pub(crate) async fn series(&self, name: &str, labels: &[&str]) -> Vec<f64> {
        let text = reqwest::get(format!("{}/metrics", self.url)).await.unwrap().text().await.unwrap();
        samples(&text, name, labels).collect()
    }

    /// Waits until a metric has this value.
    pub(crate) async fn until_metric(&self, name: &str, labels: &[&str], wanted: f64) {
        let mut last = f64::NAN;
        for _ in 0..1600 {
            last = self.metric(name, labels).await;
            if (last - wanted).abs() < 0.5 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{name}{labels:?} is {last} and not {wanted}: {}", self.log());
    }

    /// Waits until a metric has at least this value.
    pub(crate) async fn until_at_least(&self, name: &str, labels: &[&str], wanted: f64) {
        for _ in 0..1600 {
            if self.metric(name, labels).await > wanted - 0.5 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{name}{labels:?} is not {wanted}: {}", self.log());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sum(text: &str, name: &str, labels: &[&str]) -> f64 {
    samples(text, name, labels).sum()
}

fn samples(text: &str, name: &str, labels: &[&str]) -> impl Iterator<Item = f64> {
    let samples = text.lines().filter_map(|line| line.strip_prefix("regsweep_")).filter(move |line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with([' ', '{']) && labels.iter().all(|one| rest.contains(one)))
    });
    samples.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
}

/// The pushed images: those to keep, the old ones, and the bytes in the store.
pub(crate) struct FilledRegistry {
    pub(crate) kept: Vec<(&'static str, Content)>,
    pub(crate) old: Vec<Content>,
    /// The blobs and manifests of the old images that no kept image needs.
    garbage: BTreeSet<String>,
    store: Store,
    before: u64,
}

/// An image of this age.
pub(crate) fn aged(name: &str, days: i64) -> Image {
    Image::new(name).created(hours_ago(24 * days).to_rfc3339()).layer("base").layer(name)
}

/// Pushes images of several ages, some into a second repository.
pub(crate) async fn fill(url: &str, store: Store) -> FilledRegistry {
    let young = aged("young", 2).layer_bytes(3000).build();
    let arm64 = aged("arm64", 40).platform("linux", "arm64").build();
    let release = aged("release", 400).build();
    let index = Index::oci().child(&release).child(&arm64).build();
    let kept = vec![("build-young", young), ("v1", index)];
    let old: Vec<Content> = (0..4).map(|one| aged(&format!("old-{one}"), 20 + one).build()).collect();
    let pusher = Pusher::new(url);
    for (tag, content) in &kept {
        pusher.push("team/app", tag, content).await.unwrap();
    }
    for (number, content) in old.iter().enumerate() {
        pusher.push("team/app", &format!("build-{number}"), content).await.unwrap();
    }
    let before = store.blob_bytes();
    let needed = blobs(kept.iter().map(|(_, content)| content));
    let garbage = blobs(old.iter()).difference(&needed).cloned().collect();
    FilledRegistry { kept, old, garbage, store, before }
}

/// The digests of manifests and of their blobs.
fn blobs<'a>(contents: impl Iterator<Item = &'a Content>) -> BTreeSet<String> {
    let parts = contents.flat_map(Content::tree);
    let all = parts.flat_map(|part| {
        let blobs = part.blobs.iter().map(|blob| digest(blob));
        blobs.chain([part.digest.clone()]).collect::<Vec<_>>()
    });
    all.collect()
}

impl FilledRegistry {
    /// Waits until all old images are removed and counted. The registry then has the kept images, and the reclaimed bytes
    /// are exactly those that left the disk, in the metrics and in the state.
    pub(crate) async fn settled(&self, installation: &Installation, serving: Serving, host: &str) {
        until("everything old is gone", async || self.is_swept()).await;
        until("nothing is open", async || {
            installation.unfinished_recoveries() == (0, 0) && installation.total("reclaimable") == 0
        })
        .await;
        let freed = self.before - self.store.blob_bytes();
        serving.until_metric("reclaimed_bytes_total", &["registry=\"main\""], freed as f64).await;
        assert!(freed > 0);
        let deleted = serving.metric("deleted_manifests_total", &[]).await;
        assert!(deleted <= self.old.len() as f64, "{deleted}");
        assert!(self.answers(host).await, "{}", serving.log());
        let log = serving.stop().await;
        assert_eq!(installation.total("reclaimed_bytes"), freed, "{log}");
        assert!(installation.total("deleted_manifests") <= self.old.len() as u64);
        self.assert_sound(host).await;
    }

    async fn answers(&self, host: &str) -> bool {
        reqwest::get(format!("http://{host}/v2/")).await.is_ok_and(|answer| answer.status().is_success())
    }

    /// No old image has a tag, the kept images can be pulled, and so can a collected image once it is pushed again.
    pub(crate) async fn assert_sound(&self, host: &str) {
        let held = self.store.repository("team/app");
        let expected: Vec<_> = self.kept.iter().map(|(tag, _)| (*tag).to_owned()).collect();
        assert_eq!(held.tags.into_keys().collect::<Vec<_>>(), expected);
        for (tag, _) in &self.kept {
            skopeo_pull_all(&format!("{host}/team/app:{tag}"));
        }
        Pusher::new(&format!("http://{host}")).push("team/app", "again", &self.old[0]).await.unwrap();
        skopeo_pull_all(&format!("{host}/team/app:again"));
    }

    /// The number of old images that still exist.
    pub(crate) fn old_images_left(&self) -> usize {
        let held = self.store.repository("team/app");
        self.old.iter().filter(|old| held.manifests.contains(&old.digest)).count()
    }

    /// The bytes that have left the disk.
    pub(crate) fn freed(&self) -> u64 {
        self.before - self.store.blob_bytes()
    }

    pub(crate) fn is_swept(&self) -> bool {
        self.garbage.iter().all(|digest| !self.store.has_blob(digest))
    }
}

/// The configuration of a registry in a container.
pub(crate) fn contained(url: &str, engine: &str, container: &Container, method: &str) -> String {
    format!(
        "url: {url}\ngc: {{ docker: {{ host: '{engine}', container: {}, method: {method} }} }}",
        container.name
    )
}

/// A registry on this host with a cache that goes out of date, stopped and started by shell commands.
pub(crate) struct Host {
    pub(crate) registry: RealRegistry,
    folder: tempfile::TempDir,
}

impl Host {
    pub(crate) async fn start() -> Self {
        Self::of(RealRegistry::options().cache()).await
    }

    pub(crate) async fn of(options: Options) -> Self {
        let mut registry = options.start();
        // From here on the commands start it.
        registry.stop();
        let host = Self { registry, folder: tempfile::tempdir().unwrap() };
        assert!(Command::new("sh").args(["-c", &host.after()]).status().unwrap().success());
        until("it answers", async || reqwest::get(format!("{}/v2/", host.registry.url())).await.is_ok())
            .await;
        host
    }

    fn before(&self) -> String {
        // A zombie stays if its new parent does not wait for it, but it no longer has a program.
        let pid = format!("$(cat {})", self.pid_file());
        format!("kill {pid}; while [ -e /proc/{pid}/exe ]; do :; done")
    }

    pub(crate) fn after(&self) -> String {
        let (pid, config) = (self.pid_file(), self.registry.config_path().display().to_string());
        format!(
            "[ -s {pid} ] && [ -e /proc/$(cat {pid})/exe ] || \
             {{ {} serve {config} >/dev/null 2>&1 & echo $! >{pid}; }}",
            registry_program()
        )
    }

    fn pid_file(&self) -> String {
        self.folder.path().join("pid").display().to_string()
    }

    /// Its configuration.
    pub(crate) fn lines(&self) -> String {
        let script = |name: &str, text: String| {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            format!("[sh, {}]", path.display())
        };
        format!(
            "url: {}\ngc:\n  command:\n    before: {}\n    run: [{}, garbage-collect, {}]\n    after: {}",
            self.registry.url(),
            script("before", self.before()),
            registry_program(),
            self.registry.config_path().display(),
            script("after", self.after())
        )
    }
}

/// A registry on this host whose commands a test has changed.
pub(crate) struct Commands {
    pub(crate) host: Host,
    pub(crate) filled: FilledRegistry,
}

impl Commands {
    pub(crate) async fn new() -> Self {
        let host = Host::start().await;
        let filled = fill(&host.registry.url(), host.registry.store()).await;
        Self { host, filled }
    }

    /// The path of a file that the commands can read.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.host.folder.path().join(name)
    }

    /// The configuration with more keys of `gc`. A sweep runs `sweep` first, and the start command runs `after` first.
    pub(crate) fn lines(&self, sweep: &str, after: &str, more: &str) -> String {
        let rest = format!("exec {} \"$@\"", registry_program());
        let program = format!("case \"$*\" in *--dry-run*) {rest} ;; esac\n{sweep}\n{rest}\n");
        std::fs::write(self.file("program"), program).unwrap();
        let lines = self.host.lines();
        std::fs::write(self.file("after"), format!("{after}\n{}\n", self.host.after())).unwrap();
        let run = format!("[sh, {}, ", self.file("program").display());
        lines.replace(&format!("[{}, ", registry_program()), &run).replace("gc:\n", &format!("gc:\n{more}"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = Command::new("sh").args(["-c", &self.before()]).stderr(Stdio::null()).status();
    }
}

/// Holds the request that creates the container with this number: each dry run has one, and then the sweep.
pub(crate) fn before_container(engine: &Engine, number: usize) -> HoldingProxy {
    let mut creates = 0;
    HoldingProxy::holding(Upstream::Socket(engine.socket()), move |bytes| {
        let text = String::from_utf8_lossy(bytes);
        creates += usize::from(text.starts_with("POST") && text.contains("/containers/create"));
        creates == number
    })
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, happened: impl AsyncFn() -> bool) {
    for _ in 0..1600 {
        if happened().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("a long time passed without: {what}");
}
