//! What is shipped beside the program: the unit, the images, the alerts and the dashboard.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test says no")]

use std::path::{Path, PathBuf};
use std::process::Command;

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(shipped(path)).unwrap()
}

/// Runs a program that must succeed, and tells what it said.
#[track_caller]
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect(program);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    said
}

#[test]
fn the_unit_is_sound() {
    // The program need not be installed where the tests run.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("regsweep.service");
    let unit = text("systemd/regsweep.service");
    assert!(unit.contains("\nExecStart=/usr/local/bin/regsweep serve\n"));
    std::fs::write(&copy, unit.replace("/usr/local/bin/regsweep", "/bin/true")).unwrap();
    assert_eq!(run("systemd-analyze", &["verify", copy.to_str().unwrap()]), "");
}

#[test]
fn the_unit_exposes_little() {
    let unit = shipped("systemd/regsweep.service");
    let said = run("systemd-analyze", &["security", "--offline=true", unit.to_str().unwrap()]);
    let (_, level) = said.split_once("exposure level for regsweep.service: ").unwrap();
    let level: f64 = level.split(' ').next().unwrap().parse().unwrap();
    assert!(level <= 2.0, "{said}");
}
