//! Collections by `regsweep gc` and `regsweep run` that are interrupted: the registry runs again, no sweep goes on beside
//! it, and the output is true.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::harness::{Commands, FilledRegistry, Installation, NEVER, contained, fill, until};
use crate::support::docker_engine::{CONFIG, Container, ContainerOptions, Engine};
use crate::support::regsweep::ProgramOutput;

/// Deletes the first of the old images by hand, so that there is something to collect.
async fn delete_one(filled: &FilledRegistry, url: &str) {
    let url = format!("{url}/v2/team/app/manifests/{}", filled.old[0].digest);
    assert!(reqwest::Client::new().delete(url).send().await.unwrap().status().is_success());
}

/// A sweep that does not end and writes the ids of its processes, including those that it has started.
fn endless(commands: &Commands) -> String {
    format!("sleep 600 & echo $! $$ >{}; wait", commands.file("sweeps").display())
}

async fn until_it_sweeps(commands: &Commands) {
    let file = commands.file("sweeps");
    until("it sweeps", async || std::fs::read_to_string(&file).is_ok_and(|text| text.contains('\n'))).await;
}

/// Records which processes of the sweep are alive when the registry is started.
fn record_processes(commands: &Commands) -> String {
    let (sweeps, beside) = (commands.file("sweeps"), commands.file("beside"));
    format!(
        "for one in $(cat {}); do [ -e /proc/$one/exe ] && echo $one >>{}; done",
        sweeps.display(),
        beside.display()
    )
}

fn signal(child: &Child, name: &str) {
    let kill = format!("kill -{name} {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

/// Everything is as it was before the collection, and the state has nothing left to recover.
async fn assert_restarted(commands: &Commands, installation: &Installation) {
    assert!(!commands.file("beside").exists(), "it swept beside the registry");
    assert!(reqwest::get(format!("{}/v2/", commands.host.registry.url())).await.is_ok());
    assert_eq!((installation.unfinished_recoveries().0, commands.filled.freed()), (0, 0));
}

/// A collection that gets a signal, and another one while it restarts the registry.
async fn signalled(command: &str, name: &str) {
    let commands = Commands::new().await;
    let (begun, go) = (commands.file("begun"), commands.file("go"));
    let wait = format!("touch {}; while [ ! -e {} ]; do sleep 0.05; done", begun.display(), go.display());
    let after = format!("{}\n{wait}", record_processes(&commands));
    let installation = Installation::new(NEVER, &[commands.lines(&endless(&commands), &after, "")]);
    delete_one(&commands.filled, &commands.host.registry.url()).await;
    let mut child =
        installation.command(&[command]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut wait_for = |text: &str| {
        tokio::task::block_in_place(|| {
            let mut before = Vec::new();
            let found = lines.by_ref().any(|line| {
                before.push(line.clone());
                line.contains(text)
            });
            assert!(found, "{command} {name}: it never printed {text:?}: {before:?}");
        });
    };
    until_it_sweeps(&commands).await;
    signal(&child, name);
    wait_for("a collection is cancelled and its registry restarted");
    until("the restart", async || begun.exists()).await;
    signal(&child, name);
    wait_for("no registry stays stopped");
    std::fs::write(go, "").unwrap();
    wait_for("regsweep was asked to stop");
    let code = tokio::task::block_in_place(|| {
        lines.by_ref().for_each(drop);
        child.wait().unwrap().code()
    });
    assert_eq!(code, Some(1), "{command} {name}");
    assert_restarted(&commands, &installation).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigint_restarts_the_registry() {
    for command in ["gc", "run"] {
        signalled(command, "INT").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_restarts_the_registry() {
    for command in ["gc", "run"] {
        signalled(command, "TERM").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_restarts_the_registry() {
    for command in ["gc", "run"] {
        signalled(command, "HUP").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terminal_that_is_closed_restarts_the_registry() {
    for command in ["gc", "run"] {
        let commands = Commands::new().await;
        // The command that starts the registry writes output, and fails where it cannot.
        let after =
            format!("{}\nset -e\necho starting\necho starting >&2\nset +e", record_processes(&commands));
        let installation = Installation::new(NEVER, &[commands.lines(&endless(&commands), &after, "")]);
        delete_one(&commands.filled, &commands.host.registry.url()).await;
        let line = format!(
            "echo $$ >{}; exec env --default-signal {} {command} --config {}",
            commands.file("process").display(),
            env!("CARGO_BIN_EXE_regsweep"),
            installation.config().display()
        );
        // The terminal exists as long as this program.
        let mut terminal = Command::new("script")
            .args(["--quiet", "--command", &line, "/dev/null"])
            .env("RUST_LOG", "info")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        until_it_sweeps(&commands).await;
        terminal.kill().unwrap();
        terminal.wait().unwrap();
        let pid = std::fs::read_to_string(commands.file("process")).unwrap();
        let program = format!("/proc/{}/exe", pid.trim());
        until("its end", async || std::fs::read_link(&program).is_err()).await;
        assert_restarted(&commands, &installation).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipe_that_is_closed_restarts_the_registry() {
    let commands = Commands::new().await;
    let after = format!("{}\necho starting", record_processes(&commands));
    let installation = Installation::new(NEVER, &[commands.lines(&endless(&commands), &after, "")]);
    delete_one(&commands.filled, &commands.host.registry.url()).await;
    let mut command = installation.command(&["gc"]);
    command.env("RUST_LOG", "info").stderr(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    until_it_sweeps(&commands).await;
    drop((child.stderr.take(), child.stdout.take()));
    signal(&child, "TERM");
    let code = tokio::task::block_in_place(|| child.wait().unwrap().code());
    assert_eq!(code, Some(1));
    assert_restarted(&commands, &installation).await;
}

/// A registry in a container whose first sweep does not end, with something to collect.
struct Endless {
    container: Container,
    filled: FilledRegistry,
    sweeps: PathBuf,
}

impl Endless {
    async fn new(engine: &'static Engine) -> Self {
        let script = "#!/bin/sh\ncase \"$*\" in *--dry-run*) ;;\n\
            garbage-collect*) touch /var/lib/registry/sweeps; sleep 600 ;; esac\n\
            exec /usr/bin/docker-registry \"$@\"\n";
        let made = ContainerOptions { script: Some(script.to_owned()), ..ContainerOptions::default() };
        let container = made.start(engine).await;
        let filled = fill(&container.url(), container.store().await).await;
        let mounts = engine.inspect(&container.name).await.mounts.unwrap();
        let store = mounts.iter().find(|one| one.destination.as_deref() == Some("/var/lib/registry"));
        let sweeps = PathBuf::from(store.unwrap().source.as_ref().unwrap()).join("sweeps");
        delete_one(&filled, &container.url()).await;
        Self { container, filled, sweeps }
    }

    /// Ends a collection in the middle of its sweep, and checks the result.
    async fn signalled(&self, installation: &Installation, name: &str) {
        let started = self.container.state().await.1;
        let mut child = installation.command(&["gc"]).spawn().unwrap();
        until("it sweeps", async || self.sweeps.exists()).await;
        signal(&child, name);
        let code = tokio::task::block_in_place(|| child.wait().unwrap().code());
        assert_eq!(code, Some(1));
        let (runs, since) = self.container.state().await;
        // The sweep inside the container has ended with it.
        assert!(runs && since != started && self.container.answers_now().await);
        assert!(self.container.engine.collectors(&self.container.name).await.is_empty());
        assert_eq!((installation.unfinished_recoveries().0, self.filled.freed()), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signal_ends_a_collection_in_containers() {
    let Some(engine) = Engine::shared() else { return };
    for (method, name) in [("offline", "TERM"), ("exec", "HUP")] {
        let endless = Endless::new(engine).await;
        let container = &endless.container;
        let installation =
            Installation::new(NEVER, &[contained(&container.url(), &engine.host(), container, method)]);
        endless.signalled(&installation, name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sweep_of_docker_run_is_cancelled_before_the_restart() {
    let Some(engine) = Engine::shared() else { return };
    let endless = Endless::new(engine).await;
    let (name, docker) = (&endless.container.name, format!("docker, --host, '{}'", engine.host()));
    let run = format!("run, --rm, --name, gc-{name}, --network, none, --volumes-from, {name}, registry:test");
    let installation = Installation::new(
        NEVER,
        &[format!(
            "url: {}\ngc:\n  command:\n    before: [{docker}, stop, {name}]\n    \
             run: [{docker}, {run}, garbage-collect, {CONFIG}]\n    cancel: [{docker}, rm, --force, gc-{name}]\n    \
             after: [{docker}, start, {name}]",
            endless.container.url()
        )],
    );
    endless.signalled(&installation, "INT").await;
    // The container of this name is gone: the sweep did not go on.
    assert!(engine.docker().inspect_container(&format!("gc-{name}"), None).await.is_err());
}

/// The downtimes that the state knows, oldest first, in milliseconds.
fn downtimes(installation: &Installation) -> Vec<u64> {
    let count = installation.number("SELECT count(*) FROM collection");
    let one = |row| {
        installation.number(&format!(
            "SELECT CAST(downtime * 1000 AS INTEGER) FROM collection ORDER BY id LIMIT 1 OFFSET {row}"
        ))
    };
    (0..count).map(one).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn downtime_of_a_failed_collection_is_shown() {
    let commands = Commands::new().await;
    let installation = Installation::new(NEVER, &[commands.lines("exit 3", "", "")]);
    let ran = installation.run(&["run", "--output", "json"]).await.exits(1);
    let collection = &ran.json()["collection"];
    assert_eq!(collection["outcome"], "failed");
    assert!(collection["downtime_seconds"].as_f64().unwrap() > 0.0, "{collection}");
    assert!(downtimes(&installation)[0] > 0);
    commands.filled.assert_sound(&commands.host.registry.host()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn downtime_lasts_until_the_restart() {
    let commands = Commands::new().await;
    let fixed = commands.file("fixed");
    let after = format!("[ -e {} ] || exit 1", fixed.display());
    let installation = Installation::new(NEVER, &[commands.lines("", &after, "")]);
    let begin = Instant::now();
    let ran = installation.run(&["run"]).await.exits(1);
    assert!(ran.stderr.contains("the registry is down"), "{}", ran.stderr);
    let pause = Instant::now();
    assert!(installation.run(&["gc"]).await.exits(1).stderr.contains("exit code 1"));
    std::fs::write(fixed, "").unwrap();
    let pause = pause.elapsed();
    installation.run(&["gc"]).await.exits(0);
    // One collection that failed, whose downtime ended with the restart, and one that had nothing to do.
    let downtimes = downtimes(&installation);
    assert!(matches!(downtimes[..], [_, 0]), "{downtimes:?}");
    let downtime = u128::from(downtimes[0]);
    assert!(downtime > pause.as_millis() && downtime <= begin.elapsed().as_millis(), "{downtimes:?}");
    assert_eq!(installation.unfinished_recoveries(), (0, 0));
    commands.filled.assert_sound(&commands.host.registry.host()).await;
}

/// Starts the registry, as an operator does who does not know of the collection.
fn start_by_hand(commands: &Commands) {
    let mut shell = Command::new("sh");
    assert!(shell.args(["-c", &commands.host.after()]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registry_started_during_a_sweep_ends_the_sweep() {
    let commands = Commands::new().await;
    let after = record_processes(&commands);
    let installation =
        Installation::new(NEVER, &[commands.lines(&endless(&commands), &after, "  timeout: 60s\n")]);
    delete_one(&commands.filled, &commands.host.registry.url()).await;
    let mut command = installation.command(&["gc", "--output", "json"]);
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    until_it_sweeps(&commands).await;
    start_by_hand(&commands);
    let program = format!("/proc/{}/exe", child.id());
    until("its end", async || std::fs::read_link(&program).is_err()).await;
    let ran = ProgramOutput::from(child.wait_with_output().unwrap()).exits(1);
    let error = ran.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains("the registry answered during the collection"), "{error}");
    assert_restarted(&commands, &installation).await;
}

/// A registry whose sweep goes on when its client is ended, as that of `docker run` does, with a command that cancels it
/// and fails as long as a file exists.
async fn elsewhere(timeout: &str) -> (Commands, Installation) {
    let commands = Commands::new().await;
    let (sweeps, broken) = (commands.file("sweeps"), commands.file("broken"));
    let file = sweeps.display();
    // The first sweep is a long one.
    let long = format!("env -u REGSWEEP_COLLECTION setsid sh -c 'echo $$ >{file}; exec sleep 600' & wait");
    let sweep = format!("[ -e {file} ] || {{ {long}; }}");
    let cancel = commands.file("cancel");
    let text = format!(
        "[ ! -e {} ] || exit 4\n[ -e {file} ] || exit 0\none=$(cat {file})\nkill -9 $one\n\
         while [ -e /proc/$one/exe ]; do :; done\n",
        broken.display()
    );
    std::fs::write(&cancel, text).unwrap();
    let lines = commands.lines(&sweep, &record_processes(&commands), &format!("  timeout: {timeout}\n"));
    let key = format!("\n    cancel: [sh, {}]\n    after:", cancel.display());
    let installation = Installation::new(NEVER, &[lines.replace("\n    after:", &key)]);
    delete_one(&commands.filled, &commands.host.registry.url()).await;
    (commands, installation)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sweep_on_another_host_is_cancelled_before_the_restart() {
    for name in ["TERM", "KILL", "a timeout"] {
        let (commands, installation) = elsewhere(if name == "a timeout" { "20s" } else { "10min" }).await;
        let mut child = installation.command(&["gc"]).spawn().unwrap();
        until_it_sweeps(&commands).await;
        if name != "a timeout" {
            signal(&child, name);
        }
        let code = tokio::task::block_in_place(|| child.wait().unwrap().code());
        if name == "KILL" {
            // The next collection restarts the registry and then sweeps.
            installation.run(&["gc"]).await.exits(0);
            assert!(commands.filled.freed() > 0);
        } else {
            assert_eq!(code, Some(1), "{name}");
            assert_restarted(&commands, &installation).await;
        }
        assert!(!commands.file("beside").exists(), "{name}: it swept beside the registry");
        assert_eq!(installation.unfinished_recoveries(), (0, 0), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sweep_that_cannot_be_cancelled_delays_the_restart() {
    let (commands, installation) = elsewhere("10min").await;
    std::fs::write(commands.file("broken"), "").unwrap();
    let child = installation.command(&["gc"]).stderr(Stdio::piped()).spawn().unwrap();
    until_it_sweeps(&commands).await;
    signal(&child, "TERM");
    let ran =
        tokio::task::spawn_blocking(|| ProgramOutput::from(child.wait_with_output().unwrap())).await.unwrap();
    let ran = ran.exits(1);
    assert!(ran.stderr.contains("gc.command.cancel has to succeed"), "{}", ran.stderr);
    assert!(reqwest::get(format!("{}/v2/", commands.host.registry.url())).await.is_err());
    assert_eq!(installation.unfinished_recoveries().0, 1);
    std::fs::remove_file(commands.file("broken")).unwrap();
    installation.run(&["gc"]).await.exits(0);
    assert!(commands.filled.freed() > 0 && installation.unfinished_recoveries() == (0, 0));
    assert!(!commands.file("beside").exists(), "it swept beside the registry");
    assert!(reqwest::get(format!("{}/v2/", commands.host.registry.url())).await.is_ok());
}
