//! Collections by commands, on a registry of this host.

use std::fs;
use std::time::Duration;

use regsweep::config::{Cache, Collector as Kind, Gc};
use regsweep::gc::{Cancellation, CollectionResult, Error};

use super::harness::{
    Filled, TestRecoveryLog, assert_freed, assert_sound, collected, collector, fill, gc, until,
};
use crate::support::real_registry::{Options, RealRegistry};
use crate::support::registry_program::registry_program;

/// The redirection that discards a registry's log.
const SILENT: &str = " >/dev/null 2>&1";

/// A registry with a cache, run by shell commands as an init system would.
pub(crate) struct Host {
    pub(crate) registry: RealRegistry,
    folder: tempfile::TempDir,
    pub(crate) filled: Filled,
}

impl Host {
    async fn start() -> Self {
        Self::of(RealRegistry::options().cache()).await
    }

    pub(crate) async fn of(options: Options) -> Self {
        let mut registry = options.start();
        let folder = tempfile::tempdir().unwrap();
        // From here on the commands start it.
        registry.stop();
        let host = |filled| Self { registry, folder, filled };
        let mut host = host(Filled {
            kept: Vec::new(),
            gone: crate::support::image::Image::new("").build(),
            garbage: Default::default(),
        });
        assert!(std::process::Command::new("sh").args(["-c", &host.after()]).status().unwrap().success());
        assert!(host.answers().await);
        host.filled = fill(&host.registry.url()).await;
        host
    }

    pub(crate) fn config(&self) -> String {
        self.registry.config_path().display().to_string()
    }

    fn pid_file(&self) -> String {
        self.folder.path().join("pid").display().to_string()
    }

    /// Stops it, and waits until it is stopped.
    fn before(&self) -> String {
        // The new parent of an orphan may not wait for it, but an ended process has no program.
        let pid = format!("$(cat {})", self.pid_file());
        format!("kill {pid}; while [ -e /proc/{pid}/exe ]; do :; done; echo before >>{}", self.journal())
    }

    /// Starts it in the background, unless it runs.
    fn after(&self) -> String {
        let (pid, config) = (self.pid_file(), self.config());
        format!(
            "echo after >>{}; [ -s {pid} ] && [ -e /proc/$(cat {pid})/exe ] || {{ {registry} serve {config}{SILENT} & echo $! >{pid}; }}",
            self.journal(),
            registry = registry_program()
        )
    }

    fn journal(&self) -> String {
        self.folder.path().join("journal").display().to_string()
    }

    /// The commands that ran since the registry was filled.
    pub(crate) fn commands_run(&self) -> Vec<String> {
        fs::read_to_string(self.journal()).unwrap().lines().skip(1).map(str::to_owned).collect()
    }

    pub(crate) fn gc(&self, run: &[&str]) -> Gc {
        let shell = |text: String| vec!["sh".to_owned(), "-c".to_owned(), text];
        gc(Kind::Command {
            before: shell(self.before()),
            run: run.iter().map(|word| (*word).to_owned()).collect(),
            cancel: Vec::new(),
            after: shell(self.after()),
        })
    }

    /// A program that runs `instead` before a sweep, and the registry's own program.
    pub(crate) fn program(&self, instead: &str) -> String {
        let rest = format!("exec {} \"$@\"", registry_program());
        self.program_of(&format!("case \"$*\" in *--dry-run*) {rest} ;; esac\n{instead}\n{rest}"))
    }

    /// A program with this script.
    pub(crate) fn program_of(&self, script: &str) -> String {
        let file = self.folder.path().join("program");
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        file.display().to_string()
    }

    pub(crate) async fn answers_now(&self) -> bool {
        reqwest::get(format!("{}/v2/", self.registry.url())).await.is_ok()
    }

    pub(crate) async fn answers(&self) -> bool {
        for _ in 0..600 {
            if reqwest::get(format!("{}/v2/", self.registry.url())).await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        false
    }

    pub(crate) async fn collect(
        &self,
        gc: &Gc,
        recovery_log: &TestRecoveryLog,
    ) -> Result<CollectionResult, Error> {
        collector(gc).collect(&|_| false, recovery_log, || self.answers(), Cancellation::default()).await
    }

    pub(crate) fn host(&self) -> String {
        self.registry.url().trim_start_matches("http://").to_owned()
    }

    pub(crate) fn nothing_is_gone(&self) -> bool {
        let store = self.registry.store();
        self.filled.garbage.keys().all(|digest| store.has_blob(digest.as_str()))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = std::process::Command::new("sh").args(["-c", &self.before()]).status();
    }
}

#[tokio::test]
async fn registry_of_this_host_is_collected() {
    let host = Host::start().await;
    let (store, recovery_log) = (host.registry.store(), TestRecoveryLog::default());
    let before = store.blob_bytes();
    let mut gc = host.gc(&[registry_program(), "garbage-collect", &host.config()]);
    if let Kind::Command { after, .. } = &mut gc.collector {
        // This registry logs to the output of its commands, and must survive their end.
        after[2] = after[2].replace(SILENT, "");
    }
    let done = collected(host.collect(&gc, &recovery_log).await.unwrap());
    assert_freed(&done, &host.filled, before, &store);
    assert_eq!(recovery_log.calls(), ["stopping", "sweeping", "restored"]);
    assert_eq!(*recovery_log.blobs.lock().unwrap(), host.filled.garbage);
    assert_eq!(host.commands_run(), ["before", "after"]);
    assert_eq!(collector(&gc).missing_blobs(&host.filled.garbage).await.unwrap(), host.filled.garbage);
    assert_sound(&host.host(), &host.filled).await;
    assert_eq!(host.collect(&gc, &TestRecoveryLog::default()).await.unwrap(), CollectionResult::NothingToDo);
    assert_eq!(host.commands_run(), ["before", "after"]);
}

#[tokio::test]
async fn blob_that_is_pushed_again_at_once_counts_as_freed() {
    let host = Host::start().await;
    let (store, recovery_log) = (host.registry.store(), TestRecoveryLog::default());
    let before = store.blob_bytes();
    let digest = host.filled.garbage.keys().next().unwrap();
    let (blob, copy) = (store.blob_path(digest.as_str()), host.folder.path().join("copy"));
    fs::copy(&blob, &copy).unwrap();
    let mut gc = host.gc(&[registry_program(), "garbage-collect", &host.config()]);
    if let Kind::Command { after, .. } = &mut gc.collector {
        let home = blob.parent().unwrap().display();
        after[2] += &format!("; mkdir -p {home}; cp {} {home}/data", copy.display());
    }
    let done = collected(host.collect(&gc, &recovery_log).await.unwrap());
    assert!(store.has_blob(digest.as_str()));
    let again = fs::metadata(copy).unwrap().len();
    assert_eq!(done.bytes, before - store.blob_bytes() + again);
    assert_eq!(done.removed, host.filled.garbage.keys().cloned().collect());
}

#[tokio::test]
async fn kept_blob_and_small_gain_run_no_command() {
    let host = Host::start().await;
    let mut gc = host.gc(&[registry_program(), "garbage-collect", &host.config()]);
    let error = collector(&gc)
        .collect(&|_| true, &TestRecoveryLog::default(), || host.answers(), Cancellation::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), "kept_blob");
    gc.min_reclaimable = 1 << 30;
    let reclaimable = host.filled.garbage.values().sum();
    let outcome = host.collect(&gc, &TestRecoveryLog::default()).await.unwrap();
    assert_eq!(outcome, CollectionResult::BelowMinimum { reclaimable });
    assert!(host.commands_run().is_empty() && host.nothing_is_gone());
}

#[tokio::test]
async fn unknown_command_is_run_and_its_output_believed() {
    let host = Host::start().await;
    let mut gc = host.gc(&["sh", "-c", &format!("{} garbage-collect {}", registry_program(), host.config())]);
    gc.cache = Some(Cache::InMemory);
    let recovery_log = TestRecoveryLog::default();
    let done = collected(host.collect(&gc, &recovery_log).await.unwrap());
    assert_eq!(done.removed, host.filled.garbage.keys().cloned().collect());
    assert_eq!((done.bytes, recovery_log.blobs.lock().unwrap().len()), (0, 0));
    assert_eq!(recovery_log.calls(), ["stopping", "sweeping", "restored"]);
    let error = collector(&gc).missing_blobs(&host.filled.garbage).await.unwrap_err();
    assert_eq!(error.kind(), "unknown_store");
    assert_sound(&host.host(), &host.filled).await;
}

#[tokio::test]
async fn storage_that_cannot_be_read_is_collected_unmeasured() {
    let host = Host::start().await;
    // The command names a configuration file that does not exist on this host.
    let inside = "inside.yml";
    let program = host.folder.path().join("elsewhere");
    fs::write(
        &program,
        format!(
            "#!/bin/sh\nexec {} $(echo \"$@\" | sed 's|{inside}|{}|')\n",
            registry_program(),
            host.config()
        ),
    )
    .unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut gc = host.gc(&[program.to_str().unwrap(), "garbage-collect", inside]);
    gc.min_reclaimable = 1 << 30;
    gc.cache = Some(Cache::InMemory);
    let garbage = &host.filled.garbage;
    assert!(collector(&gc).missing_blobs(garbage).await.unwrap().is_empty());
    let done = collected(host.collect(&gc, &TestRecoveryLog::default()).await.unwrap());
    assert_eq!((done.bytes, done.blobs), (0, garbage.len() as u64));
    assert_eq!(done.removed, garbage.keys().cloned().collect());
    assert_eq!(collector(&gc).missing_blobs(garbage).await.unwrap(), *garbage);
}

#[tokio::test]
async fn registry_is_started_after_a_collection_that_fails_or_takes_too_long() {
    let host = Host::start().await;
    for (instead, kind) in [("exit 3", "no_summary"), ("sleep 600 & sleep 600", "timeout")] {
        let program = host.program(instead);
        let mut gc = host.gc(&[&program, "garbage-collect", &host.config()]);
        gc.timeout = Duration::from_secs(3);
        let recovery_log = TestRecoveryLog::default();
        let error = host.collect(&gc, &recovery_log).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(recovery_log.calls(), ["stopping", "sweeping", "restored"]);
        assert!(host.nothing_is_gone());
    }
    assert_eq!(host.commands_run(), ["before", "after", "before", "after"]);
    assert_sound(&host.host(), &host.filled).await;
}

#[tokio::test]
async fn failed_commands_are_named() {
    let host = Host::start().await;
    let collect = [registry_program(), "garbage-collect", &host.config()];
    let words = |text: &str| vec!["sh".to_owned(), "-c".to_owned(), text.to_owned()];
    let with = |change: &dyn Fn(&mut Vec<String>, &mut Vec<String>)| {
        let mut gc = host.gc(&collect);
        if let Kind::Command { before, after, .. } = &mut gc.collector {
            change(before, after);
        }
        gc
    };
    let gc = with(&|before, _| *before = words("echo no such unit; exit 5"));
    let error = host.collect(&gc, &TestRecoveryLog::default()).await.unwrap_err();
    assert_eq!(error.kind(), "command");
    assert!(
        error.to_string().contains("`sh -c echo no such unit; exit 5` failed with exit code 5"),
        "{error}"
    );
    assert_eq!(host.commands_run(), ["after"]);
    assert!(host.nothing_is_gone());

    let gc = with(&|_, after| *after = words("exit 6"));
    let error = host.collect(&gc, &TestRecoveryLog::default()).await.unwrap_err();
    assert_eq!(error.kind(), "registry_down");
    assert!(error.to_string().contains("exit code 6"), "{error}");
    // The next start puts it back.
    collector(&host.gc(&collect)).restore(|| host.answers()).await.unwrap();
    assert_sound(&host.host(), &host.filled).await;

    let gc = host.gc(&["no-such-program", "garbage-collect", &host.config()]);
    let error = host.collect(&gc, &TestRecoveryLog::default()).await.unwrap_err();
    assert!(error.kind() == "command" && error.to_string().contains("cannot be run"), "{error}");
}

#[tokio::test]
async fn dropped_collection_starts_the_registry_and_ends_the_sweep() {
    let host = Host::start().await;
    let mark = host.folder.path().join("mark");
    let program = host.program(&format!("sleep 600 & echo $! >{}; wait", mark.display()));
    let gc = host.gc(&[&program, "garbage-collect", &host.config()]);
    let collector = collector(&gc);
    let recovery_log = TestRecoveryLog::default();
    tokio::select! {
        () = until("the sweep", async || fs::read_to_string(&mark).is_ok_and(|pid| !pid.is_empty())) => {}
        ended = collector.collect(&|_| false, &recovery_log, || host.answers(), Cancellation::default()) => panic!("{ended:?}"),
    }
    assert!(host.answers().await);
    let process = fs::read_to_string(&mark).unwrap();
    let program = format!("/proc/{}/exe", process.trim());
    until("the end of the sweep", async || fs::read_link(&program).is_err()).await;
    assert_sound(&host.host(), &host.filled).await;
}
