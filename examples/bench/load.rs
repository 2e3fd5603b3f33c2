//! The load generator: `wrk` sends regsweep's requests, and does nothing with the answers.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::CONCURRENCY;
use super::filling::Filled;
use crate::support::image::ACCEPT_ALL;

/// Whether regsweep has scanned the registry before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scan {
    /// Everything is read: each manifest by its tag, and its configuration.
    Cold,
    /// Each tag is read with a condition: whether it has changed.
    Warm,
}

impl Scan {
    /// Its name in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
        }
    }
}

/// Requests that are checked before the measurements.
const CHECKED: usize = 20_000;

/// The requests of one scan.
pub(crate) struct Load {
    list: PathBuf,
    script: PathBuf,
    lists: usize,
    tags: usize,
    scan: Scan,
}

impl Load {
    /// Writes the list of requests into this folder.
    pub(crate) fn new(folder: &Path, scan: Scan, filled: &Filled) -> Self {
        let mut text = String::new();
        let mut tags = 0;
        for repository in &filled.repositories {
            let base = format!("/v2/{}", repository.name);
            let _ = writeln!(text, "{base}/tags/list\taccept: */*");
            for tagged in &repository.tags {
                let known = match scan {
                    Scan::Cold => String::new(),
                    Scan::Warm => format!("\tif-none-match: \"{}\"", tagged.digest),
                };
                let _ = writeln!(text, "{base}/manifests/{}\taccept: {ACCEPT_ALL}{known}", tagged.tag);
            }
            if scan == Scan::Cold {
                for tagged in &repository.tags {
                    let _ = writeln!(text, "{base}/blobs/{}\taccept: */*", tagged.config);
                }
            }
            tags += repository.tags.len();
        }
        let list = folder.join(scan.name());
        let script = folder.join("once.lua");
        fs::write(&list, text).unwrap();
        fs::write(&script, include_str!("once.lua")).unwrap();
        Self { list, script, lists: filled.repositories.len(), tags, scan }
    }

    /// How many requests there are.
    pub(crate) fn requests(&self) -> usize {
        let of_each_tag = if self.scan == Scan::Cold { 2 } else { 1 };
        self.lists + of_each_tag * self.tags
    }

    /// From the first request to the last answer.
    pub(crate) fn run(&self, url: &str) -> Duration {
        let output = self.wrk(url, &self.list, None);
        let took = output.iter().find_map(|words| match words.as_slice() {
            [name, value] if name == "took" => value.parse().ok(),
            _ => None,
        });
        Duration::from_micros(took.unwrap_or_else(|| panic!("wrk printed {output:?}")))
    }

    /// Sends the first requests once and checks that the statuses are those that regsweep gets. This also warms up the
    /// registry. The store was just written, so it is in memory.
    pub(crate) fn check(&self, url: &str) {
        let all = fs::read_to_string(&self.list).unwrap();
        let first: Vec<&str> = all.lines().take(CHECKED).collect();
        let list = self.list.with_extension("checked");
        fs::write(&list, first.join("\n")).unwrap();
        let output = self.wrk(url, &list, Some("check"));
        let mut statuses: Vec<(u16, usize)> = output
            .iter()
            .filter_map(|words| match words.as_slice() {
                [name, status, count] if name == "status" => {
                    Some((status.parse().unwrap(), count.parse().unwrap()))
                }
                _ => None,
            })
            .collect();
        statuses.sort_unstable();
        let unchanged = first.iter().filter(|line| line.contains("if-none-match")).count();
        let mut expected = vec![(200, first.len() - unchanged), (304, unchanged)];
        expected.retain(|&(_, count)| count > 0);
        assert_eq!(statuses, expected, "the registry does not answer as it should");
    }

    fn wrk(&self, url: &str, list: &Path, check: Option<&str>) -> Vec<Vec<String>> {
        let connections = CONCURRENCY.to_string();
        let output = Command::new("wrk")
            .args(["--threads", "1", "--duration", "1h", "--timeout", "1m", "--connections", &connections])
            .arg("--script")
            .args([&self.script])
            .args([url, "--"])
            .arg(list)
            .arg(&connections)
            .args(check)
            .output()
            .expect("wrk; `make bench` installs it");
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "wrk: {printed}{}", String::from_utf8_lossy(&output.stderr));
        printed.lines().map(|line| line.split(' ').map(Into::into).collect()).collect()
    }
}
