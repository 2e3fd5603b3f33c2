//! Tables in a terminal: they fit its width, and are colored as the environment asks.

use std::fs::File;
use std::io::Read as _;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::snapshots::{assert_snapshot, filled};
use crate::support::cli::Cli;

const PLAN: [&str; 3] = ["plan", "--at", "2020-06-01"];

/// What the program prints in a terminal with so many columns.
fn in_terminal(cli: &Cli, columns: u16, arguments: &[&str]) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let program_side = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let size = Winsize { ws_row: 25, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&program_side, size).unwrap();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // The read fails once the program has closed its side.
        let _ = File::from(terminal).read_to_end(&mut bytes);
        String::from_utf8(bytes).unwrap().replace("\r\n", "\n")
    });
    cli.run_into(program_side, arguments);
    reader.join().unwrap().replace(&cli.absolute("FOLDER"), "FOLDER")
}

#[test]
fn plan_fits_the_terminal() {
    let (_registry, cli) = filled();
    let wide = cli.run(&PLAN).out;
    assert!(wide.lines().any(|line| line.chars().count() > 120), "{wide}");
    for columns in [80, 100, 120] {
        let shown = in_terminal(&cli, columns, &PLAN);
        let totals = shown.find("main: ").unwrap();
        for line in shown[..totals].lines() {
            assert!(line.chars().count() <= columns.into(), "{columns}: {line}\n{shown}");
        }
        assert_snapshot(&format!("plan in {columns} columns"), &shown);
    }
}

#[test]
fn other_tables_fit_the_terminal() {
    let (_registry, cli) = filled();
    cli.run(&["run", "--repository", "team/app"]);
    for (name, arguments) in [
        ("ls", &["ls"][..]),
        ("history", &["history"]),
        ("check connect", &["check", "--connect"]),
        ("undo", &["undo", "1"]),
    ] {
        assert_snapshot(&format!("{name} in 80 columns"), &in_terminal(&cli, 80, arguments));
    }
}

#[test]
fn wide_output_is_the_same_everywhere() {
    let (_registry, cli) = filled();
    for arguments in [&["ls"][..], &PLAN] {
        let piped = cli.run(arguments).out;
        let wide = [arguments, &["--output", "wide"]].concat();
        let table = |text: &str| text[..text.find("main: ").unwrap()].to_owned();
        assert_eq!(table(&cli.run(&wide).out), table(&piped));
        assert_eq!(table(&in_terminal(&cli, 80, &wide)), table(&piped));
    }
}

#[test]
fn colors_follow_the_environment() {
    for (environment, in_a_terminal, in_a_pipe) in [
        (&[("TERM", "xterm")][..], true, false),
        (&[("TERM", "xterm"), ("NO_COLOR", "1")], false, false),
        (&[("TERM", "dumb")], false, false),
        (&[("TERM", "xterm"), ("CLICOLOR", "0")], false, false),
        (&[("CLICOLOR_FORCE", "1")], true, true),
        (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false, false),
    ] {
        let (_registry, cli) = filled();
        let cli = environment.iter().fold(cli, |cli, (name, value)| cli.env(name, value));
        for command in [&PLAN[..], &["explain", "team/app:pr-1"]] {
            let is_colored = |text: &str| text.contains('\u{1b}');
            let shown = in_terminal(&cli, 80, command);
            assert_eq!(is_colored(&shown), in_a_terminal, "{environment:?}: {shown}");
            let piped = cli.run(command).out;
            assert_eq!(is_colored(&piped), in_a_pipe, "{environment:?}: {piped}");
        }
    }
}
