//! Commands that only read create nothing in `state_dir`, for any user, and report what they cannot read there.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use regsweep::state::State;
use serde_json::json;

use super::harness::{KEEP_14_DAYS, Scanner, day, image, installation, requests_since, run};
use crate::service::harness::Installation;
use crate::support::real_registry::RealRegistry;
use crate::support::regsweep::ProgramOutput;

/// A user that none of the tests runs as.
const SERVICE: u32 = 65_532;

const READ_ONLY_COMMANDS: [&[&str]; 4] = [
    &["plan", "--output", "json"],
    &["ls", "--output", "json"],
    &["explain", "app:new", "--output", "json"],
    &["plan", "--require-state", "--output", "json"],
];

/// Every file of a folder with its owner and, but for what SQLite counts in shared memory, its content.
fn files(folder: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let content =
        |path: PathBuf| if path.ends_with("state.sqlite-shm") { vec![] } else { fs::read(path).unwrap() };
    entries
        .map(|one| {
            (one.file_name().into_string().unwrap(), (one.metadata().unwrap().uid(), content(one.path())))
        })
        .collect()
}

fn give_away(folder: &Path) {
    for one in fs::read_dir(folder).unwrap() {
        chown(one.unwrap().path(), Some(SERVICE), Some(SERVICE)).unwrap();
    }
    chown(folder, Some(SERVICE), Some(SERVICE)).unwrap();
}

/// A registry with two images, and an installation for it.
fn filled() -> (RealRegistry, Installation) {
    let registry = RealRegistry::start();
    registry.store().write("app", &["old"], &image("old"));
    registry.store().write("app", &["new"], &image("new"));
    let installation = installation(&format!("url: {}", registry.url()), KEEP_14_DAYS);
    (registry, installation)
}

/// Asserts that every command reads the state and leaves it unchanged. What the scan history has is not fetched again.
fn check_read_only_commands(registry: &RealRegistry, installation: &Installation) {
    let before = files(&installation.state_dir());
    for arguments in READ_ONLY_COMMANDS {
        let asked = requests_since(registry, 0).len();
        let ran = run(installation, arguments).exits(0);
        assert_eq!(ran.json()["scan_history"], "used", "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("warning"), "{arguments:?}: {}", ran.stderr);
        let requests = requests_since(registry, asked);
        let tags = requests.iter().filter(|one| one.path.contains("/manifests/"));
        assert!(tags.clone().count() > 0 && tags.clone().all(|one| one.status == 304), "{requests:?}");
        assert_eq!(files(&installation.state_dir()), before, "{arguments:?}");
    }
}

#[test]
fn read_only_command_creates_no_file_in_an_empty_directory() {
    let (_registry, installation) = filled();
    fs::create_dir(installation.state_dir()).unwrap();
    for owner in [None, Some(SERVICE)] {
        chown(installation.state_dir(), owner, owner).unwrap();
        for arguments in &READ_ONLY_COMMANDS[..3] {
            let ran = run(&installation, arguments).exits(0);
            assert_eq!(ran.json()["scan_history"], "none", "{arguments:?}");
            assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
        }
        let ran = run(&installation, READ_ONLY_COMMANDS[3]).exits(1);
        assert!(ran.stderr.contains("there is no state in"), "{}", ran.stderr);
        run(&installation, &["history"]);
        assert!(files(&installation.state_dir()).is_empty(), "{:?}", files(&installation.state_dir()).keys());
    }
}

#[tokio::test]
async fn state_of_another_user_is_read_and_left_unchanged() {
    let (registry, installation) = filled();
    let scanner = Scanner::new(&registry.url(), KEEP_14_DAYS);
    scanner.plan_at(day(0)).await;
    fs::create_dir(installation.state_dir()).unwrap();
    let take = |name: &str| {
        fs::copy(scanner.config.state_dir.join(name), installation.state_dir().join(name)).unwrap()
    };

    // As a service leaves it that comes to its end.
    for name in ["state.sqlite", "lock"] {
        take(name);
    }
    give_away(&installation.state_dir());
    check_read_only_commands(&registry, &installation);

    // As it is beside a service.
    let holder = State::open(&installation.state_dir()).unwrap();
    holder.begin_run("main", day(0)).unwrap();
    give_away(&installation.state_dir());
    assert_eq!(files(&installation.state_dir()).len(), 4);
    check_read_only_commands(&registry, &installation);

    // As one leaves it that is killed: with a log of what is not in the file yet.
    drop(holder);
    let open = scanner.open();
    open.begin_run("main", day(0)).unwrap();
    for name in ["state.sqlite", "lock", "state.sqlite-wal", "state.sqlite-shm"] {
        take(name);
    }
    drop(open);
    give_away(&installation.state_dir());
    assert!(fs::metadata(installation.state_dir().join("state.sqlite-wal")).unwrap().len() > 0);
    check_read_only_commands(&registry, &installation);
    assert_eq!(State::open(&installation.state_dir()).unwrap().runs(9).unwrap().len(), 1);
}

#[test]
fn state_created_by_root_belongs_to_the_owner_of_the_directory() {
    let (_registry, installation) = filled();
    fs::create_dir(installation.state_dir()).unwrap();
    fs::write(installation.state_dir().join("notes"), "root's own").unwrap();
    chown(installation.state_dir(), Some(SERVICE), Some(SERVICE)).unwrap();
    for damage in [None, Some("garbage")] {
        if let Some(damage) = damage {
            fs::write(installation.state_dir().join("state.sqlite"), damage).unwrap();
        }
        run(&installation, &["run"]).exits(0);
        for (name, (owner, _)) in files(&installation.state_dir()) {
            assert_eq!(owner, if name == "notes" { 0 } else { SERVICE }, "{name}");
        }
    }
}

#[test]
fn unreadable_state_is_reported() {
    let (registry, installation) = filled();
    drop(State::open(&installation.state_dir()).unwrap());
    run(&installation, &["plan"]).exits(0);
    fs::set_permissions(installation.state_dir(), fs::Permissions::from_mode(0o700)).unwrap();
    // The other user needs a program and a configuration that it may read.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (program, config) = (folder.path().join("regsweep"), folder.path().join("config.yaml"));
    // Not by this process: what another test starts meanwhile would hold it open for writing.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_regsweep")).arg(&program).status().unwrap();
    assert!(copied.success());
    fs::copy(installation.config(), &config).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(installation.config().parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    let other = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65533", "--regid", "65533", "--clear-groups"]).arg(&program);
        command.args(arguments).arg("--config").arg(&config).env_remove("RUST_LOG");
        ProgramOutput::from(command.output().unwrap())
    };
    for arguments in &READ_ONLY_COMMANDS[..3] {
        let ran = other(arguments).exits(0);
        assert_eq!(ran.json()["scan_history"], "unreadable", "{arguments:?}");
        let output = format!("warning: the state in {} cannot be read: ", installation.state_dir().display());
        assert!(
            ran.stderr.contains(&output) && ran.stderr.contains("run this as its owner"),
            "{}",
            ran.stderr
        );
    }
    let asked = requests_since(&registry, 0).len();
    let ran = other(READ_ONLY_COMMANDS[3]).exits(1);
    assert!(ran.stderr.contains("error: the state in"), "{}", ran.stderr);
    assert_eq!(
        (&ran.json()["scan_history"], &ran.json()["error_kind"]),
        (&json!("unreadable"), &json!("state"))
    );
    assert_eq!(requests_since(&registry, asked).len(), 0);
    let ran = other(&["history"]).exits(1);
    assert!(ran.stderr.contains("cannot be read"), "{}", ran.stderr);
}
